"""Signals as a Neurodata Without Borders file (Rübel et al. 2022, doi:10.7554/eLife.78362) that other programs open."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dendrotwin import __version__
from dendrotwin.cell.tree import Floats
from dendrotwin.errors import InputError
from dendrotwin.recording import RecordingFile
from dendrotwin.signals.extras import import_extra
from dendrotwin.signals.instruments import MS_PER_S, Signal
from dendrotwin.signals.placing import PlacedCell
from dendrotwin.support.disk import whole_hdf5

TO_VOLT = {"mV": 1e-3, "uV": 1e-6}
TO_SI = {
    "nA": ("ampere", 1e-9),
    "fT": ("tesla", 1e-15),
    "nA um": ("ampere meter", 1e-15),
    "nA/um3": ("ampere per cubic meter", 1e9),
}
PLACES = ("x_um", "y_um", "z_um")
# What readers require of a subject, where nothing is said: no animal was there. NCBI's taxon 32644 is "unidentified".
SUBJECT = {
    "subject_id": "simulated-cell",
    "description": "a simulated cell; there was no animal",
    "species": "http://purl.obolibrary.org/obo/NCBITaxon_32644",
    "sex": "U",
    "age": "P0D/",  # of any age
}
SETTINGS = "settings: "  # how the comments of each series begin; then JSON
BYTES_AT_ONCE = 4 << 20  # of a signal in memory


def write_nwb(
    path: Path,
    signals: Iterable[Signal],
    description: str,
    cell: PlacedCell | None = None,
    subject: Mapping[str, str] | None = None,
) -> None:
    """Write signals as an NWB file, piece by piece, under a temporary name until it is complete.

    Potentials at electrodes (lfp, ecog, eeg) become ElectricalSeries in `processing/ecephys` (the lfp in its `LFP`).
    Each contact has a row of the electrode table: its place in the plane of the contacts as `rel_x`, `rel_y`, that in
    the tissue as `x_um`, `y_um`, `z_um` [um]. A TimeSeries of the same data (a link) is in `acquisition`: neo reads
    nothing else, and no ElectricalSeries. A patch becomes a CurrentClampSeries with the injected current as its
    CurrentClampStimulusSeries, a dye an ImageSeries; all else is a TimeSeries in SI units in `processing/ecephys`.
    The comments of each series hold `Signal.settings` as JSON: conductivities, sources, layers, sizes of contacts,
    head, seed.

    Args:
        path: the file; replaced if it exists.
        signals: what to write; their values may be arrays of an open file, see `open_signals`.
        description: of the session, such as what was simulated.
        cell: what a patch recorded, whose file says the injected current; None writes no stimulus.
        subject: fields of the subject, such as species, sex, age; others are those of a simulated cell.

    Raises:
        InputError: pynwb is not installed, or the subject has no such field.
        FileError: the recording of the cell is missing or damaged.
    """
    pynwb = import_extra("pynwb", "nwb")
    now = datetime.now(UTC)
    file = pynwb.NWBFile(  # without keywords, which neo cannot read
        session_description=description,
        identifier=f"dendrotwin-{now.isoformat()}",
        session_start_time=now,
        experiment_description="signals computed from the potentials of a simulated cell",
        source_script=f"dendrotwin {__version__}",
        source_script_file_name="dendrotwin signals",
        subject=_subject(pynwb, subject or {}),
    )
    device = file.create_device(name="simulation", description="forward models of a simulated cell; no real electrodes")
    for signal in signals:
        if signal.modality == "patch":
            _add_patch(pynwb, file, device, signal, cell)
        elif signal.unit in TO_VOLT:
            _add_electrical_series(pynwb, file, device, signal)
        elif len(signal.values.shape) == 3:
            file.add_acquisition(
                pynwb.image.ImageSeries(
                    name=signal.name,
                    description="voltage-sensitive dye: membrane area times potential on each pixel (rows, columns)",
                    data=_in_pieces(signal),
                    unit=signal.unit,
                    format="raw",
                    **_common(signal),
                )
            )
        else:
            unit, factor = TO_SI[signal.unit]
            columns = "; ".join(f"{name}: {column.tolist()}" for name, column in signal.channels.items())
            _computed(file).add(
                pynwb.TimeSeries(
                    name=signal.name, description=f"{signal.name} of the cells; channels: {columns}",
                    data=_in_pieces(signal), unit=unit, conversion=factor, **_common(signal),
                )
            )  # fmt: skip
    with whole_hdf5(path) as opened, pynwb.NWBHDF5IO(mode="w", file=opened) as io:
        io.write(file)


def _subject(pynwb: Any, given: Mapping[str, str]) -> Any:
    try:
        return pynwb.file.Subject(**{**SUBJECT, **given})
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the subject {dict(given)} cannot be written ({str(error).splitlines()[0]}); its fields are subject_id, "
            "description, species, sex (M, F, O or U), age (such as P30D), genotype, strain"
        ) from error


def _common(signal: Signal) -> dict[str, Any]:
    """When the samples are [s], at which rate [Hz], and as comments all that made the signal; see `Signal`."""
    return {
        "starting_time": 1.0 / signal.sampling_hz,
        "rate": signal.sampling_hz,
        "comments": SETTINGS + json.dumps(signal.settings),
    }


def _in_pieces(signal: Signal, column: int | None = None) -> Any:
    """The values, or one channel of them, to be written piece by piece: files may be larger than the memory."""
    hdmf = import_extra("hdmf.data_utils", "nwb")
    values = signal.values

    class Pieces(hdmf.GenericDataChunkIterator):  # type: ignore[name-defined]
        def _get_data(self, selection: Any) -> Any:
            wanted = selection if column is None else (*selection, column)
            return np.asarray(values[wanted], dtype=np.float32)

        def _get_maxshape(self) -> tuple[int, ...]:
            return tuple(values.shape) if column is None else (len(values),)

        def _get_dtype(self) -> np.dtype[Any]:
            return np.dtype(np.float32)

    shape = tuple(values.shape) if column is None else (len(values),)
    samples = max(1, min(shape[0], BYTES_AT_ONCE // (4 * int(np.prod(shape[1:])))))
    chunk = (samples, *shape[1:])
    return Pieces(buffer_shape=chunk, chunk_shape=chunk)


class Plane(NamedTuple):
    """Where contacts are in the plane that they lie in.

    Attributes:
        places_um: (contacts, 2) [um].
        said: which plane, in words.
    """

    places_um: Floats
    said: str


def plane_of_contacts(positions_um: Floats) -> Plane:
    """Contacts in two coordinates, in which no two coincide, as readers of probes need them.

    Where all contacts share a coordinate, the plane has the other two, z or else y last. Others are projected onto the
    plane that is nearest to all of them, its second axis as far up z as can be; where two would coincide there, as in
    a block of contacts, the plane is tilted until none do.

    Args:
        positions_um: (contacts, 3) different places [um].
    """
    spread = np.ptp(positions_um, axis=0)
    largest = max(float(spread.max()), 1.0)
    for axes, left_out in (((0, 2), "y"), ((1, 2), "x"), ((0, 1), "z")):
        (third,) = {0, 1, 2} - set(axes)
        if spread[third] <= 1e-9 * largest:
            names = "xyz"[axes[0]], "xyz"[axes[1]]
            return Plane(
                positions_um[:, list(axes)], f"rel_x is {names[0]}, rel_y is {names[1]}; all have one {left_out}"
            )
    centred = positions_um - positions_um.mean(axis=0)
    normal = np.linalg.svd(centred, full_matrices=True)[2][2]
    for tilt in range(100):
        tilted = normal + 0.1 * tilt * np.array([1.0, 0.618, 0.382])
        tilted /= np.linalg.norm(tilted)
        up = np.eye(3)[2 if abs(tilted[2]) < 0.99 else 1]
        second = up - (up @ tilted) * tilted
        second /= np.linalg.norm(second)
        places = np.stack([centred @ np.cross(second, tilted), centred @ second], axis=1)
        if len(np.unique(np.round(places, 6), axis=0)) == len(np.unique(np.round(centred, 6), axis=0)):
            break
    said = "rel_x and rel_y are places on a plane through the contacts, which do not lie in one of two coordinates"
    return Plane(places, said)


def _add_electrical_series(pynwb: Any, file: Any, device: Any, signal: Signal) -> None:
    """The signal, and its contacts in the electrode table."""
    positions = np.stack([np.asarray(signal.channels[name], np.float64) for name in PLACES], axis=1)
    plane = plane_of_contacts(positions)
    group = file.create_electrode_group(
        name=signal.name, description=f"contacts of {signal.name}; {plane.said}", location="unknown", device=device
    )
    if file.electrodes is None:
        for name in PLACES:
            axis = name[0]
            file.add_electrode_column(name, f"{axis} of the contact in the tissue of the simulation [um]")
    first = 0 if file.electrodes is None else len(file.electrodes)
    for (rel_x, rel_y), place in zip(plane.places_um.tolist(), positions.tolist(), strict=True):
        file.add_electrode(
            group=group, location="unknown", rel_x=rel_x, rel_y=rel_y, filtering="none",
            **dict(zip(PLACES, place, strict=True)),
        )  # fmt: skip
    region = file.create_electrode_table_region(
        region=list(range(first, len(file.electrodes))), description=f"contacts of {signal.name}"
    )
    module, said = _computed(file), f"{signal.name}, file values in {signal.unit}"
    series = pynwb.ecephys.ElectricalSeries(
        name=signal.name, description=said, data=_in_pieces(signal), electrodes=region,
        conversion=TO_VOLT[signal.unit], **_common(signal),
    )  # fmt: skip
    if signal.modality != "lfp":
        module.add(series)
    else:
        if "LFP" not in module.data_interfaces:
            module.add(pynwb.ecephys.LFP(name="LFP"))
        module["LFP"].add_electrical_series(series)
    plain = pynwb.TimeSeries(
        name=signal.name, description=f"{said}; the same data as in processing/ecephys, where its electrodes are",
        data=series, unit="volts", conversion=TO_VOLT[signal.unit], **_common(signal),
    )  # fmt: skip
    file.add_acquisition(plain)


def _computed(file: Any) -> Any:
    """The module of what was computed."""
    if "ecephys" not in file.processing:
        file.create_processing_module(name="ecephys", description="signals computed from simulated potentials")
    return file.processing["ecephys"]


def _add_patch(pynwb: Any, file: Any, device: Any, signal: Signal, cell: PlacedCell | None) -> None:
    """The potential behind a pipette, with the current that went in, where the cell is known."""
    at = int(signal.channels["compartment"][0])
    place = "the soma" if at < 0 else f"compartment {at}"
    series, capacitance = (signal.channels.get(name) for name in ("series_MOhm", "capacitance_pF"))
    cell_id, stimulus_nA = "simulated-cell", None
    if cell is not None:
        with RecordingFile(cell.recording) as recorded:
            cell_id = f"{recorded.fingerprint}, trial {recorded.trial_id(cell.trial)}"
            compartment = recorded.tree().soma if at < 0 else at
            stimulus_nA = _injected(recorded, cell.trial, compartment, signal)
    facts = {}
    if series is not None and capacitance is not None:
        MOhm, pF = float(series[0]), float(capacitance[0])
        facts = {
            "resistance": f"{MOhm:g} MOhm in series",
            "initial_access_resistance": f"{MOhm:g} MOhm",
            "filtering": f"one pole, series resistance {MOhm:g} MOhm times capacitance {pF:g} pF; no bridge balance",
        }
    electrode = file.create_icephys_electrode(
        name=f"pipette of {signal.name}", description=f"patch pipette at {place}", device=device, cell_id=cell_id,
        location=place, **facts,
    )  # fmt: skip
    response = pynwb.icephys.CurrentClampSeries(
        name=signal.name, description="current clamp; the drop over the series resistance is recorded too",
        data=_in_pieces(signal, 0), electrode=electrode, gain=1.0, conversion=TO_VOLT[signal.unit],
        bridge_balance=0.0, capacitance_compensation=0.0, **_common(signal),
    )  # fmt: skip
    file.add_acquisition(response)
    if stimulus_nA is None:
        return
    stimulus = pynwb.icephys.CurrentClampStimulusSeries(
        name=f"{signal.name}-stimulus", description="current injected through the pipette, held over each ms",
        data=stimulus_nA, electrode=electrode, gain=1.0, conversion=1e-9, **_common(signal),
    )  # fmt: skip
    file.add_stimulus(stimulus)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.add_intracellular_recording(electrode=electrode, stimulus=stimulus, response=response)


def _injected(recorded: RecordingFile, trial: int, compartment: int, signal: Signal) -> Any:
    """(samples,) current into a compartment at the times of a signal: a sample ends the interval that it stands for."""
    injection, samples = recorded.injection(trial), len(signal.values)
    if injection is None:
        return np.zeros(samples, np.float32)
    per_ms = injection.current_nA[:, injection.compartment == compartment].sum(axis=1)
    ends_ms = np.arange(1, samples + 1) * (MS_PER_S / signal.sampling_hz)
    in_ms = np.ceil(np.round(ends_ms, 9)).astype(np.int64) - 1
    return per_ms[np.clip(in_ms, 0, len(per_ms) - 1)].astype(np.float32)
