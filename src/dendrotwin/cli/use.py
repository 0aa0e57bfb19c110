"""Commands that use twins and recordings: predict, signals, plot, figure."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

import dendrotwin
from dendrotwin.cli.base import (
    InputsOfSpikes,
    Overwrite,
    OwnArchitecture,
    TimeUnit,
    app,
    made_by,
    milliseconds,
    pairs,
    refuse_other_than_hdf5,
    say_done,
    twin_files,
)
from dendrotwin.errors import FileError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dendrotwin.recording import RecordingStream
    from dendrotwin.recording.writing import Outcome
    from dendrotwin.signals import PlacedCell
    from dendrotwin.support.progress import Advance

MARKER = "signals.txt"  # in a folder of figures: of which signals they are
PLOTTED = "plot.txt"  # in a folder of `plot`: of which recordings it is, and the digest of the command

SignalTexts = Annotated[
    list[str],
    typer.Option(
        help="currents, lfp, ecog, csd, dipole, eeg, new-york, meg, dye or patch, with options as "
        "NAME:key=value:...; two of a kind need a label (lfp:label=deep) [lfp and dipole]."
    ),
]
ProbeTexts = Annotated[
    list[str],
    typer.Option(
        help="Of lfp and ecog: linear, square or neuropixels with options, or a file of contacts; several are one "
        "for each lfp and ecog [linear; of ecog 4 by 4 contacts on the slab]."
    ),
]
FiguresStart = Annotated[
    int | None, typer.Option(min=0, help="Start of the figures [ms] [25 ms before the first output spike].")
]
FiguresStop = Annotated[int | None, typer.Option(help="End of the figures [ms] [100 ms after the start].")]


@app.command()
def predict(
    twin: Annotated[Path, typer.Argument(help="Folder of the twin, or the name of one that comes along: l5pc.")],
    events: Annotated[
        Path, typer.Argument(help="CSV or npz of input, time [ms]; spikes (SONATA, BMTK, NWB); or recordings.")
    ],
    out: Annotated[Path, typer.Option(help="File of recordings (.h5) to write.")],
    duration: Annotated[float | None, typer.Option(help="Of the trial [s]; events and spikes need it.")] = None,
    inputs: InputsOfSpikes = None,
    time_unit: TimeUnit = None,
    inject: Annotated[
        Path | None, typer.Option(help="Your own current, beside events: CSV or npz, compartments over ms [nA].")
    ] = None,
    feed_back: Annotated[
        bool,
        typer.Option("--feed-back", help="Of recordings, show an autoregressive twin its own predictions."),
    ] = False,
    architecture: OwnArchitecture = None,
    compress: Annotated[bool, typer.Option("--compress", help="Smaller file, slower to read.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Predict all potentials and the output spikes.

    Of every compartment, in the format of the simulator's recordings.

    A twin made with --autoregressive predicts recordings one step ahead, from their true potentials; everything else is
    free-running.
    """
    from dendrotwin.cell.spike_files import holds_spikes, read_spikes
    from dendrotwin.cell.stimuli import read_injection
    from dendrotwin.recording import provenance, write_recordings
    from dendrotwin.recording.trials import trials_of_cell
    from dendrotwin.support.atomic_files import refuse_existing_file
    from dendrotwin.support.made_by import command_digest, refuse_writing_over_inputs
    from dendrotwin.support.progress import progress

    refuse_other_than_hdf5(out)
    further = {"inject": inject, "inputs": inputs, "architecture": architecture}
    files = [*twin_files(twin), events, *(path for path in further.values() if path is not None)]
    refuse_writing_over_inputs([out], files)
    given = [name for name, path in further.items() if path is not None]
    options = {"duration": duration, "feed_back": feed_back, "compress": compress, "unit": time_unit, "given": given}
    digest = command_digest("predict", options, files)
    if made_by(out) == digest and not overwrite:
        say_done(out)
        return
    refuse_existing_file(out, overwrite=overwrite)
    loaded = dendrotwin.load(twin, architecture)
    if feed_back and not loaded.one_step_ahead:
        raise InputError(f"{twin} sees the input alone and is free-running as it is; leave --feed-back away")
    if holds_spikes(events):
        if duration is None:
            raise InputError(f"{events} does not say how long the trial is; give its seconds with --duration")
        steps = milliseconds(duration)
        injection = None if inject is None else read_injection(inject, steps)
        own = read_spikes(events, inputs, time_unit)
        own.check(loaded.tree.n_inputs, steps)
        trials: list[RecordingStream] = [loaded.stream(own, steps, injection=injection)]
    else:
        if inputs is not None or time_unit is not None:
            raise InputError(f"{events} holds recordings, which name inputs in ms; leave --inputs and --time-unit away")
        if inject is not None:
            raise InputError(f"the recordings in {events} say themselves what is injected; leave --inject away")
        if duration is not None:
            raise InputError(f"the recordings in {events} say themselves how long they are; leave --duration away")
        stored = trials_of_cell(events, loaded.tree, "the twin's")
        trials = [loaded.stream(trial, feed_back=feed_back) for trial in stored]
    attributes = {**provenance(), "twin": str(twin), "architecture": loaded.architecture, "made_by": digest}
    with progress("predicting", sum(trial.samples for trial in trials), "ms") as advance:
        write_recordings(out, (_shown(trial, advance) for trial in trials), attributes, compress=compress)
    print(f"{len(trials)} predicted trials in {out}")


