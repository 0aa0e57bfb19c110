"""Cells as people have them: what is refused in one line because NEURON alone would know it, and what is handled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import in_new_process
from dendrotwin.cell.tree import REGIONS, Events, Injection
from dendrotwin.cells import load_cell
from dendrotwin.errors import CellError
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.reading import read_cell
from dendrotwin.neuron.trial import run_trial
from dendrotwin.signals import membrane_currents
from test_cells import OWN_CELL, _own_file

CONNECT = "dend.connect(soma(1))"
SECTIONS = "Sections(soma=[soma], basal=[dend], apical=[], axon=[])"


def _refusals(cells: list[tuple[str, str]], folder: Path) -> list[str]:
    """What is said of cells with some text in place of others, one after the other in this process."""
    said = []
    for k, (replaced, text) in enumerate(cells):
        file = folder / f"own{k}.py"
        file.write_text("from dendrotwin.cell.synapse import Conductance, Synapse\n" + OWN_CELL.replace(replaced, text))
        try:
            NeuronCell(load_cell(str(file)))
            said.append("")
        except CellError as error:
            said.append(str(error).split(" (a build before it")[0])
        from neuron import h

        for section in list(h.allsec()):
            h.delete_section(sec=section)
        h("proc init() { finitialize(v_init) }")
    return said


PLAYED = f"{CONNECT}; t, x = h.Vector([0, 500]), h.Vector([1, 2])"
MORE = "more = [h.Section(name=f'dend_5[{k}]') for k in range(3)]"
SCHEDULED = "starts = [h.FInitializeHandler(lambda: h.CVode().event(5, cell))]"
LATE = "start = h.FInitializeHandler(lambda: h.CVode().event(5, 'late()'))"
STDRUN = f"{CONNECT}; h.load_file('stdrun.hoc')"
CASES = [  # what is written in place of what, and what is said of it
    (CONNECT, CONNECT, ""),
    (CONNECT, f"{CONNECT}; unheard = h.NetStim(); unheard.number, unheard.start = 3, 7", ""),
    (CONNECT, f"{CONNECT}; start = h.FInitializeHandler(lambda: None)", ""),
    (CONNECT, f"{PLAYED}; x.play(dend(0.5)._ref_cm, t, True)", "something is due at 500 ms (Vector.play"),
    (CONNECT, f"{PLAYED}; x.play(dend(0.5)._ref_cm, 300)", "something is due at 300 ms (Vector.play"),
    (CONNECT, f"{CONNECT}; {SCHEDULED}", "something is due at"),
    (CONNECT, f"{CONNECT}; h.celsius = 34", ""),
    (CONNECT, f"{CONNECT}; h.celsius = 36", "sets celsius to 36, the description says celsius=34"),
    (CONNECT, f"{CONNECT}; h('celsius = 22')", "sets celsius to 22, the description says celsius=34"),
    (CONNECT, STDRUN, ""),
    (CONNECT, f"{STDRUN}; h.v_init = -70", ""),
    (CONNECT, f"{STDRUN}; h.v_init = -80", "sets v_init to -80, the description says v_init_mV=-70"),
    # Sections that are there are named, such as those of an SWC file's types above 4.
    (CONNECT, f"{CONNECT}; {MORE}; [s.connect(soma(0)) for s in more]",
     "dend_5[0], connected to soma(0), is in none of the four lists of sections (nor are dend_5[2]); add it"),
    (SECTIONS, "Sections([soma], list(h.dend_6), [], [])", "name one of the sections that there are (soma, dend)"),
    (CONNECT, "0", "dend is not connected to the soma"),
    (SECTIONS, "Sections([soma], [], [], [])", "dend, connected to soma(1), is in none of the four lists"),
    (SECTIONS, "(h.disconnect(sec=dend), Sections([soma], [], [], []))[1]",
     "has no dendrite in `basal` or `apical`, but there are sections that are in no list (dend)"),
    (SECTIONS, "Sections(soma, [dend], [], [])", "`soma` is soma, it must be a list of NEURON's sections"),
    (CONNECT, f"{CONNECT}; h.celsius = 6.3", "sets celsius to 6.3, the description says celsius=34"),
    (CONNECT, f"{CONNECT}; h.v_init = -65", "sets v_init to -65, the description says v_init_mV=-70"),
    (CONNECT, f"{CONNECT}; h('proc init() {{ finitialize(v_init) forall e_pas = v }}')", "redefines hoc's init()"),
    (CONNECT, f"{CONNECT}; h('proc advance() {{ fadvance() print t }}')", "redefines hoc's advance()"),
    (CONNECT, f"{CONNECT}; h('proc advance() {{ fadvance() }}')", ""),
    (CONNECT, f"{PLAYED}; h('proc late() {{ }}'); {LATE}", "something is due at 4.99375 ms"),
    (CONNECT, f"{CONNECT}; start = h.FInitializeHandler(lambda: setattr(dend, 'cm', 2 * dend.cm))",
     "two equal starts differ in cm"),
    (CONNECT, f"{CONNECT}; start = h.FInitializeHandler(lambda: setattr(dend(0.5), 'v', -20))",
     "sets the potential of dend(0.5) to -20 mV, a trial starts at v_init_mV=-70 everywhere"),
    (CONNECT, f"{CONNECT}; start = h.FInitializeHandler(lambda: setattr(h, 'celsius', 20))", "celsius to 20, a trial"),
    (CONNECT, f"{CONNECT}; start = h.FInitializeHandler(lambda: setattr(h, 'dt', 0.5))", "sets dt to 0.5, a trial"),
    (CONNECT, f"{CONNECT}; start = h.FInitializeHandler(lambda: h.CVode().active(1))", "sets CVode().active to 1"),
    (CONNECT, f"{CONNECT}; start = h.FInitializeHandler(lambda: 1 / 0)",
     "does not start: RuntimeError: ZeroDivisionError: division by zero; correct what is called at the start"),
    (CONNECT, f"{CONNECT}; draw = h.Random(3); draw.uniform(1, 5); draw.play(dend(0.5)._ref_cm)",
     "two equal starts differ in cm"),
    (CONNECT, f"{CONNECT}; soma.insert('hh'); draw = h.Random(); draw.normal(1, 1); draw.play(soma(0.5)._ref_gl_hh)",
     "two equal starts differ in gl_hh"),
    # The last one: NEURON goes on calling it.
    (CONNECT, f"{CONNECT}; h.CVode().extra_scatter_gather(0, cell)", ".py:20 is called in each step"),
]  # fmt: skip


def test_what_is_refused_and_what_is_not(tmp_path: Path) -> None:
    said = in_new_process(_refusals, [case[:2] for case in CASES], tmp_path)
    for (_, text, wanted), found in zip(CASES, said, strict=True):
        assert wanted in found, text
        assert bool(wanted) == bool(found), text


FIELD = "v_init_mV=-70, celsius=34"
BUILD = '"MIT", build, lambda: [], '
WRONG = [  # what is written in place of what in the description, or for what `build` returns; and what is said of it
    (FIELD, "v_init_mV=-70, celsius='34'", "its `celsius` must be a number from -273.15 to 1000; it is '34'"),
    (FIELD, "v_init_mV=-70, celsius=None", "its `celsius` must be a number from -273.15 to 1000; it is None"),
    (FIELD, "v_init_mV=float('nan'), celsius=34", "its `v_init_mV` must be a number from -1000 to 1000; it is nan"),
    (FIELD, "v_init_mV=True, celsius=34", "its `v_init_mV` must be a number from -1000 to 1000; it is True"),
    (FIELD, f"{FIELD}, rate_scale='x'", "its `rate_scale` must be a number from 0 to 1e+06; it is 'x'"),
    (FIELD, f"{FIELD}, rate_scale=-1", "its `rate_scale` must be a number from 0 to 1e+06; it is -1"),
    (FIELD, f"{FIELD}, compartments='4'", "its `compartments` must be a whole number, or None; it is '4'"),
    (FIELD, f"{FIELD}, missing='gcc'", "its `missing` must be a function that gives a line, or None; it is 'gcc'"),
    (FIELD, f"{FIELD}, synapses=None", "its `synapses` must be a tuple of dendrotwin.cell.synapse.Synapse; it is None"),
    (FIELD, f"{FIELD}, synapses=('AMPA',)", "`synapses` must be a tuple of dendrotwin.cell.synapse.Synapse; it is"),
    (FIELD, f"{FIELD}, synapses=(Synapse('a', True, (Conductance('1', 2, 3, 0),)),)",
     "of `synapses`, ValueError: rise_ms of the synapse a is '1', and must be a number"),
    (FIELD, f"{FIELD}, synapses=(Synapse('a', True, Conductance(1, 2, 3, 0)),)", "of `synapses`, TypeError: "),
    (FIELD, "v_init_mV=-70", "`cell()` of {file} failed: TypeError: CellModel.__init__() missing 1"),
    (BUILD, '"MIT", build(), lambda: [], ', "its `build` must be a function that gives Sections; it is Sections("),
    (BUILD, '"MIT", None, lambda: [], ', "its `build` must be a function that gives Sections; it is None"),
    (BUILD, '"MIT", build, "Ih.mod", ', "its `mechanisms` must be a function that gives its .mod files, such"),
    (BUILD, '"MIT", build, ["Ih.mod"], ', "its `mechanisms` must be a function that gives its .mod files"),
    (BUILD, '"MIT", build, lambda: "Ih.mod", ', "`mechanisms` must give a list of paths; it gives 'Ih.mod'"),
    (BUILD, '"MIT", build, lambda: None, ', "`mechanisms` must give a list of paths; it gives None"),
    (BUILD, '"MIT", build, lambda: [3], ', "`mechanisms` must give paths; 3 is none"),
    (BUILD, '"MIT", build, lambda: 1 / 0, ', "`mechanisms` of own failed: ZeroDivisionError: division by zero"),
    (BUILD, '"MIT", build, lambda: ["/nowhere/Ih.mod"], ', "the mechanism file /nowhere/Ih.mod does not exist"),
    (BUILD, 'None, build, lambda: [], ', "its `licence` must be a text; it is None"),
    ('"own"', "None", "the cell None: its `name` must be a text; it is None"),
    (SECTIONS, "None", "return Sections(soma=[...], basal=[...], apical=[...], axon=[...]); it returned None"),
    (SECTIONS, "{'soma': [soma], 'basal': [dend], 'apical': [], 'axon': []}", "it returned {'soma': "),
    (SECTIONS, "[soma, dend]", "it returned [soma, dend]"),
    (SECTIONS, "Sections([soma], dend, [], [])", "`basal` is dend, it must be a list of NEURON's sections"),
    (SECTIONS, "Sections([soma], None, [], [])", "`basal` is None, it must be a list of NEURON's sections"),
    (SECTIONS, "Sections([soma], {0: dend}, [], [])", "{0: dend}, it must be a list of NEURON's sections"),
    (SECTIONS, "Sections([soma], ['dend'], [], [])", "`basal` must be a list of NEURON's sections, it holds 'dend'"),
    (SECTIONS, "Sections([soma], [dend(0.5)], [], [])", "must be a list of NEURON's sections, it holds dend(0.5)"),
    (SECTIONS, "(h.delete_section(sec=dend), Sections([soma], [dend], [], []))[1]", "holds a section that is deleted"),
    (SECTIONS, "Sections([soma], [dend], [], [], None)", "`synapses` is None, it must be a list of point processes"),
    (SECTIONS, "Sections([soma], [dend], [], [], h.ExpSyn(dend(0.5)))", "`synapses` is ExpSyn[0], it must be a list"),
    (SECTIONS, "Sections([soma], [dend], [], [], [[h.ExpSyn(dend(0.5)), 2.0]])", "ExpSyn[0] stands in dend(0.5)"),
    (SECTIONS, "Sections([soma], [dend], [], [], ['ExpSyn'])", "synapse 0, ExpSyn, is no point process of NEURON"),
    (SECTIONS, "Sections(iter([soma]), h.SectionList([dend]), (), [])", ""),
]  # fmt: skip


def test_what_is_of_another_type_is_named(tmp_path: Path) -> None:
    said = in_new_process(_refusals, [case[:2] for case in WRONG], tmp_path)
    for k, ((_, text, wanted), found) in enumerate(zip(WRONG, said, strict=True)):
        assert wanted.replace("{file}", str(tmp_path / f"own{k}.py")) in found, text
        assert bool(wanted) == bool(found), text
        assert "\n" not in found


def _leak_after_a_start(folder: Path) -> tuple[list[float], float]:
    """The leak in the tree, and how far a second trial is from the first."""
    text = f"{CONNECT}; start = h.FInitializeHandler(lambda: [setattr(s, 'g_pas', 0.01) for s in (soma, dend)])"
    cell = NeuronCell(load_cell(str(_own_file(folder, OWN_CELL.replace(CONNECT, text)))))
    events = Events.sort(np.array([0]), np.array([1.0]))
    first, second = (run_trial(cell, events, 20)[0] for _ in range(2))
    return (cell.tree.leak_uS / cell.tree.area_um2 * 1e2).tolist(), float(np.abs(first - second).max())


def test_what_a_function_at_the_start_sets_is_in_the_tree(tmp_path: Path) -> None:
    leak, difference = in_new_process(_leak_after_a_start, tmp_path)
    assert leak == pytest.approx([0.01] * 4)
    assert difference == 0.0


def _tree_of(text: str, folder: Path) -> tuple[list[int], list[int], int, float]:
    """Parents, compartments of inputs, soma; and the largest difference from Kirchhoff's law under an input."""
    from neuron import h

    before, made = text.split("#")
    cell = NeuronCell(load_cell(str(_own_file(folder, OWN_CELL.replace(CONNECT, before).replace(SECTIONS, made)))))
    v, _ = run_trial(cell, Events.sort(np.array([0]), np.array([1.0])), 20, record_dt_ms=0.05)
    assert np.ptp(v) > 0.1
    total = membrane_currents(cell.tree, v).sum(axis=1)
    assert h.t > 19
    return cell.tree.parent.tolist(), cell.tree.input_compartment.tolist(), cell.tree.soma, float(np.abs(total).max())


