"""dendrotwin: twins of biophysically detailed neuron models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dendrotwin.cell.spike_files import read_spikes
    from dendrotwin.cell.stimuli import Modulated, Poisson
    from dendrotwin.cell.tree import Events, Injection, Tree
    from dendrotwin.cells import CellModel, Sections
    from dendrotwin.evaluation.evaluate import evaluate
    from dendrotwin.neuron.simulate import Simulation, simulate
    from dendrotwin.read_twin import twin_of
    from dendrotwin.recording import Recording
    from dendrotwin.training.config import Training
    from dendrotwin.training.loop import train
    from dendrotwin.twin import Twin, load, predict

__version__ = "0.1.0"
__all__ = [
    "CellModel", "Events", "Injection", "Modulated", "Poisson", "Recording", "Sections", "Simulation", "Training",
    "Tree", "Twin", "evaluate", "load", "predict", "read_spikes", "simulate", "train", "twin_of",
]  # fmt: skip

_HOMES = {
    "cell.spike_files": ("read_spikes",),
    "cell.stimuli": ("Modulated", "Poisson"),
    "cell.tree": ("Events", "Injection", "Tree"),
    "cells": ("CellModel", "Sections"),
    "evaluation.evaluate": ("evaluate",),
    "neuron.simulate": ("Simulation", "simulate"),
    "read_twin": ("twin_of",),
    "recording": ("Recording",),
    "training.config": ("Training",),
    "training.loop": ("train",),
    "twin": ("TWINS", "Twin", "load", "predict"),
}


_MODULES = ("circuit", "plot", "signals")


def __getattr__(name: str) -> Any:
    """Names at their first use: `import dendrotwin` alone is to be quick."""
    if name in _MODULES:
        return import_module(f"dendrotwin.{name}")
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"dendrotwin.{module}"), name)
    raise AttributeError(f"module 'dendrotwin' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_MODULES, "TWINS", "__version__"]
