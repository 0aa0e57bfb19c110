"""Whether this machine can do each step, in plain words, and what to install if not."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from dendrotwin.errors import CellError
from dendrotwin.neuron.compile import missing_tools


@dataclass(frozen=True)
class Finding:
    """One thing this machine can or cannot do.

    Attributes:
        what: the step.
        good: whether it can.
        says: why, or what to install.
        needed: whether the package is of use without it.
    """

    what: str
    good: bool
    says: str
    needed: bool


def examine() -> list[Finding]:
    """Look at this machine: compiling is tried for real, the rest is looked up."""
    return [_simulate(), _train(), *_extras()]


def _simulate() -> Finding:
    from dendrotwin.cells import load_cell
    from dendrotwin.neuron.build import SYNAPSE_FILES
    from dendrotwin.neuron.compile import build_mechanisms

    if importlib.util.find_spec("neuron") is None:
        return Finding("simulate", False, "NEURON is not installed; pip install neuron", True)
    tools = missing_tools()
    try:
        folder = build_mechanisms(load_cell("ball_and_stick").files() + SYNAPSE_FILES)
    except CellError as error:
        return Finding("simulate", False, str(error), True)
    if tools:
        return Finding(
            "simulate", False, f"cells built before run, new ones need {', '.join(tools)}; install them", False
        )
    return Finding("simulate", True, f"NEURON is there and compiles mechanisms (kept in {Path(folder).parent})", True)


def _train() -> Finding:
    if importlib.util.find_spec("torch") is None:
        return Finding("train", False, "PyTorch is not installed; pip install torch==2.13.0", True)
    import torch

    if torch.cuda.is_available():
        return Finding("train", True, f"on the GPU {torch.cuda.get_device_name(0)}", True)
    return Finding("train", True, f"on the CPU, {torch.get_num_threads()} threads; there is no GPU", True)


EXTRAS = {
    "cells of the Allen Institute": ("allen", ("bmtk",)),
    "cells of the Blue Brain Project": ("bbp", ("MEArec",)),
    "simulate on a cluster": ("hpc", ("distributed", "dask_jobqueue")),
    "extracellular signals": ("signals", ("lfpykit", "MEAutility")),
    "signals as NWB": ("nwb", ("pynwb",)),
}


def _extras() -> list[Finding]:
    findings = []
    for what, (extra, packages) in EXTRAS.items():
        absent = [package for package in packages if importlib.util.find_spec(package) is None]
        says = f"{', '.join(absent)} not installed; pip install 'dendrotwin[{extra}]'" if absent else "installed"
        findings.append(Finding(what, not absent, says, False))
    return findings
