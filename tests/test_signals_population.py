"""Populations by a table, contacts inside cells, geometry, and what files and figures say of a signal."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from dendrotwin import plot, signals
from dendrotwin.cell.geometry import geometry_fault
from dendrotwin.cell.tree import Tree
from dendrotwin.cli.use import _window
from dendrotwin.errors import FileError, InputError, InputWarning
from dendrotwin.plot.signal_folder import save_signal_figures
from dendrotwin.recording import RecordingFile, write_recordings
from dendrotwin.recording.trials import index_trials
from dendrotwin.signals import PlacedCell, read_places
from dendrotwin.signals.extracellular import lfp_matrix
from dendrotwin.signals.parse import parse_instrument, parse_instruments
from dendrotwin.signals.placing import soma_centre, upright
from test_cli import refused, run
from test_recording import recording, tree_with_inputs

BESIDE = signals.point_electrodes([[60.0, 70.0, z] for z in (-50.0, 30.0, 120.0)])


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A file of three trials, as `predict` writes them."""
    made = [dataclasses.replace(recording(tree_with_inputs(), 20, str(k), k), injection=None) for k in range(3)]
    write_recordings(tmp_path / "many.h5", made, {})
    return tmp_path / "many.h5"


@pytest.fixture
def tree() -> Tree:
    return upright(tree_with_inputs())


# ------------------------------------------------------------------------------------------ tables


