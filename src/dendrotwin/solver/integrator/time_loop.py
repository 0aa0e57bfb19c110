"""Milliseconds, the steps in them, and what a step does one after the other.

A step of h goes from V(t) to V(t + h) (staggered, Hines 1984, doi:10.1016/0020-7101(84)90008-4):

    gates, schemes     from t - h'/2 to t + h/2, at V(t) and c(t), h' being the length of the step before
    currents           summed, with gates of t + h/2
    step length        a millisecond whose steps are too long begins again, with shorter ones
    synapses           mean conductances from t to t + h, events at their own times
    potentials         from t to t + h, implicitly
    concentrations     from t to t + h, by the currents at (V(t) + V(t + h)) / 2
"""

from __future__ import annotations

import numpy as np

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
    LEVEL,
    NEXT_LEVEL,
    RISING,
    SOMA_MV,
    Output,
    State,
    Stimulus,
    copy_state,
)
from dendrotwin.solver.integrator.synapses import Conductances, add_events, add_synaptic_currents, decay_synapses
from dendrotwin.solver.integrator.workspace import add, copy, make_workspace

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


@compiled
def run(
    cell: CellArrays, tables: StepTables, control: StepControl, state: State, stimulus: Stimulus, output: Output
) -> None:  # fmt: skip
    """Some milliseconds; the state goes on.

    Args:
        cell: its arrays.
        tables: of the steps that `control` allows.
        control: of the number of steps.
        state: at the start; changed.
        stimulus: of these milliseconds.
        output: is written; its counts are added to.
    """
    v, x, c, rise, decay, ionic, curvature, last = state
    soma, capacitance, gates, schemes, axial, terms, ions, synapses = cell
    steps_per_ms, injected, first = control.steps_per_ms, stimulus.injected_nA, stimulus.events.first
    backup = State(
        v.copy(), x.copy(), c.copy(), rise.copy(), decay.copy(), ionic.copy(), curvature.copy(), last.copy()
    )  # fmt: skip
    levels, pool_start, pool_stop = len(steps_per_ms), ions.pool_start, ions.pool_stop
    of_gates, of_schemes = tables.gate_sensitivity, tables.scheme_sensitivity
    index, sums, work = make_workspace(cell)
    conductances = Conductances(rise, decay, work.synaptic_uS)
    for ion in range(len(c)):  # also where there is no pool, and nothing changes
        locate_concentrations(ions, ion, 0, len(v), c, index, work)
    for t in range(len(output.v_mV)):
        level = int(last[NEXT_LEVEL])
        copy_state(state, backup)
        now_nA = injected[t if len(injected) > 1 else 0]
        while True:
            h = 1.0 / steps_per_ms[level]
            event, stop = first[t], first[t + 1]
            soma_mV, rising, largest, again = last[SOMA_MV], last[RISING] > 0.0, 0.0, False
            peak_mV, peak_ms = NO_PEAK_MV, 0.0
            for s in range(steps_per_ms[level]):
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
                end_ms = 1.0 if s == steps_per_ms[level] - 1 else (s + 1) * h
                event = add_events(synapses, stimulus.events, event, stop, h, end_ms, conductances)
                add_synaptic_currents(synapses, work.synaptic_uS, index, sums.slope_uS, sums.zero_nA, work.single)
                add(now_nA, sums.zero_nA)
                change_mV = step_potentials(axial, h, capacitance, v, index.v_mV, sums, work)
                step_pools(ions, tables, level, v, change_mV, c, sums)
                if v[soma] < soma_mV and rising and soma_mV > peak_mV:
                    peak_mV, peak_ms = soma_mV, s * h
                rising, soma_mV = v[soma] > soma_mV, v[soma]
            if not again:
                break
            copy_state(backup, state)
        last[LEVEL], last[NEXT_LEVEL] = level, max(coarsest_level(control, largest), level - LEVELS_DOWN)
        last[SOMA_MV], last[RISING] = soma_mV, 1.0 if rising else 0.0
        output.counts[0] += 1
        output.peak[t, 0], output.peak[t, 1] = peak_mV, peak_ms
        copy(v, output.v_mV[t])
