"""The membrane that is read from NEURON: against published equations, and what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import in_new_process
from dendrotwin.cell.membrane import BOTH_C_MM, BOTH_V_MV, C_GRID_MM, SCHEME_C_MM, SCHEME_V_MV, V_GRID_MV, Membrane
from dendrotwin.errors import CellError
from dendrotwin.neuron.reading import read_cell
from dendrotwin.neuron.reading.config import READING
from dendrotwin.support.workers import WorkerError, run_apart

ZOO = Path(__file__).parent / "mechanisms"
# A current of which the state stands in no polynomial.
KINK = """: A kink in a state.
NEURON { SUFFIX kink
 USEION k READ ek WRITE ik }
ASSIGNED { v ek ik }
STATE { m }
INITIAL { m = 0.1 }
BREAKPOINT { SOLVE change METHOD cnexp
 ik = 0.01*fabs(m - 0.4)*(v - ek) }
DERIVATIVE change { m' = 0.5 - m }
"""
# What stands together in a section of four compartments, and RANGE parameters in these.
READ: dict[str, tuple[list[str], dict[str, list[float]]]] = {
    "scheme": (["z_conserve"], {}),
    "scheme of calcium": (["z_markov_ca", "z_pool_inward"], {}),
    "scheme of both": (["z_markov_v_ca", "z_pool_inward"], {}),
    "gate of both": (["z_gate_of_v_and_ca", "z_pool_inward"], {}),
    "at once": (["z_ca_to_k", "z_pool_inward"], {}),
    "goldman": (["z_ghk", "z_pool_inward"], {}),
    "nernst": (["z_ca_inactivates", "z_pool_inward"], {}),
    "still calcium": (["z_ca_inactivates"], {}),
    "power": (["z_power"], {}),
    "polynomial": (["z_polynomial"], {}),
    "classes": (["z_shift"], {"gbar_z_shift": [0, 0.01, 0.02, 0.03], "vhalf_z_shift": [-30, -30, -20, -30]}),
}
REFUSED: dict[str, tuple[list[str], str]] = {
    "product of states": (["z_coupled"], "z_coupled: m_z_coupled, h_z_coupled change in a way that is not linear"),
    "random": (["z_scop_random"], "z_scop_random: .*random"),
    "time": (["z_time"], "z_time: .*time t"),
    "current of others": (["z_follows_ina"], "z_follows_ina: its states depend on the current ina of other"),
    "drifts": (["z_global_drifts"], "z_global_drifts: its INITIAL changes tau each time"),
    "two pools": (["z_pool_two"], r"z_pool_two: .* depends on states of its own \(slow_z_pool_two\)"),
    "pump": (["z_pool_pump"], "z_pool_pump: cai is not linear in itself and in ica"),
    "no memory": (["z_pool_instant"], "z_pool_instant: it puts cai at a value at once"),
    "pool outside": (["z_pool_ko"], "z_pool_ko: it writes the outside concentration ko"),
    "pointer": (["z_pointer"], "z_pointer: it has a POINTER"),
    "two concentrations": (
        ["z_exchanger", "z_pool_inward", "z_pool_na"],
        "z_exchanger: .*concentrations of ca and na at",
    ),
    "two writers": (["z_pool_inward", "z_pool_pump"], "z_pool_inward: another mechanism writes cai in the same"),
    "kink": (["kink"], "kink: .*neither a product of powers of its states nor a polynomial"),
}
Found = dict[str, tuple[Membrane, dict[str, float]] | str]
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
        for name in ("hh", "z_markov_v_ca", "z_ca_inactivates", "z_pool_inward"):
            section.insert(name)
        section.gbar_z_markov_v_ca = 0.02
    return Sections([soma], [dend], [], [])

def cell():
    return CellModel("small", "test", "MIT", build, lambda: [Path(p) for p in {files!r}], -65.0, 6.3)
"""

DYING = """
import os, signal
from dendrotwin.cells import CellModel

def build():
    os.kill(os.getpid(), signal.{end})

def cell():
    return CellModel("dying", "test", "MIT", build, lambda: [], -65.0, 6.3)
"""
PLAIN = """
print("once")
from pathlib import Path
import dendrotwin
from dendrotwin.neuron.simulate import Simulation, simulate

twin = dendrotwin.twin_of("ball_and_stick")
trials = simulate(Simulation(cell="ball_and_stick", duration_ms=20), 2, Path({out!r}))
print(twin.tree.n, len(trials))
"""


def _read_cases(files: list[Path]) -> Found:
    """All cases in one process, which has all mechanisms."""
    from neuron import h

    from dendrotwin.neuron.compile import load_mechanisms
    from dendrotwin.neuron.reading.cell import read_all

    load_mechanisms(files)
    found: Found = {}
    for case, (mechanisms, parameters) in {**READ, **{k: (x, {}) for k, (x, _) in REFUSED.items()}}.items():
        section = h.Section(name="one")
        section.L, section.diam, section.nseg = 80.0, 20.0, 4
        for mechanism in mechanisms:
            section.insert(mechanism)
        for name, values in parameters.items():
            for segment, value in zip(section, values, strict=True):
                setattr(segment, name, value)
        try:
            found[case] = read_all(list(section), case, -65.0, 34.0, files)
        except CellError as error:
            found[case] = str(error)
    return found


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What is read of each case, or the words of the refusal."""
    kink = tmp_path_factory.mktemp("kink") / "kink.mod"
    kink.write_text(KINK)
    names = {name for mechanisms, _ in [*READ.values(), *REFUSED.values()] for name in mechanisms} - {"kink"}
    found = in_new_process(_read_cases, [kink, *(ZOO / f"{name}.mod" for name in sorted(names))])
    assert isinstance(found, dict)
    return found


def of(membrane: Membrane, name: str) -> Any:
    """The only class of a mechanism."""
    (found,) = [m for m in membrane.mechanisms if m.name == name]
    return found


def membrane_of(cases: Found, case: str) -> Membrane:
    """What was read of a case."""
    found = cases[case]
    assert not isinstance(found, str), found
    return found[0]


@pytest.mark.parametrize("case", READ)
def test_read(cases: Found, case: str) -> None:
    found = cases[case]
    assert not isinstance(found, str), found
    membrane, errors = found
    assert set(errors) == {*READ[case][0]} == {x.name for x in (*membrane.mechanisms, *membrane.pools)}
    assert max(errors.values()) < READING.mechanism_proof.largest_error
    smooth = case not in ("scheme of both", "gate of both", "at once", "scheme of calcium")
    assert max(errors.values()) < (1e-4 if smooth else READING.mechanism_proof.largest_error)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(cases: Found, case: str) -> None:
    found = cases[case]
    assert isinstance(found, str), "it was read"
    with pytest.raises(CellError, match=REFUSED[case][1]):
        raise CellError(found)
    assert found.startswith(f"the cell {case} has mechanisms that cannot be held as tables")


def test_rates_of_a_scheme(cases: Found) -> None:
    found = of(membrane_of(cases, "scheme"), "z_conserve")
    (scheme,) = found.schemes
    c1, c2, o = (scheme.names.index(x) for x in ("c1", "c2", "o"))
    x = np.zeros(3)
    x[c1], x[c2], x[o] = 0.5, 0.3, 0.2
    v = SCHEME_V_MV
    a, b = 0.3 * np.exp((v + 30) / 20), 0.15 * np.exp(-(v + 30) / 40)
    change = scheme.rates @ x + scheme.inflow
    np.testing.assert_allclose(change[:, c1], b * 0.3 - 2 * a * 0.5, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(change[:, o], a * 0.3 - 2 * b * 0.2, rtol=1e-6, atol=1e-9)
    assert found.terms[0].powers[o] == 1
    a, b = 0.3 * np.exp(-35 / 20), 0.15 * np.exp(35 / 40)
    np.testing.assert_allclose(found.start[o], (a / (a + b)) ** 2, rtol=1e-6)


def test_rates_of_a_scheme_of_calcium(cases: Found) -> None:
    (scheme,) = of(membrane_of(cases, "scheme of calcium"), "z_markov_ca").schemes
    assert (scheme.over, scheme.ion, len(scheme.rates)) == ("c", "ca", len(SCHEME_C_MM))
    x = np.array([{"c3": 0.5, "c4": 0.3}.get(name, 0.05) for name in scheme.names])
    o2 = scheme.names.index("o2")
    change = scheme.rates @ x + scheme.inflow
    np.testing.assert_allclose(change[:, o2], 1.2 * 0.3 - 0.1 * x[o2], rtol=1e-6)
    c4 = scheme.names.index("c4")
    expected = 80 * SCHEME_C_MM * 0.5 - (0.2 + 1.2) * 0.3 + 0.1 * x[o2]
    np.testing.assert_allclose(change[:, c4], expected, rtol=1e-6, atol=1e-9)


def test_rates_of_a_scheme_of_potential_and_calcium(cases: Found) -> None:
    (scheme,) = of(membrane_of(cases, "scheme of both"), "z_markov_v_ca").schemes
    assert (scheme.over, scheme.ion) == ("vc", "ca")
    assert scheme.inflow.shape == (len(BOTH_C_MM), len(BOTH_V_MV), 4)
    x = np.array([{"c0": 0.4, "c1": 0.1, "o0": 0.3, "o1": 0.2}[name] for name in scheme.names])
    change = (scheme.rates @ x + scheme.inflow)[:, :, scheme.names.index("o0")]
    c, v = BOTH_C_MM[:, None], BOTH_V_MV
    a, b = 0.1 * np.exp(v / 30), 0.5 * np.exp(-v / 30)
    expected = a * 0.4 - 10 * b * 0.3 - 100 * c * 0.3 + 0.03 * 0.2
    np.testing.assert_allclose(change, expected, rtol=1e-5, atol=1e-7)


def test_gate_of_potential_and_calcium(cases: Found) -> None:
    (gate,) = of(membrane_of(cases, "gate of both"), "z_gate_of_v_and_ca").gates
    assert (gate.over, gate.ion) == ("vc", "ca")
    row, column = 150, 90
    c, v = C_GRID_MM[::4][row], V_GRID_MV[::4][column]
    u = 2 * 96485.3321 * v / (8.3144626 * (34 + 273.15)) / 1000
    a, b = 0.48 * c / (c + 0.18 * np.exp(-0.84 * u)), 0.28 / (1 + c / (0.011 * np.exp(-u)))
    assert gate.steady[row, column] == pytest.approx(a / (a + b), rel=1e-6)
    assert gate.tau_ms[row, column] == pytest.approx(1 / (a + b), rel=1e-6)


def test_current_of_goldman_and_a_pool_of_inward_current(cases: Found) -> None:
    membrane = membrane_of(cases, "goldman")
    (term,) = of(membrane, "z_ghk").terms
    assert term.table is not None
    assert (term.table.shape, term.c_ion, term.ion) == ((2, len(V_GRID_MV)), "ca", "ca")
    assert term.powers.tolist() == [2, 1]
    z = 2 * 96485.3321 * V_GRID_MV / (8.3144626 * (34 + 273.15)) / 1000
    slope = 1e-5 * 2 * 96485.3321 / 1000 * z / (1 - np.exp(-z))
    np.testing.assert_allclose(term.density[0] * term.table[1], slope, rtol=1e-4, atol=1e-9 * slope.max())
    (pool,) = membrane.pools
    np.testing.assert_allclose(pool.gain_in, -1e4 / (2 * 96485.3321 * 0.1), rtol=1e-6)
    np.testing.assert_array_equal(pool.gain_out, 0.0)
    np.testing.assert_allclose(1 / pool.rate_per_ms, 20.0, rtol=1e-6)
    np.testing.assert_allclose(pool.rest_mM, 1e-4, rtol=1e-6)


def test_a_concentration_that_stands_still_is_no_dimension(cases: Found) -> None:
    live = of(membrane_of(cases, "nernst"), "z_ca_inactivates")
    assert [(gate.name, gate.over) for gate in live.gates] == [("m", "v"), ("h", "c")]
    assert live.terms[0].moves
    np.testing.assert_allclose(live.gates[1].steady, 0.001 / (0.001 + C_GRID_MM), rtol=1e-6, atol=1e-12)
    still = of(membrane_of(cases, "still calcium"), "z_ca_inactivates")
    assert [gate.over for gate in still.gates] == ["v", "v"]
    assert not still.terms[0].moves
    np.testing.assert_allclose(still.gates[1].steady, 0.001 / (0.001 + 5e-5), rtol=1e-6)


def test_powers(cases: Found) -> None:
    found = of(membrane_of(cases, "power"), "z_power")
    assert found.terms[0].powers.tolist() == pytest.approx([1.7, 0.5])
    found = of(membrane_of(cases, "polynomial"), "z_polynomial")
    density = {tuple(term.powers): term.density[0] for term in found.terms}
    assert density == pytest.approx({(3, 1, 0): 1e-3, (0, 0, 1): 1e-4}, rel=1e-6)


def test_what_shapes_a_mechanism_makes_classes_and_what_scales_it_does_not(cases: Found) -> None:
    found = [m for m in membrane_of(cases, "classes").mechanisms if m.name == "z_shift"]
    by_half = {m.parameters["vhalf"]: m for m in found}
    assert by_half[-30.0].at.tolist() == [1, 3]  # where the density is 0 there is none
    np.testing.assert_allclose(by_half[-30.0].terms[0].density, [0.01, 0.03], rtol=1e-9)
    assert by_half[-20.0].at.tolist() == [2]
    np.testing.assert_allclose(by_half[-20.0].terms[0].density, 0.02, rtol=1e-9)
    steady = 1 / (1 + np.exp(-(V_GRID_MV + 20) / 9))
    np.testing.assert_allclose(by_half[-20.0].gates[0].steady, steady, rtol=1e-6, atol=1e-9)


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
    tiny = 1e-12  # steady states are found from states of about 1, whose rounding stays
    (sk,) = of(membrane, "SK_E2").gates
    assert (sk.over, sk.ion) == ("c", "ca")
    np.testing.assert_allclose(sk.steady, 1 / (1 + (0.00043 / C_GRID_MM) ** 4.8), rtol=1e-7, atol=tiny)
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
    np.testing.assert_allclose(m.steady, a / (a + b), rtol=1e-6, atol=tiny)
    np.testing.assert_allclose(m.tau_ms, 1 / (a + b), rtol=1e-6)
    a, b = 0.000457 * np.exp((-13 - v) / 50), 0.0065 / (np.exp((-v - 15) / 28) + 1)
    np.testing.assert_allclose(h.tau_ms, 1 / (a + b), rtol=1e-6)
    (current,) = of(membrane, "Ca_HVA").terms
    assert current.moves
    assert current.powers.tolist() == [2, 1]
    nap = of(membrane, "Nap_Et2")
    np.testing.assert_allclose(nap.gates[0].steady, 1 / (1 + np.exp(-(v + 52.6) / 4.6)), rtol=1e-6, atol=tiny)
    np.testing.assert_allclose(nap.terms[0].density, 0.005834, rtol=1e-6)
    np.testing.assert_allclose(nap.terms[0].e_mV, 50.0)
    (ion,) = membrane.ions
    assert ion.inside_mM[0] == pytest.approx(5e-5)
    assert max(reading.errors.values()) < 2e-4


def test_a_scheme_of_potential_and_calcium_in_a_whole_cell(tmp_path: Path) -> None:
    path = tmp_path / "small_cell.py"
    files = [str(ZOO / f"{name}.mod") for name in ("z_markov_v_ca", "z_ca_inactivates", "z_pool_inward")]
    path.write_text(MODULE.format(files=files))
    tree, reading = read_cell(str(path))
    assert tree.n == 4
    assert reading.cell_proof is not None
    assert reading.cell_proof.twin_mV < 0.1
    assert reading.cell_proof.moved_mV > 1.0


@pytest.mark.parametrize(
    ("end", "words"),
    [("SIGSEGV", "make NEURON crash"), ("SIGKILL", "ended with code -9 before .*killed by signal 9 .SIGKILL")],
)
def test_an_end_of_the_reading_process_is_an_error_that_says_which(tmp_path: Path, end: str, words: str) -> None:
    path = tmp_path / "dying_cell.py"
    path.write_text(DYING.format(end=end))
    with pytest.raises(CellError, match=words):
        read_cell(str(path))


@pytest.mark.parametrize("given", ["file", "standard input"])
def test_a_script_without_a_guard_is_run_once(tmp_path: Path, given: str) -> None:
    script = tmp_path / "plain.py"
    script.write_text(PLAIN.format(out=str(tmp_path / "data")))
    arguments = [sys.executable, str(script)] if given == "file" else [sys.executable, "-"]
    with script.open() as text:
        done = subprocess.run(arguments, stdin=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "once\n37 2\n"


class _OddError(Exception):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(one)


def _fails(kind: str) -> None:
    if kind == "odd":
        raise _OddError("first", "second")
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise CellError(kind)


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("of ours", CellError, "of ours"),
        ("odd", RuntimeError, "_OddError: first"),
        ("killed", WorkerError, "ended with code -9: killed by signal 9 .SIGKILL, as the system does when memory"),
    ],
)
def test_what_is_raised_apart_is_raised_here(kind: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as raised:
        run_apart(_fails, kind)
    if kind == "of ours":
        assert "_fails" in "".join(raised.value.__notes__)  # where it was raised there


def test_the_main_module_outlives_two_starts_at_once() -> None:
    main = sys.modules["__main__"]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: run_apart(os.getpid) > 0, range(8))) == [True] * 8
    assert sys.modules["__main__"] is main