def test_a_population_from_one_file(many: Path, tmp_path: Path) -> None:
    """By a column of trials, or of recordings, too, which are sought beside the table."""
    table = tmp_path / "places.csv"
    table.write_text("trial,x,y,z,group\n2,0,0,0,exc\n0,200,0,10,inh\n1,0,-300,0,exc\n")
    cells = read_places(table, [PlacedCell(many)])
    assert [(cell.trial, cell.position_um, cell.group) for cell in cells] == [
        (2, (0.0, 0.0, 0.0), "exc"),
        (0, (200.0, 0.0, 10.0), "inh"),
        (1, (0.0, -300.0, 0.0), "exc"),
    ]
    table.write_text("recording,x,y,z,rx,ry,rz,trial\nmany.h5,0,0,0,0,0,90,1\nmany.h5,200,0,0,0,0,0,2\n")
    for given in ([], [PlacedCell(many)]):
        cells = read_places(table, given)
        assert [(cell.recording, cell.trial, cell.rotation_deg[2]) for cell in cells] == [
            (many, 1, 90.0),
            (many, 2, 0.0),
        ]
    assert read_places(table, as_built=True)[0].as_built


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y,z,weight\n0,0,0,1\n", r"may have recording, trial and group, not 'x,y,z,weight'"),
        ("x,y,z,rx\n0,0,0,1\n", "its header must be"),
        ("x,y,z,x\n0,0,0,1\n", "its header must be"),
        ("x,y,z\n0,0,nan\n", "line 2 must have finite numbers"),
        ("x,y,z\n0,0\n", "every row must have the 3 columns of the header"),
        ("x,y,z,trial\n0,0,0,1.5\n", "whole ones for the trials"),
        ("x,y,z,group\n0,0,0,a b\n", "a group is one word"),
        ("x,y,z,group\n0,0,0,spectrum\n", "a group is one word"),
        ("x,y,z,recording\n0,0,0,other.h5\n", "names the recording 'other.h5', which is neither beside it nor here"),
        ("x,y,z\n0,0,0\n1,1,1\n", "has 2 places for 1 recordings; give a line for each"),
    ],
)
def test_wrong_tables(text: str, message: str, many: Path, tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text(text)
    with pytest.raises(FileError, match=message):
        read_places(tmp_path / "places.csv", [PlacedCell(many)])


def test_a_table_of_another_recording(many: Path, tmp_path: Path) -> None:
    (tmp_path / "other.h5").write_bytes(many.read_bytes())
    (tmp_path / "places.csv").write_text("recording,x,y,z\nother.h5,0,0,0\n")
    with pytest.raises(FileError, match="which is not one of the recordings given"):
        read_places(tmp_path / "places.csv", [PlacedCell(many)])
    (tmp_path / "places.csv").write_text("trial,x,y,z\n0,0,0,0\n")
    with pytest.raises(FileError, match="leave --trial away"):
        read_places(tmp_path / "places.csv", [PlacedCell(many, 1)])


def test_signals_of_groups_add_up(many: Path, tmp_path: Path) -> None:
    cells = [
        PlacedCell(many, trial, (300.0 * trial, 0.0, 0.0), group=group)
        for trial, group in enumerate(("exc", "inh", "exc"))
    ]
    wanted = [signals.LFP(BESIDE), signals.Dipole()]
    made = {signal.name: signal.values for signal in signals.record(cells, wanted)}
    assert list(made) == ["lfp", "lfp-exc", "lfp-inh", "dipole", "dipole-exc", "dipole-inh"]
    assert np.allclose(made["lfp"], made["lfp-exc"] + made["lfp-inh"], rtol=0, atol=1e-12)
    assert np.allclose(made["lfp-inh"], signals.lfp(dataclasses.replace(cells[1], group=""), BESIDE).values)
    assert np.array_equal(signals.lfp(cells, BESIDE).values, made["lfp"])
    signals.write_signals(tmp_path / "s.h5", cells, wanted)
    read = signals.read_signals(tmp_path / "s.h5")
    assert np.allclose(read["lfp-exc"].values, made["lfp-exc"], rtol=1e-6)
    assert read["lfp-exc"].modality == "lfp"
    with pytest.raises(InputError, match="has no group and other cells have one"):
        signals.record([cells[0], dataclasses.replace(cells[1], group="")], wanted)
    with pytest.raises(InputError, match="two signals named lfp-exc"):
        signals.record(cells, [signals.LFP(BESIDE), signals.LFP(BESIDE, name="lfp-exc")])


def test_cells_without_places_stand_in_each_other(many: Path) -> None:
    pair = [PlacedCell(many, 0), PlacedCell(many, 1)]
    with pytest.raises(InputError, match=r"trial 0 and .*many.h5, trial 1 both have their soma at \(0, 0, 0\)"):
        signals.lfp(pair, BESIDE)
    with pytest.raises(InputError, match="stand in each other; place each cell"):
        signals.lfp([dataclasses.replace(cell, as_built=True) for cell in pair], BESIDE)
    apart = [pair[0], dataclasses.replace(pair[1], position_um=(0.0, 0.0, 200.0))]
    assert signals.lfp(apart, BESIDE).values.shape == (20, 3)


def test_a_cell_as_built_stays_where_it_is(many: Path, tmp_path: Path) -> None:
    with RecordingFile(many) as file:
        own = file.tree()
    assert not np.allclose(soma_centre(own), 0.0)
    assert np.allclose(PlacedCell(many, as_built=True).tree().ends_um, own.ends_um)
    moved = PlacedCell(many, as_built=True, position_um=(1.0, 2.0, 3.0)).tree()
    assert np.allclose(moved.ends_um - own.ends_um, np.array([1.0, 2.0, 3.0]) - soma_centre(own))
    turned = PlacedCell(many, as_built=True, rotation_deg=(0.0, 0.0, 90.0)).tree()
    assert np.allclose(soma_centre(turned), soma_centre(own))
    signals.write_signals(tmp_path / "s.h5", PlacedCell(many, as_built=True), [signals.Dipole()])
    with h5py.File(tmp_path / "s.h5") as file:
        assert json.loads(file.attrs["sources"])[0]["position_um"] == pytest.approx(soma_centre(own))


# ------------------------------------------------------------------------------------------ contacts inside cells


def test_a_contact_at_a_joint_is_inside(tree: Tree) -> None:
    for compartment in np.flatnonzero(tree.parent > 0):
        for end in (0, 1):
            with pytest.raises(InputError, match="lies inside the compartment"):
                lfp_matrix(tree, signals.point_electrodes([tree.ends_um[compartment, end]]))
    bend = tree.ends_um[2, 0]  # where a basal dendrite turns: beside both cylinders, and yet in the dendrite
    into = [(tree.ends_um[k, 1] - tree.ends_um[k, 0]) / tree.length_um[k] for k in (1, 2)]
    outside = into[0] - into[1]
    with pytest.raises(InputError, match="lies inside the compartment"):
        lfp_matrix(tree, signals.point_electrodes([bend + 0.5 * outside / np.linalg.norm(outside)]))
    tip = tree.ends_um[2, 1] + 0.1 * into[1]
    assert lfp_matrix(tree, signals.point_electrodes([tip])).shape == (1, tree.n)


def test_a_contact_inside_one_cell_of_a_population(many: Path) -> None:
    """Refused by the cell's name, as if on the membrane, or without the cell."""
    cells = [PlacedCell(many, 0), PlacedCell(many, 1, (0.0, 500.0, 0.0))]
    trees = [cell.tree() for cell in cells]
    probe = signals.point_electrodes([trees[1].ends_um[4].mean(axis=0), [40.0, 250.0, 0.0]])
    with pytest.raises(InputError, match=r"many.h5, trial 1 at \(0, 500, 0\) um: contact 0 .* lies inside .*leave-out"):
        signals.lfp(cells, probe)
    surface = signals.lfp(cells, probe, inside="surface").values
    expected = sum(signals.lfp(cell, probe, inside="surface").values for cell in cells)
    assert np.allclose(surface, expected, rtol=0, atol=1e-12)
    matrix = lfp_matrix(trees[1], probe, source="line", inside="surface")
    r, length = trees[1].diameter_um[4] / 2, trees[1].length_um[4]
    assert matrix[0, 4] == pytest.approx(2.0 * np.arcsinh(length / 2 / r) / (4.0 * np.pi * 0.3 * length), rel=1e-6)
    with pytest.warns(InputWarning, match=r"lfp leaves out 1 of 2 cells, .*many.h5, trial 1 at"):
        without = signals.lfp(cells, probe, inside="leave-out").values
    assert np.allclose(without, signals.lfp(cells[0], probe).values)
    with pytest.raises(InputError, match="lie inside every cell"):
        signals.lfp(cells[1], probe, inside="leave-out")
    with pytest.raises(InputError, match="choose inside=refuse, surface, leave-out"):
        signals.lfp(cells, probe, inside="ignore")


# ------------------------------------------------------------------------------------------ geometry


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ends_um", np.nan, r"compartment 3, .* has an end that is not finite"),
        ("ends_um", np.inf, r"compartment 3, .* has an end that is not finite"),
        ("length_um", 0.0, r"compartment 3, .* has a length that is not positive"),
        ("diameter_um", 0.0, "has a diameter that is not positive"),
        ("diameter_um", np.nan, "has a diameter that is not positive"),
        ("area_um2", -1.0, "has an area that is not positive"),
    ],
)
def test_compartments_that_are_no_cylinders(field: str, value: float, message: str, many: Path) -> None:
    with h5py.File(many, "r+") as file:
        values = file[f"tree/{field}"][()]
        values[3] = value
        file[f"tree/{field}"][...] = values
    with pytest.raises(FileError, match=rf"many.h5.*{message}"):
        signals.dipole(many)


