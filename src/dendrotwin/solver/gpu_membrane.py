"""Gates, schemes and terms of `solver.steps` on a GPU, in Triton, and the tables that they are made from.

See `gpu_kernel` for the whole step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import triton
import triton.language as tl

from dendrotwin.cell import membrane
from dendrotwin.solver import layout, steps

TILE = 64  # compartments or nodes at a time
WARPS = 2  # as many lanes as a tile has: no two of them do the same place

LOW, PER_MV, BINS = (tl.constexpr(x) for x in (membrane.V_LOW_MV, 1.0 / membrane.V_BIN_MV, membrane.V_BINS))
LOG_C_LOW, PER_LOG_C, C_BINS = (tl.constexpr(x) for x in (steps.LOG_C_LOW, 1.0 / steps.C_BIN, membrane.C_BINS))
PLANE_V, PLANE_C, SCHEME_V, SCHEME_C, BOTH_V, BOTH_C = (
    tl.constexpr(len(getattr(membrane, grid)))
    for grid in ("PLANE_V_MV", "PLANE_C_MM", "SCHEME_V_MV", "SCHEME_C_MM", "BOTH_V_MV", "BOTH_C_MM")
)
V_STRIDE, C_STRIDE, SCHEME_V_STRIDE, SCHEME_C_STRIDE, BOTH_V_STRIDE, BOTH_C_STRIDE = (
    tl.constexpr(getattr(membrane, f"{name}_{over}_STRIDE")) for name in ("PLANE", "SCHEME", "BOTH") for over in "VC"
)
OVER_V, OVER_C, OVER_BOTH = (tl.constexpr(over) for over in (layout.OVER_V, layout.OVER_C, layout.OVER_BOTH))
FIXED, NERNST, DRIVE_C, PLANE = (tl.constexpr(x) for x in (layout.FIXED, layout.NERNST, layout.DRIVE_C, layout.PLANE))
GATE_LEAST, LEAST_MM = tl.constexpr(float(steps.GATE_LEAST)), tl.constexpr(steps.LEAST_MM)
# Columns of the rows below; the first three are those of every row.
START, STOP, AT, CLASS_BLOCK = (tl.constexpr(getattr(layout, k)) for k in ("START", "STOP", "AT", "CLASS_BLOCK"))
GATE_OVER, GATE_TABLE, GATE_ION = (tl.constexpr(getattr(layout, f"GATE_{k}")) for k in ("OVER", "TABLE", "ION"))
SCHEME_SIZE, SCHEME_OVER, SCHEME_TABLE, SCHEME_ION = (
    tl.constexpr(getattr(layout, f"SCHEME_{k}")) for k in ("SIZE", "OVER", "TABLE", "ION")
)
TERM_STATES, TERM_KIND, TERM_TABLE, TERM_ION, TERM_C = (
    tl.constexpr(getattr(layout, f"TERM_{k}")) for k in ("STATES", "KIND", "TABLE", "ION", "C")
)
STATE_X, STATE_LEAD, STATE_SIZE, STATE_FIRST = (
    tl.constexpr(getattr(layout, f"STATE_{k}")) for k in ("X", "LEAD", "SIZE", "FIRST")
)
STATE_WHOLE = tl.constexpr(4)  # a power that is a whole number, else 0
GATE_WIDE, SCHEME_WIDE, TERM_WIDE, STATE_WIDE, CLASS_WIDE = (tl.constexpr(k) for k in (6, 7, 8, 5, 3))


class Sizes(NamedTuple):
    """How many of each there are; in `Known` as one tensor.

    Attributes:
        n, nodes, ions, classes, rounds, levels: of the cell.
        soma: place of the compartment that makes output spikes.
        states: numbers of gates and schemes.
        wide: most states of a term.
        over_v, over_c, over_both, leads, scheme_leads, schemes: tables in a pair of lengths; of schemes, entries.
        doubles, singles: of half a state.
        room_doubles, room_singles: of a cell's room.
    """

    n: Any
    nodes: Any
    ions: Any
    classes: Any
    rounds: Any
    levels: Any
    soma: Any
    states: Any
    wide: Any
    over_v: Any
    over_c: Any
    over_both: Any
    leads: Any
    scheme_leads: Any
    schemes: Any
    doubles: Any
    singles: Any
    room_doubles: Any
    room_singles: Any


class Known(NamedTuple):
    """A cell, as tensors on one device; see `layout.Net` and `layout.Kinetics` for what is named as there.

    Nodes are numbered as they are eliminated, the root last.

    Attributes:
        sizes: (len(Sizes),).
        many: (levels,) steps of a millisecond.
        gate, scheme, term: (rows, columns) as named above; the table of a scheme is its first entry.
        state: (terms, wide, 5) of each state of a term, as there, and its power if that is 1 to 4, else 0.
        power: (terms, wide).
        gate_first, gate_of, scheme_first, scheme_of: (tiles + 1,) where the rows of each tile begin, and the rows.
        term_first, term_of: (tiles * (ions + 1) + 1,) likewise: in each tile the terms of no ion, then of each ion.
        pool_less, pool_filled, gain_in, gain_out, rest_mM, log_outside, nernst_mV: of ions.
        class_row: (classes, 3) start, stop, and table of the block or -1.
        class_e: (classes,) [mV].
        class_ms: (classes, 2) rise and decay.
        class_step: (levels, classes, 4) of rise and decay: share of the mean over a step, then what the step keeps.
        node: (n,) of each compartment.
        joined_uS, axial_uS: (nodes,) sum of the axial conductances at a node, and that to its parent.
        round_first, parent, child: (rounds + 1,), (nodes,) neighbours when a node is eliminated; -1 for no child.
        compartment: (n,) at each place.
    """

    sizes: Any
    many: Any
    gate: Any
    scheme: Any
    term: Any
    state: Any
    power: Any
    gate_first: Any
    gate_of: Any
    scheme_first: Any
    scheme_of: Any
    term_first: Any
    term_of: Any
    over_v: Any
    over_c: Any
    over_both: Any
    leads: Any
    scheme_leads: Any
    schemes: Any
    drive: Any
    plane: Any
    block: Any
    size: Any
    e_mV: Any
    capacitance_nF: Any
    leak_uS: Any
    leak_nA: Any
    pool_less: Any
    pool_filled: Any
    gain_in: Any
    gain_out: Any
    rest_mM: Any
    log_outside: Any
    nernst_mV: Any
    class_row: Any
    class_e: Any
    class_ms: Any
    class_step: Any
    node: Any
    joined_uS: Any
    axial_uS: Any
    round_first: Any
    parent: Any
    child: Any
    compartment: Any


class Given(NamedTuple):
    """What a call brings.

    Attributes:
        first: (cells * steps + 1,) where the arrivals of each millisecond begin.
        most: (cells * steps,) how many arrive at one conductance of one compartment, at most.
        turn: (arrivals,) how many came there before in this millisecond.
        kind, at: (arrivals,) class, and place.
        after_ms, uS: (arrivals,) time after the start of the millisecond, and what opens.
        electrode_first: (cells + 1,) where the electrodes of each cell begin; one for a place.
        electrode_at: (electrodes,) place.
        current_nA: (electrodes, steps).
    """

    first: Any
    most: Any
    turn: Any
    kind: Any
    at: Any
    after_ms: Any
    uS: Any
    electrode_first: Any
    electrode_at: Any
    current_nA: Any


class Batch(NamedTuple):
    """State of some cells, which goes on, and room to work in.

    Attributes:
        double: (cells, 2, doubles) potentials and concentrations.
        single: (cells, 2, singles) gates, what all terms pull, bends, rise and decay of synapses.
        half: (cells,) which of the two is the state.
        course: (cells, 4) as in `steps.State`.
        counts: (cells, 2) milliseconds and solves.
        room_double, room_single: (cells, ...).
    """

    double: Any
    single: Any
    half: Any
    course: Any
    counts: Any
    room_double: Any
    room_single: Any


class Half(NamedTuple):
    """Where the parts of a state begin."""

    v: Any
    c: Any
    x: Any
    pull: Any
    bend: Any
    rise: Any
    decay: Any


class Room(NamedTuple):
    """Where the parts of the room begin; the last six are of the tree."""

    total: Any
    inward: Any
    mean: Any
    ion_g: Any
    ion_j: Any
    states: Any
    moved: Any
    diagonal: Any
    from_parent: Any
    right: Any
    right_from_parent: Any
    axial: Any
    to_child: Any


@triton.jit
def half_of(batch, sizes, cell, which):
    """One of the two halves of a cell's state."""
    v = batch.double + (2 * cell + which) * sizes.doubles
    x = batch.single + (2 * cell + which) * sizes.singles
    pull = x + sizes.states
    bend = pull + 2 * sizes.n
    rise = bend + sizes.n
    return Half(v, v + sizes.n, x, pull, bend, rise, rise + sizes.classes * sizes.n)