def _shown(trial: RecordingStream, advance: Advance) -> RecordingStream:
    """The same trial; its progress is shown, of the last piece once that is written."""
    last = 0

    def pieces() -> Iterator[NDArray[Any]]:
        nonlocal last
        for piece in trial.pieces:
            if last:
                advance(last)
            last = len(piece)
            yield piece

    def outcome() -> Outcome:
        advance(last)
        return trial.outcome()

    return dataclasses.replace(trial, pieces=pieces(), outcome=outcome)


class _SignalOutputs(NamedTuple):
    """What `signals` writes."""

    out: Path
    nwb: Path | None
    figures: Path | None

    def _keep_apart(self, read: list[Path]) -> None:
        """Raise InputError where one of them is another, or is read."""
        from dendrotwin.support.made_by import refuse_writing_over_inputs

        files = [path for path in (self.out, self.nwb) if path is not None]
        written = {path.resolve() for path in files}
        folder = None if self.figures is None else self.figures.resolve()
        inside = any(folder in (path, *path.parents) for path in written)
        if len(written) < len(files) or written & {path.resolve() for path in read} or inside:
            raise InputError(
                "the recordings, --out and --nwb are files of their own, outside --figures; name another one to write"
            )
        refuse_writing_over_inputs([*files, self.figures], read)

    def to_do(self, digest: str, read: list[Path], *, overwrite: bool) -> list[Path]:
        """Those that the same command has not made yet; FileError or InputError where something is in the way."""
        from dendrotwin.signals.extras import import_extra
        from dendrotwin.support.atomic_files import refuse_existing, refuse_existing_file

        done = made_by(self.out) == digest and not overwrite
        todo = [path for path in self if path is not None and not (done and self._is_done(path))]
        for path in todo:
            if path == self.figures:
                refuse_existing(path, MARKER, overwrite=overwrite)
            else:
                refuse_existing_file(path, overwrite=overwrite)
        self._keep_apart(read)
        if not todo:
            say_done(self.out)
        if self.nwb in todo:
            import_extra("pynwb", "nwb")  # before anything is written
        return todo

    def _is_done(self, path: Path) -> bool:
        """Whether it is there, and was made after the signals, which come first."""
        made = path / MARKER if path == self.figures else path
        return made.is_file() and made.stat().st_mtime_ns >= self.out.stat().st_mtime_ns


