"""Commands that use twins and recordings: predict, signals, plot, figure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

import dendrotwin
from dendrotwin.cli.base import Overwrite, app, made_by, milliseconds, refuse_other_than_hdf5, twin_files
from dendrotwin.errors import FileError, InputError
from dendrotwin.recording import Recording

MARKER = "signals.txt"  # in a folder of figures: of which signals they are
PLOTTED = "plot.txt"  # in a folder of `plot`: of which recordings it is, and the digest of the command


@app.command()
def predict(
    twin: Annotated[Path, typer.Argument(help="Folder of the twin, or the name of one that comes along: l5pc.")],
    events: Annotated[
        Path, typer.Argument(help="CSV or npz of input, time [ms]; or recordings, whose input is taken.")
    ],
    out: Annotated[Path, typer.Option(help="File of recordings (.h5) to write.")],
    duration: Annotated[float | None, typer.Option(help="Of the trial [s]; CSV and npz need it.")] = None,
    inject: Annotated[
        Path | None, typer.Option(help="Your own current, beside CSV or npz: CSV or npz, compartments over ms [nA].")
    ] = None,
    feed_back: Annotated[
        bool,
        typer.Option("--feed-back", help="Of recordings, show an autoregressive twin its own predictions."),
    ] = False,
    compress: Annotated[bool, typer.Option("--compress", help="Smaller file, slower to read.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Predict all potentials and the output spikes.

    Of every compartment, in the format of the simulator's recordings.

    A twin made with --autoregressive predicts recordings one step ahead, from their true potentials; everything else is
    free-running.
    """
    from dendrotwin.cell.stimuli import read_events, read_injection
    from dendrotwin.recording import provenance, write_recordings
    from dendrotwin.recording.trials import read_trial, trials_of_cell
    from dendrotwin.support.atomic_files import refuse_existing_file
    from dendrotwin.support.made_by import command_digest, refuse_writing_over_inputs
    from dendrotwin.support.progress import progress

    refuse_other_than_hdf5(out)
    refuse_writing_over_inputs([out], [*twin_files(twin), events, inject])
    options = {"duration": duration, "feed_back": feed_back, "compress": compress, "injected": inject is not None}
    files = [*twin_files(twin), events] + ([] if inject is None else [inject])
    digest = command_digest("predict", options, files)
    if made_by(out) == digest and not overwrite:
        print(f"{out} is done already, by the same command of the same files")
        return
    refuse_existing_file(out, overwrite=overwrite)
    loaded = dendrotwin.load(twin)
    if feed_back and not loaded.one_step_ahead:
        raise InputError(f"{twin} sees the input alone and is free-running as it is; leave --feed-back away")
    if events.suffix in (".csv", ".npz"):
        if duration is None:
            raise InputError(f"{events} does not say how long the trial is; give its seconds with --duration")
        steps = milliseconds(duration)
        injection = None if inject is None else read_injection(inject, steps)
        own = read_events(events)
        own.check(loaded.tree.n_inputs, steps)
        count, recordings = 1, iter([loaded.predict(own, steps, injection=injection)])
    else:
        if inject is not None:
            raise InputError(f"the recordings in {events} say themselves what is injected; leave --inject away")
        trials = trials_of_cell(events, loaded.tree, "the twin's")
        count, recordings = (
            len(trials),
            (loaded.predict(read_trial(t, loaded.tree), feed_back=feed_back) for t in trials),
        )

    def shown() -> Iterator[Recording]:
        with progress("predicting", count, "trials") as advance:
            for recording in recordings:
                yield recording
                advance(1)

    attributes = {**provenance(), "twin": str(twin), "architecture": loaded.architecture, "made_by": digest}
    write_recordings(out, shown(), attributes, compress=compress)
    print(f"{count} predicted trials in {out}")


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
        from dendrotwin.support.atomic_files import refuse_existing, refuse_existing_file

        done = made_by(self.out) == digest and not overwrite
        todo = [path for path in self if path is not None and not (done and self._is_done(path))]
        for path in todo:
            if path == self.figures:
                refuse_existing(path, MARKER, overwrite=overwrite)
            else:
                refuse_existing_file(path, overwrite=overwrite)
        self._keep_apart(read)
        return todo

    def _is_done(self, path: Path) -> bool:
        """Whether it is there, and was made after the signals, which come first."""
        made = path / MARKER if path == self.figures else path
        return made.is_file() and made.stat().st_mtime_ns >= self.out.stat().st_mtime_ns


