"""Whether a cell starts alike each time and nothing but its own equations acts, whatever `build` leaves in NEURON."""

from __future__ import annotations

import ctypes
import sys
from types import FrameType
from typing import Any

import numpy as np

from dendrotwin.cell.tree import Floats
from dendrotwin.cells import CellModel
from dendrotwin.errors import CellError, in_one_line
from dendrotwin.neuron.random_numbers import seed_mechanisms
from dendrotwin.neuron.variables import PARAMETERS, Globals, elements, range_pointers, values_of

# Procedures of hoc with which NEURON's own run starts and steps, as NEURON has them: people redefine them.
STANDARD = {"init": "finitialize(v_init)", "advance": "fadvance()"}
OF_SECTIONS = ("L", "Ra")
OF_SEGMENTS = ("cm", "diam")
NO_PARAMETERS = ("morphology", "capacitance")  # those above


def set_globals(model: CellModel) -> None:
    """Give NEURON the temperature and the start of a cell's description, before `build` is called.

    Args:
        model: the description.
    """
    from neuron import h

    h.load_file("stdrun.hoc")  # which has v_init, and would set it when `build` loads it
    h.celsius, h.v_init = model.celsius, model.v_init_mV


def check_globals(model: CellModel) -> None:
    """See that `build` sets no temperature and no start that its description contradicts, and redefines no run.

    Args:
        model: its description, which counts.

    Raises:
        CellError: it does.
    """
    from neuron import h

    for name, set_to, field, said in (
        ("celsius", h.celsius, "celsius", model.celsius),
        ("v_init", h.v_init, "v_init_mV", model.v_init_mV),
    ):
        if set_to != said:
            raise CellError(
                f"the cell {model.name}: `build`, or a file that it reads, sets {name} to {set_to:g}, the description "
                f"says {field}={said:g}, which would count; make them agree"
            )
    for name, body in STANDARD.items():
        h(f"proc dendrotwin_{name}() {{ {body} }}")
    for name, body in STANDARD.items():
        if _code(name) not in (None, _code(f"dendrotwin_{name}")):
            raise CellError(
                f"the cell {model.name}: `build`, or a file that it reads, redefines hoc's {name}(), which no trial "
                f"calls; do in `build` what it does, or leave that away, and end `build` with NEURON's own: "
                f"h('proc {name}() {{ {body} }}')"
            )


def _code(procedure: str) -> tuple[int, ...] | None:
    """What hoc made of a procedure: its kind of symbol, and its instructions; None where there is no such name."""
    from neuron import hoc

    look_up = getattr(ctypes.CDLL(hoc.__file__), "_Z10hoc_lookupPKc")  # noqa: B009  (hoc itself cannot show it)
    look_up.restype, look_up.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    symbol = look_up(procedure.encode())
    if not symbol:
        return None
    kind = ctypes.c_short.from_address(symbol + 8).value  # after its name
    own = look_up(b"dendrotwin_advance")
    if own and kind == ctypes.c_short.from_address(own + 8).value:
        start, size = (ctypes.c_size_t * 2).from_address(ctypes.c_size_t.from_address(symbol + 16).value)
        return (kind, *(ctypes.c_size_t * size).from_address(start))
    return None  # a variable, say


def check_start(model: CellModel, every: list[Any]) -> None:
    """See that two trials of a cell begin alike, and that nothing but its equations acts: starts it, and makes a step.

    Args:
        model: its description.
        every: its NEURON sections.

    Raises:
        CellError: a function at the start leaves another potential, temperature or step; two starts have other
            parameters; a vector is played, an event is to come, or a function of Python's is called in each step.
    """
    _start(model, every, 1)
    _check_queue(model)
    first = parameters(every)
    _check_step(model)
    stepped = parameters(every)
    _start(model, every, 2)
    again = parameters(every)
    _check_step(model)
    for one, other in ((first, again), (stepped, parameters(every))):
        differing = [name for name in one if not np.array_equal(one[name], other[name], equal_nan=True)]
        if differing:
            raise CellError(
                f"the cell {model.name}: two equal starts differ in {', '.join(differing)}, so that a trial would "
                "depend on the one before it: an INITIAL or a function at the start (FInitializeHandler) changes it "
                "each time, or Random.play; set it once, in `build`"
            )
    _start(model, every, 1)