@app.command()
def signals(
    recordings: Annotated[
        list[Path] | None,
        typer.Argument(help="Recordings of NEURON or a twin, one trial of each; several need --places and are summed."),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(help="File of signals (.h5) to write.")],
    signal: SignalTexts = [],  # noqa: B006
    probe: ProbeTexts = [],  # noqa: B006
    slab: Annotated[
        str | None, typer.Option(help="Layers for lfp and ecog, such as bottom_um=-150:thickness_um=300.")
    ] = None,
    trial: Annotated[int, typer.Option(min=0, help="Which trial of each file.")] = 0,
    places: Annotated[
        Path | None,
        typer.Option(
            help="CSV of x,y,z [um] or x,y,z,rx,ry,rz [degrees], a line for each cell; columns recording and trial say "
            "which, a column group gives signals of each group."
        ),
    ] = None,
    as_built: Annotated[
        bool,
        typer.Option(
            "--as-built", help="Keep the cell's own coordinates, its soma where it is; else it is upright at 0."
        ),
    ] = False,
    rate: Annotated[
        float | None,
        typer.Option(help="Samples in a second, filtered against aliasing, such as 2500 [those of the recording]."),
    ] = None,
    nwb: Annotated[Path | None, typer.Option(help="Also a file of Neurodata Without Borders.")] = None,
    subject: Annotated[
        list[str],
        typer.Option(help="Of the NWB file, as key=value, such as species='Rattus norvegicus' [a simulation]."),
    ] = [],  # noqa: B006
    figures: Annotated[Path | None, typer.Option(help="Also a folder of figures.")] = None,
    start: FiguresStart = None,
    stop: FiguresStop = None,
    overwrite: Overwrite = False,
) -> None:
    """Compute what electrodes, a dye and the scalp see.

    Of recordings: membrane currents, LFP, CSD, dipole, EEG, MEG, dye, patch.
    """
    from dendrotwin import signals as signals_module
    from dendrotwin.signals.parse import parse_instruments, parse_slab
    from dendrotwin.support.made_by import command_digest

    refuse_other_than_hdf5(out)
    about = _subject(subject, nwb)
    if figures is None and (start, stop) != (None, None):
        raise InputError("--start and --stop are of the figures; name their folder with --figures")
    cells = _placed_cells(recordings or [], trial, places, as_built)
    outputs = _SignalOutputs(out, nwb, figures)
    options: dict[str, Any] = {"signal": signal, "probe": probe, "slab": slab, "as_built": as_built, "rate": rate}
    options |= {"subject": about, "trial": trial, "outputs": outputs, "window": (start, stop)}
    named = _files_named([*signal, *probe, slab or ""]) + ([] if places is None else [places])
    read = [*(Path(cell.recording) for cell in cells), *named]
    digest = command_digest("signals", options, read)
    todo = outputs.to_do(digest, read, overwrite=overwrite)
    if not todo:
        return
    layers = None if slab is None else parse_slab(slab)
    instruments = parse_instruments(signal or ["lfp", "dipole"], probe, layers, cells)
    window = None if figures is None else _window(cells[0], start, stop)
    if out in todo:
        signals_module.write_signals(out, cells, instruments, rate_hz=rate, made_by=digest)
    print(f"{', '.join(instrument.name for instrument in instruments)} of {len(cells)} cells in {out}")
    if nwb is not None and nwb in todo:
        _write_nwb(nwb, out, cells, about)
        print(f"the same in {nwb}")
    if figures is not None and window is not None and figures in todo:
        names = _save_signal_figures(figures, cells, out, window, overwrite=overwrite)
        print(f"{', '.join(names)} in {figures}")


def _subject(subject: list[str], nwb: Path | None) -> dict[str, str]:
    """The fields of the subject of an NWB file."""
    about = pairs(subject)
    if about and nwb is None:
        raise InputError("--subject is of the NWB file; name it with --nwb")
    return about


def _files_named(texts: Iterable[str]) -> list[Path]:
    """The files that instruments, probes and layers name."""
    return [Path(word) for text in texts for word in re.split("[:=]", text) if word and Path(word).is_file()]


def _write_nwb(nwb: Path, out: Path, cells: list[PlacedCell], subject: dict[str, str]) -> None:
    """The signals of a file as an NWB file; those of one cell with what was injected."""
    from dendrotwin.signals import open_signals, write_nwb

    session = f"signals of {', '.join(dict.fromkeys(str(cell.recording) for cell in cells))}"
    with open_signals(out) as made:
        write_nwb(nwb, made.values(), session, cells[0] if len(cells) == 1 else None, subject)


def _window(cell: PlacedCell, start: int | None, stop: int | None) -> slice:
    """The part of a trial to draw [ms]: what is said, else around the cell's first output spike."""
    from dendrotwin.plot.signal_folder import WINDOW_MS, window_around_first_spike
    from dendrotwin.recording import RecordingFile

    with RecordingFile(cell.recording) as file:
        duration_ms = file.duration_ms(cell.trial)
        around = window_around_first_spike(file.spikes_ms(cell.trial), duration_ms)
    if (start, stop) == (None, None):
        return around
    first = min(around.start, stop - 1) if start is None and stop is not None else start or 0
    last = min(first + WINDOW_MS if stop is None else stop, duration_ms)
    if not 0 <= first < last:
        raise InputError(
            f"figures from {first} to {last} ms of a trial of {duration_ms} ms; give --start before --stop"
        )
    return slice(first, last)


def _save_signal_figures(
    figures: Path, cells: list[PlacedCell], out: Path, window: slice, *, overwrite: bool
) -> list[str]:
    """The figures of `signals` in a window of time; their names."""
    from dendrotwin.plot.signal_folder import save_signal_figures
    from dendrotwin.signals import read_signals
    from dendrotwin.support.atomic_files import whole_folder

    made = read_signals(out).values()
    with whole_folder(figures, MARKER, overwrite=overwrite) as folder:
        names = save_signal_figures(folder, made, [cell.tree() for cell in cells], window)
        (folder / MARKER).write_text(f"{out}\n")
    return names


