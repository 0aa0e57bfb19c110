"""How far the cells are from the published model and from NEURON's own currents: the figures behind the tests.

    python benchmarks/reference.py [FOLDER]

FOLDER holds `cell1.asc` and the reference recordings (default: where the tests look). The results stand in
docs/measurements/cells.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from conftest import REFERENCE, in_new_process
from test_cells import _kirchhoff, _through_the_package, _with_mechanisms


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else REFERENCE
    print("l5pc, names / relative area / relative ri:", in_new_process(_with_mechanisms, "compartments", folder))
    print("synaptic reference, max |dV| [mV]:", in_new_process(_with_mechanisms, "synaptic", folder))
    print("the same by the way of `simulate` [mV]:", in_new_process(_through_the_package, folder)[0])
    print("current step, V [mV], spikes, times [ms]:", in_new_process(_with_mechanisms, "step", folder))
    for name, epsp in (("BAP", False), ("BAC", True)):
        print(
            f"{name}, max |dV| at three sites [mV]:", in_new_process(_with_mechanisms, "back_propagation", folder, epsp)
        )
    for check in ("nata_current", "ca_lvast_current", "nmda_current", "nata_singular_rates"):
        print(f"{check}, relative:", in_new_process(_with_mechanisms, check))
    for cell in ("ball_and_stick", "allen_l4", "l5pc"):
        options = {"morphology": str(folder / "cell1.asc")} if cell == "l5pc" else {}
        for method in ("backward-euler", "crank-nicolson"):
            found = in_new_process(_kirchhoff, cell, options, method)
            print(f"Kirchhoff, {cell}, {method}: relative to NEURON {found['difference']:.1e}, sum {found['sum']:.1e}")


if __name__ == "__main__":
    main()