@pytest.mark.parametrize(
    ("text", "parent", "inputs", "soma"),
    [
        ("h.delete_section(sec=dend); dend = soma#Sections([soma], [], [], [])", [-1], [0, 0], 0),
        (f"{CONNECT}#Sections([], [], [], [dend, soma])", [-1, 0, 1, 2], [0, 1, 2, 3] * 2, 0),
        (f"{CONNECT}; b = h.Section(name='b'); soma.connect(b(1)); b.insert('pas')#Sections([soma, b], [dend], [], [])",
         [-1, 0, 1, 2, 3], [2, 3, 4] * 2, 1),
    ],
    ids=["a single compartment", "an axon alone", "a soma of two sections"],
)  # fmt: skip
def test_trees_as_people_have_them(text: str, parent: list[int], inputs: list[int], soma: int, tmp_path: Path) -> None:
    found = in_new_process(_tree_of, text, tmp_path)
    assert found[:3] == (parent, inputs, soma)
    assert found[3] < 1e-9


ROOTS = {  # the same membrane, rooted in the soma, in a dendrite, and in the tip of an apical dendrite
    "soma": "dend.connect(soma(0)); apic.connect(soma(1)); tip.connect(apic(1)); side.connect(apic(0.5))",
    "dend": "soma.connect(dend(0), 0); apic.connect(soma(1)); tip.connect(apic(1)); side.connect(apic(0.5))",
    "tip": "apic.connect(tip(0), 1); soma.connect(apic(0), 1); dend.connect(soma(0)); side.connect(apic(0.5))",
}
MADE = """
    apic, tip, side = (h.Section(name=name) for name in ("apic", "tip", "side"))
    for section, length in ((apic, 90), (tip, 70), (side, 50)):
        section.L, section.nseg, section.diam = length, 3, 1.5
    soma.insert("hh"), apic.insert("pas"), tip.insert("pas"), side.insert("pas")
    """
