"""What all figures share: type, colours that the colour-blind tell apart, legends, and how a figure is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, ListedColormap, Normalize, to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from PIL import Image

from dendrotwin.cell.tree import REGIONS
from dendrotwin.support.atomic_files import whole_file

Floats = NDArray[np.float64]
Real = NDArray[np.floating[Any]]

MADE_OF = "dendrotwin"  # the text of a PNG file that says what it was made of
STYLE: Any = {
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "path.simplify_threshold": 0.2,
}
DPI = 150
TRUE, TWIN = "#000000", "#0072B2"  # what NEURON recorded, and what the twin predicts
BASELINE, MISSING = "#8c8c8c", "#bdbdbd"  # what a twin is compared with; no value
BELOW = "#c2185b"  # values below the axis, and electrodes
MEDIAN, RULE = "#404040", "#d0d0d0"  # medians and notes; lines that separate
# Okabe and Ito's colours, which the colour-blind tell apart, and a marker for prints without colour.
REGION_COLOURS = dict(zip(REGIONS, ("#000000", "#0072B2", "#E69F00", "#D55E00", "#CC79A7", "#009E73"), strict=True))
REGION_MARKERS = dict(zip(REGIONS, ("*", "o", "^", "s", "D", "P"), strict=True))

LEGEND_MARKER: Any = {"linestyle": "none", "markeredgewidth": 0, "markersize": 9}
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def series_colours(names: Sequence[str], grey: Sequence[str] = ()) -> dict[str, str]:
    """A colour for each name.

    Args:
        names: of what is drawn, in the order of the legend.
        grey: those of them that are drawn in grey, such as baselines.
    """
    coloured = [name for name in names if name not in grey]
    colours = list(SERIES)
    if len(coloured) > len(SERIES):  # in order of brightness, so that more can be told apart
        colours = [to_hex(colour) for colour in matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, len(coloured)))]
    greys = [to_hex(str(shade)) for shade in np.linspace(0.35, 0.62, len(grey))]
    return dict(zip(coloured, colours, strict=False)) | dict(zip(grey, greys, strict=True))


def colour_scale(limits: tuple[float, float]) -> tuple[Colormap, Normalize]:
    """Colours from dark to light, without the yellows that thin lines on white lose; grey for NaN.

    Args:
        limits: values at both ends of the scale.

    Returns:
        The colour map, and the scale from values to it.
    """
    low, high = limits if limits[1] > limits[0] else (limits[0] - 0.5, limits[0] + 0.5)
    colours = ListedColormap(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, 256)), name="viridis, cut")
    return colours.with_extremes(bad=MISSING, under=BELOW), Normalize(low, high)


def legend_above(figure: Figure, colours: Mapping[str, str], markers: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write one legend of all predictors above the panels.

    Args:
        figure: with the panels.
        colours: of each predictor.
        markers: of each predictor; a square where there is none.
    """
    handles = [
        Line2D([], [], marker=markers.get(name, "s"), color=colour, label=name, **LEGEND_MARKER)
        for name, colour in colours.items()
    ]
    longest = max(len(name) for name in colours)
    figure.legend(handles=handles, loc="outside upper center", ncols=max(1, min(len(handles), 110 // (longest + 5))))


def save(figure: Figure, path: Path, made_of: dict[str, Any] | None = None) -> None:
    """Write a figure as PNG, under a temporary name until it is complete, and clear it.

    Args:
        figure: what to write; it is empty afterwards, so that many figures do not fill the memory.
        path: the file; replaced if it exists.
        made_of: by name, what JSON can hold; the file keeps it, see `made_of`.
    """
    kept = {} if made_of is None else {MADE_OF: json.dumps(made_of)}
    with whole_file(Path(path)) as temporary, matplotlib.rc_context(STYLE):
        figure.savefig(temporary, dpi=DPI, format="png", facecolor="white", metadata=kept)
    figure.clear()


def made_of(path: Path) -> dict[str, Any]:
    """What a PNG file says that it was made of; nothing where it does not.

    Args:
        path: the file.
    """
    try:
        with Image.open(path) as image:
            return dict(json.loads(image.info[MADE_OF]))
    except (OSError, ValueError, KeyError, TypeError):
        return {}
