"""Fixtures: small trees without NEURON, a simulated data set, and a process of one's own for each cell."""

from __future__ import annotations

import os

# For tests/test_gpu.py, whose workers have imported Triton, which reads it then, for other tests already.
os.environ["TRITON_INTERPRET"] = "1"

import builtins
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dendrotwin.cell.stimuli import Modulated
from dendrotwin.cells import l5pc
from dendrotwin.neuron.simulate import Simulation, simulate
from dendrotwin.read_twin import twin_of
from dendrotwin.twin import Twin

REFERENCE = Path(__file__).parents[2] / "shared" / "hay2011"


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a module-level function in a fresh process: NEURON holds the mechanisms of one cell in a process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


@pytest.fixture(autouse=True)
def _torch_globals_untouched() -> Any:
    before = (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled())
    yield
    assert (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()) == before


@pytest.fixture
def without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs Triton cannot be imported."""

    def absent(name: str, *arguments: Any) -> Any:
        if name == "dendrotwin.solver.gpu":
            raise ImportError("No module named 'triton'")
        return real(name, *arguments)

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", absent)


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder with the paper's reconstruction and the reference recordings."""
    folder = Path(os.environ.get(l5pc.MORPHOLOGY_VARIABLE, REFERENCE / "cell1.asc")).parent
    if not (folder / "cell1.asc").is_file() or not (folder / "reference_synaptic.npz").is_file():
        pytest.skip(
            f"no reconstruction with reference recordings at {folder}; set ${l5pc.MORPHOLOGY_VARIABLE} to its path"
        )
    return folder


@pytest.fixture(scope="session")
def simulation() -> Simulation:
    """A short simulation of the small cell, in which some trials spike."""
    return Simulation(cell="ball_and_stick", duration_ms=1500, seed=3, inputs=Modulated(rate_scale=0.15))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, simulation: Simulation) -> Path:
    """Ten trials of it, simulated by two worker processes. Read only."""
    out = tmp_path_factory.mktemp("data") / "ball_and_stick"
    simulate(simulation, 10, out, workers=2)
    return out


@pytest.fixture(scope="session")
def ball_and_stick() -> Twin:
    """A twin of the small cell."""
    return twin_of("ball_and_stick")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