LISTED = "Sections(soma=[soma], basal=[dend], apical=[side, tip, apic], axon=[])"


def _rooted(root: str, folder: Path) -> dict[str, tuple[list[float], float, str, float]]:
    """Potential, distance from the soma, region and leak of each compartment, by name."""
    text = OWN_CELL.replace(CONNECT, f"{MADE.strip()}; {ROOTS[root]}").replace(SECTIONS, LISTED)
    cell = NeuronCell(load_cell(str(_own_file(folder, text))))
    tree = cell.tree
    assert tree.section_names[0] == root
    at = tree.compartment("tip", 0.5)
    event = int(np.flatnonzero(tree.input_compartment == at)[0])
    injection = Injection(np.array([tree.compartment("soma")], np.int32), np.full((20, 1), 0.3))
    v, _ = run_trial(cell, Events.sort(np.array([event]), np.array([1.0])), 20, injection=injection)
    assert np.ptp(v) > 3.0
    names = [REGIONS[k] for k in tree.region]
    return {
        name: (v[:, k].tolist(), tree.distance_um[k], names[k], tree.leak_uS[k]) for k, name in enumerate(tree.names)
    }


def test_a_cell_is_rooted_anywhere(tmp_path: Path) -> None:
    of_soma = in_new_process(_rooted, "soma", tmp_path)
    assert {name.split("(")[0]: place[2] for name, place in of_soma.items()} == {
        "soma": "soma", "dend": "basal", "apic": "trunk", "tip": "tuft", "side": "tuft"
    }  # fmt: skip
    for root in ("dend", "tip"):
        found = in_new_process(_rooted, root, tmp_path)
        assert found.keys() == of_soma.keys()
        for name, (v_mV, distance_um, region, leak_uS) in of_soma.items():
            assert found[name][0] == pytest.approx(v_mV, abs=1e-6), name
            assert found[name][1:] == (pytest.approx(distance_um), region, pytest.approx(leak_uS)), name


