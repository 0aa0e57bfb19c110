"""Where a cable twin starts from: the channels that explain what recorded potentials ask for.

With every potential known, gates are driven by data, and what a channel would carry per density is known. A millisecond
begins at the recorded potentials; what it misses of the next ones, r, is linear in small changes dg of the densities:

r = M^-1 sum_k a_k dg_k,   M = capacitance over 1 ms, leak, open channels, and the axial conductances of the whole tree

with a_k(t) the mean of a channel's open share times (E_k - V). That is a least-squares problem without negative
densities (Huys, Ahrens and Paninski 2006, doi:10.1152/jn.00079.2006); solved a few times, each time with the
potentials that the densities found so far miss, it has no error left of being linear. A calcium channel also carries
what its calcium does, to SK and to calcium's own E, whose derivatives follow the pool; and calcium's gain and decay are
found along with the densities.

Rows are the means of r over compartments of a region that are equally far from the soma, in which the rounding of
stored potentials averages out. Milliseconds in which a potential moves far (those of spikes) are not linear and do not
count, and what is far from explained counts little. A density is a part of the whole region and parts of each distance
in it, and what explains next to nothing is zero: a penalty on each part, on those of distances more.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import block_diag
from scipy.optimize import nnls

from dendrotwin.dataset import event_counts
from dendrotwin.measures import SETTLE_MS
from dendrotwin.membrane import (
    CALCIUM_LEAST_MM,
    CALCIUM_REST_MM,
    SK_HALF_MM,
    SK_MS,
    SK_POWER,
    Flows,
    Learned,
    Tape,
    flows,
    steps,
    theta,
)
from dendrotwin.models.cable import Cable
from dendrotwin.models.channels import CHANNELS
from dendrotwin.progress import progress
from dendrotwin.recording import TrialIndex, read_trial
from dendrotwin.solve import hines
from dendrotwin.tree import Floats

CARRIERS = np.array([channel.reversal_mV is None for channel in CHANNELS] + [False])  # of calcium; SK is the last

TRIALS = 8
SUBSTEPS = (4, 16)
ROUNDS = 26
SCALE_MV = 0.01  # errors far beyond this, or the median where that is larger, count little (Cauchy's weights)
PICKED_MS = 600  # of a trial; half of them near output spikes
BEFORE_SPIKE_MS, AFTER_SPIKE_MS = 30, 80
CHUNK_MS = 100
PENALTY, OF_REGION = 0.004, 0.05  # of a distance's part, and that of a region's relative to it
LINEAR_MV = 10.0  # a millisecond in which a potential moves further does not count
REWEIGH = 6
RIDGE = 1e-5
HELD_GAIN, HELD_DECAY = 1.0, 1e-3  # how strongly the logarithms of calcium's gain and decay are held at their start
HELD = 1.0  # and, where they are now, relative changes of soma's and axon's calcium channels
GROWTH = 3.0  # by which factor these change in a round at most
DAMPING = 10.0  # by which damping grows where a round has gone too far, and falls where not
HELD_FROM = 1e-6  # S/cm2: smaller densities are held as if they were this
LEAST = 1e-7  # S/cm2: from which a density that is zero here can grow in training
STRIDE, REACH = 0.15, 2.3  # how far the logarithms of gain and decay may go in a round, and in all


@torch.no_grad()
def start_from_currents(network: Cable, trials: list[TrialIndex]) -> None:
    """Set densities and calcium of an untrained cable twin; see the module.

    Args:
        network: its part of each distance, and calcium, are set.
        trials: of the training split; the first `TRIALS` are used.
    """
    trials = trials[:TRIALS]
    groups = network.groups[1].numpy()
    _, at = np.unique(groups, return_index=True)
    start = network.start.double().numpy()[:, at]
    region, near = network.tree.region[at], network.kind[at] < 2
    pools = np.repeat(network.calcium[[0, 2]].double().numpy().reshape(4, 1), start.shape[1], 1)
    state = np.append(start, pools, 0)  # logarithms, of densities and then of calcium's gain and decay

    def use(state: Floats) -> None:
        network.parts[1].copy_(torch.from_numpy(state[:-4] - start))
        network.calcium.copy_(torch.from_numpy(state[-4:, 0].reshape(2, 2))[[0, 0, 1]])

    best, known, damping, scale = state, None, 0.0, SCALE_MV
    with (
        progress("finding channels", ROUNDS * len(trials), "trials") as advance,
        ThreadPoolExecutor(torch.get_num_threads()) as pool,
    ):
        for _ in range(ROUNDS):
            use(state)

            def one(trial: TrialIndex) -> tuple[Floats, Floats]:
                found = _rows(network, trial, SUBSTEPS, groups)
                advance(1)
                return found

            rows, missed = (np.concatenate(part) for part in zip(*pool.map(one, trials), strict=True))
            if known is None or _cost(missed, scale) < _cost(known[1], scale):
                best, known, damping = state, (rows, missed), damping / DAMPING
                scale = max(SCALE_MV, float(np.nanmedian(np.abs(missed))))
            else:  # too far
                damping = max(damping, 0.1) * DAMPING
            density, logarithms = _solve(
                *known, scale, damping, np.exp(best[:-4]), best[-4:, 0] - pools[:, 0], region, near
            )
            moved = best[-4:] + np.clip(logarithms, -STRIDE, STRIDE)[:, None]
            state = np.append(np.log(np.maximum(density, LEAST)), np.clip(moved, pools - REACH, pools + REACH), 0)
    use(best)


def _cost(missed: Floats, scale: float) -> float:
    """Cauchy's, of errors that are numbers."""
    return float(np.nanmean(np.log1p((missed / scale) ** 2)))


