"""Blocks of time, the steps in them, and what a step does one after the other. A block is a millisecond, or less.

A step of h goes from V(t) to V(t + h) (staggered, Hines 1984, doi:10.1016/0020-7101(84)90008-4):

    gates, schemes     from t - h'/2 to t + h/2, at V(t) and c(t), h' being the length of the step before
    currents           summed, with gates of t + h/2
    step length        a block whose steps are too long begins again, with shorter ones
    synapses           mean conductances from t to t + h, events at their own times
    potentials         from t to t + h, implicitly
    concentrations     from t to t + h, by the currents at (V(t) + V(t + h)) / 2
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dendrotwin.cell.tree import Floats
from dendrotwin.solver.cell_arrays import CellArrays, StepTables
from dendrotwin.solver.compiled import compiled
from dendrotwin.solver.integrator.adaptive import (
    LEVELS_DOWN,
    StepControl,
    coarsest_level,
    curvature_change,
    is_too_coarse,
)
from dendrotwin.solver.integrator.currents import sum_currents
from dendrotwin.solver.integrator.gates import step_gates
from dendrotwin.solver.integrator.grid import locate_concentrations, locate_potentials
from dendrotwin.solver.integrator.implicit import step_potentials
from dendrotwin.solver.integrator.pools import step_pools
from dendrotwin.solver.integrator.schemes import step_schemes
from dendrotwin.solver.integrator.state import (
    CROSSINGS,
    LEVEL,
    NEXT_LEVEL,
    NO_CROSSING,
    RISING,
    SOMA_MV,
    Output,
    State,
    Stimulus,
    SynapticEvents,
    Watch,
    copy_state,
    one_state,
)
from dendrotwin.solver.integrator.synapses import Conductances, add_events, add_synaptic_currents, decay_synapses
from dendrotwin.solver.integrator.workspace import CurrentSums, TableIndex, Workspace, add, copy, make_workspace

NO_PEAK_MV = -1e3  # below every potential, so that it counts as no spike


@compiled
def begin(cell: CellArrays, tables: StepTables, state: State) -> None:
    """Set what the ionic currents of a state are.

    Args:
        cell: its arrays.
        tables: of the steps.
        state: its G and J are set.
    """
    index, sums, work = make_workspace(cell)
    locate_potentials(state.v_mV, index)
    for ion in range(len(state.c_mM)):
        locate_concentrations(cell.ions, ion, 0, len(state.v_mV), state.c_mM, index, work)
    sum_currents(cell.terms, tables.gate_sensitivity[0], tables.scheme_sensitivity[0], state.x, index, sums, work)
    copy(sums.slope_uS, state.ionic[0])
    copy(sums.zero_nA, state.ionic[1])


class Scratch(NamedTuple):
    """What `run` needs for itself, made once for all cells and all time.

    Attributes:
        backup: the state at the start of a block.
        at, sums, work: see `workspace`.
    """

    backup: State
    at: TableIndex
    sums: CurrentSums
    work: Workspace


@compiled
def make_scratch(cell: CellArrays, state: State) -> Scratch:
    """Room for `run`.

    Args:
        cell: its arrays.
        state: of a cell; where there is no pool, concentrations are the same in all and never change.
    """
    index, sums, work = make_workspace(cell)
    for ion in range(len(state.c_mM)):
        locate_concentrations(cell.ions, ion, 0, len(state.v_mV), state.c_mM, index, work)
    backup = State(
        state.v_mV.copy(), state.x.copy(), state.c_mM.copy(), state.rise_uS.copy(), state.decay_uS.copy(),
        state.ionic.copy(), state.curvature.copy(), state.control.copy(),
    )  # fmt: skip
    return Scratch(backup, index, sums, work)


@compiled
def run(
    cell: CellArrays, tables: StepTables, control: StepControl, state: State, stimulus: Stimulus, watch: Watch,
    output: Output, scratch: Scratch,
) -> None:  # fmt: skip
    """Some blocks of a cell; the state goes on.

    Args:
        cell: its arrays.
        tables: of the steps that `control` allows.
        control: of the number of steps.
        state: at the start; changed.
        stimulus: of these blocks.
        watch: what is looked at within steps.
        output: is written; its counts are added to.
        scratch: is used.
    """
    v, x, c, rise, decay, ionic, curvature, last = state
    soma, capacitance, gates, schemes, axial, terms, ions, synapses = cell
    steps_per_ms, injected, first = control.steps_per_ms, stimulus.injected_nA, stimulus.events.first
    block_ms, threshold_mV, crossing_ms = control.block_ms, watch.threshold_mV, output.crossing_ms
    backup, index, sums, work = scratch
    levels, pool_start, pool_stop = len(steps_per_ms), ions.pool_start, ions.pool_stop
    of_gates, of_schemes = tables.gate_sensitivity, tables.scheme_sensitivity
    conductances = Conductances(rise, decay, work.synaptic_uS)
    for t in range(len(output.v_mV)):
        level = int(last[NEXT_LEVEL])
        copy_state(state, backup)
        now_nA = injected[t if len(injected) > 1 else 0]
        while True:
            h = 1.0 / steps_per_ms[level]
            steps = round(block_ms * steps_per_ms[level])
            event, stop, sample, crossed = first[t], first[t + 1], watch.first[t], 0
            soma_mV, rising, largest, again = last[SOMA_MV], last[RISING] > 0.0, 0.0, False
            peak_mV, peak_ms = NO_PEAK_MV, 0.0
            for s in range(steps):
                previous = int(last[LEVEL]) if s == 0 else level
                pair = previous * levels + level
                locate_potentials(v, index)
                for ion in range(len(c)):
                    locate_concentrations(ions, ion, pool_start[ion], pool_stop[ion], c, index, work)
                step_gates(gates, tables, pair, x, index)
                step_schemes(schemes, tables, pair, x, index, work.states)
                sum_currents(terms, of_gates[pair], of_schemes[pair], x, index, sums, work)
                per_ms = np.float32(2.0 / (h + 1.0 / steps_per_ms[previous]))
                change = curvature_change(capacitance, per_ms, index.v_mV, sums, ionic, curvature, work.single[0])
                largest = max(largest, change)
                output.counts[1] += 1
                if is_too_coarse(control, level, change):
                    level = max(coarsest_level(control, change), level + 1)
                    again = True
                    break
                decay_synapses(synapses, h, conductances)
                end_ms = block_ms if s == steps - 1 else (s + 1) * h
                event = add_events(synapses, stimulus.events, event, stop, h, end_ms, conductances)
                add_synaptic_currents(synapses, work.synaptic_uS, index, sums.slope_uS, sums.zero_nA, work.single)
                add(now_nA, sums.zero_nA)
                change_mV = step_potentials(axial, h, capacitance, v, index.v_mV, sums, work)
                step_pools(ions, tables, level, v, change_mV, c, sums)
                if v[soma] < soma_mV and rising and soma_mV > peak_mV:
                    peak_mV, peak_ms = soma_mV, s * h
                if soma_mV < threshold_mV <= v[soma] and crossed < CROSSINGS:
                    crossing_ms[t, crossed] = s * h + h * (threshold_mV - soma_mV) / (v[soma] - soma_mV)
                    crossed += 1
                rising, soma_mV = v[soma] > soma_mV, v[soma]
                span_ms = (end_ms - h, end_ms)
                sample = take_samples(watch, sample, watch.first[t + 1], span_ms, (v, c), index, output)
            if not again:
                break
            copy_state(backup, state)
        last[LEVEL], last[NEXT_LEVEL] = level, max(coarsest_level(control, largest), level - LEVELS_DOWN)
        last[SOMA_MV], last[RISING] = soma_mV, 1.0 if rising else 0.0
        output.counts[0] += 1
        output.peak[t, 0], output.peak[t, 1] = peak_mV, peak_ms
        crossing_ms[t, crossed:] = NO_CROSSING
        copy(v, output.v_mV[t])


@compiled
def take_samples(
    watch: Watch, sample: int, stop: int, span_ms: tuple[float, float], after: tuple[Floats, Floats],
    index: TableIndex, output: Output,
) -> int:  # fmt: skip
    """Sample V and concentrations within a step, on straight lines from its start to its end.

    Args:
        watch: when and where.
        sample, stop: the first that is not yet taken, and the one after the last of this block.
        span_ms: of the step, after the start of the block [ms].
        after: V (n,) [mV] and concentrations (ions, n) [mM] at its end.
        index: both at its start.
        output: gets the samples.

    Returns:
        The first sample after the step.
    """
    after_ms, position, (begin_ms, end_ms), (v, c) = watch.after_ms, watch.position, span_ms, after
    while sample < stop and after_ms[sample] <= end_ms:
        share = (after_ms[sample] - begin_ms) / (end_ms - begin_ms)
        for k in range(len(position)):
            p = position[k]
            output.sample_mV[sample, k] = index.v_mV[p] + share * (v[p] - index.v_mV[p])
            for ion in range(len(c)):
                before_mM = index.c_mM[ion, p]
                output.sample_mM[sample, ion, k] = before_mM + share * (c[ion, p] - before_mM)
        sample += 1
    return sample


@compiled
def run_cells(
    cell: CellArrays, tables: StepTables, control: StepControl, states: State, stimuli: Stimulus, watch: Watch,
    outputs: Output, cells: tuple[int, int],
) -> None:  # fmt: skip
    """The same blocks of several cells of one kind, one cell after the other.

    Args:
        cell, tables, control, watch: see `run`.
        states, outputs: as of `run`, each array with one axis more, of all cells, before all others.
        stimuli: `events.first` is (cells, blocks + 1); `injected_nA` is (cells, blocks, n), or (1, 1, n) where it is
            the same in all.
        cells: from the first to the one after the last that are done.
    """
    first, stop = cells
    if first == stop:
        return
    scratch = make_scratch(cell, one_state(states, first))
    events, injected = stimuli.events, stimuli.injected_nA
    for k in range(first, stop):
        of_cell = SynapticEvents(
            events.first[k], events.after_ms, events.synapse_class, events.position, events.increment_uS
        )  # fmt: skip
        output = Output(
            outputs.v_mV[k], outputs.peak[k], outputs.crossing_ms[k], outputs.sample_mV[k], outputs.sample_mM[k],
            outputs.counts[k],
        )  # fmt: skip
        stimulus = Stimulus(of_cell, injected[k if len(injected) > 1 else 0])
        run(cell, tables, control, one_state(states, k), stimulus, watch, output, scratch)