def test_a_compartment_whose_ends_coincide(tree: Tree) -> None:
    assert geometry_fault(tree) is None
    ends = tree.ends_um.copy()
    ends[5, 1] = ends[5, 0]
    assert "compartment 5, s5(0.500000), has both ends at one point" in str(
        geometry_fault(dataclasses.replace(tree, ends_um=ends))
    )


# ------------------------------------------------------------------------------------------ texts, files, figures


def test_probes_of_several_lfps(many: Path) -> None:
    cells = [PlacedCell(many)]
    texts = ["lfp:label=deep", "dipole", "lfp:label=top"]
    deep, _, top = parse_instruments(
        texts, ["linear:contacts=3:start_um=60,60,0", "square:rows=2:columns=2"], None, cells
    )
    assert (len(deep.probe), len(top.probe)) == (3, 4)
    assert [len(i.probe) for i in parse_instruments(texts, ["linear:contacts=3"], None, cells)[::2]] == [3, 3]
    for wrong, message in (
        (["linear"] * 3, "there are 3 probes for 2 signals"),
        (["linear"] * 4, "one for each in its order"),
    ):
        with pytest.raises(InputError, match=message):
            parse_instruments(texts, wrong, None, cells)
    with pytest.raises(InputError, match="a probe is of lfp and ecog, not of dipole"):
        parse_instruments(["dipole"], ["linear"], None, cells)
    with pytest.raises(InputError, match="source is given twice"):
        parse_instrument("lfp:source=line:source=point", None, None)
    with pytest.raises(InputError, match="both start_um and stop_um"):
        parse_instrument("csd:start_um=0", None, None, cells)
    assert parse_instrument("lfp:inside=surface", None, None).inside == "surface"


def test_options_that_take_one_value_are_given_once(many: Path, tmp_path: Path) -> None:
    refused(run("signals", many, "--out", tmp_path / "s.h5", "--trial", 0, "--trial=1"), "--trial is given twice")


