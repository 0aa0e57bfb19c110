"""Channels of soma and axon, found on their own: each millisecond predicted from recorded potentials, spikes and all.

Sodium makes soma and axon far from linear within a millisecond, so that the derivatives of `currents` mislead there.
But soma and axon are few compartments. With the potentials next to them on straight lines between recorded samples, the
steps of `membrane` predict every millisecond of a recording from the potentials at its start in some tens of
milliseconds of computing, and derivatives to all densities follow from steps with each of them changed a little. The
least squares of what the predictions miss, e, is then that of Levenberg and Marquardt, with Cauchy's weights:

    cost = mean log(1 + e^2 / s^2) + prior,   s^2 = scale^2 + (0.1 moved)^2

with `moved` how far the recorded potential goes in the millisecond. The prior keeps densities that nothing speaks for
near those that they start from, of published models; it grows slowly far from them, so that what is not there may go.
Calcium's gain and decay are found along. Then the search goes on with the reversal potentials of sodium and potassium,
which models disagree about; where that spares little, they stay what they were. A weak quadratic term holds all of
these near their start.

Where reversal potentials explain much and the cost is still large, the cell has kinetics of its own: the search begins
anew, with where each gate of soma and axon opens and how fast. So close to compartments whose potentials are given, the
soma hardly feels what its channels are; dendrites within `REACH_UM` are predicted then as well, of one kind of membrane
that is forgotten afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from dendrotwin.dataset import event_counts
from dendrotwin.measures import SETTLE_MS
from dendrotwin.membrane import NO_TAPE, Arrivals, Cell, Learned, steps
from dendrotwin.models.cable import CEILING, FOUND_AT, REVERSAL_MV, Cable
from dendrotwin.models.channels import CHANNELS, E_NA_MV, GATES
from dendrotwin.progress import progress
from dendrotwin.recording import Recording, TrialIndex, read_trial
from dendrotwin.tree import Floats

TRIALS = 4  # those of most output spikes
ITERATIONS = 40
SCALE_MV, RELATIVE = 0.01, 0.1  # of errors (or their median, if larger), and relative to how far a potential moves
PRIOR, PRIOR_FOLDS = 1e-3, 1.5  # its weight, and within how many e-folds it is quadratic
LEAST, LARGEST = 1e-6, 30.0  # S/cm2, and relative to the start: between which densities stay
FAR, HOLD = 2.3, 1e-3  # how far calcium's logarithms go, and what holds them
FAR_REVERSAL, HOLD_REVERSAL = 2.3, 1e-3  # the same of reversal potentials: potassium's is -108 mV at least
WORTH = 0.1  # share of the cost that moving these has to spare; what is less they only compensate
POOR = 0.3  # cost from which kinetics are looked at, too
FAR_KINETICS, HOLD_KINETICS = 4.0, 1e-3  # the same of `shift` and `log_tau`: 12 mV, threefold
REACH_UM = 25.0  # then dendrites nearer to the soma than this are predicted as well
SODIUM = np.array([channel.reversal_mV == E_NA_MV for channel in CHANNELS])  # calcium's own is not looked at
CHANGE = 0.02  # of a parameter, for its derivative
DOWN, UP, OTHER = -0.7, 2.0, 0.5  # how far a density, relative to itself, and another parameter go in a step
DAMPING, LESS, MORE, LEAST_DAMPING = 1.0, 5.0, 4.0, 1e-4
TRIES = 8
FACTORS = (1.0, 2.0, 4.0, 8.0)  # times as far along a step, while that helps
FARTHEST = (-0.8, 4.0)  # how far densities go so, relative to themselves
GAIN = 1e-3  # of the cost: with less twice in a row the search is over
HEAVY_NF = 1e3  # capacitance of a compartment whose potential is given: its current makes it go where it should

CHANGING = ("tables", "density_uS", "reversal_mV", "sk_uS", "sk_mV", "calcium_gain", "calcium_ms")
BORDERS = np.cumsum([len(CHANNELS) + 1, 2, len(GATES)])  # between what `_Near.start` has of a kind


class _Course(NamedTuple):
    """What was recorded of the compartments of `_Near`: V before and after each step, events, and current."""

    before: Floats
    after: Floats
    events: Arrivals
    current_nA: Floats


class _Near:
    """Soma and axon, dendrites near the soma, and the compartments next to all of these, whose potentials are given.

    Its compartments are the tree's `compartments`: first the `own` ones, those of soma and axon and dendrites nearer to
    the soma than `reach_um`, of which `ends` says where each kind ends; then those next to them.
    """

    def __init__(self, network: Cable, reach_um: float = 0.0) -> None:
        self.network, whole, by_kind = network, network.cell(), network.sorted
        kind = network.kind[by_kind]
        own = np.flatnonzero((kind < 2) | (network.tree.distance_um[by_kind] < reach_um))
        own = own[np.argsort(kind[own], kind="stable")]
        nodes, outer = _around(whole, own)
        keep = np.concatenate([own, outer])
        self.own, self.compartments = len(own), by_kind[keep]
        self.parts, starts = np.unique(kind[own], return_index=True)  # 0 soma, 1 axon, 2 dendrites
        kinds = np.searchsorted(whole.first, own[starts], side="right") - 1
        self.ends = np.append(starts[1:], len(own))
        position = np.full(len(whole.parent), -1)
        position[nodes] = np.arange(len(nodes))
        parent, axial = position[whole.parent[nodes]], whole.axial_uS[nodes].copy()
        parent[0], axial[0] = -1, 0.0
        given = np.arange(len(keep)) >= len(own)

        def with_given(values: NDArray, none_given: bool) -> NDArray:
            return np.concatenate([values[kinds], np.zeros_like(values[:1]) if none_given else values[:1]])

        self.cell = whole._replace(
            parent=parent.astype(whole.parent.dtype), axial_uS=axial,
            joined_uS=axial + np.bincount(parent[1:], axial[1:], len(nodes)),
            node=position[whole.node[keep]].astype(whole.node.dtype), soma=int(np.flatnonzero(keep == whole.soma)[0]),
            capacitance_nF=np.where(given, HEAVY_NF, whole.capacitance_nF[keep]),
            leak_uS=np.where(given, 0.0, whole.leak_uS[keep]), leak_nA=np.where(given, 0.0, whole.leak_nA[keep]),
            first=np.array([0, *self.ends, len(keep)], np.int32),
            **{name: with_given(getattr(whole, name), True)
               for name in ("gates", "channels", "quick_gates", "quick_channels", "pool", "sk")},
            **{name: with_given(getattr(whole, name), False)
               for name in ("activation", "power", "inactivation", "calcium", "fast")},
        )  # fmt: skip
        self.substeps = network.fine_substeps()
        learned = Learned(*(tensor.detach().numpy() for tensor in network.learned(self.substeps)))
        here = {name: np.ascontiguousarray(array[..., keep]) for name, array in learned._asdict().items()
                if name not in ("tables", "nernst_mV")}  # fmt: skip
        self.learned = learned._replace(tables=np.ascontiguousarray(learned.tables[:, [*kinds, 0]]), **here)
        self.learned.density_uS[:, given] = self.learned.sk_uS[given] = 0.0
        self.area = network.tree.area_um2[self.compartments] * 1e-2  # S/cm2 times this is uS
        calcium, shift, log_tau, reversal = (
            parameter.detach().double().numpy()
            for parameter in (network.calcium, network.shift, network.log_tau, network.reversal)
        )
        density = network.log_density().detach().numpy()[:, self.compartments[starts]].T
        of_kinds = [density, *(values[self.parts] for values in (calcium, shift, log_tau))]
        # Of each kind the logarithms of densities, SK's last, and of calcium's gain and decay, and `shift` and
        # `log_tau` of each gate; then `reversal`.
        self.start = np.append(np.concatenate(of_kinds, 1), reversal)
        self.table = lru_cache(4 * len(GATES))(self._table)  # most are those of the call before

    def course(self, recording: Recording) -> _Course:
        """Of a trial."""
        network, n = self.network, len(self.compartments)
        after = recording.v_mV[:, self.compartments].astype(np.float64)
        before = np.concatenate([np.full((1, n), network.tree.v_init_mV), after[:-1]])
        whole = network.opened(event_counts(recording.events, network.tree.n_inputs, 0, recording.steps))
        place = np.full(network.tree.n, -1)
        place[self.compartments[: self.own]] = np.arange(self.own)
        at = place[network.sorted[whole.at]]
        here = at >= 0
        step = np.repeat(np.arange(recording.steps), np.diff(whole.first))[here]
        first = np.searchsorted(step, np.arange(recording.steps + 1)).astype(whole.first.dtype)
        events = Arrivals(first, whole.kind[here], at[here].astype(whole.at.dtype), whole.uS[here])
        current = np.where(np.arange(n) < self.own, 0.0, HEAVY_NF * (after - before))
        return _Course(before, after, events, current)

    def per_kind(self, x: Floats) -> Floats:
        """(kinds, channels + 3 + 2 gates) what parameters as in `start` say of each kind."""
        return x[:-2].reshape(len(self.ends), -1)

    def _table(self, gate: str, shift: float, log_tau: float) -> Floats:
        """(7, V_BINS, 3) of a gate, see `Cable.kinetics`."""
        kinetics = torch.tensor([shift]), torch.tensor([log_tau])
        found: Floats = self.network.kinetics(self.substeps, [gate], *kinetics)[:, 0].numpy()
        return found

    def missed(self, x: Floats, course: _Course) -> Floats:
        """(steps, own) recorded less predicted potentials [mV], with parameters as in `start`."""
        learned, begin = self.learned._replace(**{name: getattr(self.learned, name).copy() for name in CHANGING}), 0
        for k, (row, first, end) in enumerate(zip(self.per_kind(x), self.per_kind(self.start), self.ends, strict=True)):
            here, (density, calcium, *kinetics) = slice(begin, end), np.split(row, BORDERS)
            density = np.exp(density)
            learned.density_uS[:-1, here] = density[:-1, None] * self.area[here]  # the last is Ih's
            learned.sk_uS[here] = density[-1] * self.area[here]
            gain, decay = np.exp(calcium - np.split(first, BORDERS)[1])
            learned.calcium_gain[here] *= gain
            learned.calcium_ms[here] *= decay
            for gate, (name, shift, log_tau) in enumerate(zip(GATES, *kinetics, strict=True)):
                learned.tables[:, k, gate] = self.table(name, float(shift), float(log_tau))
            begin = end
        sodium_mV, potassium_mV = REVERSAL_MV * (x[-2:] - self.start[-2:])
        learned.reversal_mV[:-1] += np.where(SODIUM, sodium_mV, potassium_mV)[:, None]
        learned.sk_mV[:] += potassium_mV
        state = self.network.rest(self.cell, learned, course.before[0])
        out, peak = np.empty_like(course.after), np.empty(len(course.after))
        steps(
            self.cell, learned, self.substeps, FOUND_AT, state, course.events, course.current_nA,
            course.before, 1.0, NO_TAPE, out, peak,
        )  # fmt: skip
        return (course.after - out)[SETTLE_MS:, : self.own]


def _around(cell: Cell, own: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Nodes of some compartments, of those next to them, and joints between; and the compartments next to them."""
    compartment = np.full(len(cell.parent), -1)
    compartment[cell.node] = np.arange(len(cell.node))
    inside, border = set(cell.node[own].tolist()), set()
    ends = [(k, int(p)) for k, p in enumerate(cell.parent) if p >= 0]
    growing = True
    while growing:  # through joints until compartments are met
        met = {b for a, b in [*ends, *((b, a) for a, b in ends)] if a in inside} - inside
        border = {node for node in met if compartment[node] >= 0}
        growing = met != border
        inside |= met - border
    for node in [*inside, *border]:  # what is apart, as an axon on a dendrite, hangs together through what is between
        while (node := int(cell.parent[node])) >= 0:
            (border if compartment[node] >= 0 and node not in inside else inside).add(node)
    return np.array(sorted(inside | border)), np.sort(compartment[sorted(border)])