@app.command()
def signals(
    recordings: Annotated[
        list[Path], typer.Argument(help="Recordings of NEURON or a twin, one trial of each; several are summed.")
    ],
    out: Annotated[Path, typer.Option(help="File of signals (.h5) to write.")],
    signal: Annotated[
        list[str],
        typer.Option(
            help="currents, lfp, ecog, csd, dipole, eeg, new-york, meg, dye or patch, with options as "
            "NAME:key=value:...; two of a kind need a label (lfp:label=deep) [lfp and dipole]."
        ),
    ] = [],  # noqa: B006
    probe: Annotated[
        str | None,
        typer.Option(
            help="Of lfp and ecog: linear, square or neuropixels with options, or a CSV of x,y,z [um] [linear; of ecog "
            "4 by 4 contacts on the slab]."
        ),
    ] = None,
    slab: Annotated[
        str | None, typer.Option(help="Layers for lfp and ecog, such as bottom_um=-150:thickness_um=300.")
    ] = None,
    trial: Annotated[int, typer.Option(min=0, help="Which trial of each file.")] = 0,
    places: Annotated[
        Path | None, typer.Option(help="CSV of x,y,z [um] or x,y,z,rx,ry,rz [degrees], a line for each recording.")
    ] = None,
    as_built: Annotated[
        bool, typer.Option("--as-built", help="Keep the cell's own coordinates; else it is upright, its soma at 0.")
    ] = False,
    nwb: Annotated[Path | None, typer.Option(help="Also a file of Neurodata Without Borders.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Also a folder of figures.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compute what electrodes, a dye and the scalp see.

    Of recordings: membrane currents, LFP, CSD, dipole, EEG, MEG, dye, patch.
    """
    from dendrotwin import signals as signals_module
    from dendrotwin.signals.extras import import_extra
    from dendrotwin.signals.parse import parse_instrument, parse_probe, parse_slab
    from dendrotwin.support.atomic_files import whole_folder
    from dendrotwin.support.made_by import command_digest

    refuse_other_than_hdf5(out)
    texts = [*signal, probe or "", slab or ""]
    named = [Path(word) for text in texts for word in re.split("[:=]", text) if word and Path(word).is_file()]
    read = [*recordings, *named, *([] if places is None else [places])]
    outputs = _SignalOutputs(out, nwb, figures)
    options = {"texts": texts, "trial": trial, "places": str(places), "as_built": as_built, "outputs": outputs}
    digest = command_digest("signals", options, read)
    todo = outputs.to_do(digest, read, overwrite=overwrite)
    if not todo:
        print(f"{out} is done already, by the same command of the same files")
        return
    if nwb is not None:
        import_extra("pynwb", "nwb")  # before anything is written
    cells = [signals_module.PlacedCell(path, trial, as_built=as_built) for path in recordings]
    cells = cells if places is None else signals_module.read_places(places, cells)
    contacts = None if probe is None else parse_probe(probe)
    layers = None if slab is None else parse_slab(slab)
    instruments = [parse_instrument(text, contacts, layers, cells) for text in signal or ["lfp", "dipole"]]
    if out in todo:
        signals_module.write_signals(out, cells, instruments, made_by=digest)
    print(f"{', '.join(instrument.name for instrument in instruments)} of {len(cells)} cells in {out}")
    if todo == [out]:
        return
    made = signals_module.read_signals(out).values()
    if nwb in todo:
        signals_module.write_nwb(nwb, made, f"signals of {', '.join(str(path) for path in recordings)}")
        print(f"the same in {nwb}")
    if figures in todo:
        from dendrotwin.plot.signal_folder import save_signal_figures, window_around_first_spike
        from dendrotwin.recording import RecordingFile

        with RecordingFile(cells[0].recording) as first:
            window = window_around_first_spike(first.spikes_ms(trial), first.duration_ms(trial))
        with whole_folder(figures, MARKER, overwrite=overwrite) as folder:
            names = save_signal_figures(folder, made, [cell.tree() for cell in cells], window)
            (folder / MARKER).write_text(f"{out}\n")
        print(f"{', '.join(names)} in {figures}")


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
        print(f"{out} is done already, by the same command of the same files")
        return
    tree, theirs = index_trials(true)
    ours = trials_of_cell(predicted, tree, str(true))
    by_id = {t.trial_id: t for t in ours}
    common = [t for t in theirs if t.trial_id in by_id]
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
    if path.exists() and not overwrite:
        raise FileError(f"{path} exists; name another folder, or use --overwrite")
    from dendrotwin import plot
    from dendrotwin.benchmark import paper_figures

    if compared is not None:
        drawn = paper_figures.figure_2(compared)
    else:
        drawn = paper_figures.figure_1() if name == "paper-1" else paper_figures.figure_3()
    plot.save(drawn, path)
    print(f"{name} in {path}")
