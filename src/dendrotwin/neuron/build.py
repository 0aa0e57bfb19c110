"""From a cell's description to NEURON sections, synapses, and the tree."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np

from dendrotwin.cell.synapse import Synapse
from dendrotwin.cells import MECHANISMS, CellModel
from dendrotwin.errors import CellError, in_one_line
from dendrotwin.neuron.check_cell import as_sections, check_cell, in_order, names_of
from dendrotwin.neuron.check_start import check_globals, check_start, set_globals
from dendrotwin.neuron.compile import load_mechanisms
from dendrotwin.neuron.sections_to_tree import make_tree, outwards, shape
from dendrotwin.neuron.synapses import read_synapses

SYNAPSE_FILES = [MECHANISMS / "synapses" / name for name in ("AmpaNmda.mod", "GabaA.mod")]
# What NEURON says of a density mechanism, and of a point process, that is not loaded.
NOT_THERE = ("not a density mechanism", "'hoc.HocObject' object has no attribute")
_failures: list[str] = []  # of builds in this process, the first one first: what NEURON keeps of it may spoil the next


class NeuronCell:
    """A cell built in this process's NEURON.

    Attributes:
        model: its description.
        sections: its NEURON sections.
        segments: NEURON's segment of each compartment; in a section that is connected by its end 1, from there on.
        tree: its compartments and inputs.
        synapses: NEURON's point process of each input.
        connections: a NetCon without a source for each input, with its weight; `connections[i].event(t)` is an event
            at t.
        held: what else `build` made, which NEURON forgets when Python does.
    """

    def __init__(self, model: CellModel, coreneuron: bool = False) -> None:
        """Build `model`, for CoreNEURON too if `coreneuron`.

        Raises:
            CellError: this machine lacks something, the sections are no cell that can be handled, or there is something
                in them that NEURON would simulate and a twin would not know.
        """
        missing = model.missing()
        if missing:
            raise CellError(f"the cell {model.name} cannot be built here: {missing}")
        load_mechanisms(model.files() + SYNAPSE_FILES, coreneuron)
        self.model = model
        try:
            self._build()
        except CellError as error:
            first = _failures[0] if _failures else str(error)
            _failures.append(str(error))
            if first != str(error):
                raise CellError(f"{error} (a build before it in this process failed first: {first})") from error
            raise

    def _build(self) -> None:
        """Make the sections, look at them, and make tree and synapses."""
        from neuron import h

        model = self.model
        set_globals(model)
        made, self.held = _call_build(model)
        self.sections = as_sections(model, made)
        check_globals(model)
        h.CVode().active(0)  # a trial has fixed steps, whatever a published file switches on
        every = in_order(self.sections)
        self.held += [section.cell() for section in every]
        check_cell(model, self.sections, every)
        given = list(self.sections.synapses)
        own = read_synapses(model.name, given, model.v_init_mV, model.celsius) if given else None
        check_start(model, every)  # which leaves the cell as a trial starts it, for the tree
        ends_um = shape(every)
        self.segments = [segment for section in every for segment in outwards(section)]
        self.tree = make_tree(model, self.sections, ends_um, own)
        if own is None:
            self.synapses = [
                _point_process(model.synapses[kind], self.segments[compartment])
                for compartment, kind in zip(self.tree.input_compartment, self.tree.input_synapse, strict=True)
            ]
        else:
            self.synapses = own.points
        # Events are put in with `event`, which does not look at the delay; CoreNEURON wants one.
        self.connections = [
            h.NetCon(None, synapse, 0.0, 1.0, weight)
            for synapse, weight in zip(self.synapses, self.tree.input_weight.tolist(), strict=True)
        ]


def _call_build(model: CellModel) -> tuple[Any, list[Any]]:
    """What `build` gives, and what it made; see `_hold`."""
    from neuron import h

    try:
        return _hold(model.build)
    except CellError:
        raise
    except (Exception, SystemExit) as error:  # a user's own function
        fix = "correct it"
        if any(text in str(error) for text in NOT_THERE):
            files = ", ".join(path.name for path in model.files()) or "none"
            fix = (
                "a mechanism or a section that it uses is not there: give its .mod file in `mechanisms` (now: "
                f"{files}), or name one of the sections that there are ({names_of(h.allsec()) or 'none'})"
            )
        raise CellError(f"`build` of {model.name} failed: {in_one_line(error)}; {fix}") from error


def _hold(build: Callable[[], Any]) -> tuple[Any, list[Any]]:
    """Call a function; gives its result, and what the functions of its file had in their variables when they returned.

    Sections of a hoc template go with its object, and a clamp without a name goes at once.
    """
    held: list[Any] = []
    files: list[str] = []

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and not files:
            files.append(frame.f_code.co_filename)
        elif event == "return" and frame.f_code.co_filename in files:
            held.append(dict(frame.f_locals))

    before = sys.getprofile()
    with _seeded():
        sys.setprofile(look)
        try:
            made = build()
        finally:
            sys.setprofile(before)
    return made, held


@contextmanager
def _seeded() -> Iterator[None]:
    """Let Python's and numpy's shared generators begin alike: a cell that draws from them is the same each time."""
    before = random.getstate(), np.random.get_state()  # noqa: NPY002  (it is the user's)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002


def _point_process(synapse: Synapse, segment: Any) -> Any:
    """NEURON's mechanism for a kind of synapse, at a segment."""
    from neuron import h

    for conductance in synapse.conductances:
        if conductance.block or not 0.0 < conductance.rise_ms < conductance.decay_ms:
            raise CellError(
                f"the synapse {synapse.name!r} has no mechanism: it takes conductances whose rise is above 0 and below "
                "their decay, without a block given by values; list point processes in `Sections.synapses` instead"
            )
    match synapse.conductances:
        case (ampa, nmda) if ampa.mg_mM == 0 and nmda.mg_mM > 0 and ampa.e_mV == nmda.e_mV:
            point = h.DendrotwinAmpaNmda(segment)
            point.tau_rise_ampa, point.tau_decay_ampa, point.gmax_ampa = ampa.rise_ms, ampa.decay_ms, ampa.g_max_uS
            point.tau_rise_nmda, point.tau_decay_nmda, point.gmax_nmda = nmda.rise_ms, nmda.decay_ms, nmda.g_max_uS
            point.e, point.mg, point.slope = ampa.e_mV, nmda.mg_mM, nmda.slope_per_mV
        case (gaba,) if gaba.mg_mM == 0:
            point = h.DendrotwinGabaA(segment)
            point.tau_rise, point.tau_decay, point.gmax, point.e = gaba.rise_ms, gaba.decay_ms, gaba.g_max_uS, gaba.e_mV
        case _:
            raise CellError(
                f"the synapse {synapse.name!r} has no mechanism; use one conductance without magnesium block, "
                "or one without and one with it, of the same reversal potential"
            )
    return point
