"""A twin: a model of a cell, read or trained, with its configuration, in one folder that is safe to open."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from dendrotwin.cell.spikes import predicted_spikes, spike_probability
from dendrotwin.cell.stimuli import read_events
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.cell.trial_numbers import check_duration
from dendrotwin.errors import DendrotwinError, InputError, TwinError
from dendrotwin.models import load_architecture
from dendrotwin.models.base import CHUNK_MS, Model
from dendrotwin.recording import Recording, read_tree, trial_identity, write_tree
from dendrotwin.recording.trials import read_trial, trials_of_cell
from dendrotwin.support.atomic_files import whole_folder
from dendrotwin.support.hdf5 import new_hdf5
from dendrotwin.support.memory import require_memory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BYTES_PER_POTENTIAL = 4  # float32
FORMAT_VERSION = 4  # of a twin's folder
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
    """

    architecture: str
    options: dict[str, Any]
    tree: Tree
    model: Model
    threshold: float
    training: dict[str, Any]

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
            source: input events; a CSV or npz file of them (see `cell.stimuli.read_events`); a recording, or a file or
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
            if source.tree is not self.tree and source.tree.fingerprint() != self.tree.fingerprint():
                raise InputError("the recording is of another cell than the twin; use recordings of its cell")
            recording = source.each_ms()
            events, steps, injection = recording.events, recording.duration_ms, recording.injection
            identity = recording.trial_id
            if self.one_step_ahead and not feed_back:
                true_mV = recording.v_mV[None]
        else:
            if duration_ms is None:
                raise InputError("events do not say how long the trial is; give duration_ms")
            events, steps = source, duration_ms
            identity = trial_identity(events, injection, steps)
        v, probability = self.predict_batch([events], steps, true_mV, [injection])
        spikes = predicted_spikes(probability[0], self.threshold)
        return Recording(self.tree, v[0], events, spikes, identity, injection, probability[0])

    def _read(self, path: Path, trial: int) -> Events | Recording:
        """The events of a CSV or npz file, or a trial of recordings."""
        if path.suffix in (".csv", ".npz"):
            return read_events(path)
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
        check_duration(duration_ms)
        self._check_input(events, duration_ms, injections)
        shape = (len(events), duration_ms, self.tree.n)
        require_memory(BYTES_PER_POTENTIAL * math.prod(shape), f"V of shape {shape}", "predict fewer or shorter trials")
        if true_mV is not None:
            _check_true(true_mV, shape)
        v, logit = self.model.predict(events, duration_ms, true_mV, injections, chunk_ms)
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

        if recording.tree.fingerprint() != self.tree.fingerprint():
            raise InputError("the recording is of another cell than the twin; predict it with this twin")
        return figure_recording(recording, start_ms, stop_ms)

    def save(self, path: str | Path, readme: str, *, overwrite: bool = False) -> None:
        """Write the folder, under a temporary name until it is complete.

        Args:
            path: the folder.
            readme: what it was made from and its measured error, for people.
            overwrite: replace a twin that is there.

        Raises:
            FileError: the folder exists.
        """
        with whole_folder(path, "config.json", overwrite=overwrite) as folder:
            values, tensors = self.model.state()
            content = to_bytes({name: t.contiguous().cpu() for name, t in tensors.items()})
            (folder / "model.safetensors").write_bytes(content)
            with new_hdf5(folder / "tree.h5", Path(path)) as file:
                write_tree(file, self.tree)
            config = {
                "format_version": FORMAT_VERSION,
                "architecture": self.architecture,
                "options": self.options,
                "threshold": self.threshold,
                "one_step_ahead": self.one_step_ahead,
                "tree_fingerprint": self.tree.fingerprint(),
                "tensors_sha256": _sha256(folder / "model.safetensors"),
                "training": self.training,
                "model": values,
            }
            (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
            (folder / "README.md").write_text(readme)

    @classmethod
    def load(cls, path: str | Path) -> Twin:
        """Open a twin's folder.

        Args:
            path: the folder.

        Returns:
            The twin.

        Raises:
            TwinError: it is missing, incomplete or altered.
        """
        path = Path(path)
        absent = [name for name in FILES if not (path / name).is_file()]
        if absent:
            raise TwinError(
                f"{path} is no twin: {', '.join(absent)} is missing; `dendrotwin twin` makes one of a "
                "cell, `dendrotwin train` of data"
            )
        try:
            return cls._open(path)
        except TwinError:
            raise
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RuntimeError,
            OSError,
            SafetensorError,
            DendrotwinError,
        ) as error:
            cause = " ".join(str(error).split())  # some have several lines
            raise TwinError(f"{path} is damaged ({cause}); restore it or train it again") from error

    @classmethod
    def _open(cls, path: Path) -> Twin:
        config = json.loads((path / "config.json").read_text())
        if config.get("format_version") != FORMAT_VERSION:
            raise TwinError(
                f"{path} has format version {config.get('format_version')}, this dendrotwin reads "
                f"{FORMAT_VERSION}; make it again: `dendrotwin twin` from the cell, `dendrotwin train` from data"
            )
        with h5py.File(path / "tree.h5", "r") as file:
            tree = read_tree(file)
        tensors = load_file(path / "model.safetensors")
        if tree.fingerprint() != config["tree_fingerprint"]:
            raise TwinError(f"{path}: tree.h5 is not the one that the twin was saved with; restore or train it again")
        architecture = load_architecture(config["architecture"])
        options = architecture.config(**config["options"])
        try:
            model = architecture.model.restore(tree, options, config["one_step_ahead"], config["model"], tensors)
        except TwinError as error:
            raise TwinError(f"{path}: {error}; restore it or train it again") from error
        if _sha256(path / "model.safetensors") != config["tensors_sha256"]:
            raise TwinError(f"{path}: model.safetensors was altered after it was saved; restore or train it again")
        return cls(config["architecture"], config["options"], tree, model, config["threshold"], config["training"])


def load(name: str | Path) -> Twin:
    """Open a twin of the package by its name, or any other by its folder.

    Args:
        name: such as "l5pc", or a path; where both are there, the folder.

    Returns:
        The twin.

    Raises:
        TwinError: there is none of this name, or the folder is no twin.
    """
    ours = {path.name: path for path in TWINS.glob("*") if path.is_dir()}
    if str(name) in ours and not (Path(name) / "config.json").is_file():
        return Twin.load(ours[str(name)])
    if not Path(name).exists():
        known = ", ".join(sorted(ours)) or "none"
        raise TwinError(
            f"{name} is no twin: there is no such folder, and of those that come with dendrotwin ({known}) none has "
            "this name; `dendrotwin twin` makes one"
        )
    return Twin.load(Path(name))


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


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
