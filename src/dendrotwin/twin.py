"""A twin: a model of a cell, read or trained, with its configuration, in one folder that is safe to open."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from dendrotwin.cell.spike_files import holds_spikes, read_spikes
from dendrotwin.cell.spikes import predicted_spikes, spike_probability
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.cell.trial_numbers import check_duration
from dendrotwin.errors import DendrotwinError, InputError, TwinError
from dendrotwin.models import code_digest, configure, load_architecture
from dendrotwin.models.base import CHUNK_MS, Model
from dendrotwin.recording import Recording, read_tree, trial_identity, write_tree
from dendrotwin.recording.trials import read_trial, trials_of_cell
from dendrotwin.support.atomic_files import whole_folder
from dendrotwin.support.disk import new_hdf5
from dendrotwin.support.hdf5 import DAMAGE, WRITTEN_AS, open_hdf5
from dendrotwin.support.memory import require_memory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BYTES_PER_POTENTIAL = 6  # float32, and int16 where they are written
FORMAT_VERSION = 5  # of a twin's folder
FILES = ("config.json", "model.safetensors", "tree.h5", "README.md")
SEALED = ("model.safetensors", "tree.h5")  # whose digests config.json holds; README.md gets the measured error later
LARGEST_CONFIG = 2**26  # bytes of config.json; that of a long training has some million
RESTORE = "restore it or make it again"
Floats = NDArray[np.float32]
TWINS = Path(__file__).parent / "twins"  # those that come with the package


@dataclass(frozen=True, eq=False)
class Twin:
    """What a user holds: input events in, millivolts and output spikes out.

    Attributes:
        architecture: see `models.load_architecture`; "cable" for a twin that was read.
        options: full configuration of the model.
        tree: the cell.
        model: see `models.base.Model`.
        threshold: probability at which a step holds an output spike; of a network chosen on the validation split.
        training: what it was made from, how, and how it went.
        readme: the README.md of its folder, for people.
        folder: that it was opened from, or None.
    """

    architecture: str
    options: dict[str, Any]
    tree: Tree
    model: Model
    threshold: float
    training: dict[str, Any]
    readme: str = ""
    folder: Path | None = None

    def __repr__(self) -> str:
        mode = "one step ahead" if self.one_step_ahead else "free-running"
        return f"Twin({self.architecture}, {mode}, {self.tree!r})"

    @property
    def inputs(self) -> NDArray[np.void]:
        """A table of the inputs, (inputs,) with a named column for each property; see `Tree.inputs`."""
        return self.tree.inputs

    @property
    def one_step_ahead(self) -> bool:
        """Whether it also sees past potentials, true ones or its own, up to 1 ms before."""
        return self.model.autoregressive

    def predict(
        self,
        source: Events | Recording | str | Path,
        duration_ms: int | None = None,
        *,
        trial: int = 0,
        injection: Injection | None = None,
        feed_back: bool = False,
    ) -> Recording:
        """Predict one trial from rest: the potential of every compartment each millisecond, and the output spikes.

        A free-running twin sees the input only, never the true potential. A twin that predicts one step ahead takes
        the true potentials of a recording, or else its own predictions.

        Args:
            source: input events; a file of them or of spikes (see `read_spikes`); a recording, or a file or
                folder of recordings, whose input is taken.
            duration_ms: of the trial [ms]; a recording says it itself.
            trial: which trial of a file of recordings.
            injection: current injected in the trial; a recording says it itself.
            feed_back: let a twin that predicts one step ahead see its own predictions in place of true potentials.

        Returns:
            The recording: `v_mV` (duration_ms, n) [mV], `spikes_ms` [ms], `spike_probability` (duration_ms,).

        Raises:
            InputError: the input does not fit the cell or the duration, or the duration is missing.
            FileError: the file is missing, or is of another cell.
        """
        if isinstance(source, str | Path):
            source = self._read(Path(source), trial)
        true_mV = None
        if isinstance(source, Recording):
            if duration_ms is not None or injection is not None:
                raise InputError("a recording says itself how long it is and what is injected; give neither here")
            self._check_cell(source)
            recording = source.each_ms()
            events, steps, injection = recording.events, recording.duration_ms, recording.injection
            identity = recording.trial_id
            if self.one_step_ahead and not feed_back:
                true_mV = recording.v_mV[None]
        else:
            if duration_ms is None:
                raise InputError("events do not say how long the trial is; give duration_ms")
            events, steps, identity = source, duration_ms, ""
        v, probability = self.predict_batch([events], steps, true_mV, [injection])
        identity = identity or trial_identity(events, injection, steps)  # of input that was looked at
        spikes = predicted_spikes(probability[0], self.threshold)
        return Recording(self.tree, v[0], events, spikes, identity, injection, probability[0])

    def _check_cell(self, recording: Recording) -> None:
        if recording.tree is not self.tree and recording.tree.fingerprint() != self.tree.fingerprint():
            raise InputError("the recording is of another cell than the twin; name recordings of the twin's cell")

    def _read(self, path: Path, trial: int) -> Events | Recording:
        """The events of a file of events or spikes, or a trial of recordings."""
        if holds_spikes(path):
            return read_spikes(path)
        trials = trials_of_cell(path, self.tree, "the twin's")
        if not isinstance(trial, int | np.integer) or not 0 <= trial < len(trials):
            raise InputError(f"{path} holds {len(trials)} trials; choose trial below that")
        return read_trial(trials[trial], self.tree)

    def predict_batch(
        self,
        events: Sequence[Events],
        duration_ms: int,
        true_mV: NDArray[np.floating] | None = None,
        injections: Sequence[Injection | None] | None = None,
        chunk_ms: int = CHUNK_MS,
    ) -> tuple[Floats, Floats]:
        """Predict many trials of one duration from rest, as one batch of arrays.

        Args:
            events: of each trial.
            duration_ms: of all trials [ms].
            true_mV: (trials, duration_ms, n) true potentials [mV]: predict each step from those before it. Without
                them a twin that predicts one step ahead sees its own predictions.
            injections: current injected in each trial, for a twin that was read.
            chunk_ms: how much a network evaluates at once [ms]; the result does not depend on it.

        Returns:
            V (trials, duration_ms, n) [mV], and the probability of an output spike in each step (trials, duration_ms).

        Raises:
            InputError: events, injections or true potentials do not fit the cell or the duration, the twin sees no true
                potentials, or cannot take injected current; or memory does not hold the potentials.
        """
        if true_mV is not None and not self.one_step_ahead:
            raise InputError("this twin is free-running and sees no true potential; predict without true_mV")
        if not isinstance(chunk_ms, int | np.integer) or chunk_ms < 1:
            raise InputError(f"chunks of {chunk_ms} ms; give a whole number of ms, at least 1")
        duration_ms, chunk_ms = check_duration(duration_ms), int(chunk_ms)
        self._check_input(events, duration_ms, injections)
        shape = (len(events), duration_ms, self.tree.n)
        require_memory(BYTES_PER_POTENTIAL * math.prod(shape), f"V of shape {shape}", "predict fewer or shorter trials")
        if true_mV is not None:
            _check_true(true_mV, shape)
        v, logit = self.model.predict(events, duration_ms, true_mV, injections, chunk_ms)
        _refuse_no_numbers(v, logit)
        return v, spike_probability(logit)

    def _check_input(
        self, events: Sequence[Events], duration_ms: int, injections: Sequence[Injection | None] | None
    ) -> None:
        """Raise InputError unless events and injections fit the cell, the duration and each other."""
        if isinstance(events, Events):
            raise InputError("give the events of each trial, in a list: [events]")
        for trial in events:
            if not isinstance(trial, Events):
                raise InputError(f"events are made with Events.sort or read_events, not {type(trial).__name__}")
            trial.check(self.tree.n_inputs, duration_ms)
        if injections is not None and len(injections) != len(events):
            raise InputError(
                f"there are {len(injections)} injections for {len(events)} trials; give one, or None, for each"
            )
        for injection in injections or ():
            if injection is not None:
                injection.check(self.tree.n, duration_ms)

    def plot(self, recording: Recording, start_ms: int = 0, stop_ms: int | None = None) -> Figure:
        """Draw a trial: its input, all compartments, and the soma with its output spikes.

        Args:
            recording: such as `predict` returns.
            start_ms, stop_ms: which part of it [ms]; to its end where `stop_ms` is None.

        Returns:
            The figure; `figure.savefig("trial.png")` writes it.

        Raises:
            InputError: the part is empty, or the recording is of another cell.
        """
        from dendrotwin.plot.recording import figure_recording

        self._check_cell(recording)
        return figure_recording(recording, start_ms, stop_ms)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the folder, under a temporary name until it is complete.

        Args:
            path: the folder.
            overwrite: replace a twin that is there.

        Raises:
            FileError: the folder exists.
        """
        with whole_folder(path, "config.json", overwrite=overwrite) as folder:
            values, tensors = self.model.state()
            content = to_bytes({name: t.contiguous().cpu() for name, t in tensors.items()})
            (folder / "model.safetensors").write_bytes(content)
            with new_hdf5(folder / "tree.h5", Path(path), libver=WRITTEN_AS) as file:
                write_tree(file, self.tree)
            config = {
                "format_version": FORMAT_VERSION,
                "architecture": self.architecture,
                "architecture_sha256": code_digest(self.architecture),
                "options": self.options,
                "threshold": self.threshold,
                "one_step_ahead": self.one_step_ahead,
                "sha256": {name: _sha256((folder / name).read_bytes()) for name in SEALED},
                "training": self.training,
                "model": values,
            }
            config = json.loads(json.dumps(config))  # as it will be read
            (folder / "config.json").write_text(json.dumps({**config, "seal": _seal(config)}, indent=2) + "\n")
            (folder / "README.md").write_text(self.readme or f"# {self!r}\n")

    @classmethod
    def load(cls, path: str | Path, architecture: str | Path | None = None) -> Twin:
        """Open a twin's folder. No file in it can name code that is run.

        Args:
            path: the folder.
            architecture: the Python file that defines the twin's architecture, where that is none of dendrotwin's. It
                is imported if it is the one that the twin was saved with.

        Returns:
            The twin.

        Raises:
            TwinError: it is missing, incomplete or altered; or its architecture is a file that is not named here, or
                another one.
        """
        path = Path(path)
        absent = [name for name in FILES if not (path / name).is_file()]
        if absent:
            raise TwinError(
                f"{path} is no twin: {', '.join(absent)} is missing; `dendrotwin twin` makes one of a "
                "cell, `dendrotwin train` of data"
            )
        try:
            return cls._open(path, None if architecture is None else str(architecture))
        except TwinError:
            raise
        except (*DAMAGE, SafetensorError, DendrotwinError) as error:
            cause = " ".join(str(error).split()) or type(error).__name__  # some have several lines
            raise TwinError(f"{path} is damaged ({cause}); {RESTORE}") from error

    @classmethod
    def _open(cls, path: Path, named: str | None) -> Twin:
        config = _read_config(path)
        architecture = load_architecture(_architecture_of(path, config, named))
        with open_hdf5(path / "tree.h5") as file:
            tree = read_tree(file)
        tensors = load_file(path / "model.safetensors")
        try:
            options = configure(architecture, config.options)
            model = architecture.model.restore(tree, options, config.one_step_ahead, (config.model, tensors))
        except TwinError as error:
            raise TwinError(f"{path}: {error}; {RESTORE}") from error
        name = named or config.architecture
        training = config.training.model_dump()
        readme = (path / "README.md").read_text()
        return cls(name, config.options, tree, model, config.threshold, training, readme, path)


