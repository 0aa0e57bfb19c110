"""Figures: arrays in, `matplotlib.figure.Figure` out. Nothing here reads a file or computes an error."""

from dendrotwin.plot.cells import drawing_plane, figure_morphology, figure_soma, figure_traces, height_um, project
from dendrotwin.plot.circuit import figure_field, figure_potentials, figure_raster
from dendrotwin.plot.errors import (
    figure_cells,
    figure_distances,
    figure_distributions,
    figure_electrodes,
    figure_errors,
)
from dendrotwin.plot.paper import Snapshot, TracePair, figure_paper_1, figure_paper_2, figure_paper_3
from dendrotwin.plot.signals import figure_contacts, figure_depth, figure_frames, figure_series, figure_spectrum
from dendrotwin.plot.style import made_of, save
from dendrotwin.plot.training import figure_curves, figure_experts, figure_training

__all__ = [
    "Snapshot",
    "TracePair",
    "drawing_plane",
    "figure_cells",
    "figure_contacts",
    "figure_curves",
    "figure_depth",
    "figure_distances",
    "figure_distributions",
    "figure_electrodes",
    "figure_errors",
    "figure_experts",
    "figure_field",
    "figure_frames",
    "figure_morphology",
    "figure_paper_1",
    "figure_paper_2",
    "figure_paper_3",
    "figure_potentials",
    "figure_raster",
    "figure_series",
    "figure_soma",
    "figure_spectrum",
    "figure_traces",
    "figure_training",
    "height_um",
    "made_of",
    "project",
    "save",
]