def test_a_twin_of_a_cell_that_is_rooted_in_a_dendrite(tmp_path: Path) -> None:
    text = OWN_CELL.replace(CONNECT, f"{MADE.strip()}; {ROOTS['tip']}").replace(SECTIONS, LISTED)
    tree, reading = read_cell(str(_own_file(tmp_path, text)))
    assert tree.section_names[0] == "tip"
    assert reading.cell_proof is not None
    assert reading.cell_proof.twin_mV < 0.01 * reading.cell_proof.moved_mV


CALCIUM = {
    "channel": """NEURON { SUFFIX channel USEION ca READ eca WRITE ica }
STATE { m }
ASSIGNED { v eca ica }
INITIAL { m = 1 / (1 + exp(-(v + 40) / 6)) }
BREAKPOINT { SOLVE s METHOD cnexp ica = 2e-3 * m * (v - eca) }
DERIVATIVE s { m' = (1 / (1 + exp(-(v + 40) / 6)) - m) / 2 }
""",
    "pool": """NEURON { SUFFIX pool USEION ca READ ica WRITE cai }
STATE { cai }
ASSIGNED { ica }
INITIAL { cai = 1e-4 }
BREAKPOINT { SOLVE s METHOD cnexp }
DERIVATIVE s { cai' = -1e4 * ica / (2 * 96485 * 0.1) - (cai - 1e-4) / 50 }
""",
}