@torch.no_grad()
def start_perisomatic(network: Cable, trials: list[TrialIndex]) -> None:
    """Set densities, calcium and kinetics of soma and axon of an untrained cable twin, and reversal potentials.

    See the module.

    Args:
        network: its parts of each distance, calcium, kinetics, and reversal potentials of sodium and potassium are set.
        trials: of the training split; the `TRIALS` with the most output spikes are used.
    """
    if not trials:
        return
    recordings = sorted((read_trial(trial, network.tree) for trial in trials), key=lambda r: -len(r.spikes_ms))
    near, found = _fit(network, recordings[:TRIALS])
    density = network.at_distances()
    for part, row in zip(near.parts, near.per_kind(found), strict=True):
        if part == 2:  # of dendrites, the rounds say more
            continue
        of_kind, *others = np.split(row, BORDERS)
        density[:, network.kind[network.first_at_distance] == part] = of_kind[:, None]
        for parameter, values in zip((network.calcium, network.shift, network.log_tau), others, strict=True):
            parameter[part] = torch.from_numpy(values)
    network.set_at_distances(density)
    network.reversal.copy_(torch.from_numpy(found[-2:]))


class _Search:
    """Parameters x as in `_Near.start`, their bounds, and what they miss.

    Changes of x are relative ones for densities, and differences for everything else.
    """

    def __init__(self, near: _Near, courses: list[_Course], far_reversal: float, far_kinetics: float) -> None:
        self.near, self.courses = near, courses
        kinds = len(near.ends)

        def each(density: float, calcium: float, kinetics: float, reversal: float) -> Floats:
            rows = np.tile(np.repeat([density, calcium, kinetics], [BORDERS[0], 2, 2 * len(GATES)]), (kinds, 1))
            return np.append(rows, [reversal, reversal])

        self.density = each(1, 0, 0, 0) > 0
        self.start = np.where(self.density, np.maximum(near.start, np.log(LEAST)), near.start)
        far = each(0.0, FAR, far_kinetics, far_reversal)
        near.per_kind(far)[near.parts == 2, BORDERS[1] :] = 0.0  # those of dendrites are not looked at
        self.hold = each(0.0, HOLD, HOLD_KINETICS, HOLD_REVERSAL)
        self.low = np.where(self.density, np.log(LEAST), self.start - far)
        self.high = np.where(self.density, np.minimum(self.start + np.log(LARGEST), CEILING), self.start + far)
        self.free = self.high > self.low
        self.step_low, self.step_high = np.where(self.density, DOWN, -OTHER), np.where(self.density, UP, OTHER)
        self.moved_mV = np.concatenate([(c.after - c.before)[SETTLE_MS:, : near.own] for c in courses]).reshape(-1)

    def missed(self, x: Floats) -> Floats:
        """Of all courses, steps and compartments, in one row [mV]."""
        return np.concatenate([self.near.missed(x, course) for course in self.courses]).reshape(-1)

    def variance(self, error: Floats) -> Floats:
        """Of errors that would be no surprise [mV2]."""
        scale: Floats = np.maximum(SCALE_MV, np.median(np.abs(error)))
        return scale**2 + (RELATIVE * self.moved_mV) ** 2

    def cost(self, x: Floats, error: Floats, variance: Floats) -> float:
        """See the module."""
        far = x - self.start
        prior = PRIOR * PRIOR_FOLDS**2 * np.log1p((far[self.density] / PRIOR_FOLDS) ** 2).sum()
        return float(np.log1p(error**2 / variance).mean() + prior + (self.hold * far**2)[~self.density].sum())

    def normal(self, x: Floats, error: Floats, variance: Floats, slope: Floats) -> tuple[Floats, Floats, Floats]:
        """Half of the cost's derivatives to changes, as if errors were linear in x: the second (k, k) of what is
        missed and that of what holds x, (k,), and the first of both."""
        far, weight = x - self.start, 1.0 / (variance + error**2)
        hold = np.where(self.density, PRIOR / (1.0 + (far / PRIOR_FOLDS) ** 2), self.hold)
        square = (slope * weight[:, None]).T @ slope / len(error)
        return square, hold, slope.T @ (weight * error) / len(error) + hold * far

    def changed(self, x: Floats, change: Floats) -> Floats:
        """x after a change, within bounds."""
        relative = np.log1p(np.clip(change, *FARTHEST))
        y: Floats = np.clip(x + np.where(self.density, relative, np.clip(change, -OTHER, OTHER)), self.low, self.high)
        return y