def _start(model: CellModel, every: list[Any], attempt: int) -> None:
    """Start as a trial does: with the same random numbers of mechanisms each time, but not of hoc's `Random`."""
    from neuron import h

    seed_mechanisms([segment for section in every for segment in section], 0, 0)
    for random in h.List("Random"):
        random.seq(1000 * attempt)
    h.celsius, h.dt, h.secondorder = model.celsius, 0.025, 0
    before = _settings()
    try:
        h.finitialize(model.v_init_mV)
    except (Exception, SystemExit) as error:  # of a user's own function
        raise CellError(
            f"the cell {model.name} does not start: {in_one_line(error)}; correct what is called at the start "
            "(FInitializeHandler), or INITIAL of its mechanisms"
        ) from error
    after = _settings()
    for name, value in before.items():
        if after[name] != value:
            raise CellError(
                f"the cell {model.name}: a function at its start (FInitializeHandler) sets {name} to {after[name]:g}, "
                f"a trial has {value:g}; leave that away"
            )
    v_mV = values_of(range_pointers(every, ["v"]))
    if (v_mV != model.v_init_mV).any():
        where = [segment for section in every for segment in section][int(np.argmax(v_mV != model.v_init_mV))]
        raise CellError(
            f"the cell {model.name}: a function at its start (FInitializeHandler, or INITIAL of a mechanism) sets the "
            f"potential of {where} to {where.v:g} mV, a trial starts at v_init_mV={model.v_init_mV:g} everywhere; "
            "leave that away"
        )


def _settings() -> dict[str, float]:
    """What a trial sets before the start, and counts on after it."""
    from neuron import h

    return {
        "celsius": h.celsius,
        "dt": h.dt,
        "secondorder": h.secondorder,
        "CVode().active": float(h.CVode().active()),
    }


def parameters(every: list[Any]) -> dict[str, Floats]:
    """All that stays as it is in a trial, by NEURON's name: geometry, parameters of mechanisms, and GLOBALs.

    Args:
        every: NEURON sections.

    Returns:
        (k,) of each, of the k sections, segments or elements that have it.
    """
    of_mechanism: dict[str, list[Any]] = {}
    for section in every:
        for mechanism in section(0.5):
            if not mechanism.is_ion() and mechanism.name() not in NO_PARAMETERS:
                of_mechanism.setdefault(mechanism.name(), []).append(section)
    found = {name: np.array([getattr(section, name) for section in every]) for name in OF_SECTIONS}
    found |= {name: values_of(range_pointers(every, [name])) for name in OF_SEGMENTS}
    for mechanism, sections in of_mechanism.items():
        for name in elements(mechanism, PARAMETERS):
            found[name] = values_of(range_pointers(sections, [name]))
    return found | {name: np.ravel(value) for name, _, value in Globals([*of_mechanism]).values}


def _check_queue(model: CellModel) -> None:
    from neuron import h

    times, own = h.Vector(), h.List()
    h.CVode().print_event_queue(times)
    h.CVode().event_queue_info(3, h.Vector(), h.Vector(), own)  # what a mechanism has sent itself
    # A NetStim that nothing listens to does no harm; NetCons to the cell's synapses are refused as such.
    if times.size() > sum(not target.has_loc() for target in own):
        raise CellError(
            f"the cell {model.name}: after its start something is due at {times.min():g} ms (Vector.play, or an event "
            "that a mechanism or a function at the start has sent), which a twin would not know; leave it away"
        )


def _check_step(model: CellModel) -> None:
    from neuron import h

    called: list[str] = []

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            called.append(f"{frame.f_code.co_name} of {frame.f_code.co_filename}:{frame.f_code.co_firstlineno}")

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        h.fadvance()
    finally:
        sys.setprofile(before)
    if called:
        raise CellError(
            f"the cell {model.name}: {called[0]} is called in each step, which a twin would not know; leave it away"
        )