def _placed_cells(recordings: list[Path], trial: int, places: Path | None, as_built: bool) -> list[PlacedCell]:
    """The cells that the options of `signals` name, at their places."""
    from dendrotwin.signals import PlacedCell, read_places

    cells = [PlacedCell(path, trial, as_built=as_built) for path in recordings]
    if places is not None:
        if trial and not cells:
            raise InputError(f"{places} says which trial of each recording; leave --trial away")
        cells = read_places(places, cells, as_built)
    if not cells:
        raise InputError("there is no recording; name one, or --places, a CSV with the columns recording,x,y,z")
    return cells


@app.command()
def plot(
    true: Annotated[Path, typer.Argument(help="Recordings, such as a shard of `simulate`.")],
    predicted: Annotated[Path, typer.Argument(help="Recordings to compare, such as those of `predict`.")],
    out: Annotated[Path, typer.Option(help="Folder of the figures.")],
    trial: Annotated[int, typer.Option(min=0, help="Which of the trials that both hold.")] = 0,
    start: Annotated[int, typer.Option(min=0, help="Start of the traces [ms].")] = 0,
    stop: Annotated[int | None, typer.Option(help="End of the traces [ms].")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw two recordings of the same trials side by side.

    All compartments, and the soma with its spikes.
    """
    from dendrotwin.evaluation.figures import draw_pair
    from dendrotwin.recording.trials import index_trials, read_trial, trials_of_cell
    from dendrotwin.support.atomic_files import whole_folder
    from dendrotwin.support.made_by import command_digest, refuse_writing_over_inputs

    refuse_writing_over_inputs([out], [true, predicted])
    digest = command_digest("plot", {"trial": trial, "start": start, "stop": stop}, [true, predicted])
    if (out / PLOTTED).is_file() and digest in (out / PLOTTED).read_text(errors="replace") and not overwrite:
        say_done(out)
        return
    tree, theirs = index_trials(true)
    ours = trials_of_cell(predicted, tree, str(true))
    by_id = {t.trial_id: t for t in ours}
    common = [t for t in theirs if t.trial_id in by_id]
    if not common:
        raise InputError(f"{true} and {predicted} have no trial in common; predict the trials of {true}")
    if trial >= len(common):
        raise InputError(f"{true} and {predicted} have {len(common)} trials in common; choose --trial below that")
    a, b = (read_trial(t, tree).each_ms() for t in (common[trial], by_id[common[trial].trial_id]))
    end = a.duration_ms if stop is None else min(stop, a.duration_ms)
    if start >= end:
        raise InputError(f"--start {start} must lie before the end at {end} ms")
    with whole_folder(out, "traces.png", overwrite=overwrite) as folder:
        draw_pair(folder, a, b, slice(start, end), float("nan"))
        (folder / PLOTTED).write_text(f"{true} beside {predicted}\n{digest}\n")
    print(f"traces.png and soma.png in {out}")


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="paper-1, paper-2 or paper-3: which of Verhellen et al. 2024.")],
    compared: Annotated[
        Path | None, typer.Argument(metavar="[BENCHMARK]", help="Folder made by `benchmark`, for paper-2.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the figure.")] = Path("paper-figures"),
    architecture: OwnArchitecture = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw a figure of the paper.

    With the twin of its cell that comes along, or of what `benchmark` made.
    """
    path = out / f"{name}.png"
    if name not in ("paper-1", "paper-2", "paper-3"):
        raise InputError(f"there is no figure {name!r}; choose paper-1, paper-2 or paper-3")
    if name == "paper-2" and compared is None:
        raise InputError("paper-2 is of a benchmark; name its folder, `dendrotwin figure paper-2 FOLDER`")
    if name != "paper-2" and compared is not None:
        raise InputError(f"{name} is of the twin that comes along and takes no folder; leave {compared} away")
    if out.is_file():
        raise FileError(f"{out} is a file; name a folder for the figure")
    from dendrotwin import plot
    from dendrotwin.support.made_by import described_work, is_done
    from dendrotwin.twin import TWINS

    source = sorted((compared or TWINS).rglob("*"))
    named = {
        "benchmark" if compared else "twin": source,
        "architecture": [] if architecture is None else [architecture],
    }
    work = described_work({}, named)
    if not overwrite and is_done(path, plot.made_of(path), work):
        say_done(path)
        return
    from dendrotwin.benchmark import paper_figures

    if compared is not None:
        drawn = paper_figures.figure_2(compared, architecture)
    else:
        drawn = paper_figures.figure_1() if name == "paper-1" else paper_figures.figure_3()
    plot.save(drawn, path, made_of=work)
    print(f"{name} in {path}")
