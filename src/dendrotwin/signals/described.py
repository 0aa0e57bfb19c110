"""Instruments, probes and places as the command line and files describe them: NAME, or NAME:key=value:..."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from dendrotwin.errors import FileError, InputError
from dendrotwin.signals.currents import Currents
from dendrotwin.signals.extracellular import CSD, LFP, SIGMA_S_PER_M, Dipole, Slab
from dendrotwin.signals.head import ANGLES_DEG, EEG, MEG, FourSpheres, NewYorkEEG, scalp_electrodes
from dendrotwin.signals.optical import Dye
from dendrotwin.signals.pipette import Patch
from dendrotwin.signals.placing import PlacedCell, Triple
from dendrotwin.signals.probes import Probe, linear_probe, neuropixels, read_probe, square_array
from dendrotwin.signals.streaming import Instrument

PROBES: dict[str, Callable[..., Probe]] = {"linear": linear_probe, "square": square_array, "neuropixels": neuropixels}
HEAD = FourSpheres()
SOMA = -1
LABEL = "label="
GRID_UM = 400.0  # between the contacts of a grid on the cortex


def _csd(start_um: float = -500.0, stop_um: float = 1500.0, layers: int = 40, half_width_um: float = 500.0) -> CSD:
    if layers < 1 or not start_um < stop_um:
        raise InputError(
            f"csd in {layers} layers from {start_um:g} to {stop_um:g} um; give one at least, from below to above"
        )
    return CSD(np.linspace(start_um, stop_um, layers + 1), half_width_um)


def _eeg(angles_deg: tuple[float, ...] = ANGLES_DEG, origin_um: Triple = HEAD.origin_um) -> EEG:
    return EEG(scalp_electrodes(angles_deg), FourSpheres(origin_um))


def _meg(
    angles_deg: tuple[float, ...] = ANGLES_DEG, radius_um: float = 110_000.0, origin_um: Triple = HEAD.origin_um
) -> MEG:
    return MEG(scalp_electrodes(angles_deg, radius_um), FourSpheres(origin_um))


def _new_york(file: str = "sa_nyhead.mat", position_mm: Triple = NewYorkEEG.position_mm) -> NewYorkEEG:
    return NewYorkEEG(Path(file), position_mm)


def _patch(
    compartment: int = SOMA,
    series_MOhm: float = Patch.series_MOhm,
    capacitance_pF: float = Patch.capacitance_pF,
    noise_mV: float = Patch.noise_mV,
    seed: int = Patch.seed,
) -> Patch:
    return Patch(None if compartment == SOMA else compartment, series_MOhm, capacitance_pF, noise_mV, seed)


def _dye(
    rows: int = Dye.rows,
    columns: int = Dye.columns,
    pixel_um: float = Dye.pixel_um,
    attenuation_um: float = Dye.attenuation_um,
    blur_um: float = Dye.blur_um,
    spread: float = Dye.spread,
    surface_um: float = math.nan,
) -> Dye:
    surface = None if math.isnan(surface_um) else surface_um
    return Dye(
        rows, columns, pixel_um, surface_um=surface, attenuation_um=attenuation_um, blur_um=blur_um, spread=spread
    )


def instrument(text: str, probe: Probe | None, slab: Slab | None, cells: Sequence[PlacedCell] = ()) -> Instrument:
    """The instrument that `text` describes, such as "lfp:source=line:sigma_S_per_m=0.3,0.3,0.4" or "dye:rows=64".

    Args:
        text: currents, lfp, ecog, csd, dipole, eeg, new-york, meg, dye or patch, and its options; with label=deep the
            signal is named lfp-deep, so that there can be two of a kind.
        probe: of lfp and ecog; without, a linear probe and a grid of 4 by 4 contacts on the slab.
        slab: of lfp and ecog, which needs one.
        cells: what is recorded; currents need one.

    Raises:
        InputError: there is no such instrument or option, or a value is wrong.
    """

    def lfp(
        sigma_S_per_m: tuple[float, ...] = (SIGMA_S_PER_M,), source: str = "point" if slab else "soma-point"
    ) -> LFP:
        contacts = linear_probe() if probe is None else probe
        return LFP(contacts, sigma_S_per_m[0] if len(sigma_S_per_m) == 1 else sigma_S_per_m, source, slab)

    def ecog(source: str = "point") -> LFP:
        if slab is None:
            raise InputError(
                "ecog needs the cortex as a slab: --slab bottom_um=-800:thickness_um=2200:below_S_per_m=0.15"
            )
        top_um = slab.bottom_um + slab.thickness_um
        contacts = square_array(4, 4, GRID_UM, (0.0, 0.0, top_um), plane="xy") if probe is None else probe
        return LFP(contacts, source=source, slab=slab, name="ecog")

    def currents() -> Currents:
        if len(cells) != 1:
            raise InputError(f"currents are of one cell, not of {len(cells)}; take them from one recording at a time")
        return Currents(cells[0].tree())

    makers: dict[str, Callable[..., Instrument]] = {
        "currents": currents,
        "lfp": lfp,
        "ecog": ecog,
        "csd": _csd,
        "dipole": Dipole,
        "eeg": _eeg,
        "new-york": _new_york,
        "meg": _meg,
        "dye": _dye,
        "patch": _patch,
    }
    name, *pairs = text.split(":")
    if name not in makers:
        raise InputError(f"there is no signal {name!r}; choose {', '.join(makers)}")
    labels = [pair.removeprefix(LABEL) for pair in pairs if pair.startswith(LABEL)]
    made = makers[name](**_options(name, makers[name], [p for p in pairs if not p.startswith(LABEL)], {"name"}))
    if not labels:
        return made
    if len(labels) > 1 or not labels[0].isidentifier() or labels[0] == "spectrum":  # so are figures of spectra named
        raise InputError(f"{text} has a label that is no name; write one of letters, digits and _, such as label=deep")
    return cast(Instrument, dataclasses.replace(cast(Any, made), name=f"{made.name}-{labels[0]}"))


def probe(text: str) -> Probe:
    """The probe that `text` describes: "linear", "square", "neuropixels" with options, or a CSV file of x,y,z.

    Raises:
        InputError: there is no such probe or option, or a value is wrong.
        FileError: see `read_probe`.
    """
    name, *pairs = text.split(":")
    if name.endswith(".csv"):
        return read_probe(Path(text))
    if name not in PROBES:
        raise InputError(f"there is no probe {name!r}; choose {', '.join(PROBES)}, or name a file .csv of x,y,z in um")
    return PROBES[name](**_options(name, PROBES[name], pairs))


def slab(text: str) -> Slab:
    """The layers that `text` describes, such as "bottom_um=-150:thickness_um=300".

    Raises:
        InputError: there is no such option, or a value is wrong.
    """
    return Slab(**_options("slab", Slab, text.split(":")))


def _options(
    name: str, maker: Callable[..., Any], pairs: list[str], hidden: frozenset[str] | set[str] = frozenset()
) -> Any:
    """key=value options, each of the type of the default that it replaces; several numbers have commas."""
    defaults = {key: p.default for key, p in inspect.signature(maker).parameters.items() if key not in hidden}
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in defaults:
            known = f"knows {', '.join(defaults)}" if defaults else "takes no options"
            raise InputError(f"{name}:{pair} must have the form key=value; {name} {known}")
        try:
            found[key] = _value(value, defaults[key])
        except ValueError as error:
            raise InputError(
                f"{name}: {key}={value} is no {type(defaults[key]).__name__}; such as {defaults[key]}"
            ) from error
    return found


def _value(text: str, default: Any) -> Any:
    if isinstance(default, str):
        return text
    if isinstance(default, int):
        return int(text)
    if isinstance(default, float):
        return float(text)
    numbers = tuple(float(part) for part in text.split(","))
    if len(default) == 3 and len(numbers) != 3:  # x, y, z
        raise ValueError
    return numbers


def read_places(path: Path, recordings: list[PlacedCell]) -> list[PlacedCell]:
    """The recordings, placed as a CSV file says: header x,y,z or x,y,z,rx,ry,rz, a line for each, in um and degrees.

    Raises:
        FileError: the file is missing, is no such table, or has another number of lines than there are recordings.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"{path} does not exist; it says where each recorded cell is: x,y,z in um, or x,y,z,rx,ry,rz")
    try:
        header, *lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        columns = [name.strip() for name in header.split(",")]
        if columns not in (["x", "y", "z"], ["x", "y", "z", "rx", "ry", "rz"]):
            raise ValueError
        rows = [[float(value) for value in line.split(",")] for line in lines]
        if any(len(row) != len(columns) for row in rows):
            raise ValueError
    except (ValueError, UnicodeDecodeError) as error:
        raise FileError(
            f"{path} is no table of places: its header is x,y,z or x,y,z,rx,ry,rz, then come numbers"
        ) from error
    if len(rows) != len(recordings):
        raise FileError(
            f"{path} places {len(rows)} cells, there are {len(recordings)} recordings; give a line for each"
        )
    return [
        PlacedCell(
            cell.recording,
            cell.trial,
            cast(Triple, tuple(row[:3])),
            cast(Triple, tuple(row[3:]) or cell.rotation_deg),
            cell.as_built,
        )
        for cell, row in zip(recordings, rows, strict=True)
    ]
