"""Where a training starts from: the best linear map, so that no step is spent on finding it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh

from dendrotwin.models.base import BinnedEvents
from dendrotwin.recording import SETTLE_MS
from dendrotwin.recording.trials import TrialIndex, read_trial

if TYPE_CHECKING:
    from dendrotwin.models.networks.expert_network import ExpertNetwork

TRIALS = 60  # enough, and read in half a minute
EVERY_MS = 5
PENALTY = 1e-2  # relative to the mean square of the conductances
SMALLEST_VARIANCE = 1e-12  # of a feature, where inputs are silent


@torch.no_grad()
def start_from_linear(network: ExpertNetwork, trials: Sequence[TrialIndex]) -> None:
    """Set the linear paths of a network to a reduced-rank ridge regression, and silence its task heads for the start.

    Free-running: z(t) = B x(t) + c with all synaptic conductances x. One step ahead, where an untrained network has
    z(t) = z(t-1): z(t) = z(t-1) + A z(t-1) + B x(t) + c. B is cut to the rank of the features, in the directions that
    keep most of the variance of B x (Izenman 1975, doi:10.1016/0047-259X(75)90042-1); each feature then has variance 1
    over the trials. Networks that take bare events are left as they are.

    Args:
        network: with the scaling of the training split.
        trials: of the training split; some are enough.
    """
    tree, scaling = network.tree, network.scaling
    synapses, direct, from_past = network.experts.synapses, network.readout.direct, network.readout.past
    if synapses is None or direct is None:
        return
    n_conductances = sum(len(weigh) for weigh in synapses.weigh)

    def rows(trial: TrialIndex) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """What is known at some steps, (steps, conductances + potentials before + 1), and what is asked for."""
        recording = read_trial(trial, tree)
        events = BinnedEvents.of(
            [(recording.events, -synapses.shorter)], tree.n_inputs, synapses.shorter + recording.steps
        )
        at = np.arange(SETTLE_MS, recording.steps, EVERY_MS)
        x = synapses.conductances(events)[0].numpy().T[at]
        z = scaling.normalise(torch.from_numpy(recording.v_mV)).numpy()
        known = [x, z[at - 1], np.ones((len(at), 1))] if from_past is not None else [x, np.ones((len(at), 1))]
        return np.column_stack(known).astype(np.float64), z[at] - z[at - 1] if from_past is not None else z[at]

    gram, cross, count = np.zeros(()), np.zeros(()), 0
    for trial in trials[:TRIALS]:
        known, asked = rows(trial)
        gram, cross, count = gram + known.T @ known, cross + known.T @ asked, count + len(known)
    gram, cross = gram / count, cross / count
    size = np.trace(gram[:n_conductances, :n_conductances]) / n_conductances or 1.0  # silent inputs
    penalty = np.full(len(gram), PENALTY * size)
    penalty[-1] = 0.0
    solution = np.linalg.solve(gram + np.diag(penalty), cross)
    weights, past, offset = np.split(solution, [n_conductances, len(solution) - 1])

    # The directions in which the potentials vary most for the conductances' sake.
    mean = gram[-1, :n_conductances]
    covariance = gram[:n_conductances, :n_conductances] - np.outer(mean, mean)
    variance, axes = eigh(weights.T @ covariance @ weights)
    rank = min(network.experts.features, tree.n)
    axes, sd = axes[:, -rank:], np.sqrt(np.maximum(variance[-rank:], SMALLEST_VARIANCE))
    first = 0
    for weigh in synapses.weigh:
        part = weights[first : first + len(weigh)] @ axes / sd
        weigh[:, :rank] = torch.from_numpy(part).float()
        first += len(weigh)
    direct.weight.zero_()
    direct.weight[: tree.n, :rank] = torch.from_numpy(axes * sd).float()
    cut = weights - weights @ axes @ axes.T  # its mean goes into the constant
    direct.bias[: tree.n] = torch.from_numpy(offset[0] + mean @ cut).float()
    if from_past is not None:
        from_past.weight += torch.from_numpy(past.T).float()
    network.heads.silence()
