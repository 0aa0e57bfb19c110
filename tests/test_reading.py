"""The membrane that is read from NEURON: against published equations, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import in_new_process
from dendrotwin.errors import CellError
from dendrotwin.membrane import C_GRID_MM, SCHEME_V_MV, V_GRID_MV, Membrane
from dendrotwin.reading import read_cell

MODULE = """
from pathlib import Path
from dendrotwin.cells import CellModel, Sections

def build():
    from neuron import h
    soma, dend = h.Section(name="soma"), h.Section(name="dend")
    dend.connect(soma(1))
    dend.nseg = 3
    for section in (soma, dend):
        section.L = section.diam = 20.0
        section.insert("pas")
        for name in {insert!r}:
            section.insert(name)
    for k, segment in enumerate(dend):
        pass
{more}
    return Sections([soma], [dend], [], [])

def cell():
    return CellModel("small", "test", "MIT", build, lambda: [Path(p) for p in {files!r}], -65.0, 6.3)
"""

KA = """NEURON {{ SUFFIX {name}
 USEION k READ ek WRITE ik
 {neuron}
 RANGE gbar }}
PARAMETER {{ gbar = 0.01 shift = 0 }}
ASSIGNED {{ v ek ik {assigned} }}
STATE {{ {states} }}
INITIAL {{ {initial} }}
BREAKPOINT {{
 SOLVE change METHOD {method}
 ik = gbar*{product}*(v - ek)
}}
{change}
"""


def mechanism(folder: Path, name: str, change: str, **parts: str) -> Path:
    """A potassium current of the state m, unless `parts` say otherwise."""
    given = {
        "neuron": "",
        "assigned": "",
        "states": "m",
        "initial": "m = 0.1",
        "method": "cnexp",
        "product": "m",
        **parts,
    }
    path = folder / f"{name}.mod"
    path.write_text(KA.format(name=name, change=change, **given))
    return path


def small(folder: Path, files: list[Path], insert: list[str], more: str = "") -> str:
    """A cell of four compartments with these mechanisms; `more` lines of its build."""
    path = folder / "small_cell.py"
    lines = "\n".join(f"    {line}" for line in more.splitlines())
    path.write_text(MODULE.format(insert=insert, more=lines, files=[str(file) for file in files]))
    return str(path)


def read(folder: Path, files: list[Path], insert: list[str], more: str = "") -> Membrane:
    """What is read of such a cell."""
    return read_cell(small(folder, files, insert, more))[1].membrane


def of(membrane: Membrane, name: str) -> Any:
    """The only class of a mechanism."""
    (found,) = [m for m in membrane.mechanisms if m.name == name]
    return found


def hodgkin_huxley(v: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rates of hh.mod at 6.3 degC."""

    def trap(x: np.ndarray, y: float) -> np.ndarray:
        return x / (np.exp(x / y) - 1)

    return {
        "m": (0.1 * trap(-(v + 40), 10), 4 * np.exp(-(v + 65) / 18)),
        "h": (0.07 * np.exp(-(v + 65) / 20), 1 / (np.exp(-(v + 35) / 10) + 1)),
        "n": (0.01 * trap(-(v + 55), 10), 0.125 * np.exp(-(v + 65) / 80)),
    }


def test_hh_has_the_equations_of_1952() -> None:
    tree, reading = read_cell("ball_and_stick")
    hh = of(reading.membrane, "hh")
    inside = (V_GRID_MV > -99) & (V_GRID_MV < 99)  # where hh.mod keeps tables, of 1 mV
    for gate in hh.gates:
        a, b = hodgkin_huxley(V_GRID_MV)[gate.name]
        np.testing.assert_allclose(gate.steady[inside], (a / (a + b))[inside], atol=2e-3)
        np.testing.assert_allclose(gate.tau_ms[inside], (1 / (a + b))[inside], rtol=2e-2)
    powers = {term.ion: dict(zip(hh.states, term.powers, strict=True)) for term in hh.terms}
    assert powers["na"] == {"m": 3, "h": 1, "n": 0}
    assert powers["k"] == {"m": 0, "h": 0, "n": 4}
    pas, ih = of(reading.membrane, "pas"), of(reading.membrane, "Ih")
    assert len(pas.at) == len(ih.at) == tree.n
    np.testing.assert_allclose(pas.terms[0].density, 5e-5, rtol=1e-6)
    np.testing.assert_allclose(tree.area_um2 * ih.terms[0].density * 1e-2, tree.ih_uS, rtol=1e-6)
    assert set(reading.errors) == {"hh", "pas", "Ih"}
    assert max(reading.errors.values()) < 1e-4


