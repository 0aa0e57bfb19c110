"""The command `signals`: descriptions of instruments, its files and figures, and mistakes that end in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from dendrotwin import plot, signals
from dendrotwin.errors import FileError, InputError
from dendrotwin.neuron.data_set import shard_path
from dendrotwin.plot.signal_folder import save_signal_figures, window_around_first_spike
from dendrotwin.recording import RecordingFile
from dendrotwin.signals.parse import parse_instrument, parse_probe, parse_slab
from dendrotwin.signals.placing import PlacedCell, upright
from dendrotwin.signals.population import read_places
from test_cli import refused, run
from test_recording import tree_with_inputs

ALL = (
    "currents",
    "lfp",
    "csd:start_um=-300:stop_um=500:layers=20",
    "dipole",
    "eeg",
    "meg",
    "dye:rows=6:columns=8",
    "patch:seed=4",
)


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the command makes of one trial."""
    out = tmp_path_factory.mktemp("signals")
    wanted = [part for text in ALL for part in ("--signal", text)]
    wanted += ["--probe", "square:rows=4:columns=2:pitch_um=80:centre_um=30,60,100", "--figures", out / "figures"]
    result = run("signals", shard_path(data, 0), "--out", out / "s.h5", "--nwb", out / "s.nwb", *wanted)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert f"currents, lfp, csd, dipole, eeg, meg, dye, patch of 1 cells in {out / 's.h5'}" in result.stdout
    return out


def test_the_command_gives_what_python_gives(made: Path, data: Path) -> None:
    probe = signals.square_array(4, 2, 80.0, (30.0, 60.0, 100.0))
    found = signals.read_signals(made / "s.h5")
    with RecordingFile(shard_path(data, 0)) as file:
        current = signals.membrane_currents(file.tree(), file.v(0))
        assert found["currents"].channels["compartment"].tolist() == file.tree().names
    assert np.allclose(found["currents"].values, current, rtol=1e-5, atol=1e-6 * np.abs(current).max())
    for name, expected in (
        ("lfp", signals.lfp(shard_path(data, 0), probe)),
        ("csd", signals.csd(shard_path(data, 0), np.linspace(-300.0, 500.0, 21))),
        ("dipole", signals.dipole(shard_path(data, 0))),
        ("eeg", signals.eeg(shard_path(data, 0))),
        ("meg", signals.meg(shard_path(data, 0))),
        ("dye", signals.dye(shard_path(data, 0), rows=6, columns=8)),
        ("patch", signals.patch(shard_path(data, 0), seed=4)),
    ):
        assert np.allclose(found[name].values, expected.values, rtol=1e-5, atol=1e-6 * np.abs(expected.values).max())