def test_a_population_by_the_command(many: Path, tmp_path: Path) -> None:
    table = tmp_path / "places.csv"
    table.write_text("recording,trial,x,y,z,group\nmany.h5,0,0,0,0,a\nmany.h5,2,0,500,0,b\n")
    asked = ("--signal", "lfp:inside=leave-out", "--signal", "csd:half_width_um=900")
    (tmp_path / "probe.csv").write_text("x,y,z\n0,500,0\n60,60,0\n")
    result = run("signals", "--places", table, "--probe", tmp_path / "probe.csv", *asked, "--out", tmp_path / "s.h5")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("dendrotwin: lfp leaves out 1 of 2 cells, in which its contacts lie:")
    assert list(signals.read_signals(tmp_path / "s.h5")) == ["lfp", "lfp-a", "lfp-b", "csd", "csd-a", "csd-b"]


def test_a_file_says_all_that_made_its_signals(many: Path, tmp_path: Path) -> None:
    slab = signals.Slab(-400.0, 900.0, 0.15, 0.4, 1.2)
    wanted = [
        signals.LFP(dataclasses.replace(BESIDE, radius_um=7.0), 0.6, "line", name="lfp-a"),
        signals.LFP(BESIDE, source="point", slab=slab, name="lfp-b"),
        signals.EEG(head=signals.FourSpheres((0.0, 0.0, 76_000.0))),
        signals.Patch(series_MOhm=50.0, noise_mV=0.2, seed=9),
        signals.Dye(rows=20, columns=20, attenuation_um=150.0),
        signals.CSD(np.array([-500.0, 0.0, 500.0])),
    ]
    signals.write_signals(tmp_path / "s.h5", many, wanted)
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["lfp-a"].attrs["sigma_S_per_m"] == 0.6
        assert file["lfp-b"].attrs["slab_above_S_per_m"] == 1.2
    found = {name: signal.settings for name, signal in signals.read_signals(tmp_path / "s.h5").items()}
    expected = {
        "lfp-a": {"sigma_S_per_m": 0.6, "source": "line", "slab": "none", "probe_radius_um": 7.0, "inside": "refuse"},
        "lfp-b": {"slab_bottom_um": -400.0, "slab_tissue_S_per_m": 0.4, "source": "point", "instrument": "LFP"},
        "eeg": {"head_origin_um": [0.0, 0.0, 76_000.0], "head_sigmas_S_per_m": [0.3, 1.5, 0.015, 0.3]},
        "patch": {"series_MOhm": 50.0, "capacitance_pF": 5.0, "noise_mV": 0.2, "seed": 9, "compartment": "soma"},
        "dye": {"attenuation_um": 150.0, "pixel_um": 20.0, "centre_um": [0.0, 0.0]},
        "csd": {"z_edges_um": [-500.0, 0.0, 500.0], "half_width_um": 500.0},
    }
    for name, settings in expected.items():
        assert settings.items() <= found[name].items()
    assert "sigma_S_per_m" not in found["lfp-b"]
    assert found["dye"]["surface_um"] == pytest.approx(PlacedCell(many).tree().ends_um[:, :, 2].max())
    for made in signals.record(many, wanted):
        assert made.settings == found[made.name]


def test_a_grid_is_seen_from_above(tree: Tree) -> None:
    values = np.random.default_rng(0).normal(size=(30, 16))
    grid = signals.ecog_grid(400.0).positions_um
    axes = plot.figure_contacts([tree], grid, values, "mV", 30.0, "ECoG").axes[0]
    assert axes.get_title(loc="left") == "ECoG: 16 contacts, from above"
    starts = {tuple(np.round(line.get_xydata()[0], 1)) for line in axes.lines if len(line.get_xydata()) == 30}
    assert len(starts) == 16
    twice = plot.figure_contacts([tree], np.concatenate([grid, grid]), np.tile(values, 2), "mV", 30.0)
    assert twice.axes[0].get_title(loc="left") == "16 of 32 contacts, from above"
    along = plot.figure_contacts([tree], grid[:, [2, 0, 1]], values, "mV", 30.0)
    assert along.axes[0].get_title(loc="left") == "16 contacts, along x"