class _Training(BaseModel):
    """What every twin knows of the data that it is from."""

    model_config = ConfigDict(extra="allow")
    simulation: dict[str, Any]
    train_trials: list[str]
    validation_trials: list[str]
    test_trials: list[str]


class _Config(BaseModel):
    """config.json without its seal."""

    model_config = ConfigDict(extra="forbid", strict=True)
    format_version: int
    architecture: str
    architecture_sha256: str
    options: dict[str, Any]
    threshold: float = Field(ge=0.0, le=float(np.nextafter(1.0, 2.0)))  # a little above 1: no spikes
    one_step_ahead: bool
    sha256: dict[str, str]
    training: _Training
    model: dict[str, Any]


def _read_config(path: Path) -> _Config:
    """config.json of a twin, once it is seen that neither it nor the files beside it were altered."""
    text = (path / "config.json").read_bytes()
    if len(text) > LARGEST_CONFIG:
        raise TwinError(f"{path}: config.json has {len(text)} bytes, no twin has so many; {RESTORE}")
    content = json.loads(text)
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        raise TwinError(
            f"{path} has format version {version!r:.40}, this dendrotwin reads {FORMAT_VERSION}; make it again: "
            "`dendrotwin twin` from the cell, `dendrotwin train` from data"
        )
    seal = content.pop("seal")
    if seal != _seal(content):
        raise TwinError(f"{path}: config.json was altered after it was saved; {RESTORE}")
    for name in SEALED:
        if _sha256((path / name).read_bytes()) != content["sha256"][name]:
            raise TwinError(f"{path}: {name} was altered after it was saved; {RESTORE}")
    try:
        return _Config(**content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise TwinError(f"{path}: {place} in config.json: {first['msg']}; {RESTORE}") from error


def _architecture_of(path: Path, config: _Config, named: str | None) -> str:
    """The architecture that may be loaded: one of dendrotwin's, or the file that the user names and the twin had."""
    own = config.architecture
    if not own.endswith(".py"):
        if named not in (None, own):
            raise TwinError(f"{path} is of the architecture {own}, not of {named}; leave that away")
        return own
    if named is None:
        raise TwinError(
            f"{path} is of an architecture in a Python file, {own}, and a twin does not choose code that is run; name "
            "the file, if you trust it: --architecture FILE, or architecture=FILE in Python"
        )
    if code_digest(named) != config.architecture_sha256:
        raise TwinError(
            f"{named} is not the architecture that {path} was saved with (its SHA-256 differs); name that of {own}"
        )
    return named


def _refuse_no_numbers(v_mV: Floats, logit: Floats) -> None:
    """Raise InputError where a prediction is not finite."""
    for what, values in (("potential of compartment", v_mV), ("spike probability", logit)):
        if not np.isfinite(values).all():
            _, step, *compartment = np.argwhere(~np.isfinite(values))[0]
            which = "".join(f" {c}" for c in compartment)
            raise InputError(
                f"the predicted {what}{which} is no number at {step + 1} ms; the twin is damaged, {RESTORE}"
            )


def load(name: str | Path, architecture: str | Path | None = None) -> Twin:
    """Open a twin of the package by its name, or any other by its folder.

    Args:
        name: such as "l5pc", or a path; where both are there, the folder.
        architecture: see `Twin.load`.

    Returns:
        The twin.

    Raises:
        TwinError: there is none of this name, or the folder is no twin.
    """
    ours = {path.name: path for path in TWINS.glob("*") if path.is_dir()}
    if str(name) in ours and not (Path(name) / "config.json").is_file():
        return Twin.load(ours[str(name)], architecture)
    if not Path(name).exists():
        known = ", ".join(sorted(ours)) or "none"
        raise TwinError(
            f"{name} is no twin: there is no such folder, and of those that come with dendrotwin ({known}) none has "
            "this name; `dendrotwin twin` makes one"
        )
    return Twin.load(Path(name), architecture)


def predict(
    twin: Twin | str | Path, source: Events | Recording | str | Path, duration_ms: int | None = None, **options: Any
) -> Recording:
    """Predict one trial from rest.

    Args:
        twin: the twin, its folder, or the name of one that comes with the package.
        source: the input, see `Twin.predict`.
        duration_ms: of the trial [ms]; a recording says it itself.
        options: `trial`, `injection` and `feed_back`, see `Twin.predict`.

    Returns:
        The recording: `v_mV` (duration_ms, n) [mV], `spikes_ms` [ms].

    Raises:
        TwinError: there is no such twin.
        InputError, FileError: see `Twin.predict`.
    """
    return (twin if isinstance(twin, Twin) else load(twin)).predict(source, duration_ms, **options)


def _check_true(true_mV: NDArray[np.floating], shape: tuple[int, ...]) -> None:
    """Raise InputError unless true potentials are those of the whole trials."""
    if not isinstance(true_mV, np.ndarray) or true_mV.dtype.kind not in "iuf" or true_mV.shape != shape:
        raise InputError(
            f"true_mV has shape {np.shape(true_mV)}, the trials need {shape} (trials, ms, compartments) in mV"
        )
    if not np.isfinite(true_mV).all():
        raise InputError("true_mV holds NaN or infinity; give the potential of every compartment at every ms")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _seal(config: dict[str, Any]) -> str:
    """Digest of all that config.json holds, whatever the order and the spaces."""
    return _sha256(json.dumps(config, sort_keys=True).encode())