@triton.jit
def room_of(batch, sizes, cell):
    """A cell's room."""
    total, moved = batch.room_single + cell * sizes.room_singles, batch.room_double + cell * sizes.room_doubles
    mean = total + 2 * sizes.n
    ion_g = mean + sizes.classes * sizes.n
    ion_j = ion_g + sizes.ions * sizes.n
    tree, k = moved + sizes.n, sizes.nodes
    return Room(
        total, total + sizes.n, mean, ion_g, ion_j, ion_j + sizes.ions * sizes.n, moved,
        tree, tree + k, tree + 2 * k, tree + 3 * k, tree + 4 * k, tree + 5 * k,
    )  # fmt: skip


@triton.jit
def place(v):
    """Where potentials lie in tables: bin, and how far they are in it."""
    p = tl.minimum(tl.maximum((v - LOW) * PER_MV, 0.0), BINS - 1.001)
    at = tl.minimum(p.to(tl.int32), BINS - 2)
    return at, (p - at).to(tl.float32)


@triton.jit
def _place_c(sizes, c, ion, i, on):
    """Logarithm of concentrations, and where they lie in tables."""
    log = tl.log(tl.load(c + ion * sizes.n + i, mask=on, other=1.0))
    p = tl.minimum(tl.maximum((log - LOG_C_LOW) * PER_LOG_C, 0.0), C_BINS - 1.001)
    at = tl.minimum(p.to(tl.int32), C_BINS - 2)
    return log, at, (p - at).to(tl.float32)