def test_l5pc_has_the_equations_of_its_sheet(reference: Path) -> None:
    tree, reading = read_cell("l5pc", {"morphology": str(reference / "cell1.asc")})
    membrane = reading.membrane
    (sk,) = of(membrane, "SK_E2").gates
    assert (sk.over, sk.ion) == ("c", "ca")
    np.testing.assert_allclose(sk.steady, 1 / (1 + (0.00043 / C_GRID_MM) ** 4.8), rtol=1e-7, atol=1e-14)
    np.testing.assert_allclose(sk.tau_ms, 1.0, rtol=1e-9)
    (pool,) = membrane.pools
    np.testing.assert_allclose(pool.rest_mM, 1e-4, rtol=1e-9)
    gamma = np.select([tree.region[pool.at] == 0, pool.at >= tree.n - 2], [5.09e-4, 5.25e-4], 6.37e-4)
    np.testing.assert_allclose(pool.gain_in, -1e4 * gamma / (2 * 96485.33212 * 0.1), rtol=1e-6)
    np.testing.assert_array_equal(pool.gain_in, pool.gain_out)
    assert 1 / pool.rate_per_ms.max() == pytest.approx(35.725651)
    v = V_GRID_MV
    m, h = of(membrane, "Ca_HVA").gates
    a, b = 0.055 * (-27 - v) / (np.exp((-27 - v) / 3.8) - 1), 0.94 * np.exp((-75 - v) / 17)
    np.testing.assert_allclose(m.steady, a / (a + b), rtol=1e-6, atol=1e-14)
    np.testing.assert_allclose(m.tau_ms, 1 / (a + b), rtol=1e-6)
    a, b = 0.000457 * np.exp((-13 - v) / 50), 0.0065 / (np.exp((-v - 15) / 28) + 1)
    np.testing.assert_allclose(h.tau_ms, 1 / (a + b), rtol=1e-6)
    (current,) = of(membrane, "Ca_HVA").terms
    assert current.moves
    assert current.powers.tolist() == [2, 1]
    (current,) = of(membrane, "Nap_Et2").terms
    np.testing.assert_allclose(
        of(membrane, "Nap_Et2").gates[0].steady, 1 / (1 + np.exp(-(v + 52.6) / 4.6)), rtol=1e-6, atol=1e-14
    )
    np.testing.assert_allclose(current.density, 0.005834, rtol=1e-6)
    np.testing.assert_allclose(current.e_mV, 50.0)
    (ion,) = membrane.ions
    assert ion.inside_mM[0] == pytest.approx(5e-5)
    assert max(reading.errors.values()) < 2e-4


def test_kinetic_scheme(tmp_path: Path) -> None:
    change = "KINETIC change { ~ a <-> b (exp(v/25), 0.5)\n ~ b <-> c (0.2, 0.1)\n CONSERVE a + b + c = 1 }"
    file = mechanism(
        tmp_path, "scheme3", change, states="a b c", initial="a = 1\n b = 0\n c = 0", method="sparse", product="c"
    )
    found = of(read(tmp_path, [file], ["scheme3"]), "scheme3")
    (scheme,) = found.schemes
    a, b, c = (scheme.names.index(x) for x in "abc")
    point = int(np.argmin(np.abs(SCHEME_V_MV + 20)))
    x = np.zeros(3)
    x[a], x[b], x[c] = 0.5, 0.3, 0.2
    change_of = scheme.rates[point] @ x + scheme.inflow[point]
    up = np.exp(SCHEME_V_MV[point] / 25)
    np.testing.assert_allclose(change_of[c], 0.2 * 0.3 - 0.1 * 0.2, rtol=1e-6)
    np.testing.assert_allclose(change_of[a], 0.5 * 0.3 - up * 0.5, rtol=1e-6)
    assert found.terms[0].powers[len(found.gates) + c] == 1
    np.testing.assert_array_equal(found.start[:, 0], np.eye(3)[a])