def test_nwb_is_valid_and_holds_the_electrodes(made: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    assert not pynwb.validate(path=str(made / "s.nwb"))
    found = signals.read_signals(made / "s.h5")
    with pynwb.NWBHDF5IO(str(made / "s.nwb"), "r") as io:
        file = io.read()
        table = file.electrodes.to_dataframe()
        module = file.processing["ecephys"]
        lfp, eeg = module["LFP"]["lfp"], module["eeg"]
        assert np.array_equal(lfp.electrodes.to_dataframe()["z_um"], found["lfp"].channels["z_um"])
        assert np.array_equal(eeg.electrodes.to_dataframe()["x_um"], found["eeg"].channels["x_um"])
        assert table["group_name"].tolist() == ["lfp"] * 8 + ["eeg"] * 6
        assert np.allclose(lfp.data[:] * lfp.conversion, found["lfp"].values * 1e-3)
        assert (lfp.unit, lfp.rate, lfp.starting_time) == ("volts", 1000.0, 0.001)
        assert module["meg"].unit == "tesla"
        assert module["meg"].conversion == 1e-15
        assert file.acquisition["dye"].data.shape == (1500, 6, 8)
        assert file.acquisition["patch"].unit == "volts"


def test_nwb_has_the_rate_of_the_signals(tmp_path: Path) -> None:
    pynwb = pytest.importorskip("pynwb")
    fine = signals.Signal("patch", "mV", np.zeros((40, 1)), {"compartment": np.array([-1])}, 20_000.0)
    signals.write_nwb(tmp_path / "s.nwb", [fine], "every 0.05 ms")
    with pynwb.NWBHDF5IO(str(tmp_path / "s.nwb"), "r") as io:
        patch = io.read().acquisition["patch"]
        assert (patch.rate, patch.starting_time) == (20_000.0, pytest.approx(5e-5))


def test_figures_of_all_signals(made: Path) -> None:
    names = {path.name for path in (made / "figures").glob("*.png")}
    spectra = {f"{name}-spectrum.png" for name in ("lfp", "dipole", "eeg", "meg", "patch")}
    assert names == {f"{text.split(':')[0]}.png" for text in ALL} | spectra


def test_a_population_by_the_command(data: Path, tmp_path: Path) -> None:
    places = tmp_path / "places.csv"
    places.write_text("x,y,z,rx,ry,rz\n-40,0,10,0,0,90\n40,30,0,0,0,0\n")
    paths = [shard_path(data, trial) for trial in (0, 1)]
    probe = tmp_path / "probe.csv"
    probe.write_text("x,y,z\n0,-80,20\n")
    result = run("signals", *paths, "--places", places, "--probe", probe, "--out", tmp_path / "s.h5")
    assert result.returncode == 0, result.stderr
    cells = [
        PlacedCell(paths[0], position_um=(-40.0, 0.0, 10.0), rotation_deg=(0.0, 0.0, 90.0)),
        PlacedCell(paths[1], position_um=(40.0, 30.0, 0.0)),
    ]
    expected = signals.lfp(cells, signals.point_electrodes([[0.0, -80.0, 20.0]])).values
    found = signals.read_signals(tmp_path / "s.h5")["lfp"].values
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_mistakes_end_in_one_line(data: Path, tmp_path: Path) -> None:
    shard, out = shard_path(data, 0), tmp_path / "s.h5"
    refused(run("signals", tmp_path / "none.h5", "--out", out), "none.h5 does not exist")
    refused(
        run("signals", shard, "--out", out, "--probe", "linear:start_um=0,0,0:stop_um=0,0,50"), "inside the compart"
    )
    refused(run("signals", shard, "--out", out, "--signal", "lfp:sigma_S_per_m=-1"), "-1.0 S/m; it must be positive")
    refused(
        run("signals", shard, "--out", out, "--signal", "lfp", "--signal", "lfp"),
        "two signals named lfp",
        "NAME:label=",
    )
    refused(run("signals", shard, "--out", shard), "exists; name another file, or use --overwrite")
    assert not out.exists()


SLAB = signals.Slab(-800.0, 2200.0, 0.15)
PROBE = signals.linear_probe()


def test_files_are_not_written_over_each_other(data: Path, tmp_path: Path) -> None:
    recording = tmp_path / "r.h5"
    recording.write_bytes(shard_path(data, 0).read_bytes())
    whole = recording.read_bytes()
    refused(run("signals", recording, "--out", recording, "--overwrite"), "files of their own")
    both = tmp_path / "s.h5"
    refused(run("signals", recording, "--out", both, "--nwb", both), "files of their own")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "mine.png").touch()
    refused(run("signals", recording, "--out", both, "--figures", tmp_path / "figures"), "figures exists")
    assert recording.read_bytes() == whole
    assert not both.exists()


