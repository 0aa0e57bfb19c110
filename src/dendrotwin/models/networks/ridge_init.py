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
    from dendrotwin.models.networks.experts import Synapses

SMALLEST_VARIANCE = 1e-12  # of a feature where inputs are silent, so that nothing is divided by zero


@torch.no_grad()
def start_from_linear(network: ExpertNetwork, trials: Sequence[TrialIndex]) -> None:
    """Set the linear paths of a network to a reduced-rank ridge regression, and the outputs of its task heads to 0.

    Free-running: z(t) = B x(t) + c with all synaptic conductances x. One step ahead, where an untrained network has
    z(t) = z(t-1): z(t) = z(t-1) + A z(t-1) + B x(t) + c. B is cut to the rank of the features, in the directions that
    keep most of the variance of B x (Izenman 1975, doi:10.1016/0047-259X(75)90042-1); each feature then has variance 1
    over the trials. Networks that take bare events are left as they are.

    Args:
        network: with the scaling of the training split; `ridge_trials`, `ridge_every_ms` and `ridge_penalty` of its
            configuration say how many trials are used, every how many milliseconds, and how strong the penalty is.
        trials: of the training split.
    """
    config = network.config
    synapses, direct, transition = network.experts.synapses, network.readout.direct, network.readout.transition
    if synapses is None or direct is None:
        return
    n_conductances = sum(len(weight) for weight in synapses.weights)
    gram, cross = _moments(network, synapses, trials[: config.ridge_trials])
    size = np.trace(gram[:n_conductances, :n_conductances]) / n_conductances or 1.0  # silent inputs
    penalty = np.full(len(gram), config.ridge_penalty * size)
    penalty[-1] = 0.0  # the constant is not penalised
    solution = np.linalg.solve(gram + np.diag(penalty), cross)
    weights, past, offset = np.split(solution, [n_conductances, len(solution) - 1])

    # The directions in which the potentials vary most for the conductances' sake.
    mean = gram[-1, :n_conductances]
    covariance = gram[:n_conductances, :n_conductances] - np.outer(mean, mean)
    variance, axes = eigh(weights.T @ covariance @ weights)
    n = network.tree.n
    rank = min(network.experts.features, n)
    axes, sd = axes[:, -rank:], np.sqrt(np.maximum(variance[-rank:], SMALLEST_VARIANCE))
    first = 0
    for weight in synapses.weights:
        part = weights[first : first + len(weight)] @ axes / sd
        weight[:, :rank] = torch.from_numpy(part).float()
        first += len(weight)
    direct.weight.zero_()
    direct.weight[:n, :rank] = torch.from_numpy(axes * sd).float()
    cut = weights - weights @ axes @ axes.T  # its mean goes into the constant
    direct.bias[:n] = torch.from_numpy(offset[0] + mean @ cut).float()
    if transition is not None:
        transition.weight += torch.from_numpy(past.T).float()
    network.heads.zero_init()


def _moments(
    network: ExpertNetwork, synapses: Synapses, trials: Sequence[TrialIndex]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of X'X and X'Z over samples of the trials after SETTLE_MS.

    X are conductances, potentials of the step before (of an autoregressive network) and a constant; Z are potentials,
    or their change since the step before.
    """
    tree, context = network.tree, synapses.context
    gram, cross, count = np.zeros(()), np.zeros(()), 0
    for trial in trials:
        recording = read_trial(trial, tree)
        events = BinnedEvents.from_windows(
            [(recording.events, -context)], tree.n_inputs, context + recording.duration_ms
        )
        at = np.arange(SETTLE_MS, recording.duration_ms, network.config.ridge_every_ms)
        columns = [synapses.conductances(events)[0].numpy().T[at], np.ones((len(at), 1))]
        z = network.scaling.normalise(torch.from_numpy(recording.v_mV)).numpy()
        target = z[at]
        if network.autoregressive:
            columns.insert(1, z[at - 1])
            target = z[at] - z[at - 1]
        x = np.column_stack(columns).astype(np.float64)
        gram, cross, count = gram + x.T @ x, cross + x.T @ target, count + len(x)
    return gram / count, cross / count
