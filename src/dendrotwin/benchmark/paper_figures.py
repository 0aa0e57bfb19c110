"""Figures 1 to 3 of Verhellen et al. 2024 (doi:10.1371/journal.pcbi.1011728), with the twin of the package.

What NEURON recorded is in the package too, so that none of them needs NEURON or the cell's reconstruction.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import dendrotwin
from dendrotwin import plot
from dendrotwin.benchmark.rows import finished_rows
from dendrotwin.cell.tree import REGIONS, Injection, Tree
from dendrotwin.evaluation.figures import most_active_window
from dendrotwin.evaluation.metrics import SignalVariance
from dendrotwin.recording import Recording
from dendrotwin.recording.trials import read_trial, trials_of_cell
from dendrotwin.signals import lfp_matrix, membrane_currents, point_electrodes
from dendrotwin.twin import Twin

CELL = "l5pc"
WINDOW_MS, INPUT_MS = 300, 3  # of the traces of figure 1, and of the input beside its snapshot
SITES = ("tuft", "trunk", "oblique", "soma", "basal")  # from top to bottom
ELECTRODES, BESIDE_UM = 6, 50.0  # electrodes of figure 1, and their distance from the cell's long axis
MV_TO_UV = 1e3
# The trials of l5pc.bac.h5, made by benchmarks/bac.py; their electrodes are in the soma and in the apical tree.
BAC_TRIALS = ("current into the soma", "into the dendrite", "into both")
BAC_WINDOW_MS = (285, 385)
PLATEAU_MV = -40.0  # the apical site is above it in the calcium spike only


def figure_1() -> Figure:
    """Figure 1, B to D: the recording of the package beside its twin, potentials and LFP.

    Returns:
        The figure.

    Raises:
        InputError: LFPykit, whose forward model makes the LFP, is not installed.
    """
    ((true, predicted),) = _pairs(f"{CELL}.recording.h5")
    tree = true.tree
    window = most_active_window(true, WINDOW_MS)
    # Where the apical dendrites are most depolarised, in NEURON.
    apical = true.v_mV[window][:, tree.in_region("apical")].mean(axis=1)
    moment = window.start + int(apical.argmax())
    ev = _explained(true.v_mV, predicted.v_mV, true.spikes_ms)
    sites = {
        site: plot.TracePair(
            _compartment_name(tree, site), true.v_mV[window, site], predicted.v_mV[window, site], f"EV {ev[site]:.3f}"
        )
        for site in (_middle_of(tree, region) for region in SITES)
    }
    electrodes, positions = _electrodes(tree)
    matrix = lfp_matrix(tree, point_electrodes(positions))
    lfps = [membrane_currents(tree, recording.v_mV) @ matrix.T * MV_TO_UV for recording in (true, predicted)]
    ve = _explained(lfps[0], lfps[1], true.spikes_ms)
    lfp = [
        plot.TracePair(_height(electrodes[k, 1]), lfps[0][window, k], lfps[1][window, k], f"VE {ve[k]:.3f}")
        for k in range(ELECTRODES)
    ]
    return plot.figure_paper_1(
        tree,
        true.events,
        sites,
        electrodes,
        lfp,
        plot.Snapshot(moment + 1, true.v_mV[moment], predicted.v_mV[moment], INPUT_MS),
        (window.start, window.stop),
    )


def figure_2(benchmark: Path, code: str | Path | None = None) -> Figure:
    """Figure 2: the architectures of a benchmark and its baselines, each seed's errors averaged.

    Args:
        benchmark: its folder; what is finished is drawn.
        code: the Python file of an architecture that is none of dendrotwin's; see `rows.finished_rows`.

    Raises:
        FileError: it is no benchmark, or has nothing to show yet.
    """
    tree, rows = finished_rows(benchmark, code)
    curves = {row.name: [training["curve"] for training in row.trainings] for row in rows if row.trainings}
    ev = {row.name: np.mean([e.ev for e in row.evaluations], axis=0) for row in rows if row.name != "mean"}
    auc = {row.name: [e.spikes.auc for e in row.evaluations] for row in rows if row.name != "mean"}
    return plot.figure_paper_2(tree, curves, ev, auc)


def figure_3() -> Figure:
    """Figure 3: an action potential, a dendritic current, and the calcium spike that only both make (BAC firing).

    Larkum et al. 1999 (doi:10.1038/18686), Hay et al. 2011 (doi:10.1371/journal.pcbi.1002107). The cell is drawn in the
    middle of NEURON's plateau, the time in which the apical site is above -40 mV.
    """
    pairs = _pairs(f"{CELL}.bac.h5")
    tree = pairs[0][0].tree
    window = slice(*BAC_WINDOW_MS)
    injections = {}
    for name, (true, _) in zip(BAC_TRIALS, pairs, strict=True):
        assert true.injection is not None
        injections[name] = Injection(true.injection.compartment, true.injection.current_nA[window])
    soma, apical = injections[BAC_TRIALS[0]].compartment.tolist()
    plateau = np.flatnonzero(pairs[-1][0].v_mV[window, apical] > PLATEAU_MV)
    return plot.figure_paper_3(
        tree,
        injections,
        {f"apical, {tree.distance_um[apical]:.0f} µm": apical, "soma": soma},
        [true.v_mV[window] for true, _ in pairs],
        [predicted.v_mV[window] for _, predicted in pairs],
        window.start,
        int(plateau[len(plateau) // 2]),
    )


def _explained(
    true: NDArray[np.floating], predicted: NDArray[np.floating], spikes_ms: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(channels,) explained variance of (steps, channels) over the whole of a settled trial."""
    errors = SignalVariance(true.shape[1])
    errors.add(true, predicted, spikes_ms)
    return errors.explained_variance()["all"]


def _pairs(name: str) -> list[tuple[Recording, Recording]]:
    """Every trial of a recording of the package, as NEURON and as the twin have it."""
    twin = Twin.load(dendrotwin.TWINS / CELL)
    trials = trials_of_cell(dendrotwin.TWINS / name, twin.tree, "the twin's")
    true = [read_trial(trial, twin.tree) for trial in trials]
    return [(recording, twin.predict(recording)) for recording in true]


def _middle_of(tree: Tree, region: str) -> int:
    """The compartment of a region at the median of their distances from the soma."""
    here = np.flatnonzero(tree.in_region(region))
    return int(here[np.argsort(tree.distance_um[here], kind="stable")[len(here) // 2]])


def _compartment_name(tree: Tree, compartment: int) -> str:
    region = REGIONS[tree.region[compartment]]
    return region if compartment == tree.soma else f"{region}, {tree.distance_um[compartment]:.0f} µm"


def _height(um: float) -> str:
    return f"{abs(um):.0f} µm {'above' if um > 0.0 else 'below'} the soma"


def _electrodes(tree: Tree) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Electrodes beside the cell's long axis, from top to bottom [um]: as it is drawn (e, 2), and in space (e, 3)."""
    centre, axes = plot.drawing_plane(tree)
    up = plot.height_um(tree)
    drawn = np.column_stack([np.full(ELECTRODES, BESIDE_UM), np.linspace(up.max(), up.min(), ELECTRODES)])
    return drawn, centre + drawn @ axes