def test_ion_styles_are_those_that_the_user_set(tmp_path: Path) -> None:
    """A reversal potential of calcium that stays, though its concentration moves."""
    moved_mV = []
    for name, text in CALCIUM.items():
        (tmp_path / f"{name}.mod").write_text(text)
    for style in ("", "h.ion_style('ca_ion', 3, 1, 0, 0, 0, sec=s), "):
        inserted = f"{CONNECT}; [(s.insert('channel'), s.insert('pool'), {style}0) for s in (soma, dend)]"
        text = OWN_CELL.replace(CONNECT, inserted).replace(
            'section.insert("pas")', 'section.insert("pas").g_pas = 1e-4'
        )
        files = f"lambda: sorted(__import__('pathlib').Path({str(tmp_path)!r}).glob('*.mod'))"
        _, reading = read_cell(str(_own_file(tmp_path, text.replace("lambda: []", files))))
        assert reading.cell_proof is not None
        assert reading.cell_proof.twin_mV < 0.01 * reading.cell_proof.moved_mV
        moved_mV.append(reading.cell_proof.moved_mV)
    assert abs(moved_mV[1] / moved_mV[0] - 1.0) > 0.05  # it matters


def _two_builds(folder: Path) -> list[str]:
    said = []
    for text in (f"{CONNECT}; h.no_such_thing()", f"{CONNECT}; h.another_thing()"):
        try:
            NeuronCell(load_cell(str(_own_file(folder, OWN_CELL.replace(CONNECT, text)))))
        except CellError as error:
            said.append(str(error))
    return said


def test_a_second_build_names_the_reason_of_the_first(tmp_path: Path) -> None:
    first, second = in_new_process(_two_builds, tmp_path)
    assert "no_such_thing" in first
    assert "another_thing" in second
    assert f"(a build before it in this process failed first: {first})" in second