def test_texts_of_instruments() -> None:
    lfp = parse_instrument("lfp:source=line:sigma_S_per_m=0.3,0.3,0.4", PROBE, None)
    assert (lfp.source, lfp.sigma_S_per_m) == ("line", (0.3, 0.3, 0.4))
    assert parse_instrument("lfp", PROBE, None).source == "soma-point"
    layered = parse_instrument("lfp", PROBE, SLAB)
    assert (layered.slab, layered.source) == (SLAB, "point")
    assert parse_instrument("ecog", PROBE, SLAB).name == "ecog"
    on_top = parse_instrument("ecog", None, SLAB)
    assert isinstance(on_top, signals.LFP)
    assert len(on_top.probe) == 16
    assert set(on_top.probe.positions_um[:, 2]) == {SLAB.bottom_um + SLAB.thickness_um}
    beside = parse_instrument("lfp", None, None)
    assert isinstance(beside, signals.LFP)
    assert np.array_equal(beside.probe.positions_um, signals.linear_probe().positions_um)
    assert parse_instrument("patch", PROBE, None).compartment is None
    assert parse_instrument("patch:compartment=7", PROBE, None).compartment == 7
    assert len(parse_instrument("eeg:angles_deg=5", PROBE, None).electrodes_um) == 1
    assert parse_instrument("new-york:file=x.mat", PROBE, None).file == Path("x.mat")
    assert parse_slab("bottom_um=-800:thickness_um=2200:below_S_per_m=0.15") == SLAB
    assert len(parse_probe("linear:contacts=5")) == 5
    assert parse_probe("neuropixels:model=Neuropixels-24").name == "Neuropixels-24"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sound", "no signal 'sound'; choose currents, lfp"),
        (
            "lfp:colour=red",
            r"lfp:colour=red must have the form key=value; the options of lfp are sigma_S_per_m, source",
        ),
        ("dye:rows", "dye:rows must have the form key=value"),
        ("dye:pixel_um=1,2", "pixel_um=1,2 must be a number, such as 20"),
        ("dipole:name=x", "dipole takes no options"),
        ("dye:rows=many", "dye: rows=many must be a whole number, such as 32"),
        ("lfp:sigma_S_per_m=much", "sigma_S_per_m=much must be numbers with commas between them, such as 0.3"),
        (
            "eeg:origin_um=0,77000",
            "origin_um=0,77000 must be three numbers with commas between them, such as 0,0,77000",
        ),
        ("currents", "currents are of one cell, not of 0"),
        ("ecog", "ecog needs the cortex as a slab: --slab bottom_um"),
        ("csd:layers=0", "csd in 0 layers"),
        ("lfp:label=a-b", "lfp:label=a-b: the label must be one word"),
        ("lfp:label=a:label=b", "one word of letters, digits and _"),
        ("lfp:label=spectrum", "and not spectrum"),
    ],
)
def test_wrong_texts(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_instrument(text, PROBE, None)


def test_two_of_one_instrument_have_labels(data: Path, tmp_path: Path) -> None:
    shard, out = shard_path(data, 0), tmp_path / "s.h5"
    figures = tmp_path / "figures"
    asked = ("lfp", "lfp:source=line:label=lines", "patch", "patch:compartment=3:label=dendrite")
    options = [part for text in asked for part in ("--signal", text)]
    result = run("signals", shard, "--out", out, "--figures", figures, "--nwb", tmp_path / "s.nwb", *options)
    assert result.returncode == 0, result.stderr
    made = signals.read_signals(out)
    kinds = {"lfp": "lfp", "lfp-lines": "lfp", "patch": "patch", "patch-dendrite": "patch"}
    assert {name: signal.modality for name, signal in made.items()} == kinds
    assert not np.array_equal(made["lfp"].values, made["lfp-lines"].values)
    assert {"lfp.png", "lfp-lines.png", "lfp-lines-spectrum.png"} <= {path.name for path in figures.iterdir()}


def test_wrong_probes_and_places(tmp_path: Path) -> None:
    (tmp_path / "marked.csv").write_text("x,y,z\n1,2,3\n", encoding="utf-8-sig")  # as spreadsheets write it
    assert parse_probe(str(tmp_path / "marked.csv")).positions_um.tolist() == [[1.0, 2.0, 3.0]]
    with pytest.raises(InputError, match="no probe 'round'; choose linear, square, neuropixels"):
        parse_probe("round")
    cells = [PlacedCell(tmp_path / "r.h5")]
    with pytest.raises(FileError, match="it says where each recorded cell is"):
        read_places(tmp_path / "none.csv", cells)
    path = tmp_path / "places.csv"
    for text, message in (
        ("a,b\n1,2\n", "is no table of places"),
        ("x,y,z\n0,0,0,500,0,0\n", "is no table of places"),
        ("x,y,z\n", "has 0 places for 1 recordings"),
    ):
        path.write_text(text)
        with pytest.raises(FileError, match=message):
            read_places(path, cells)


def test_nwb_without_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynwb", None)
    with pytest.raises(InputError, match=r"needs pynwb, .* pip install 'dendrotwin\[nwb\]'"):
        signals.write_nwb(tmp_path / "s.nwb", [], "nothing")


# ------------------------------------------------------------------------------------------ spectra and figures


def test_power_of_a_sine() -> None:
    """A sine of amplitude a has the power a^2 / 2 at its frequency, and no other."""
    time = np.arange(4000) / 1000.0
    wave = np.stack([3.0 * np.sin(2.0 * np.pi * 40.0 * time), 0.0 * time], axis=1)
    hz, power = signals.power_spectrum(signals.Signal("x", "mV", wave, {}))
    assert hz[np.argmax(power[:, 0])] == 40.0
    assert power[:, 0].sum() * (hz[1] - hz[0]) == pytest.approx(4.5, rel=1e-3)
    assert power[:, 1].max() < 1e-12
    fast = np.sin(2.0 * np.pi * 3000.0 * np.arange(20_000) / 20_000.0)[:, None]  # between the samples of each ms
    hz, power = signals.power_spectrum(signals.Signal("x", "mV", fast, {}, 20_000.0))
    assert (hz[0], hz[-1], hz[np.argmax(power)]) == (2.0, 10_000.0, 3000.0)


def test_window_around_the_first_spike(data: Path) -> None:
    assert window_around_first_spike(np.zeros(0), 60) == slice(0, 60)
    assert window_around_first_spike(np.array([900.0]), 2000, 40) == slice(890, 930)
    for trial in range(10):
        with RecordingFile(shard_path(data, trial)) as file:
            spikes = file.spikes_ms(0)
            window = window_around_first_spike(spikes, file.duration_ms(0))
        assert window.stop - window.start == 100
        settled = spikes[spikes >= 500.0]
        assert window.start >= 400
        assert not len(settled) or window.start <= settled[0] < window.stop


def test_a_window_has_the_samples_of_the_signal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: list[np.ndarray] = []
    draw = plot.figure_series
    monkeypatch.setattr(plot, "figure_series", lambda time, *rest: (drawn.append(time), draw(time, *rest))[1])
    fine = signals.Signal("patch", "mV", np.arange(2000.0)[:, None], {"compartment": np.array([-1])}, 20_000.0)
    save_signal_figures(tmp_path, [fine], [], slice(20, 50))
    assert len(drawn[0]) == 600
    assert drawn[0][[0, -1]] == pytest.approx([20.05, 50.0])


def test_traces_of_contacts_are_the_values() -> None:
    tree = upright(tree_with_inputs())
    values = np.random.default_rng(0).normal(size=(30, 3))
    positions = np.array([[40.0, 0.0, 0.0], [40.0, 0.0, 100.0], [40.0, 0.0, 200.0]])
    figure = plot.figure_contacts([tree], positions, values, "mV", 30.0)
    lines = [line.get_xydata() for line in figure.axes[0].lines if len(line.get_xydata()) == 30]
    assert len(lines) == 3
    slopes = [np.polyfit(values[:, k] - values[:, k].mean(), line[:, 1], 1) for k, line in enumerate(lines)]
    assert np.allclose([slope for slope, _ in slopes], slopes[0][0])  # one scale
    assert np.allclose([offset for _, offset in slopes], positions[:, 2])  # about their contacts
    shank = np.array([[40.0, 0.0, 10.0 * k] for k in range(150)])
    many = plot.figure_contacts([tree], shank, np.tile(values, 50), "mV", 30.0, "LFP")
    assert many.axes[0].get_title(loc="left") == "LFP: 22 of 150 contacts"


def test_depth_frames_and_series_show_the_data() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(20, 6))
    depth = plot.figure_depth(np.arange(20.0), np.arange(6.0), values, "CSD (x)")
    (mesh,) = [c for c in depth.axes[0].collections if isinstance(c, QuadMesh)]
    assert np.allclose(np.asarray(mesh.get_array()).reshape(6, 20), values.T)
    images = rng.normal(size=(5, 4, 3))
    frames = plot.figure_frames(images, np.arange(5.0), (0.0, 3.0), (0.0, 4.0), "dF (x)")
    shown = [axes.images[0].get_array() for axes in frames.axes if axes.images]
    assert np.allclose(shown, images)
    series = plot.figure_series(np.arange(20.0), values, list("abcdef"), "x (mV)")
    assert np.allclose([axes.lines[0].get_ydata() for axes in series.axes], values.T)
    spectrum = plot.figure_spectrum(np.arange(1.0, 21.0), values**2, list("abcdef"), "nA µm")
    assert spectrum.axes[0].get_ylabel() == "power spectral density ((nA µm)²/Hz)"
    assert all(isinstance(figure, Figure) for figure in (depth, frames, series, spectrum))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_figures_of_signals_that_never_change(value: float, tmp_path: Path) -> None:
    tree = upright(tree_with_inputs())
    places = {name: np.array([50.0]) for name in ("x_um", "y_um", "z_um")}
    flat = np.full((5, 1), value)
    made = [
        signals.Signal("lfp", "mV", flat, places),
        signals.Signal("csd", "nA/um3", flat, {"z_um": np.array([0.0])}),
        signals.Signal("dye", "mV um2", np.full((5, 1, 1), value), {name: np.zeros(1) for name in ("x_um", "y_um")}),
        signals.Signal("patch", "mV", flat, {"compartment": np.array([-1])}),
    ]
    names = save_signal_figures(tmp_path, made, [tree], slice(0, 5))
    assert all((tmp_path / name).stat().st_size > 0 for name in names)
