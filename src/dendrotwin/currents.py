"""Where a cable twin starts from: the channels that explain what recorded potentials ask for.

With every potential known, gates are driven by data, and what a channel would carry per density is known. A millisecond
begins at the recorded potentials; what it misses of the next ones, r, is linear in small changes dg of the densities:

r = M^-1 sum_k a_k dg_k,   M = capacitance over 1 ms, leak, open channels, and the axial conductances of the whole tree

with a_k(t) the mean of a channel's open share times (E_k - V). That is a least-squares problem without negative
densities (Huys, Ahrens and Paninski 2006, doi:10.1152/jn.00079.2006); solved a few times, each time with the
potentials that the densities found so far miss, it has no error left of being linear. A calcium channel also carries
what its calcium does, to SK and to calcium's own E, whose derivatives follow the pool; and calcium's gain and decay are
found along with the densities.

Soma and axon begin where `perisomatic` has found them; output spikes are no part of the rounds there. Rounds are held
back where one has gone too far (Levenberg and Marquardt).

Rows are the means of r over compartments of a region that are equally far from the soma, in which the rounding of
stored potentials averages out. A potential that moves far in a millisecond does not count there, for it is not linear,
and what is far from explained counts little. A density is a part of the whole region and parts of each distance in it,
and what explains next to nothing is zero: a penalty on each part, on those of distances more.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
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
    THETA_LEAST,
    Flows,
    Learned,
    Tape,
    beyond,
    flows,
    steps,
)
from dendrotwin.models.cable import FLOOR, FOUND_AT, Cable
from dendrotwin.models.channels import CHANNELS
from dendrotwin.perisomatic import start_perisomatic
from dendrotwin.progress import progress
from dendrotwin.recording import TrialIndex, read_trial
from dendrotwin.solve import hines
from dendrotwin.tree import Floats

CARRIERS = np.array([channel.reversal_mV is None for channel in CHANNELS] + [False])  # of calcium; SK is the last

TRIALS = 8
ROUNDS = 16
SCALE_MV = 0.01  # errors far beyond this, or the median where that is larger, count little (Cauchy's weights)
PICKED_MS = 600  # of a trial; half of them near output spikes, and those after a spike in any case
BEFORE_SPIKE_MS, AFTER_SPIKE_MS = 30, 80
BEGIN_MS, END_MS = 2, 25  # before and after an output spike's peak: what is looked at in any case
LATER_MS = 4  # after it: from when soma and axon count again
PENALTY, OF_REGION = 0.004, 0.05  # of a distance's part, and that of a region's relative to it
LINEAR_MV = 10.0  # a millisecond in which a potential moves further does not count
REWEIGH = 3
RIDGE = 1e-5
HELD_GAIN, HELD_DECAY = 1.0, 1e-3  # how strongly the logarithms of calcium's gain and decay are held at their start
HELD = 1.0  # and, where they are now, relative changes of soma's and axon's calcium channels
GROWTH = 3.0  # by which factor these change in a round at most
DAMPING = 1.0  # to begin with, and at least; grows tenfold where a round has gone too far
OF_DENDRITES = 0.01  # damping there, relative to that of soma and axon, whose sodium is less linear
HELD_FROM = 1e-6  # S/cm2: smaller densities are held as if they were this
SPARE = 0.0001  # share of the squared errors that leaving out a channel may add
LEAST = 1e-7  # S/cm2: from which a density that is zero here can grow in training
STRIDE, REACH = 0.15, 2.3  # how far the logarithms of gain and decay may go in a round, and in all


@torch.no_grad()
def start_from_currents(network: Cable, trials: list[TrialIndex]) -> None:
    """Set densities and calcium of an untrained cable twin; see the module.

    Args:
        network: its part of each distance, calcium, and reversal potentials are set.
        trials: of the training split; the first `TRIALS` are used.
    """
    trials = trials[:TRIALS]
    start_perisomatic(network, trials)
    groups = network.groups[1].numpy()
    at = network.first_at_distance
    region, near = network.tree.region[at], network.kind[at] < 2
    pools = network.calcium.double().numpy().reshape(-1)  # logarithms of gain and decay, of each kind of membrane
    density, calcium = np.exp(network.at_distances()), pools

    def use(density: Floats, calcium: Floats) -> None:
        network.set_at_distances(np.log(np.maximum(density, LEAST)))
        network.calcium.copy_(torch.from_numpy(calcium.reshape(-1, 2)))

    best, known, damping, scale = (density, calcium), None, DAMPING, SCALE_MV
    with (
        progress("finding channels", ROUNDS * len(trials), "trials") as advance,
        ThreadPoolExecutor(torch.get_num_threads()) as pool,
    ):

        def one(trial: TrialIndex) -> tuple[Floats, Floats]:
            found = _rows(network, trial, groups)
            advance(1)
            return found

        for _ in range(ROUNDS if trials else 0):
            if known is not None:
                density, change = _solve(*known, scale, damping, best[0], best[1] - pools, region, near)
                calcium = np.clip(best[1] + np.clip(change, -STRIDE, STRIDE), pools - REACH, pools + REACH)
            use(density, calcium)
            rows, missed = (np.concatenate(part) for part in zip(*pool.map(one, trials), strict=True))
            if known is None or _cost(missed, scale) < _cost(known[1], scale):
                best, known, damping = (density, calcium), (rows, missed), max(damping / 10.0, DAMPING)
                scale = max(SCALE_MV, float(np.nanmedian(np.abs(missed))))
            else:  # too far
                damping *= 10.0
    use(*best)
    if known is not None:
        needed = _needed(*known, scale, best[0], region)
        network.set_at_distances(np.where(needed, network.at_distances(), FLOOR))


_beyond = numba.vectorize(nopython=True)(beyond.py_func)


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
    diagonal[order.position] = (tree.capacitance_nF + uS / _beyond(uS / tree.capacitance_nF, 1.0 / THETA_LEAST))[
        :, None
    ]
    right[order.position, groups] = 1.0 / np.bincount(groups)[groups]
    hines(order.parent, order.axial_uS, diagonal, right)
    return np.ascontiguousarray(right[order.position[network.sorted]].T)


def _rows(network: Cable, trial: TrialIndex, groups: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """What a trial says: (ms, groups, channels * groups + 6) derivatives, and (ms, groups) potentials missed [mV].

    The last derivatives are those to the logarithms of calcium's gain and decay in soma, axon and dendrites. What is
    missed is not a number where a potential moves too far to be linear, and in soma and axon in output spikes, from
    `BEGIN_MS` before them until `LATER_MS` after.
    """
    tree, by_kind, n = network.tree, network.sorted, network.tree.n
    substeps = network.fine_substeps()
    cell = network.cell()
    arrays = Learned(*(tensor.detach().numpy() for tensor in network.learned(substeps)))
    recording = read_trial(trial, tree)
    true = recording.v_mV[:, by_kind].astype(np.float64)
    before = np.concatenate([np.full((1, n), tree.v_init_mV), true[:-1]])
    opened = network.opened(event_counts(recording.events, tree.n_inputs, 0, recording.steps))
    picked, spiking = _pick(recording.spikes_ms, recording.steps, trial.number)
    state, silent = network.rest(cell, arrays, before[0]), np.zeros((1, n))
    carriers = np.flatnonzero(CARRIERS)
    # Of each carrier of calcium, and of the logarithms of its gain and decay.
    pools, slower = _Pools(arrays, len(carriers) + 2), np.append(np.zeros(len(carriers) + 1), 1.0)
    mine, area = groups[by_kind], tree.area_um2[by_kind] * 1e-2
    kind = network.kind[by_kind]
    members = [np.flatnonzero(mine == group) for group in range(groups.max() + 1)]
    near = np.array([kind[inside[0]] < 2 for inside in members])
    mean = np.stack([mine == group for group in range(len(members))]) / np.bincount(mine)[:, None]
    many, channels = len(members), arrays.density_uS.shape[0]  # the last is Ih, which the tree knows; SK comes instead
    tape, did = Tape.empty(1, int(substeps[1]), n, arrays.tables.shape[2]), Flows.empty(1, channels, n)
    out, peak = np.empty((1, n)), np.empty(1)
    everything = np.ones(channels, np.bool_)
    rows, missed = [], []
    for t in range(recording.steps):
        now = slice(t, t + 1)
        came = opened.part(t, t + 1)
        steps(cell, arrays, substeps, FOUND_AT, state, came, silent, before[now], 1.0, tape, out, peak)
        flows(cell, arrays, substeps, tape, everything if picked[t] else CARRIERS, did)
        # What of SK's and calcium's currents follows from calcium's inflow: through each channel, its gain and decay.
        inflow = np.concatenate([did.flow[0, carriers] * area, np.tile(-did.calcium_nA, (2, 1))])
        to_sk, to_mV = pools.follow(did, inflow, slower)
        through = to_sk * (arrays.sk_uS * did.sk_mV[0]) + to_mV * did.calcium_uS[0]
        if not picked[t]:
            continue
        current = np.delete(did.flow[0], channels - 1, 0) * area
        current[carriers] += through[:-2]
        seen = _green(network, groups, did.total_uS[0])
        derivative = np.empty((many, channels * many + 6))
        for group, inside in enumerate(members):
            derivative[:, group:-6:many] = seen[:, inside] @ current[:, inside].T
        for part in range(3):
            derivative[:, 2 * part - 6 : 2 * part - 4 or None] = seen[:, kind == part] @ through[-2:, kind == part].T
        error, moved = mean @ (true[t] - out[0]), mean @ (true[t] - before[t])
        missed.append(np.where((np.abs(moved) < LINEAR_MV) & ~(near & spiking[t]), error, np.nan))
        rows.append(derivative.astype(np.float32))
    return np.stack(rows), np.stack(missed)


def _pick(spikes_ms: Floats, length: int, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Milliseconds of a trial to look at, some of them near its output spikes; and those in spikes, see `_rows`."""
    rng = np.random.default_rng(seed)
    picked, near, spiking = np.zeros((3, length), np.bool_)
    for time in spikes_ms.astype(int):
        near[max(time - BEFORE_SPIKE_MS, 0) : time + AFTER_SPIKE_MS] = True
        picked[max(time - BEGIN_MS, SETTLE_MS) : time + END_MS] = True
        spiking[max(time - BEGIN_MS, 0) : time + LATER_MS] = True
    anywhere = np.arange(SETTLE_MS, length)
    for among in (anywhere, anywhere[near[SETTLE_MS:]]):
        picked[rng.choice(among, min(PICKED_MS // 2, len(among)), replace=False)] = True
    return picked, spiking


class _Pools:
    """How calcium and SK's gate change with each of some things, by their own equations."""

    def __init__(self, learned: Learned, things: int) -> None:
        self.learned = learned
        self.calcium, self.sk = np.zeros((2, things, len(learned.sk_uS)))

    def follow(
        self, did: Flows, inflow: Floats, slower: NDArray[np.floating]
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Change of SK's gate and of calcium's E [mV], each (things, n), in the next millisecond.

        Args:
            did: what channels did in it.
            inflow: (things, n) calcium current into the cell per unit of each thing [nA].
            slower: (things,) by how much the logarithm of calcium's decay changes with each.
        """
        learned, calcium = self.learned, did.calcium_mM[0]
        tau, keep, keep_sk = learned.calcium_ms, np.exp(-1.0 / learned.calcium_ms), np.exp(-1.0 / SK_MS)
        to_mV = -learned.nernst_mV[0] * self.calcium / calcium
        ratio = (SK_HALF_MM / calcium) ** SK_POWER
        steep = SK_POWER * ratio / (1.0 + ratio) ** 2 / calcium
        self.sk = keep_sk * self.sk + (1.0 - keep_sk) * steep * self.calcium
        rest = CALCIUM_REST_MM - did.calcium_nA[0] * learned.calcium_gain * tau
        to_rest = inflow * ((rest > CALCIUM_LEAST_MM) * learned.calcium_gain * tau)
        drift = (calcium - np.maximum(rest, CALCIUM_LEAST_MM)) * keep / tau
        self.calcium = to_rest + (self.calcium - to_rest) * keep + slower[:, None] * drift
        return self.sk, to_mV


def _needed(
    rows: NDArray[np.floating], missed: Floats, scale: float, density: Floats, region: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """(channels, groups) which channels a region cannot do without, for what is missed.

    The channel of a region that costs the least is left out, the others taking over what they can, again and again
    until leaving out one more would add more than `SPARE` of the squared errors (backward elimination). What carries
    calcium stays where SK does, which is steep in it.

    Args:
        rows, missed, scale, density, region: see `_solve`.
    """
    channels, many = density.shape
    weight = np.nan_to_num(1.0 / np.hypot(scale, missed))
    weighed = torch.from_numpy(rows * weight[..., None].astype(np.float32)).flatten(0, 1)
    square = (weighed.T @ weighed).double().numpy()
    errors = np.nansum((weight * missed) ** 2)
    value, left = (
        np.append(density.reshape(-1), np.zeros(6)),
        np.append((density > LEAST).reshape(-1), np.ones(6, bool)),
    )
    blocks = [k * many + np.flatnonzero(region == r) for k in range(channels) for r in np.unique(region)]
    while True:
        some = np.flatnonzero(left)
        at, part = np.cumsum(left) - 1, square[np.ix_(some, some)]
        size = np.sqrt(np.diag(part)) + 1e-9
        inverse = np.linalg.inv(part / np.outer(size, size) + RIDGE * np.eye(len(some)))
        found = []
        for block in blocks:
            own = at[block[left[block]]]
            sk = (channels - 1) * many + block % many
            if len(own) and not (CARRIERS[block[0] // many] and left[sk].any()):
                amount = value[some[own]] * size[own]
                force = np.linalg.solve(inverse[np.ix_(own, own)], amount)
                found.append((float(amount @ force), block, own, force))
        cost, block, own, force = min(found, key=lambda one: one[0])
        if cost > SPARE * errors:
            return left[:-6].reshape(channels, many)
        value[some] = np.maximum(value[some] - inverse[:, own] @ force / size, 0.0)
        left[block] = False


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
    """Densities (channels, groups) that explain what is missed beside those so far, and the change of six logarithms.

    Args:
        rows, missed: of all trials, see `_rows`; what is not a number does not count.
        scale: of errors [mV].
        damping: how strongly everything is held where it is, relative to itself (Levenberg and Marquardt); densities of
            dendrites `OF_DENDRITES` of it.
        density: so far.
        moved: (6,) how far calcium's logarithms are from their start.
        region: (groups,).
        near: (groups,) whether a group is of soma or axon.
    """
    channels, many = density.shape
    regions, of_group = np.unique(region, return_inverse=True)
    # A density is its own part and that of its region; logarithms may fall, too: each is the difference of two.
    one = np.concatenate([np.eye(many), np.eye(len(regions))[of_group]], 1)
    parts = block_diag(*[one] * channels, np.concatenate([np.eye(6), -np.eye(6)], 1))
    penalty = np.concatenate([np.full(many, PENALTY), np.full(len(regions), PENALTY * OF_REGION)])
    penalty = np.append(np.tile(penalty, channels), np.zeros(12))
    # SK is steep in calcium: too much in one round, and SK is open all the time and thus of no use in the next.
    guarded = np.outer(CARRIERS, near)
    kept = (HELD * guarded + damping * np.where(near, 1.0, OF_DENDRITES)) / many / np.maximum(density, HELD_FROM) ** 2
    of_logarithms = np.array([HELD_GAIN, HELD_DECAY] * 3)
    held = np.append(kept.reshape(-1), of_logarithms + damping)
    hold = parts.T @ np.append(kept.reshape(-1) * density.reshape(-1), -of_logarithms * moved)
    found = torch.from_numpy(np.append(density, np.zeros(6))).float()
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
    result = found[:-6].double().numpy().reshape(channels, many)
    result = np.where(guarded, np.clip(result, density / GROWTH, density * GROWTH), result)
    return result, found[-6:].double().numpy()
