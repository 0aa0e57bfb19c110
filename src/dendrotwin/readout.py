"""How a cable twin reads output spikes from its soma: learned on what it predicts by itself.

Where its soma follows the true one, a spike is a spike, and a read-out would learn nothing but yes and no. On its own,
predicted spikes are early or late or should not be there, and the read-out learns how much a potential, now and in the
milliseconds before, has to do with a true one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import torch

from dendrotwin.dataset import event_counts
from dendrotwin.measures import SETTLE_MS
from dendrotwin.models.cable import Cable
from dendrotwin.recording import TrialIndex, read_trial

TRIALS = 100  # have some hundred output spikes
STEPS = 300
DECAY = 1e-5  # of squared weights, which few spikes would let grow without end


def learn_read_out(network: Cable, trials: list[TrialIndex]) -> None:
    """Set the read-out to the most likely one on free-running predictions, by L-BFGS on all their milliseconds.

    Args:
        network: its membrane is used and its read-out set; left as it is where no trial has a spike.
        trials: of the training split; the first `TRIALS` are used.
    """

    def one(trial: TrialIndex) -> tuple[torch.Tensor, torch.Tensor]:
        recording = read_trial(trial, network.tree)
        counts = event_counts(recording.events, network.tree.n_inputs, 0, recording.steps)
        with torch.no_grad():
            seen = network.soma_course(torch.from_numpy(counts)[None])[0]
        return seen[SETTLE_MS:], torch.from_numpy(recording.spike_train().astype(np.float32))[SETTLE_MS:]

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        seen, spikes = (torch.cat(part) for part in zip(*pool.map(one, trials[:TRIALS]), strict=True))
    if not spikes.any():
        return
    read = deepcopy(network.read).requires_grad_(True)
    search = torch.optim.LBFGS(read.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        search.zero_grad()
        large = sum(weight.square().sum() for weight in read.parameters() if weight.dim() > 1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(read(seen)[:, 0], spikes) + DECAY * large
        loss.backward()
        return loss

    search.step(closure)
    network.read.load_state_dict(read.state_dict())
