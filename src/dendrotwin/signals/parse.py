"""Texts of the command line to instruments, probes and slabs: NAME, or NAME:key=value:key=value...

The names are those of the signals of LFPykit (Hagen et al. 2018, doi:10.3389/fninf.2018.00092), a dye and a pipette.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from dendrotwin.errors import InputError
from dendrotwin.signals.contacts import BESIDE_UM, read_contacts
from dendrotwin.signals.currents import Currents
from dendrotwin.signals.extracellular import INSIDE, LFP, SIGMA_S_PER_M, Dipole
from dendrotwin.signals.head import ANGLES_DEG, EEG, MEG, MEG_RADIUS_UM, FourSpheres, NewYorkEEG, sensors_on_meridian
from dendrotwin.signals.instruments import Instrument
from dendrotwin.signals.optical import Dye
from dendrotwin.signals.pipette import Patch
from dendrotwin.signals.placing import PlacedCell, Triple
from dendrotwin.signals.population import RESERVED
from dendrotwin.signals.probes import (
    Probe,
    default_probe,
    ecog_grid,
    linear_probe,
    neuropixels,
    square_array,
)
from dendrotwin.signals.slab import Slab
from dendrotwin.signals.source_density import CSD, layers_over

PROBES: dict[str, Callable[..., Probe]] = {"linear": linear_probe, "square": square_array, "neuropixels": neuropixels}
PROBE_FILES = (".csv", ".json", ".yaml", ".yml")
HEAD = FourSpheres()
SOMA = -1  # a text has no None
LABEL = "label="


def parse_instrument(text: str, probe: Probe | None, slab: Slab | None, cells: Sequence[PlacedCell] = ()) -> Instrument:
    """The instrument that a text names, such as "lfp:source=line:sigma_S_per_m=0.3,0.3,0.4" or "dye:rows=64".

    Args:
        text: currents, lfp, ecog, csd, dipole, eeg, new-york, meg, dye or patch, and its options; with label=deep the
            signal is named lfp-deep, so that there can be two of one instrument.
        probe: of lfp and ecog; None for a linear probe that is clear of the cells, and a grid on the slab.
        slab: of lfp, and of ecog, which needs one; None for a homogeneous medium.
        cells: what is recorded; currents need one, a csd without start_um and stop_um takes its layers from them.

    Raises:
        InputError: there is no such instrument or option, or a value is wrong.
    """

    def lfp(
        sigma_S_per_m: tuple[float, ...] = (SIGMA_S_PER_M,),
        source: str = "point" if slab else "soma-point",
        inside: str = INSIDE[0],
    ) -> LFP:
        contacts = default_probe([cell.tree() for cell in cells]) if probe is None else probe
        return LFP(contacts, sigma_S_per_m[0] if len(sigma_S_per_m) == 1 else sigma_S_per_m, source, slab, inside)

    def ecog(source: str = "point", inside: str = INSIDE[0]) -> LFP:
        if slab is None:
            raise InputError(
                "ecog needs the cortex as a slab: --slab bottom_um=-800:thickness_um=2200:below_S_per_m=0.15"
            )
        return LFP(
            ecog_grid(slab.top_um) if probe is None else probe, source=source, slab=slab, inside=inside, name="ecog"
        )

    def currents() -> Currents:
        if len(cells) != 1:
            raise InputError(f"currents are of one cell, not of {len(cells)}; take them from one recording at a time")
        return Currents(cells[0].tree())

    def csd(
        start_um: float = math.nan,
        stop_um: float = math.nan,
        layers: int = 40,
        half_width_um: float = CSD.half_width_um,
    ) -> CSD:
        if math.isnan(start_um) != math.isnan(stop_um):
            raise InputError("csd has both start_um and stop_um, or neither, which takes layers over the cells")
        if layers < 1 or start_um >= stop_um:
            raise InputError(
                f"csd in {layers} layers from {start_um:g} to {stop_um:g} um; give at least one layer, from below to "
                "above"
            )
        if not math.isnan(start_um):
            return CSD(np.linspace(start_um, stop_um, layers + 1), half_width_um)
        said = any(pair.startswith("layers=") for pair in pairs)
        return CSD(layers_over([cell.tree() for cell in cells], layers if said else None), half_width_um)

    makers: dict[str, Callable[..., Instrument]] = {
        "currents": currents,
        "lfp": lfp,
        "ecog": ecog,
        "csd": csd,
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
    options = [pair for pair in pairs if not pair.startswith(LABEL)]
    made = makers[name](**_parse_options(name, makers[name], options, {"name"}))
    if not labels:
        return made
    if len(labels) > 1 or not labels[0].isidentifier() or labels[0] == RESERVED:
        raise InputError(
            f"{text}: the label must be one word of letters, digits and _, and not {RESERVED}; such as label=deep"
        )
    return cast(Instrument, dataclasses.replace(cast(Any, made), name=f"{made.name}-{labels[0]}"))


def parse_instruments(
    texts: Sequence[str], probes: Sequence[str], slab: Slab | None, cells: Sequence[PlacedCell]
) -> list[Instrument]:
    """The instruments of several texts, with the probes of those that have one.

    Args:
        texts: see `parse_instrument`.
        probes: see `parse_probe`; one is that of every lfp and ecog, several are one for each of these, in their order.
        slab: see `parse_instrument`.
        cells: what is recorded.

    Raises:
        InputError, FileError: see `parse_instrument` and `parse_probe`; or there are several probes, and not one for
            each lfp and ecog.
    """
    contacts = [parse_probe(text) for text in probes]
    with_probe = [text for text in texts if text.split(":")[0] in ("lfp", "ecog")]
    if contacts and not with_probe:
        raise InputError(f"a probe is of lfp and ecog, not of {', '.join(texts)}; leave --probe away, or add lfp")
    if len(contacts) > 1 and len(contacts) != len(with_probe):
        raise InputError(
            f"there are {len(contacts)} probes for {len(with_probe)} signals ({', '.join(with_probe)}); give one "
            "--probe for all, or one for each in its order: --signal lfp:label=a --probe A --signal lfp:label=b "
            "--probe B"
        )
    one_each = iter(contacts if len(contacts) > 1 else contacts * len(with_probe))
    return [parse_instrument(text, next(one_each, None) if text in with_probe else None, slab, cells) for text in texts]


def parse_probe(text: str) -> Probe:
    """The probe that a text names.

    Args:
        text: "linear", "square" or "neuropixels" with options, or the path of a file of contacts, also with options:
            plane and beside_um of a flat probe, shift_um of any; see `read_contacts`.

    Raises:
        InputError: there is no such probe or option, or a value is wrong.
        FileError: see `read_contacts`.
    """
    name, *pairs = [text] if Path(text).is_file() else text.split(":")
    if Path(name).suffix in PROBE_FILES or Path(name).is_file():
        options = _parse_options("a probe's file", _contacts, pairs)
        return read_contacts(Path(name), **options)
    if name not in PROBES:
        raise InputError(
            f"there is no probe {name!r}; choose {', '.join(PROBES)}, or name a file of contacts (.csv, .json, .yaml)"
        )
    return PROBES[name](**_parse_options(name, PROBES[name], pairs))


def parse_slab(text: str) -> Slab:
    """The slab that a text gives.

    Args:
        text: its options alone, such as "bottom_um=-150:thickness_um=300".

    Raises:
        InputError: there is no such option, or a value is wrong.
    """
    return Slab(**_parse_options("slab", Slab, text.split(":")))


def _contacts(plane: str = "xz", beside_um: float = BESIDE_UM, shift_um: Triple = (0.0, 0.0, 0.0)) -> None:
    """Options of a file of contacts, with the defaults of a flat probe."""


# The options of an instrument are the parameters of the function that makes it, and their types those of its defaults.


def _eeg(angles_deg: tuple[float, ...] = ANGLES_DEG, origin_um: Triple = HEAD.origin_um) -> EEG:
    return EEG(sensors_on_meridian(angles_deg), FourSpheres(origin_um))


def _meg(
    angles_deg: tuple[float, ...] = ANGLES_DEG, radius_um: float = MEG_RADIUS_UM, origin_um: Triple = HEAD.origin_um
) -> MEG:
    return MEG(sensors_on_meridian(angles_deg, radius_um), FourSpheres(origin_um))


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


def _parse_options(
    name: str, maker: Callable[..., Any], pairs: list[str], hidden: frozenset[str] | set[str] = frozenset()
) -> Any:
    """key=value options, each of the type of the default that it replaces; several numbers have commas."""
    defaults = {key: p.default for key, p in inspect.signature(maker).parameters.items() if key not in hidden}
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in defaults:
            known = f"the options of {name} are {', '.join(defaults)}" if defaults else f"{name} takes no options"
            raise InputError(f"{name}:{pair} must have the form key=value; {known}")
        if key in options:
            raise InputError(f"{name}: {key} is given twice; say it once")
        try:
            options[key] = _parse_value(value, defaults[key])
        except ValueError as error:
            raise InputError(f"{name}: {key}={value} must be {_type_of(defaults[key])}") from error
    return options


def _parse_value(text: str, default: Any) -> Any:
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


def _type_of(default: Any) -> str:
    """What a value is that replaces this default, with the default as its example."""
    if isinstance(default, int):
        return f"a whole number, such as {default}"
    if isinstance(default, float):
        return "a number" if math.isnan(default) else f"a number, such as {default:g}"
    what = "three numbers" if len(default) == 3 else "numbers"
    return f"{what} with commas between them, such as {','.join(f'{number:g}' for number in default)}"
