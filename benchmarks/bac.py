"""The calcium spike that a back-propagating action potential calls up (BAC firing): what NEURON records of it in l5pc.

    python benchmarks/bac.py src/dendrotwin/twins/l5pc.bac.h5

Three trials (Larkum et al. 1999, doi:10.1038/18686; Hay et al. 2011, doi:10.1371/journal.pcbi.1002107): a short pulse
into the soma, a current as of a synaptic potential 620 um up the apical tree, and both. The amplitudes of Hay et al.
(1.9 nA for 5 ms; a peak of 0.5 nA) are for their parameter set; in this one (shai2015) that pulse makes two action
potentials and, 30 ms later, a calcium spike without any dendritic current. So the pulse is 4 nA for 2 ms (2.5 to 5 nA
make one action potential and no calcium spike; in 5 ms only 1.4 to 1.45 nA do) and the dendritic current 1 nA at its
peak (with 0.5 nA there is no calcium spike). docs/measurements/cells.md has the others. The cell's
reconstruction must be at hand (docs/tutorials/paper-cell.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from dendrotwin.cell.tree import Injection, Tree
from dendrotwin.cells import load_cell
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.simulate import Simulation
from dendrotwin.neuron.trial import run_trial
from dendrotwin.recording import Recording, provenance, trial_identity, write_recordings
from generalise import NO_EVENTS, current_pulses, sites, synaptic_course

STEPS, ONSET_MS, PULSE_MS = 450, 300, 2
PULSE_NA, DENDRITIC_NA = 4.0, 1.0


def currents(tree: Tree) -> list[Injection]:
    """Into the soma, into the apical site, and into both: electrodes at both in each of them."""
    dendritic = DENDRITIC_NA * synaptic_course(STEPS, ONSET_MS)
    found = []
    for pulse, share in ((PULSE_NA, 0.0), (0.0, 1.0), (PULSE_NA, 1.0)):
        injection = current_pulses([tree.soma, sites(tree)[0]], STEPS, (ONSET_MS - PULSE_MS, ONSET_MS, pulse))
        injection.current_nA[:, 1] = share * dendritic
        found.append(injection)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="file of recordings")
    out = parser.parse_args().out
    simulation = Simulation(cell="l5pc", duration_ms=STEPS, dt_ms=0.025)
    cell = NeuronCell(load_cell(simulation.cell))
    recordings = []
    for injection in currents(cell.tree):
        v, spikes = run_trial(cell, NO_EVENTS, STEPS, simulation.dt_ms, simulation.method, injection)
        identity = trial_identity(NO_EVENTS, injection, STEPS)
        recordings.append(Recording(cell.tree, v.astype(np.float32), NO_EVENTS, spikes, identity, injection))
        site = v[:, injection.compartment[1]]
        print(f"{len(spikes)} output spikes; apical site: {site.max():.1f} mV, {(site > -40).sum()} ms above -40 mV")
    write_recordings(out, recordings, {**provenance(), "simulation": simulation.model_dump_json()}, compress=True)
    print(f"{out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
