"""Leak is what the passive membrane does, whatever the mechanism is called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import in_new_process
from dendrotwin.cells import load_cell
from dendrotwin.neuron.build import NeuronCell
from test_cells import OWN_CELL, _own_file

HEAD = "ASSIGNED {{ v (mV) {current} (mA/cm2) {more} }}\nPARAMETER {{ g = 1e-4 (S/cm2) {e} }}\n"
MECHANISMS = {
    "tonic": "NEURON { SUFFIX tonic NONSPECIFIC_CURRENT i RANGE g, e }\n"
    + HEAD.format(current="i", more="", e="e = -63 (mV)") + "BREAKPOINT { i = g * (v - e) }\n",
    "potassium": "NEURON { SUFFIX potassium USEION k READ ek WRITE ik RANGE g }\n"
    + HEAD.format(current="ik", more="ek (mV)", e="") + "BREAKPOINT { ik = g * (v - ek) }\n",
    "rectifier": "NEURON { SUFFIX rectifier NONSPECIFIC_CURRENT i RANGE g }\n"
    + HEAD.format(current="i", more="", e="") + "BREAKPOINT { i = g * (v + 70) / (1 + exp(v / 20)) }\n",
    "gated": "NEURON { SUFFIX gated NONSPECIFIC_CURRENT i RANGE g }\nSTATE { m }\nINITIAL { m = 1 }\n"
    + HEAD.format(current="i", more="", e="")
    + "BREAKPOINT { SOLVE s METHOD cnexp i = g * m * (v + 70) }\nDERIVATIVE s { m' = (1 - m) / 5 }\n",
    "inactivating": "NEURON { SUFFIX inactivating NONSPECIFIC_CURRENT i RANGE g }\nSTATE { n }\nINITIAL { n = 0 }\n"
    + HEAD.format(current="i", more="", e="")
    + "BREAKPOINT { SOLVE s METHOD cnexp i = g * (1 - n) * (v + 70) }\nDERIVATIVE s { n' = (1 - n) / 5 }\n",
    "both": "NEURON { SUFFIX both NONSPECIFIC_CURRENT i RANGE g }\nSTATE { p q }\nINITIAL {\np = 1\nq = 1\n}\n"
    + HEAD.format(current="i", more="", e="")
    + "BREAKPOINT { SOLVE s METHOD cnexp i = g * (1 - p) * (v + 9) + g * q * v + 3e-5 * (v + 77) }\n"
    + "DERIVATIVE s {\np' = (1 - p) / 5\nq' = (1 - q) / 9\n}\n",
}  # fmt: skip
INSERTED = """dend.connect(soma(1))
    for name in ('tonic', 'potassium', 'rectifier', 'gated', 'inactivating', 'both'): soma.insert(name)
    dend.insert('tonic')
    soma.g_tonic, soma.g_potassium, soma.ek = 2e-4, 5e-5, -90
    for k, segment in enumerate(dend): segment.tonic.g, segment.tonic.e = 1e-5 * k, -60 - k
    soma.insert('hh')
    soma.gl_hh, soma.el_hh = 4e-4, -58"""


def _leaks(folder: Path) -> np.ndarray:
    for name, text in MECHANISMS.items():
        (folder / f"{name}.mod").write_text(text)
    text = OWN_CELL.replace("dend.connect(soma(1))", INSERTED)
    text = text.replace("lambda: []", f"lambda: sorted(__import__('pathlib').Path({str(folder)!r}).glob('*.mod'))")
    tree = NeuronCell(load_cell(str(_own_file(folder, text)))).tree
    return np.array([tree.leak_uS / tree.area_um2 * 1e2, tree.leak_mV])


def test_leaks_of_other_names_count_and_channels_do_not(tmp_path: Path) -> None:
    g, e_mV = in_new_process(_leaks, tmp_path)
    pas, pas_mV = 1e-3, -70.0
    expected = [pas + 2e-4 + 5e-5 + 4e-4 + 3e-5, *(pas + 1e-5 * np.arange(3))]
    soma = pas * pas_mV + 2e-4 * -63.0 + 5e-5 * -90.0 + 4e-4 * -58.0 + 3e-5 * -77.0
    driven = [soma, *(pas * pas_mV + 1e-5 * k * (-60.0 - k) for k in range(3))]
    assert g == pytest.approx(np.array(expected), rel=1e-7)
    assert e_mV == pytest.approx(np.array(driven) / expected, rel=1e-7)
