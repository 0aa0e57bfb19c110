"""A twin: a model of a cell, read or trained, with its configuration, in one folder that is safe to open."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from dendrotwin.cell.input_classes import check_input_classes
from dendrotwin.cell.spike_files import holds_spikes, read_spikes
from dendrotwin.cell.spikes import predicted_spikes, spike_probability
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.cell.trial_numbers import check_duration
from dendrotwin.errors import DendrotwinError, InputError, TwinError
from dendrotwin.models import code_digest, configure, load_architecture
from dendrotwin.models.base import CHUNK_MS, Model, Potentials
from dendrotwin.recording import Recording, RecordingStream, read_tree, trial_identity
from dendrotwin.recording.tree_file import write_tree
from dendrotwin.recording.trials import StoredPotentials, TrialIndex, read_input, trials_of_cell
from dendrotwin.support.atomic_files import whole_folder
from dendrotwin.support.disk import new_hdf5
from dendrotwin.support.hdf5 import DAMAGE, WRITTEN_AS, open_hdf5
from dendrotwin.support.memory import require_memory
from dendrotwin.twin_config import FORMAT_VERSION, RESTORE, SEALED, architecture_of, read_config, seal_of, sha256_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BYTES_PER_POTENTIAL = 4  # float32
FILES = ("config.json", "model.safetensors", "tree.h5", "README.md")
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
        given = self._given(source, duration_ms, trial, injection, feed_back)
        v, probability = self.predict_batch([given.events], given.duration_ms, given.true_mV, [given.injection])
        spikes = predicted_spikes(probability[0], self.threshold)
        return Recording(self.tree, v[0], given.events, spikes, given.identity, given.injection, probability[0])

    def stream(
        self,
        source: Events | Recording | TrialIndex | str | Path,
        duration_ms: int | None = None,
        *,
        trial: int = 0,
        injection: Injection | None = None,
        feed_back: bool = False,
    ) -> RecordingStream:
        """`predict` piece by piece, for trials that memory does not hold; `write_recordings` writes it into a file.

        Args:
            source: as of `predict`; or where a trial is (`index_trials`), which is read piece by piece too.
            duration_ms: see `predict` [ms].
            trial, injection, feed_back: see `predict`.

        Returns:
            The trial, which is predicted while its pieces are taken.

        Raises:
            InputError, FileError: see `predict`; of the potentials while the pieces are taken.
        """
        given = self._given(source, duration_ms, trial, injection, feed_back)
        self._check_input([given.events], given.duration_ms, [given.injection])
        logits: list[Floats] = []

        def pieces() -> Iterator[Floats]:
            done = 0
            known = [given.events], given.duration_ms, given.true_mV, [given.injection]
            for v, logit in self.model.pieces(*known):
                _refuse_no_numbers(v, logit, done)
                done += v.shape[1]
                logits.append(logit[0])
                yield v[0]

        def outcome() -> tuple[NDArray[np.float64], Floats]:
            probability = spike_probability(np.concatenate(logits))
            return predicted_spikes(probability, self.threshold), probability

        return RecordingStream(
            self.tree, given.events, given.identity, given.injection, given.duration_ms, pieces(), outcome
        )

    def _given(
        self,
        source: Events | Recording | TrialIndex | str | Path,
        duration_ms: int | None,
        trial: int,
        injection: Injection | None,
        feed_back: bool,
    ) -> _Given:
        """What a trial is predicted from."""
        if isinstance(source, str | Path):
            source = self._read(Path(source), trial)
        if isinstance(source, Recording | TrialIndex) and (duration_ms is not None or injection is not None):
            raise InputError("a recording says itself how long it is and what is injected; give neither here")
        sees = self.one_step_ahead and not feed_back
        if isinstance(source, Recording):
            self._check_cell(source)
            recording = source.each_ms()
            true_mV = recording.v_mV[None] if sees else None
            return _Given(recording.events, recording.duration_ms, recording.injection, recording.trial_id, true_mV)
        if isinstance(source, TrialIndex):
            stored = StoredPotentials(source, self.tree.n) if sees else None
            events, current = read_input(source)
            return _Given(events, source.duration_ms, current, source.trial_id, stored)
        check_input_classes([source], [injection])
        if duration_ms is None:
            raise InputError("events do not say how long the trial is; give duration_ms")
        self._check_input([source], duration_ms, [injection])  # first: what is no number has no identity
        return _Given(source, duration_ms, injection, trial_identity(source, injection, duration_ms), None)

    def _check_cell(self, recording: Recording) -> None:
        if recording.tree is not self.tree and recording.tree.fingerprint() != self.tree.fingerprint():
            raise InputError("the recording is of another cell than the twin; name recordings of the twin's cell")

    def _read(self, path: Path, trial: int) -> Events | TrialIndex:
        """The events of a file of events or spikes, or where a trial of recordings is."""
        if holds_spikes(path):
            return read_spikes(path)
        trials = trials_of_cell(path, self.tree, "the twin's")
        if not isinstance(trial, int | np.integer) or not 0 <= trial < len(trials):
            raise InputError(f"{path} holds {len(trials)} trials; choose trial below that")
        return trials[trial]

    def predict_batch(
        self,
        events: Sequence[Events],
        duration_ms: int,
        true_mV: Potentials | None = None,
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
        check_input_classes(events, injections)
        for trial in events:
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
                "sha256": {name: sha256_of((folder / name).read_bytes()) for name in SEALED},
                "training": self.training,
                "model": values,
            }
            config = json.loads(json.dumps(config))  # as it will be read
            (folder / "config.json").write_text(json.dumps({**config, "seal": seal_of(config)}, indent=2) + "\n")
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
        config = read_config(path)
        architecture = load_architecture(architecture_of(path, config, named))
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


class _Given(NamedTuple):
    """What a trial is predicted from."""

    events: Events
    duration_ms: int
    injection: Injection | None
    identity: str
    true_mV: Potentials | None


def _refuse_no_numbers(v_mV: Floats, logit: Floats, begin_ms: int = 0) -> None:
    """Raise InputError where a prediction is not finite."""
    for what, values in (("potential of compartment", v_mV), ("spike probability", logit)):
        if not np.isfinite(values).all():
            _, step, *compartment = np.argwhere(~np.isfinite(values))[0]
            which = "".join(f" {c}" for c in compartment)
            raise InputError(
                f"the predicted {what}{which} is no number at {begin_ms + step + 1} ms; the twin is damaged, {RESTORE}"
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


def _check_true(true_mV: Potentials, shape: tuple[int, ...]) -> None:
    """Raise InputError unless true potentials are those of the whole trials."""
    if isinstance(true_mV, StoredPotentials) and true_mV.shape == shape:
        return  # checked as it is read
    if not isinstance(true_mV, np.ndarray) or true_mV.dtype.kind not in "iuf" or true_mV.shape != shape:
        raise InputError(
            f"true_mV has shape {np.shape(true_mV)}, the trials need {shape} (trials, ms, compartments) in mV"
        )
    if not np.isfinite(true_mV).all():
        raise InputError("true_mV holds NaN or infinity; give the potential of every compartment at every ms")