GHK = """NEURON { SUFFIX goldman
 USEION ca READ cai, cao WRITE ica
 RANGE p }
PARAMETER { p = 1e-4 }
ASSIGNED { v ica cai cao }
BREAKPOINT { ica = p*0.2*v*(cai - cao*exp(-0.08*v))/(1 - exp(-0.08*v)) }
"""
POOL = """NEURON { SUFFIX pool
 USEION ca READ ica, cai WRITE cai }
STATE { cai }
ASSIGNED { ica }
BREAKPOINT { SOLVE change METHOD derivimplicit }
DERIVATIVE change { LOCAL drive
 drive = -3*ica
 if (drive < 0) { drive = 0 }
 cai' = drive + (2e-4 - cai)/40 }
"""


def test_current_of_goldman_and_a_pool_of_inward_current(tmp_path: Path) -> None:
    files = [tmp_path / "goldman.mod", tmp_path / "pool.mod"]
    for file, text in zip(files, (GHK, POOL), strict=True):
        file.write_text(text)
    membrane = read(tmp_path, files, ["goldman", "pool"])
    (term,) = of(membrane, "goldman").terms
    assert term.table is not None
    assert (term.table.shape, term.c_ion, term.ion) == ((2, len(V_GRID_MV)), "ca", "ca")
    v = V_GRID_MV
    slope = term.density[0] * term.table[1]
    np.testing.assert_allclose(slope, 1e-4 * 0.2 * v / (1 - np.exp(-0.08 * v)), rtol=1e-5, atol=1e-12)
    (pool,) = membrane.pools
    np.testing.assert_allclose(pool.gain_in, -3.0, rtol=1e-6)
    np.testing.assert_array_equal(pool.gain_out, 0.0)
    np.testing.assert_allclose(1 / pool.rate_per_ms, 40.0, rtol=1e-6)


def test_what_shapes_a_mechanism_makes_classes_and_what_scales_it_does_not(tmp_path: Path) -> None:
    change = "DERIVATIVE change { m' = (1/(1 + exp(-(v + 40 + shift)/7)) - m)/3 }"
    file = mechanism(tmp_path, "shifted", change, neuron="RANGE shift", product="m^2.5")
    more = "for k, s in enumerate(dend):\n    s.shifted.gbar = 0.01 * k\n    s.shifted.shift = 5.0 * (k == 2)"
    found = [m for m in read(tmp_path, [file], ["shifted"], more).mechanisms if m.name == "shifted"]
    by_shift = {m.parameters["shift"]: m for m in found}
    assert by_shift[0.0].at.tolist() == [0, 2]  # where the density is 0 there is none
    np.testing.assert_allclose(by_shift[0.0].terms[0].density, [0.01, 0.01], rtol=1e-9)
    assert by_shift[5.0].at.tolist() == [3]
    np.testing.assert_allclose(by_shift[5.0].terms[0].density, 0.02, rtol=1e-9)
    assert by_shift[5.0].terms[0].powers.tolist() == pytest.approx([2.5])


@pytest.mark.parametrize(
    ("change", "parts", "match"),
    [
        ("DERIVATIVE change { m' = 0.5 - m*m }", {"method": "derivimplicit"}, "bad: .*not linear in its states"),
        ("DERIVATIVE change { m' = scop_random() - m }", {}, "bad: .*random"),
        ("DERIVATIVE change { m' = sin(t) - m }", {}, "bad: .*time t"),
        (
            "DERIVATIVE change { m' = -ica - m }",
            {"neuron": "USEION ca READ ica", "assigned": "ica"},
            "bad: its states depend on the current ica",
        ),
        ("DERIVATIVE change { m' = 0.5 - m }", {"product": "fabs(m - 0.4)"}, "bad: .*neither a product"),
        ("DERIVATIVE change { m' = p - m }", {"neuron": "POINTER p", "assigned": "p"}, "bad: it has a POINTER"),
    ],
)
def test_refused(tmp_path: Path, change: str, parts: dict[str, str], match: str) -> None:
    file = mechanism(tmp_path, "bad", change, **parts)
    with pytest.raises(CellError, match=match):
        read_cell(small(tmp_path, [file], ["bad"]))


def test_a_crash_is_an_error_that_says_so() -> None:
    with pytest.raises(CellError, match="make NEURON crash"):
        in_new_process(_crash)


def _crash() -> None:
    import dendrotwin.reading as reading

    reading._read = _exit
    reading.read_cell("ball_and_stick")


def _exit(*_: object) -> None:
    import os

    os._exit(139)