def _green(network: Cable, groups: NDArray[np.integer], total_uS: Floats) -> Floats:
    """(groups, n) by how much 1 nA in a compartment moves the mean potential of each group in 1 ms [mV/nA].

    Args:
        groups: (n,) of each compartment.
        total_uS: (n,) conductance of channels in this millisecond, sorted by kind.
    """
    tree, order, many = network.tree, network.order, groups.max() + 1
    uS = tree.leak_uS + total_uS[network.back.numpy()]
    diagonal, right = np.zeros((2, len(order.parent), many))
    # As in a step of `membrane` of 1 ms: an open channel takes away from what a current moves.
    diagonal[order.position] = (tree.capacitance_nF + np.vectorize(theta)(uS / tree.capacitance_nF) * uS)[:, None]
    right[order.position, groups] = 1.0 / np.bincount(groups)[groups]
    hines(order.parent, order.axial_uS, diagonal, right)
    return np.ascontiguousarray(right[order.position[network.sorted]].T)


def _rows(
    network: Cable, trial: TrialIndex, substeps: tuple[int, int], groups: NDArray[np.integer]
) -> tuple[Floats, Floats]:
    """What a trial says: (ms, groups, channels * groups + 4) derivatives, and (ms, groups) potentials missed [mV].

    Where a potential moves too far to be linear, what is missed is not a number.
    """
    tree, by_kind, n = network.tree, network.sorted, network.tree.n
    cell, arrays = network.cell(), Learned(*(tensor.detach().numpy() for tensor in network.learned(substeps)))
    recording = read_trial(trial, tree)
    true = recording.v_mV[:, by_kind].astype(np.float64)
    before = np.concatenate([np.full((1, n), tree.v_init_mV), true[:-1]])
    counts = event_counts(recording.events, tree.n_inputs, 0, recording.steps)
    picked = _pick(recording.spikes_ms, recording.steps, trial.number)
    state = network.rest(cell, arrays, before[0])
    carriers = np.flatnonzero(CARRIERS)
    pools = _Pools(arrays, len(carriers))
    mine, area = groups[by_kind], tree.area_um2[by_kind] * 1e-2
    somatic, size = network.kind[by_kind] < 2, np.bincount(groups)
    members = [np.flatnonzero(mine == group) for group in range(len(size))]
    many, channels = len(size), arrays.density_uS.shape[0]  # the last is Ih, which the tree knows; SK comes instead
    rows, missed = [], []
    for first in range(0, recording.steps, CHUNK_MS):
        here = slice(first, min(first + CHUNK_MS, recording.steps))
        length = here.stop - first
        tape, out = Tape.empty(length, substeps[1], n, arrays.tables.shape[2]), np.empty((length, n))
        steps(
            cell, arrays, np.array(substeps, np.int32), network.refine_at(), state,
            network.opened(counts[:, here]), np.zeros((1, n)), before[here], 1.0, tape, out, np.empty(length),
        )  # fmt: skip
        did = Flows.empty(length, channels, n)
        flows(cell, arrays, np.array(substeps, np.int32), tape, did)
        # What of SK's and calcium's currents follows from calcium's inflow: through each channel, its gain and decay.
        to_sk, to_mV = pools.follow(did, did.flow[:, carriers] * area)
        some = np.flatnonzero(picked[here])
        if not len(some):
            continue
        drive = arrays.sk_uS * did.sk_mV[some]
        through = to_sk[some] * drive[:, None] + to_mV[some] * did.calcium_uS[some, None]
        current = np.delete(did.flow, channels - 1, 1)[some] * area
        current[:, carriers] += through[:, :-2]
        derivative = np.empty((len(some), many, channels * many + 4), np.float32)
        for at, t in enumerate(some):
            seen = _green(network, groups, did.total_uS[t])
            for group, inside in enumerate(members):
                derivative[at, :, group:-4:many] = seen[:, inside] @ current[at][:, inside].T
            for j in range(2):
                derivative[at, :, j - 4] = seen[:, somatic] @ through[at, j - 2, somatic]
                derivative[at, :, j - 2] = seen[:, ~somatic] @ through[at, j - 2, ~somatic]
        rows.append(derivative)
        error, moved = (true[here] - out)[some], (true[here] - before[here])[some]
        mean, moved = (np.stack([x[:, mine == group].mean(1) for group in range(many)], 1) for x in (error, moved))
        missed.append(np.where(np.abs(moved) < LINEAR_MV, mean, np.nan))
    return np.concatenate(rows), np.concatenate(missed)


