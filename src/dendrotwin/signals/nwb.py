"""Signals as a Neurodata Without Borders file (Rübel et al. 2022, doi:10.7554/eLife.78362)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dendrotwin import __version__
from dendrotwin.signals.extras import import_extra
from dendrotwin.signals.instruments import Signal
from dendrotwin.support.hdf5 import whole_hdf5

TO_VOLT = {"mV": 1e-3, "uV": 1e-6}
TO_SI = {
    "nA": ("ampere", 1e-9),
    "fT": ("tesla", 1e-15),
    "nA um": ("ampere meter", 1e-15),
    "nA/um3": ("ampere per cubic meter", 1e9),
}


def write_nwb(path: Path, signals: Iterable[Signal], description: str) -> None:
    """Write signals as an NWB file, under a temporary name until it is complete.

    Potentials at electrodes (lfp, ecog, eeg) become ElectricalSeries with a row of the electrode table for each
    contact, its place in `rel_x`, `rel_y`, `rel_z` [um]; a patch becomes a CurrentClampSeries, a dye an ImageSeries,
    all else a TimeSeries in SI units.

    Args:
        path: the file; replaced if it exists.
        signals: what to write.
        description: of the session, such as what was simulated.

    Raises:
        InputError: pynwb is not installed.
    """
    pynwb = import_extra("pynwb", "nwb")
    now = datetime.now(UTC)
    file = pynwb.NWBFile(
        session_description=description,
        identifier=f"dendrotwin-{now.isoformat()}",
        session_start_time=now,
        keywords=["simulation"],
        source_script=f"dendrotwin {__version__}",
        source_script_file_name="dendrotwin signals",
    )
    device = file.create_device(name="simulation", description="forward models of a simulated cell; no real electrodes")
    module = file.create_processing_module(name="ecephys", description="signals computed from simulated potentials")
    for signal in signals:
        timing = {"starting_time": 1.0 / signal.sampling_hz, "rate": signal.sampling_hz}  # [s], [Hz]; see `Signal`
        values = np.asarray(signal.values, dtype=np.float32)
        if signal.modality == "patch":
            _add_patch(pynwb, file, device, signal, values, timing)
        elif signal.unit in TO_VOLT:
            series = _electrical_series(pynwb, file, device, signal, values, timing)
            if signal.modality == "lfp":
                if "LFP" not in module.data_interfaces:
                    module.add(pynwb.ecephys.LFP(name="LFP"))
                module["LFP"].add_electrical_series(series)
            else:
                module.add(series)
        elif values.ndim == 3:
            file.add_acquisition(
                pynwb.image.ImageSeries(
                    name=signal.name,
                    description="voltage-sensitive dye: membrane area times potential on each pixel (rows, columns)",
                    data=values,
                    unit=signal.unit,
                    format="raw",
                    **timing,
                )
            )
        else:
            unit, factor = TO_SI[signal.unit]
            columns = "; ".join(f"{name}: {column.tolist()}" for name, column in signal.channels.items())
            series = pynwb.TimeSeries(
                name=signal.name, description=f"{signal.name} of the cells; channels: {columns}", data=values,
                unit=unit, conversion=factor, **timing,
            )  # fmt: skip
            module.add(series)
    with whole_hdf5(path) as opened, pynwb.NWBHDF5IO(mode="w", file=opened) as io:
        io.write(file)


def _electrical_series(
    pynwb: Any, file: Any, device: Any, signal: Signal, values: Any, timing: dict[str, float]
) -> Any:
    """The signal, and its contacts in the electrode table."""
    group = file.create_electrode_group(
        name=signal.name, description=f"contacts of {signal.name}", location="unknown", device=device
    )
    first = 0 if file.electrodes is None else len(file.electrodes)
    places = (signal.channels[name] for name in ("x_um", "y_um", "z_um"))
    for x, y, z in zip(*places, strict=True):
        file.add_electrode(
            group=group, location="unknown", rel_x=float(x), rel_y=float(y), rel_z=float(z), filtering="none"
        )
    region = file.create_electrode_table_region(
        region=list(range(first, len(file.electrodes))), description=f"contacts of {signal.name}"
    )
    series = pynwb.ecephys.ElectricalSeries(
        name=signal.name, description=f"{signal.name}, file values in {signal.unit}", data=values, electrodes=region,
        conversion=TO_VOLT[signal.unit], **timing,
    )  # fmt: skip
    return series


def _add_patch(pynwb: Any, file: Any, device: Any, signal: Signal, values: Any, timing: dict[str, float]) -> None:
    at = int(signal.channels["compartment"][0])
    place = "the soma" if at < 0 else f"compartment {at}"
    electrode = file.create_icephys_electrode(
        name=f"pipette of {signal.name}", description=f"patch pipette at {place}", device=device
    )
    file.add_acquisition(
        pynwb.icephys.CurrentClampSeries(
            name=signal.name, description="current clamp", data=values[:, 0], electrode=electrode, gain=1.0,
            conversion=TO_VOLT[signal.unit], **timing,
        )
    )  # fmt: skip