def _fit(network: Cable, recordings: list[Recording]) -> tuple[_Near, Floats]:
    """Parameters as in `_Near.start` with the least cost that is found, and what they are of.

    What little reversal potentials explain beside everything else is mostly what the steps miss around a spike. Where
    they explain much, but not all, the cell has kinetics of its own.
    """
    near, ((x, cost), (y, less)) = _searched(network, recordings, "channels", 0.0, [(0.0, 0.0), (FAR_REVERSAL, 0.0)])
    if less >= (1.0 - WORTH) * cost:
        return near, x
    if less < POOR:
        return near, y
    far = [(FAR_REVERSAL, 0.0), (FAR_REVERSAL, FAR_KINETICS)]
    near, (_, (x, _)) = _searched(network, recordings, "kinetics", REACH_UM, far)
    return near, x


def _searched(
    network: Cable, recordings: list[Recording], what: str, reach_um: float, far: list[tuple[float, float]]
) -> tuple[_Near, list[tuple[Floats, float]]]:
    """Parameters as in `_Near.start` and their cost, after searches of which each begins where the one before ended.

    Args:
        what: is looked for, in words.
        reach_um: see `_Near`.
        far: how far reversal potentials and kinetics go in each search.
    """
    near = _Near(network, reach_um)
    found: list[tuple[Floats, float]] = []
    courses = [near.course(recording) for recording in recordings]
    with (
        ThreadPoolExecutor(torch.get_num_threads()) as pool,
        progress(f"finding {what} of soma and axon", len(far) * ITERATIONS, "steps") as advance,
    ):
        for of_reversal, of_kinetics in far:
            search = _Search(near, courses, of_reversal, of_kinetics)
            found.append(_descend(search, found[-1][0] if found else search.start, pool, advance))
    return near, found


