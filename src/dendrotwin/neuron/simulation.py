"""The configuration of a simulation: all that decides the bits of a data set, and presets that were published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from dendrotwin.cell.stimuli import Modulated, Protocol
from dendrotwin.cells import CellModel
from dendrotwin.errors import InputError
from dendrotwin.recording import DEFAULT_RECORD_DT_MS, per_ms
from dendrotwin.recording.trials import HeldOut
from dendrotwin.support.options import Options

# Crank-Nicolson damps fast modes less the longer the step: beyond this one the potential rings after spikes.
MAX_CRANK_NICOLSON_MS = 0.05


class Simulation(Options):
    """What determines every trial of a data set; with a trial's number, all of its bits."""

    cell: str
    """Name of a cell (see `dendrotwin cells`), or path of a Python file that defines one."""
    cell_options: dict[str, str] = Field(default_factory=dict)
    """Options of the cell, by name."""
    duration_ms: int = Field(gt=0)
    """Duration of a trial [ms]."""
    seed: int = Field(default=0, ge=0)
    """Seed of the input protocol: trial k draws from child k of numpy's `SeedSequence(seed)`."""
    inputs: Protocol = Modulated()
    """Input protocol, not used where events are given. Modulated without a rate scale has the cell's own."""
    dt_ms: float = Field(default=0.05, gt=0, le=1)
    """Step of the integration, a divisor of 1 ms [ms]."""
    method: Literal["crank-nicolson", "backward-euler"] = "crank-nicolson"
    """NEURON's method of fixed steps: crank-nicolson, of second order, or backward-euler, of first."""
    engine: Literal["neuron", "coreneuron"] = "neuron"
    """Simulator: neuron, or coreneuron, two to four times as fast, with other roundings and no injected current."""
    record_dt_ms: float = DEFAULT_RECORD_DT_MS
    """Time from one stored potential to the next, a divisor of 1 ms and a multiple of the integration's step [ms]."""
    cell_digest: str = ""
    """Hash of the files that the cell is made from (mechanisms, Python, hoc, morphology), which `simulate` fills in."""
    own_input: str = ""
    """Hash of the user's own events and injected current, which `simulate` fills in."""

    def of_cell(self, model: CellModel) -> Simulation:
        """The simulation with the cell's own rate scale, where modulated input has none.

        Args:
            model: description of the cell.
        """
        if not isinstance(self.inputs, Modulated) or "rate_scale" in self.inputs.model_fields_set:
            return self
        return self.model_copy(update={"inputs": Modulated(rate_scale=model.rate_scale)})

    def check_steps(self) -> None:
        """See that dt_ms and record_dt_ms fit each other and the method.

        Raises:
            InputError: they do not; see `steps_and_samples_per_ms`, or dt_ms is too long for the method.
        """
        steps_and_samples_per_ms(self.dt_ms, self.record_dt_ms)
        if self.method == "crank-nicolson" and self.dt_ms > MAX_CRANK_NICOLSON_MS:
            raise InputError(
                f"Crank-Nicolson rings after spikes with dt {self.dt_ms} ms; use {MAX_CRANK_NICOLSON_MS} ms or less, "
                "or the method backward-euler"
            )


def steps_and_samples_per_ms(dt_ms: float, record_dt_ms: float) -> tuple[int, int]:
    """Integration steps, and stored samples, in 1 ms.

    Args:
        dt_ms: step of the integration [ms].
        record_dt_ms: time from one stored sample to the next [ms].

    Raises:
        InputError: one of them does not divide 1 ms, or record_dt_ms is no multiple of dt_ms.
    """
    steps, samples = per_ms(dt_ms, "dt"), per_ms(record_dt_ms, "record-dt")
    if steps % samples:
        possible = ", ".join(f"{1.0 / n:g}" for n in range(1, steps + 1) if steps % n == 0)
        raise InputError(
            f"record-dt is {record_dt_ms:g} ms; it must be a multiple of dt, {dt_ms:g} ms: choose one of {possible}, "
            "or another dt"
        )
    return steps, samples


@dataclass(frozen=True)
class Preset:
    """A published data set, of any cell: the first trials are for the test, then come validation and training."""

    test: int
    """Trials for the test."""
    validation: int
    """Trials for validation."""
    train: int
    """Trials for training."""
    duration_ms: int
    """Duration of a trial [ms]."""
    seed: int = 2024
    """Seed of the input protocol; see `Simulation`."""

    @property
    def trials(self) -> int:
        """All of them."""
        return self.test + self.validation + self.train

    @property
    def held_out(self) -> HeldOut:
        """Those that are not for training."""
        return HeldOut(test=self.test, validation=self.validation)


# bench and paper have the same test and validation trials.
PRESETS = {
    "tiny": Preset(test=2, validation=2, train=8, duration_ms=1500),
    "bench": Preset(test=50, validation=30, train=300, duration_ms=6000),
    "paper": Preset(test=50, validation=30, train=6000, duration_ms=6000),
}