@triton.jit
def _coarse(at, f, stride: tl.constexpr, points: tl.constexpr):
    """A place of a fine grid on a coarse one."""
    k = tl.minimum(at // stride, points - 2)
    return k, ((at - k * stride).to(tl.float32) + f) / stride


@triton.jit
def _between(entry, f, apart):
    """Between an entry and the next, which stands so far apart."""
    low = tl.load(entry)
    return low + f * (tl.load(entry + apart) - low)


@triton.jit
def _corners(entry, f, apart, up, above):
    """Between four entries, of which two stand `above` the others."""
    low = _between(entry, f, apart)
    return low + up * (_between(entry + above, f, apart) - low)


@triton.jit
def _row(row, i):
    """Whether a row covers each compartment, and where its states or densities of it stand."""
    start = tl.load(row + START)
    return (i >= start) & (i < tl.load(row + STOP)), tl.load(row + AT) + i - start


@triton.jit
def _gates(known, sizes, pair, tile, i, at, f, was, now):
    """All gates of a tile from the middle of one step to the middle of the next."""
    for e in range(tl.load(known.gate_first + tile), tl.load(known.gate_first + tile + 1)):
        row = known.gate + tl.load(known.gate_of + e) * GATE_WIDE
        on, own = _row(row, i)
        over, table, ion = tl.load(row + GATE_OVER), tl.load(row + GATE_TABLE), tl.load(row + GATE_ION)
        if over == OVER_V:
            entry = known.over_v + (pair * sizes.over_v + table) * (BINS * 4) + at * 4
            steady = tl.load(entry) + f * tl.load(entry + 2)
            keep = tl.load(entry + 1) + f * tl.load(entry + 3)
        else:
            _, cb, cf = _place_c(sizes, was.c, ion, i, on)
            if over == OVER_C:
                entry = known.over_c + (pair * sizes.over_c + table) * (C_BINS * 4) + cb * 4
                steady = tl.load(entry) + cf * tl.load(entry + 2)
                keep = tl.load(entry + 1) + cf * tl.load(entry + 3)
            else:
                p, fp = _coarse(at, f, V_STRIDE, PLANE_V)
                q, fq = _coarse(cb, cf, C_STRIDE, PLANE_C)
                plane = known.over_both + (pair * sizes.over_both + table) * (PLANE_C * PLANE_V * 2)
                entry = plane + (q * PLANE_V + p) * 2
                steady = _corners(entry, fp, 2, fq, PLANE_V * 2)
                keep = _corners(entry + 1, fp, 2, fq, PLANE_V * 2)
        y = tl.load(was.x + own, mask=on, other=0.0)
        tl.store(now.x + own, steady + (y - steady) * keep, mask=on)


@triton.jit
def _schemes(known, sizes, pair, tile, i, at, f, was, now, room, TILE: tl.constexpr):
    """All schemes likewise: a matrix times the states of each compartment, and what flows in."""
    spare = room.states + tl.arange(0, TILE)
    for e in range(tl.load(known.scheme_first + tile), tl.load(known.scheme_first + tile + 1)):
        row = known.scheme + tl.load(known.scheme_of + e) * SCHEME_WIDE
        on, own = _row(row, i)
        size, ion, length = tl.load(row + SCHEME_SIZE), tl.load(row + SCHEME_ION), tl.load(row + STOP) - tl.load(row)
        over, entries, up = tl.load(row + SCHEME_OVER), size * (size + 1), f * 0.0
        above = (over == OVER_BOTH).to(tl.int64) * BOTH_V * entries  # to the matrix of the next concentration
        if over == OVER_V:
            k, share = _coarse(at, f, SCHEME_V_STRIDE, SCHEME_V)
        else:
            _, cb, cf = _place_c(sizes, was.c, ion, i, on)
            k, share = _coarse(cb, cf, SCHEME_C_STRIDE, SCHEME_C)
            if over == OVER_BOTH:
                k, share = _coarse(at, f, BOTH_V_STRIDE, BOTH_V)
                row_c, up = _coarse(cb, cf, BOTH_C_STRIDE, BOTH_C)
                k += row_c * BOTH_V
        matrix = known.schemes + pair * sizes.schemes + tl.load(row + SCHEME_TABLE) + k * entries
        for p in range(0, size):
            found = _corners(matrix + p * (size + 1) + size, share, entries, up, above)
            for q in range(0, size):
                y = tl.load(was.x + own + q * length, mask=on, other=0.0)
                found += _corners(matrix + p * (size + 1) + q, share, entries, up, above) * y
            tl.store(spare + p * TILE, found)
        tl.debug_barrier()
        for p in range(0, size):
            tl.store(now.x + own + p * length, tl.load(spare + p * TILE), mask=on)
        tl.debug_barrier()


@triton.jit
def _opened(known, sizes, t, states, i, on, own, start, x):
    """Density times gates of a term."""
    opened = tl.load(known.size + own, mask=on, other=0.0)
    for k in range(0, states):
        state = known.state + (t * sizes.wide + k) * STATE_WIDE
        y = tl.load(x + tl.load(state + STATE_X) + i - start, mask=on, other=1.0)
        whole, product = tl.load(state + STATE_WHOLE), y
        for _ in range(1, whole):
            product *= y
        if whole == 0:
            product = tl.exp2(tl.load(known.power + t * sizes.wide + k) * tl.log2(tl.maximum(y, 0.0)))
        opened *= product
    return opened


@triton.jit
def _away(known, sizes, row, i, on, own, at, f, v, c):
    """Minus the drive of a term, and its slope over V."""
    kind, c_ion = tl.load(row + TERM_KIND), tl.load(row + TERM_C)
    table, ion = tl.load(row + TERM_TABLE), tl.load(row + TERM_ION)
    slope = tl.full(v.shape, 1.0, tl.float32)
    if kind == FIXED:
        away = tl.load(known.e_mV + own, mask=on, other=0.0) - v
    elif kind == NERNST:
        log, _, _ = _place_c(sizes, c, ion, i, on)
        outside = tl.load(known.log_outside + ion * sizes.n + i, mask=on, other=0.0)
        away = (tl.load(known.nernst_mV + ion) * (outside - log)).to(tl.float32) - v
    elif kind == PLANE:
        _, cb, cf = _place_c(sizes, c, c_ion, i, on)
        p, fp = _coarse(at, f, V_STRIDE, PLANE_V)
        q, fq = _coarse(cb, cf, C_STRIDE, PLANE_C)
        corner = known.plane + table * (PLANE_C * PLANE_V) + q * PLANE_V + p
        below, above = _between(corner, fq, PLANE_V), _between(corner + 1, fq, PLANE_V)
        away = -(below + fp * (above - below))
        slope = (above - below) * (PER_MV / V_STRIDE)
    else:
        inside = tl.load(c + c_ion * sizes.n + i, mask=on & (kind == DRIVE_C), other=0.0).to(tl.float32)
        entry = known.drive + (table * BINS + at) * 2
        below = tl.load(entry) + tl.load(entry + 1) * inside
        above = tl.load(entry + 2) + tl.load(entry + 3) * inside
        away = -(below + f * (above - below))
        slope = (above - below) * PER_MV
    return away, slope


@triton.jit
def _by_scheme(known, sizes, pair, row, state, i, on, at, f, now):
    """What a state of a scheme gains for 1 mV, from all of its states."""
    start, size = tl.load(row + START), tl.load(state + STATE_SIZE)
    length, first = tl.load(row + STOP) - start, tl.load(state + STATE_FIRST) - start
    k, share = _coarse(at, f, SCHEME_V_STRIDE, SCHEME_V)
    entry = known.scheme_leads + pair * sizes.scheme_leads + tl.load(state + STATE_LEAD) + k * (size + 1)
    gained = _between(entry + size, share, size + 1)
    for q in range(0, size):
        z = tl.load(now.x + first + q * length + i, mask=on, other=0.0)
        gained += _between(entry + q, share, size + 1) * z
    return gained


@triton.jit
def _terms(known, sizes, pair, tile, i, at, f, v, was, now, room, TILE: tl.constexpr):
    """Sums over all terms of a tile about V: slope conductance, current at 0 mV, what leads; those of each ion."""
    inside = i < sizes.n
    total = tl.load(known.leak_uS + i, mask=inside, other=0.0)
    zero_nA = tl.load(known.leak_nA + i, mask=inside, other=0.0)
    lead_uS = tl.zeros((TILE,), tl.float32)
    for r in range(0, sizes.ions + 1):
        ion_g, ion_j = tl.zeros((TILE,), tl.float32), tl.zeros((TILE,), tl.float32)
        group = known.term_first + tile * (sizes.ions + 1) + r
        for e in range(tl.load(group), tl.load(group + 1)):
            t = tl.load(known.term_of + e)
            row = known.term + t * TERM_WIDE
            on, own = _row(row, i)
            start, states = tl.load(row + START), tl.load(row + TERM_STATES)
            opened = _opened(known, sizes, t, states, i, on, own, start, now.x)
            away, slope = _away(known, sizes, row, i, on, own, at, f, v, was.c)
            total += opened * slope
            zero_nA += opened * (away + slope * v)
            ion_g += opened * slope
            ion_j += opened * away
            for k in range(0, states):
                state = known.state + (t * sizes.wide + k) * STATE_WIDE
                lead = tl.load(state + STATE_LEAD)
                if lead >= 0:
                    y = tl.load(now.x + tl.load(state + STATE_X) + i - start, mask=on, other=1.0)
                    if tl.load(state + STATE_SIZE) == 0:
                        entry = known.leads + (pair * sizes.leads + lead) * (BINS * 2) + at * 2
                        gained = tl.load(entry) + f * tl.load(entry + 1)
                    else:
                        gained = _by_scheme(known, sizes, pair, row, state, i, on, at, f, now)
                    gained *= 2.0 * tl.load(known.power + t * sizes.wide + k)
                    lead_uS -= gained * (opened / tl.maximum(y, GATE_LEAST)) * away
        if r > 0:
            tl.store(room.ion_g + (r - 1) * sizes.n + i, ion_g, mask=inside)
            tl.store(room.ion_j + (r - 1) * sizes.n + i, ion_j, mask=inside)
    return total, zero_nA, lead_uS


@triton.jit
def currents(known, sizes, pair, per_ms, was, now, room, TILE: tl.constexpr):
    """Gates and terms of the whole cell; root mean square change of how they bend the course of V [mV / ms2]."""
    squares, whole = tl.full((), 0.0, tl.float32), tl.full((), 0.0, tl.float32)
    for begin in range(0, sizes.n, TILE):
        i = begin + tl.arange(0, TILE)
        inside = i < sizes.n
        v = tl.load(was.v + i, mask=inside, other=0.0)
        at, f = place(v)
        tile = begin // TILE
        _gates(known, sizes, pair, tile, i, at, f, was, now)
        _schemes(known, sizes, pair, tile, i, at, f, was, now, room, TILE)
        tl.debug_barrier()
        single_v = v.to(tl.float32)
        total, zero_nA, lead_uS = _terms(known, sizes, pair, tile, i, at, f, single_v, was, now, room, TILE)
        capacitance = tl.load(known.capacitance_nF + i, mask=inside, other=0.0)
        more_nA = zero_nA - tl.load(was.pull + sizes.n + i, mask=inside, other=0.0)
        more_uS = total - tl.load(was.pull + i, mask=inside, other=0.0)
        bend = (more_nA - more_uS * single_v) * per_ms / tl.where(inside, capacitance, 1.0)
        changed = tl.where(inside, bend - tl.load(was.bend + i, mask=inside, other=0.0), 0.0)
        squares += tl.sum(capacitance * changed * changed, 0)
        whole += tl.sum(capacitance, 0)
        tl.store(now.bend + i, bend, mask=inside)
        tl.store(now.pull + i, total, mask=inside)
        tl.store(now.pull + sizes.n + i, zero_nA, mask=inside)
        tl.store(room.total + i, total + lead_uS, mask=inside)
        tl.store(room.inward + i, zero_nA - total * single_v, mask=inside)
    return tl.sqrt(squares / whole)