def _descend(
    search: _Search, x: Floats, pool: ThreadPoolExecutor, advance: Callable[[int], None]
) -> tuple[Floats, float]:
    """Parameters of less cost, from some on, and their cost."""
    damping, idle = DAMPING, 0
    error = search.missed(x)

    def derivative(k: int) -> Floats:
        if not search.free[k]:  # what is held has no part in a step, or the rest would make up for it
            return np.zeros_like(error)
        y = x.copy()
        y[k] += np.log1p(CHANGE) if search.density[k] else CHANGE
        return (search.missed(y) - error) / CHANGE

    for _ in range(ITERATIONS):
        variance = search.variance(error)
        cost = before = search.cost(x, error, variance)
        slope = np.stack(list(pool.map(derivative, range(len(x)))), 1)
        square, hold, toward = search.normal(x, error, variance, slope)
        for _ in range(TRIES):
            damped = square + np.diag(hold + damping * np.maximum(np.diag(square), 1e-3) + 1e-8)
            upper = np.linalg.cholesky(damped).T
            right = -np.linalg.solve(upper.T, toward)
            change = lsq_linear(upper, right, bounds=(search.step_low, search.step_high)).x
            best = x
            for factor in FACTORS:  # as far as it helps
                y = search.changed(x, factor * change)
                further = search.missed(y)
                new = search.cost(y, further, variance)
                if not new < cost:
                    break
                best, error, cost = y, further, new
            if best is not x:
                break
            damping *= MORE
        advance(1)
        idle = idle + 1 if before - cost < GAIN * before else 0
        if best is x or idle == 2:
            return best, cost
        x, damping = best, max(damping / LESS, LEAST_DAMPING)
    return x, cost