def test_figures_say_which_channels_are_left_out() -> None:
    values = np.random.default_rng(0).normal(size=(20, 40)) * np.arange(1.0, 41.0)
    all_of_meg = plot.figure_series(np.arange(20.0), values[:, :18], [str(k) for k in range(18)], "fT")
    assert [axes.get_title(loc="right") for axes in all_of_meg.axes] == [str(k) for k in range(18)]
    some = plot.figure_series(np.arange(20.0), values, [str(k) for k in range(40)], "fT")
    assert some.axes[0].get_title(loc="left") == "the 24 strongest of 40 channels"
    assert "39" in [axes.get_title(loc="right") for axes in some.axes]
    spectrum = plot.figure_spectrum(np.arange(1.0, 21.0), values**2, [str(k) for k in range(40)], "fT")
    assert spectrum.axes[0].get_title(loc="left") == "the 7 strongest of 40 channels"


@pytest.mark.parametrize("heights", [(0.0,), (500.0,), (0.0, 500.0)])
def test_the_soma_is_marked_where_it_is(many: Path, heights: tuple[float, ...], monkeypatch, tmp_path: Path) -> None:
    drawn = []
    monkeypatch.setattr(plot, "save", lambda figure, path: drawn.append(figure))
    trees = [PlacedCell(many, position_um=(0.0, 0.0, z)).tree() for z in heights]
    csd = signals.Signal("csd", "nA/um3", np.ones((20, 3)), {"z_um": np.array([0.0, 250.0, 500.0])})
    save_signal_figures(tmp_path, [csd], trees, slice(0, 20))
    axes = drawn[0].axes[0]
    lines = [float(line.get_ydata()[0]) for line in axes.lines]
    assert lines == pytest.approx(list(heights) if len(heights) == 1 else [], abs=1e-9)
    assert axes.get_ylabel() == ("height above the soma (µm)" if heights == (0.0,) else "z in the tissue (µm)")


def test_a_trial_is_said_apart(many: Path, tmp_path: Path) -> None:
    for use in (signals.dipole, index_trials):
        with pytest.raises(FileError, match=r"many.h5:3 names a trial of .*many.h5, which is said apart: --trial 3"):
            use(f"{many}:3")
    table = tmp_path / "p.csv"
    table.write_text(f"x,y,z,recording\n0,0,0,{many.name}:2\n")
    (tmp_path / many.name).write_bytes(many.read_bytes())
    with pytest.raises(FileError, match="or a column `trial` in --places"):
        read_places(table)
    with pytest.raises(FileError, match="does not exist"):
        signals.dipole(f"{tmp_path}/none.h5:3")


def test_figures_of_a_window_that_is_said(tmp_path: Path) -> None:
    many = tmp_path / "silent.h5"
    silent = dataclasses.replace(recording(tree_with_inputs(), 20), injection=None, spikes_ms=np.zeros(0))
    write_recordings(many, [silent], {})
    take = ["signals", many, "--out", tmp_path / "s.h5", "--signal", "dipole"]
    for given, window in (
        ({"start": 5}, slice(5, 20)),
        ({"stop": 8}, slice(0, 8)),
        ({"start": 3, "stop": 9}, slice(3, 9)),
    ):
        assert _window(signals.PlacedCell(many), given.get("start"), given.get("stop")) == window
    with pytest.raises(InputError, match="figures from 30 to 20 ms of a trial of 20 ms; give --start before --stop"):
        _window(signals.PlacedCell(many), 30, None)
    result = run(*take, "--start", "3")
    assert result.returncode == 2
    assert "are of the figures; name their folder with --figures" in result.stderr
    done = run(*take, "--start", "3", "--stop", "9", "--figures", tmp_path / "f")
    assert done.returncode == 0, done.stderr


def test_panels_of_one_signal_have_one_scale(tree: Tree) -> None:
    values = np.random.default_rng(1).normal(size=(20, 3)) * [1e-12, 1.0, 5.0]
    series = plot.figure_series(np.arange(20.0), values, ["x", "y", "z"], "nA µm")
    assert len({axes.get_ylim() for axes in series.axes}) == 1
    assert series.axes[0].get_ylim()[1] >= values.max()
    # The bars of a figure of contacts are below the lowest trace.
    positions = np.array([[40.0, 0.0, 0.0], [40.0, 0.0, 300.0]])
    drop = np.zeros((30, 2))
    drop[-1, 0] = -50.0
    axes = plot.figure_contacts([tree], positions, drop, "mV", 30.0).axes[0]
    lines = [line.get_ydata() for line in axes.lines]
    bars, traces = ([y for y in lines if len(y) == n] for n in (2, 30))
    lowest = min(np.min(y) for y in traces)
    assert lowest < tree.ends_um[:, :, 2].min()
    assert all(np.min(y) < lowest for y in bars if not np.array_equal(y, positions[:, 2]))
