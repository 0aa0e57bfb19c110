"""How exact signals are: currents beside NEURON's, the LFP of stored potentials, LFP and dipole beside LFPy's own run.

    python benchmarks/signals_accuracy.py

The checks of tests/test_signals.py and tests/test_cells.py, on every cell that can be built here ($DENDROTWIN_L5PC
names the reconstruction of l5pc). The results are in docs/measurements/signals.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from conftest import in_new_process
from dendrotwin.cells import NAMES, load_cell
from dendrotwin.neuron.compile import cannot_build
from test_cells import _kirchhoff
from test_signals import _lfpy, _ve_after_storage


def main() -> None:
    here = [name for name in NAMES if cannot_build(load_cell(name).missing()) is None]
    print("| cell | currents, backward Euler | Crank-Nicolson | VE of int16 | of float16 | silent |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in here:
        euler, nicolson = (
            in_new_process(_kirchhoff, name, {}, method)["difference"]
            for method in ("backward-euler", "crank-nicolson")
        )
        stored = in_new_process(_ve_after_storage, name, {})
        print(
            f"| {name} | {euler:.1e} | {nicolson:.1e} | {stored['int16']:.5f} | {stored['float16']:.5f} | "
            f"{stored['ms']:.0f} ms |",
            flush=True,
        )
    print("\n| beside LFPy | LFP | dipole | LFP through a file | dipole through a file |")
    print("| --- | --- | --- | --- | --- |")
    for name in here:
        with tempfile.TemporaryDirectory() as folder:
            found = in_new_process(_lfpy, name, Path(folder))
        keys = ("lfp in double", "dipole in double", "lfp", "dipole")
        print(f"| {name} | {' | '.join(f'{found[key]:.1e}' for key in keys)} |", flush=True)


if __name__ == "__main__":
    main()