def _pick(spikes_ms: Floats, length: int, seed: int) -> NDArray[np.bool_]:
    """Milliseconds of a trial to look at, some of them near its output spikes."""
    rng, picked = np.random.default_rng(seed), np.zeros(length, np.bool_)
    anywhere = np.arange(SETTLE_MS, length)
    near = np.zeros(length, np.bool_)
    for time in spikes_ms.astype(int):
        near[max(time - BEFORE_SPIKE_MS, 0) : time + AFTER_SPIKE_MS] = True
    for among in (anywhere, anywhere[near[SETTLE_MS:]]):
        picked[rng.choice(among, min(PICKED_MS // 2, len(among)), replace=False)] = True
    return picked


class _Pools:
    """Derivatives of calcium and of SK's gate by what makes calcium."""

    def __init__(self, learned: Learned, sources: int) -> None:
        """With `sources` of inflow; two more, of the logarithms of gain and of decay."""
        self.learned = learned
        self.calcium, self.sk = np.zeros((2, sources + 2, len(learned.sk_uS)))

    def follow(self, did: Flows, inflow: Floats) -> tuple[Floats, Floats]:
        """How SK's gate and calcium's E [mV] change, each (steps, sources + 2, n), in the next milliseconds.

        Args:
            did: what channels did in them.
            inflow: (steps, sources, n) calcium current into the cell per unit of each source [nA].
        """
        learned = self.learned
        tau, keep = learned.calcium_ms, np.exp(-1.0 / learned.calcium_ms)
        drift = keep / tau  # of `keep`, with the logarithm of tau
        keep_sk = np.exp(-1.0 / SK_MS)
        to_sk, to_mV = np.empty((2, len(inflow), *self.calcium.shape))
        for t, calcium in enumerate(did.calcium_mM):
            to_mV[t] = -learned.nernst_mV[0] * self.calcium / calcium
            ratio = (SK_HALF_MM / calcium) ** SK_POWER
            steep = SK_POWER * ratio / (1.0 + ratio) ** 2 / calcium
            self.sk = keep_sk * self.sk + (1.0 - keep_sk) * steep * self.calcium
            to_sk[t] = self.sk
            own = -did.calcium_nA[t]
            rest = CALCIUM_REST_MM + own * learned.calcium_gain * tau
            free = (rest > CALCIUM_LEAST_MM) * learned.calcium_gain * tau
            to_rest = np.concatenate([inflow[t], own[None], own[None]]) * free
            self.calcium = to_rest + (self.calcium - to_rest) * keep
            self.calcium[-1] += (calcium - np.maximum(rest, CALCIUM_LEAST_MM)) * drift
        return to_sk, to_mV


def _solve(
    rows: NDArray[np.floating],
    missed: Floats,
    scale: float,
    damping: float,
    density: Floats,
    moved: Floats,
    region: NDArray[np.integer],
    near: NDArray[np.bool_],
) -> tuple[Floats, Floats]:
    """Densities (channels, groups) that explain what is missed beside those so far, and the change of four logarithms.

    Args:
        rows, missed: of all trials, see `_rows`; what is not a number does not count.
        scale: of errors [mV].
        damping: how strongly everything is held where it is, relative to itself (Levenberg and Marquardt).
        density: so far.
        moved: (4,) how far calcium's logarithms are from their start.
        region: (groups,).
        near: (groups,) whether a group is of soma or axon.
    """
    channels, many = density.shape
    regions, of_group = np.unique(region, return_inverse=True)
    # A density is its own part and that of its region; logarithms may fall, too: each is the difference of two.
    one = np.concatenate([np.eye(many), np.eye(len(regions))[of_group]], 1)
    parts = block_diag(*[one] * channels, np.concatenate([np.eye(4), -np.eye(4)], 1))
    penalty = np.concatenate([np.full(many, PENALTY), np.full(len(regions), PENALTY * OF_REGION)])
    penalty = np.append(np.tile(penalty, channels), np.zeros(8))
    # SK is steep in calcium: too much in one round, and SK is open all the time and thus of no use in the next.
    guarded = np.outer(CARRIERS, near)
    kept = (HELD * guarded + damping) / many / np.maximum(density, HELD_FROM) ** 2
    of_logarithms = np.array([HELD_GAIN, HELD_DECAY] * 2)
    held = np.append(kept.reshape(-1), of_logarithms + damping)
    hold = parts.T @ np.append(kept.reshape(-1) * density.reshape(-1), -of_logarithms * moved)
    found = torch.from_numpy(np.append(density, np.zeros(4))).float()
    a = torch.from_numpy(rows).flatten(0, 1)
    asked = torch.from_numpy(missed).float().flatten() + a @ found
    for _ in range(REWEIGH):
        error = (asked - a @ found).reshape(-1, many)
        weight = (scale**2 + error**2).rsqrt().nan_to_num()
        weighed = a * weight.flatten()[:, None]
        square = (weighed.T @ weighed).double().numpy() / len(rows) + np.diag(held)
        square = parts.T @ square @ parts
        right = parts.T @ (weighed.T @ (asked.nan_to_num() * weight.flatten())).double().numpy() / len(rows) + hold
        size = np.sqrt(np.diag(square)) + 1e-9
        upper = np.linalg.cholesky(square / np.outer(size, size) + RIDGE * np.eye(len(size))).T
        solution = nnls(upper, np.linalg.solve(upper.T, right / size - penalty), maxiter=100 * len(size))[0] / size
        found = torch.from_numpy(parts @ solution).float()
    result = found[:-4].double().numpy().reshape(channels, many)
    result = np.where(guarded, np.clip(result, density / GROWTH, density * GROWTH), result)
    return result, found[-4:].double().numpy()
