"""Random numbers of mechanisms depend on trial and seed, never on which worker simulates what."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from conftest import in_new_process
from dendrotwin.cell.stimuli import Modulated
from dendrotwin.neuron.simulate import Simulation
from dendrotwin.neuron.trial import simulate_trial
from dendrotwin.recording.trials import index_trials, read_trial

NOISE = """NEURON {{ SUFFIX {name} NONSPECIFIC_CURRENT i {declared} }}
ASSIGNED {{ v (mV) i (mA/cm2) x {assigned} }}
INITIAL {{ x = 0.5 }}
BREAKPOINT {{ SOLVE draw i = 1e-2 * (x - 0.5) }}
PROCEDURE draw() {{ {drawn} }}
{more}
"""
OF_HOC = """PROCEDURE set_generator() {
VERBATIM
    *((void**)(&_p_generator)) = nrn_random_arg(1);
ENDVERBATIM
}
"""
PICK = "\nVERBATIM\n    x = nrn_random_pick(reinterpret_cast<Rand*>(_p_generator));\nENDVERBATIM\n"
FILES = {
    "legacy": {"declared": "", "assigned": "", "drawn": "x = scop_random()", "more": ""},
    "nmodl": {"declared": "RANDOM own", "assigned": "", "drawn": "x = random_uniform(own)", "more": ""},
    "hoc": {"declared": "POINTER generator", "assigned": "generator", "drawn": PICK, "more": OF_HOC},
}
# Sections that hardly share current, each with noise of its own.
CELL = """
from pathlib import Path
from dendrotwin.cells import CellModel, Sections

def build():
    from neuron import h
    every = [h.Section(name=name) for name in ("soma", "legacy", "nmodl", "random123", "mcellran4", "normal")]
    for section in every:
        section.L = section.diam = 15
        section.Ra = 1e9
        section.insert("pas")
    for section in every[1:]:
        section.connect(every[0](1))
    every[1].insert("legacy")
    every[2].insert("nmodl")
    generators = [h.Random(), h.Random(), h.Random()]
    generators[0].Random123(1, 2, 3)
    generators[1].MCellRan4(5)
    generators[2].normal(0.5, 0.1)  # which makes two numbers at once
    for section, generator in zip(every[3:], generators):
        section.insert("hoc")
        generator.uniform(0, 1) if section is not every[5] else generator.repick()
        h.setdata_hoc(0.5, sec=section)
        h.set_generator_hoc(generator)
    return Sections(soma=every[:1], basal=every[1:], apical=[], axon=[])

def cell():
    return CellModel("noisy", "me", "MIT", build, lambda: sorted(Path(__file__).parent.glob("*.mod")), -70, 34)
"""


def _trials(cell: Path, trials: list[tuple[int, int]]) -> list[np.ndarray]:
    """Soma's potentials of trials of a seed, one after the other in this process."""
    found = []
    for seed, trial in trials:
        path = cell.with_name(f"{seed}-{trial}.h5")
        simulation = Simulation(cell=str(cell), duration_ms=30, seed=seed, inputs=Modulated(rate_scale=0.0))
        simulate_trial(simulation, trial, path)
        tree, (index,) = index_trials(path)
        found.append(read_trial(index, tree).v_mV.copy())
        path.unlink()
    return found


def test_noise_depends_on_trial_and_seed_alone(tmp_path: Path) -> None:
    for name, parts in FILES.items():
        (tmp_path / f"{name}.mod").write_text(NOISE.format(name=name, **parts))
    cell = tmp_path / "noisy.py"
    cell.write_text(CELL)
    first, other, seeded, again = in_new_process(_trials, cell, [(0, 1), (0, 2), (5, 1), (0, 1)])
    (alone,) = in_new_process(_trials, cell, [(0, 2)])
    assert (np.ptp(first, axis=0)[1:] > 0.1).all()
    assert np.array_equal(first, again)
    assert np.array_equal(other, alone)
    assert (np.abs(first - other).max(axis=0)[1:] > 0.01).all()
    assert (np.abs(first - seeded).max(axis=0)[1:] > 0.01).all()
