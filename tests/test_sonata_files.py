"""SONATA: circuits and simulations in, results out, against BMTK's own readers and libsonata; and what is refused."""

from __future__ import annotations

import json
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import libsonata
import numpy as np
import pytest

from dendrotwin.cell.synapse import Conductance
from dendrotwin.circuit.check import check_projection
from dendrotwin.circuit.description import Description
from dendrotwin.circuit.engine import Settings
from dendrotwin.circuit.sonata import edges
from dendrotwin.circuit.sonata.config import read_config
from dendrotwin.circuit.sonata.load import RunPlan, read_circuit
from dendrotwin.circuit.sonata.nodes import read_nodes, select
from dendrotwin.circuit.sonata.outputs import contributions, extracellular_file, membrane_file, spike_file
from dendrotwin.circuit.sonata.simulate import Simulation
from dendrotwin.errors import DendrotwinError, FileError
from sonata_files import StubCells, config_of, make_circuit, write_config, write_spikes

SHARED = Path(__file__).parents[2] / "shared" / "sonata"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return make_circuit(tmp_path)


@pytest.fixture
def read(made: Path) -> tuple[Description, RunPlan]:
    return read_circuit(made, StubCells())


def test_nodes_of_several_groups(made: Path) -> None:
    cells = StubCells()
    circuit, plan = read_circuit(made, cells)
    (population,) = circuit.populations
    assert plan.node_ids["cells"].tolist() == [10, 11, 12, 13]
    # x, y of group 0; a group's own morphology counts before that of the type.
    assert [Path(of["morphology"]).name for of in cells.asked] == ["a.swc", "b.swc", "own.swc"]
    assert population.model.tolist() == [0, 1, 0, 2]
    options = cells.asked[0]
    assert options["model_template"] == f"nml:{made.parent / 'parts' / 'cell.nml'}"
    assert (options["celsius"], options["v_init"], options["dL"]) == ("34.0", "-70.0", "20.0")
    assert "dynamics_params" not in options


def test_positions(made: Path) -> None:
    """Of `positions` where a group has them, and else of x, y and z, 0 where they are not given."""
    expected = [[2.0, 4.0, 0.0], [0.0, 1.0, 2.0], [1.0, 3.0, 0.0], [3.0, 4.0, 5.0]]
    assert read_circuit(made, StubCells())[0].populations[0].position_um.tolist() == expected
    with h5py.File(made.parent / "network" / "cells.h5", "a") as file:
        del file["nodes/cells/1/positions"]
    expected = [[2.0, 4.0, 0.0], [5.0, 0.0, 0.0], [1.0, 3.0, 0.0], [6.0, 0.0, 0.0]]
    assert read_circuit(made, StubCells())[0].populations[0].position_um.tolist() == expected


def test_edges(read: tuple[Description, RunPlan]) -> None:
    (projection,) = read[0].projections
    first = projection.weight != 0.001  # edges with a weight of their own give their section
    assert projection.source_node[first].tolist() == [0, 1, 2, 0, 2]
    assert projection.target_node[first].tolist() == [0, 1, 2, 3, 1]
    assert projection.weight[first].tolist() == [0.01, 0.02, 0.03, 0.04, 0.05]
    assert projection.delay_ms[first].tolist() == [2.0, 2.0, 1.5, 1.5, 1.5]
    assert projection.compartment[first].tolist() == [1, 4, 0, 6, 5]
    names = [projection.synapses[k].name for k in projection.synapse[first]]
    assert names == ["exc", "exc", "inh", "inh", "inh"]
    exc, inh = (next(s for s in projection.synapses if s.name == name) for name in ("exc", "inh"))
    assert (exc.excitatory, inh.excitatory) == (True, False)
    assert (exc.conductances[0].rise_ms, exc.conductances[0].decay_ms, exc.conductances[0].g_max_uS) == (1.0, 3.0, 1.0)
    assert (inh.conductances[0].rise_ms, inh.conductances[0].decay_ms, inh.conductances[0].e_mV) == (0.0, 8.0, -80.0)


def test_tmgsyn_is_an_exponential_synapse_with_plasticity(made: Path) -> None:
    """Of every synapse of such edges, and of no others: drawn ones too."""
    tmgsyn()(made.parent, {})
    instead(EDGE_TYPES, "Exp2Syn exc", "tmgsyn inh")(made.parent, {})
    instead(EDGE_TYPES, "\n4 tmgsyn inh", "\n4 Exp2Syn exc")(made.parent, {})
    circuit, _ = read_circuit(made, StubCells())
    (projection,) = circuit.projections
    names = np.array([kind.name for kind in projection.synapses])[projection.synapse]
    (own,) = [kind for kind in projection.synapses if kind.name == "inh"]
    assert own.conductances == (Conductance(0.0, 3.0, 1.0, -80.0),)
    assert not own.excitatory
    assert projection.plasticity is not None
    expected = np.array([0.04, 100.0, 1000.0, 3.0, 0.1])  # U, tau_rec, tau_facil, tau_1, u0
    assert (names == "inh").sum() == 402
    assert (projection.plasticity[names == "inh"] == expected).all()
    assert np.isnan(projection.plasticity[names != "inh"]).all()
    check_projection(projection, circuit.populations[0], circuit.trains[0])


def test_edges_without_a_section_are_drawn_by_length(made: Path, read: tuple[Description, RunPlan]) -> None:
    (projection,) = read[0].projections
    drawn = projection.weight == 0.001
    assert drawn.sum() == 400
    assert (projection.source_node[drawn] == 1).all()
    assert (projection.target_node[drawn] == 0).all()
    # From the soma's 0 end, half a soma further: compartment 2 (32 to 52 um) from 50, 3 (to 82) whole, 4 (to 112)
    # up to 110.
    found = np.bincount(projection.compartment[drawn], minlength=7)
    assert found[[0, 1, 5, 6]].sum() == 0
    assert np.abs(found[2:5] - 400 * np.array([2, 30, 28]) / 60).max() < 40
    again = read_circuit(made, StubCells())[0].projections[0]
    assert again.compartment.tolist() == projection.compartment.tolist()
    write_config(made.parent, config := config_of(made.parent))
    config["run"]["random_seed"] = 1
    write_config(made.parent, config)
    other = read_circuit(made, StubCells())[0].projections[0]
    assert other.compartment.tolist() != projection.compartment.tolist()


def test_edges_with_a_section_make_one_synapse(made: Path) -> None:
    with h5py.File(made.parent / "network" / "edges.h5", "a") as file:
        file["edges/source_to_cells/0/nsyns"] = [1, 1, 7, 1, 1]
    circuit, plan = read_circuit(made, StubCells())
    assert len(circuit.projections[0]) == 405
    assert any("nsyns has no effect where an edge gives its section" in note for note in plan.notes)


def test_populations_of_edges_draw_apart(made: Path) -> None:
    network = made.parent / "network"
    shutil.copy(network / "edges.h5", network / "more.h5")
    with h5py.File(network / "more.h5", "a") as file:
        file.move("edges/source_to_cells", "edges/again")
    config = config_of(made.parent)
    config["networks"]["edges"].append({**config["networks"]["edges"][0], "edges_file": "$NET/more.h5"})
    one, two = read_circuit(write_config(made.parent, config), StubCells())[0].projections
    assert one.weight.tolist() == two.weight.tolist()
    assert one.compartment.tolist() != two.compartment.tolist()


def test_steps_into_several_cells(made: Path) -> None:
    config = config_of(made.parent)
    config["inputs"]["step"]["node_set"] = "bio"
    (clamps,) = read_circuit(write_config(made.parent, config), StubCells())[0].clamps
    pairs = sorted(zip(clamps.node.tolist(), clamps.current_nA.tolist(), strict=True))
    assert pairs == [(node, current) for node in range(4) for current in (-0.2, 0.1)]


def test_bmtk_draws_from_the_same_part(made: Path) -> None:
    """The shares are those of `bmtk.simulator.bionet.morphology.find_sections`, written out."""
    from dendrotwin.circuit.sonata.edges import _cumulated
    from sonata_files import a_tree

    tree = a_tree()
    below = _cumulated(tree, ("['dend', 'axon']", "[15.0, 30.0]"), "here")
    distance = tree.distance_um + 6.0
    overlap = np.clip(
        np.minimum(distance + tree.length_um / 2, 30.0) - np.maximum(distance - tree.length_um / 2, 15.0), 0, None
    )
    overlap[0] = 0.0
    assert np.diff(below, prepend=0.0) == pytest.approx(overlap)


def test_inputs(read: tuple[Description, RunPlan]) -> None:
    (trains,) = read[0].trains
    assert (trains.name, trains.count) == ("source", 3)
    # In the order of the file; the one at 100.5 ms is after the end.
    assert trains.node.tolist() == [2, 0, 1]
    assert trains.time_ms.tolist() == [50.0, 3.25, 7.0]
    (clamps,) = read[0].clamps
    assert clamps.node.tolist() == [0, 0]
    assert clamps.compartment.tolist() == [5, 5]
    assert clamps.start_ms.tolist() == [10.0, 30.0]
    assert clamps.stop_ms.tolist() == [15.0, 35.0]
    assert clamps.current_nA.tolist() == [0.1, -0.2]


@pytest.mark.parametrize(
    ("chosen", "ids"),
    [
        ("bio", [10, 11, 12, 13]),
        ("first", [10]),
        ("deep", [12]),
        ("both", [10, 12]),
        ("e", [10, 12, 13]),
        ("cells", [10, 11, 12, 13]),
        ([11, 13], [11, 13]),
        ({"node_type_id": 5}, [11]),
        ({"depth": 2.0, "model_type": "biophysical"}, [12]),
        ({"morphology": ["own.swc", "a"]}, [10, 12, 13]),
    ],
)
def test_node_sets(made: Path, chosen: Any, ids: list[int]) -> None:
    config = read_config(made)
    nodes = read_nodes(config)
    found = select(nodes, config.node_sets, chosen, "here")
    assert nodes["cells"].id[found["cells"]].tolist() == ids


def test_all_nodes(made: Path) -> None:
    config = read_config(made)
    assert select(read_nodes(config), config.node_sets, "all", "here").keys() == {"cells", "source"}


def test_the_plan(made: Path, read: tuple[Description, RunPlan]) -> None:
    plan = read[1]
    assert (plan.stop_ms, plan.dt_ms, plan.threshold_mV) == (100.0, 0.1, -15.0)
    assert plan.spikes == made.parent / "out" / "spikes.h5"
    soma, dend, cai = plan.reports
    assert soma.path == made.parent / "out" / "v_soma.h5"
    assert soma.elements[0].compartment.tolist() == [0, 0, 0, 0]
    # As in BMTK the first sample is one step after the start.
    assert soma.clock.count == 1000
    assert soma.clock.times_ms()[[0, -1]] == pytest.approx([0.1, 100.0])
    assert dend.clock.count == 100
    assert dend.clock.times_ms()[:2] == pytest.approx([0.1, 1.1])
    assert dend.elements[0].node_id.tolist() == [10, 12]
    assert dend.elements[0].compartment.tolist() == [1, 2, 3, 4, 5] * 2
    assert dend.elements[0].section_id.tolist() == [2, 2, 3, 3, 3] * 2
    assert cai.variable == "cai"
    assert cai.elements[0].section_id.tolist() == [0, 1, 2, 2, 3, 3, 3]
    (ecp,) = plan.extracellular
    assert ecp.channel.tolist() == [0, 2]
    assert ecp.position_um.tolist() == [[10, 0, 5], [10, -10, 5]]
    assert any("nsteps_block has no effect" in note for note in plan.notes)
    assert any("inside a cell counts as if it were on the membrane" in note for note in plan.notes)


def test_a_config_in_parts(made: Path) -> None:
    """The circuit in a file of its own, with a manifest of its own, and node sets in a third one."""
    folder = made.parent
    whole = config_of(folder)
    circuit = {key: whole.pop(key) for key in ("networks", "components")} | {"manifest": dict(whole["manifest"])}
    whole["manifest"]["$NET"] = "elsewhere"
    (folder / "sub").mkdir()
    (folder / "sets.json").write_text(json.dumps(whole.pop("node_sets")))
    circuit["manifest"]["$BASE"] = ".."
    (folder / "sub" / "circuit.json").write_text(json.dumps(circuit))
    write_config(folder, whole | {"network": "sub/circuit.json", "node_sets_file": "$BASE/sets.json"})
    one, _ = read_circuit(made, StubCells())
    (folder / "both.json").write_text('{"network": "sub/circuit.json", "simulation": "./simulation.json"}')
    two, _ = read_circuit(folder / "both.json", StubCells())
    for circuit_read in (one, two):
        assert len(circuit_read.projections[0]) == 405


# ---------------------------------------------------------------- results


@pytest.mark.filterwarnings("ignore")
def test_spikes_are_read_by_libsonata_and_bmtk(read: tuple[Description, RunPlan]) -> None:
    from bmtk.utils.reports.spike_trains import SpikeTrains

    plan = read[1]
    with spike_file(plan, ["cells"]) as file:
        file.add("cells", np.array([1, 0]), np.array([5.25, 3.5]))
        file.add("cells", np.array([3]), np.array([4.0]))
        assert plan.spikes is not None
        assert not plan.spikes.exists()
    found = libsonata.SpikeReader(str(plan.spikes))["cells"]
    assert found.get() == [(10, 3.5), (13, 4.0), (11, 5.25)]
    assert found.sorting == "by_time"
    trains = SpikeTrains.load(str(plan.spikes))
    table = trains.to_dataframe()
    assert table["timestamps"].tolist() == [3.5, 4.0, 5.25]
    assert table["node_ids"].tolist() == [10, 13, 11]
    assert table["population"].tolist() == ["cells"] * 3


def test_spikes_as_csv_can_be_read_again(made: Path) -> None:
    from dendrotwin.cell.spike_files import spikes_of_populations

    config = config_of(made.parent)
    config["output"] |= {"spikes_file": None, "spikes_file_csv": "s.csv", "spikes_sort_order": "id"}
    _, plan = read_circuit(write_config(made.parent, config), StubCells())
    with spike_file(plan, ["cells"]) as file:
        file.add("cells", np.array([1, 0, 1]), np.array([5.25, 30.5, 1.0]))
    (spikes,) = spikes_of_populations(made.parent / "out" / "s.csv")
    assert spikes.node.tolist() == [10, 11, 11]
    assert spikes.time.tolist() == [30.5, 1.0, 5.25]
    assert [path.name for path in (made.parent / "out").iterdir()] == ["s.csv"]


def test_membrane_reports_are_read_by_libsonata_and_bmtk(read: tuple[Description, RunPlan]) -> None:
    from bmtk.utils.reports import CompartmentReport

    recording = read[1].reports[1]
    values = np.random.default_rng(0).normal(size=(100, 10)).astype(np.float32)
    with membrane_file(recording) as series:
        series["cells"].add(values[:30])
        series["cells"].add(values[30:])
    population = libsonata.ElementReportReader(str(recording.path))["cells"]
    assert (population.times, population.time_units, population.data_units) == ((0.0, 100.0, 1.0), "ms", "mV")
    assert population.get_node_ids() == [10, 12]
    frame = population.get(node_ids=[12])
    assert frame.data == pytest.approx(values[:, 5:])
    assert [list(pair) for pair in frame.ids] == [[12, 2], [12, 2], [12, 3], [12, 3], [12, 3]]
    report = CompartmentReport.load(str(recording.path))
    assert report.data(node_id=12) == pytest.approx(values[:, 5:])
    assert report.element_ids(node_id=10).tolist() == [2, 2, 3, 3, 3]
    assert report.element_pos(node_id=10) == pytest.approx([0.25, 0.75, 1 / 6, 0.5, 5 / 6])
    assert (report.variable(), report.units()) == ("v", "mV")


def test_bmtks_analysers_draw_the_results(read: tuple[Description, RunPlan]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from bmtk.analyzer.compartment import plot_traces
    from bmtk.analyzer.ecp import plot_ecp
    from bmtk.analyzer.spike_trains import plot_raster

    _, plan = read
    with spike_file(plan, ["cells"]) as spikes:
        spikes.add("cells", np.array([1, 0]), np.array([5.25, 3.5]))
    with membrane_file(plan.reports[0]) as series:
        series["cells"].add(np.zeros((1000, 4)))
    with extracellular_file(plan.extracellular[0]) as ecp:
        ecp.add({"cells": np.ones((1000, 2))})
    plot_raster(spikes_file=str(plan.spikes), population="cells", show=False, with_histogram=False)
    plot_traces(report_path=str(plan.reports[0].path), population="cells", show=False)
    assert h5py.File(plan.extracellular[0].path)["ecp/time"][()].tolist() == [0.0, 100.0, 0.1]
    plot_ecp(ecp_path=("", str(plan.extracellular[0].path)), show=False)


def test_extracellular_reports(made: Path) -> None:
    config = config_of(made.parent)
    config["reports"]["ecp"] |= {"contributions_dir": "parts", "electrode_channels": [2], "cells": "first"}
    _, plan = read_circuit(write_config(made.parent, config), StubCells())
    (recording,) = plan.extracellular
    with extracellular_file(recording) as file:
        file.add({"cells": np.full((1000, 1), 2.0)})
    with h5py.File(recording.path) as h5:
        assert h5["ecp/data"][()].tolist() == [[2.0]] * 1000
        assert h5["ecp/channel_id"][()].tolist() == [2]
        assert h5["ecp/data"].attrs["units"] == "mV"


@pytest.mark.parametrize("folder", ["alone", "../there/deep", "there"])
def test_cells_alone_have_files_of_their_own(folder: str, made: Path) -> None:
    """Of what was in their folder, what has their names is replaced and all else stays."""
    config = config_of(made.parent)
    config["reports"]["ecp"] |= {"contributions_dir": folder, "cells": "both"}
    (made.parent / "out" / "there").mkdir(parents=True)
    (made.parent / "out" / "there" / "mine.txt").touch()
    _, plan = read_circuit(write_config(made.parent, config), StubCells())
    (recording,) = plan.extracellular
    values = np.random.default_rng(0).normal(size=(2, 1000, 2)).astype(np.float32)
    with contributions(recording, plan.node_ids) as files:
        files.add({"cells": values[:, :300]})
        files.add({"cells": values[:, 300:]})
        assert not list((made.parent / "out" / folder).glob("1*.h5"))
    for values_of_cell, node_id in zip(values, (10, 12), strict=True):
        with h5py.File(made.parent / "out" / folder / f"{node_id}.h5") as h5:
            assert np.array_equal(h5["ecp/data"][()], values_of_cell)
            assert h5["ecp/data"].attrs["units"] == "mV"
    assert (made.parent / "out" / "there" / "mine.txt").exists()
    there = sorted(path.name for path in (made.parent / "out" / folder).iterdir())
    assert there == ["10.h5", "12.h5", *(["mine.txt"] if folder == "there" else [])]
    with pytest.raises(FileError, match=r"1[02]\.h5 exists; name another folder"):
        read_circuit(made, StubCells())


def test_more_cells_alone_than_files_may_be_open(read: tuple[Description, RunPlan]) -> None:
    plan, many = read[1], 200
    recording = replace(
        plan.extracellular[0], cells={"cells": np.arange(many)}, contributions=plan.folder / "alone"
    )  # fmt: skip
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken + many // 2, limits[1]))
    try:
        with contributions(recording, {"cells": np.arange(many)}) as files:
            files.add({"cells": np.zeros((many, 1000, 2))})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(list((plan.folder / "alone").iterdir())) == many


def test_cells_of_several_populations_are_named_by_these(made: Path) -> None:
    config = config_of(made.parent)
    config["reports"]["ecp"] |= {"contributions_dir": "alone"}
    _, plan = read_circuit(write_config(made.parent, config), StubCells())
    (recording,) = plan.extracellular
    both = replace(recording, cells={**recording.cells, "others": np.array([1])})
    paths = both.paths({**plan.node_ids, "others": np.array([3, 10])})
    assert [path.name for path in paths] == ["ecp.h5", *(f"cells_{k}.h5" for k in (10, 11, 12, 13)), "others_10.h5"]


def _stopped(file: Any) -> None:
    file.add("cells", np.array([1]), np.array([5.25]))
    raise KeyboardInterrupt


def test_nothing_half_written_stays(read: tuple[Description, RunPlan]) -> None:
    plan = read[1]
    with (
        pytest.raises(FileError, match=r"would have 3 of 1000 samples; run the circuit to its end"),
        membrane_file(plan.reports[0]) as series,
    ):
        series["cells"].add(np.zeros((3, 4)))
    with pytest.raises(KeyboardInterrupt), spike_file(plan, ["cells"]) as file:
        _stopped(file)
    alone = replace(plan.extracellular[0], contributions=plan.folder / "alone")
    with pytest.raises(FileError, match=r"alone would have 3 of 1000"), contributions(alone, plan.node_ids) as files:
        files.add({"cells": np.zeros((4, 3, 2))})
    assert list(plan.folder.iterdir()) == []


# ---------------------------------------------------------------- what is refused

Break = Callable[[Path, dict[str, Any]], None]


def say(*keys: str, to: Any) -> Break:
    """Set a key of the config."""

    def change(_: Path, config: dict[str, Any]) -> None:
        for key in keys[:-1]:
            config = config[key]
        config[keys[-1]] = to

    return change


def drop(*keys: str) -> Break:
    """Leave a key of the config away."""

    def change(_: Path, config: dict[str, Any]) -> None:
        for key in keys[:-1]:
            config = config[key]
        del config[keys[-1]]

    return change


def text(name: str, content: str) -> Break:
    """Write a file."""
    return lambda folder, _: (folder / name).write_text(content) and None


def instead(name: str, old: str, new: str) -> Break:
    """Replace a text of a file."""

    def change(folder: Path, _: dict[str, Any]) -> None:
        before = (folder / name).read_text()
        assert old in before
        (folder / name).write_text(before.replace(old, new))

    return change


def array(file: str, name: str, values: Any) -> Break:
    """Replace an array of an HDF5 file."""

    def change(folder: Path, _: dict[str, Any]) -> None:
        with h5py.File(folder / "network" / file, "a") as h5:
            attributes = dict(h5[name].attrs) if name in h5 else {}
            if name in h5:
                del h5[name]
            if values is not None:
                h5[name] = values
                for key, value in attributes.items():
                    h5[name].attrs[key] = value

    return change


def tmgsyn(**values: Any) -> Break:
    """Edges of the second type are of tmgsyn, with these parameters; without those that are None."""
    usual = {"tau_1": 3.0, "tau_rec": 100.0, "tau_facil": 1000.0, "U": 0.04, "u0": 0.1, "erev": -80.0}
    said = {name: value for name, value in (usual | values).items() if value is not None}

    def change(folder: Path, config: dict[str, Any]) -> None:
        text("parts/inh.json", json.dumps(said))(folder, config)
        instead(EDGE_TYPES, "ExpSyn", "tmgsyn")(folder, config)

    return change


def spikes(name: str, nodes: Any, times: Any) -> Break:
    return lambda folder, _: write_spikes(folder / "spikes.h5", name, nodes, times)


def population_of_edges(end: str, name: str) -> Break:
    def change(folder: Path, _: dict[str, Any]) -> None:
        with h5py.File(folder / "network" / "edges.h5", "a") as h5:
            h5[f"edges/source_to_cells/{end}_node_id"].attrs["node_population"] = name

    return change


def twice(folder: Path, config: dict[str, Any]) -> None:
    shutil.copy(folder / "network" / "cells.h5", folder / "network" / "more.h5")
    files = dict(config["networks"]["nodes"][0], nodes_file="$NET/more.h5")
    config["networks"]["nodes"].append(files)


EDGE = "edges/source_to_cells"
TYPES, SOURCES, EDGE_TYPES = "network/cell_types.csv", "network/source_types.csv", "network/edge_types.csv"
BROKEN: dict[str, tuple[Break, str]] = {
    # The config
    "an unknown key": (
        say("run", "overlap", to=3),
        r"run\.overlap is an unknown key; leave it away \(known: tstop, dt",
    ),
    "an unknown section": (say("runs", to={}), r"runs is an unknown section; leave it away"),
    "an undefined variable": (
        say("output", "output_dir", to="$OUT/a"),
        r"output\.output_dir names the variable \$OUT, which the manifest does not define; it defines BASE, NET",
    ),
    "variables in a circle": (
        say("manifest", to={"$A": "$B", "$B": "$A"}),
        r"the manifest defines A, B by each other; give one a folder",
    ),
    "no tstop": (drop("run", "tstop"), r"run\.tstop is missing; add it"),
    "a negative tstop": (say("run", "tstop", to=-5), r"run\.tstop = -5: Input should be greater than 0; correct it"),
    "a dt of zero": (say("run", "dt", to=0), r"run\.dt = 0: Input should be greater than 0; correct it"),
    "a dt beyond the end": (say("run", "dt", to=200), r"dt = 200 ms is longer than the run of tstop = 100 ms"),
    "a later start": (say("run", "tstart", to=5), r"run\.tstart asks for what is not done here; a run starts at 0 ms"),
    "a dL of NaN": (say("run", "dL", to=float("nan")), r"run\.dL = NaN: Input should be .*; correct it"),
    "no temperature": (drop("conditions", "celsius"), r"conditions\.celsius is missing; add it"),
    "no networks": (drop("networks"), r"networks\.nodes is missing; add it"),
    "gap junctions": (say("networks", "gap_juncs", to=[{}]), r"gap junctions are not simulated"),
    "no component": (
        drop("components", "synaptic_models_dir"),
        r"exc\.json lies in components\.synaptic_models_dir, which",
    ),
    # Inputs and reports
    "an unknown module": (
        say("inputs", "in", "module", to="h6"),
        r"inputs\.in: there is no module 'h6'; choose h5, sonata",
    ),
    "a voltage clamp": (say("inputs", "in", "module", to="SEClamp"), r"the module SEClamp is refused: voltage clamps"),
    "currents of a file": (
        say("inputs", "step", "input_type", to="csv"),
        r"currents of the input_type 'csv' are not read",
    ),
    "steps of other numbers": (say("inputs", "step", "delay", to=[1.0]), r"amp, delay and duration differ in number"),
    "an electrode beyond the cell": (
        say("inputs", "step", "section_index", to=2),
        r"inputs\.step: a cell has no section dend\[2\]; it has 2 of that name",
    ),
    "a range of sections": (
        say("inputs", "step", "section_index", to=[0, 50]),
        r"\[0, 50\] is no number of one section",
    ),
    "a clamp of virtual nodes": (say("inputs", "step", "node_set", to="source"), r"no node of the set is biophysical"),
    "spikes of cells": (
        say("inputs", "in", "node_set", to="bio"),
        r"the nodes of cells are biophysical, and make their own",
    ),
    "an unknown node set": (
        say("reports", "v_soma", "cells", to="biophys"),
        r"reports\.v_soma: there is no node set 'biophys'; there are bio, first, deep, both, e, cells, source",
    ),
    "an unknown attribute": (
        say("node_sets", "bio", to={"modeltype": "x"}),
        r"no node of .* has an attribute 'modeltype'",
    ),
    "a set in itself": (say("node_sets", "first", to=["both"]), r"the node set (both|first) is a part of itself"),
    "an empty set": (say("node_sets", "bio", to={"depth": 77}), r"no node is in the set 'bio'"),
    "an unknown variable of a report": (
        say("reports", "cai", "variable_name", to="nai"),
        r"the variable 'nai' is not recorded; choose v or cai",
    ),
    "two variables": (say("reports", "cai", "variable_name", to=["v", "cai"]), r"a report is of one variable"),
    "unknown sections": (
        say("reports", "cai", "sections", to=["tuft"]),
        r"there are no sections 'tuft'; choose all, soma",
    ),
    "an unknown report": (say("reports", "cai", "module", to="foo"), r"reports\.cai: there is no module 'foo'"),
    "a report of synapses": (
        say("reports", "cai", "module", to="netcon_report"),
        r"variables of synapses are not recorded",
    ),
    "a report between steps": (say("reports", "v_dend", "dt", to=0.25), r"dt = 0\.25 ms is no multiple of 0\.1 ms"),
    "a report after the end": (say("reports", "v_dend", "end_time", to=200), r"0 to 200 ms is no part of the run"),
    "two reports in a file": (say("reports", "cai", "file_name", to="v_soma.h5"), r"two results would be written to"),
    "no electrode": (
        lambda f, _: (f / "electrode.csv").unlink(),
        r"electrode\.csv does not exist; it is the file of elec",
    ),
    "an electrode without columns": (
        text("electrode.csv", "channel x y z\n0 1 2 3\n"),
        r"lacks the columns x_pos, y_pos",
    ),
    "an unknown channel": (say("reports", "ecp", "electrode_channels", to=[1]), r"electrode\.csv has no channel \[1\]"),
    "a least distance of contacts": (
        say("reports", "ecp", "minimum_distance", to=10.0),
        r"reports\.ecp\.minimum_distance: a distance of 10 um is not kept; give auto",
    ),
    "the output folder is a file": (text("out", "x"), r"out is a file; name a folder"),
    "the folder of a report is a file": (
        say("reports", "ecp", "contributions_dir", to="../electrode.csv"),
        r"electrode\.csv is a file; name a folder",
    ),
    "a cell alone in the file of a report": (
        lambda _, c: (
            c["reports"]["ecp"].update(contributions_dir="."),
            c["reports"]["cai"].update(file_name="11.h5"),
        ),
        r"two results would be written to .*11\.h5; give each",
    ),
    # Files
    "a missing file": (
        lambda f, _: (f / "network" / "cells.h5").unlink(),
        r"cells\.h5 does not exist; it is the file of n",
    ),
    "a missing table": (
        lambda f, _: (f / TYPES).unlink(),
        r"cell_types\.csv does not exist; it is the table of node types",
    ),
    "a file that is none": (text("network/edges.h5", "x"), r"edges\.h5 cannot be opened: .* no HDF5 file"),
    "a file of something else": (array("cells.h5", "nodes", None), r"cells\.h5 lacks nodes"),
    "a table with a short row": (
        instead(TYPES, " e\n", "\n"),
        r"cell_types\.csv, line 2 has 6 values, and the header 7",
    ),
    "a type twice": (instead(TYPES, "\n5 ", "\n7 "), r"has node_type_id 7 twice"),
    "a type that is not there": (
        instead(TYPES, "\n5 ", "\n6 "),
        r"has no node_type_id 5, of which cells in .* has a node",
    ),
    # Nodes
    "a position of NaN": (
        array("cells.h5", "nodes/cells/0/x", [np.nan, 1.0]),
        r"node 12 of cells has a position that is not",
    ),
    "two populations of one name": (
        twice,
        r"more\.h5: there is a population cells already, in .*cells\.h5; rename one",
    ),
    "a node twice": (array("cells.h5", "nodes/cells/node_id", [10, 11, 12, 10]), r"has a node_id of cells twice"),
    "a group that is not there": (
        array("cells.h5", "nodes/cells/node_group_id", [0, 1, 0, 4]),
        r"lacks the group cells/4",
    ),
    "an index beyond the group": (
        array("cells.h5", "nodes/cells/node_group_index", [1, 0, 0, 2]),
        r"cells\.h5 has 2 values of cells/1/\w+, and a node_group_index of 2",
    ),
    "parameters of single nodes": (
        array("cells.h5", "nodes/cells/0/dynamics_params/g", [1.0, 2.0]),
        r"cells/0 has dynamics_params of single nodes, which are not read",
    ),
    "point neurons": (
        instead(TYPES, "7 biophysical", "7 point_neuron"),
        r"have the model_type point_neuron, which is not",
    ),
    "a virtual cell among others": (instead(TYPES, "7 biophysical", "7 virtual"), r"are virtual and biophysical; put"),
    "only virtual nodes": (
        lambda f, c: (
            c["networks"].update(edges=[]),
            c["networks"]["nodes"].pop(0),
            c["inputs"].pop("step"),
            c["reports"].clear(),
        ),
        r"all nodes of the circuit are virtual",
    ),
    "no template": (
        instead(TYPES, "7 biophysical nml:cell.nml", "7 biophysical NONE"),
        r"have no model_template; give one",
    ),
    "no morphology": (lambda f, _: (f / "parts" / "b.swc").unlink(), r"b\.swc does not exist; nodes of cells name it"),
    # Edges
    "an edge to nowhere": (
        array("edges.h5", f"{EDGE}/target_node_id", [10, 11, 12, 13, 10, 14]),
        r"edges source_to_cells: edge 5 has the target node 14, which cells does not have",
    ),
    "an edge from nowhere": (
        array("edges.h5", f"{EDGE}/source_node_id", [0, 1, 2, 0, 1, 3]),
        r"edge 5 has the source node 3",
    ),
    "edges of an unknown population": (
        population_of_edges("source", "thalamus"),
        r"the source population thalamus is not there; there are cells, source",
    ),
    "edges onto virtual nodes": (
        lambda f, c: (
            population_of_edges("target", "source")(f, c),
            array("edges.h5", f"{EDGE}/target_node_id", [0, 1, 2, 0, 1, 2])(f, c),
        ),
        r"end at source, whose nodes are virtual",
    ),
    "the same edges twice": (
        lambda _, c: c["networks"]["edges"].append(c["networks"]["edges"][0]),
        r"there are edges source_to_cells already",
    ),
    "a section beyond the cell": (
        array("edges.h5", f"{EDGE}/0/afferent_section_id", np.array([2, 3, 0, 1, 4], np.uint32)),
        r"edges source_to_cells: there is no section id 4: the cell has the sections 0 to 3; correct it",
    ),
    "a negative section": (
        array("edges.h5", f"{EDGE}/0/afferent_section_id", [2, 3, 0, -1, 3]),
        r"edge 3 has the section id",
    ),
    "a place beyond the section": (
        array("edges.h5", f"{EDGE}/0/afferent_section_pos", [0.1, 1.5, 0.5, 0.5, 1.0]),
        r"edge 1 has the position in its section 1\.5; it must be a number from 0 to 1",
    ),
    "no place": (
        array("edges.h5", f"{EDGE}/0/afferent_section_pos", None),
        r"edge 0 has the position in its section nan",
    ),
    "neither section nor part": (
        instead(EDGE_TYPES, "\"['basal']\"", "NONE"),
        r"edges give neither a section .* nor target_s",
    ),
    "nothing within the distance": (
        instead(EDGE_TYPES, "[50.0, 110.0]", "[500, 600]"),
        r"nothing of a target cell lies in",
    ),
    "an unknown part": (instead(EDGE_TYPES, "basal", "tuft"), r"target_sections = \['tuft'\] is not a list of soma"),
    "half a synapse": (
        array("edges.h5", f"{EDGE}/1/nsyns", [2.5]),
        r"edge 4 has the nsyns 2\.5; it must be a whole number",
    ),
    "a delay of zero": (instead(EDGE_TYPES, "1.5", "0.0"), r"edge 2 has the delay 0; it must be a time above 0 \[ms\]"),
    "a negative delay": (instead(EDGE_TYPES, "1.5", "-1"), r"edge 2 has the delay -1; it must be a time above 0"),
    "a delay of NaN": (array("edges.h5", f"{EDGE}/0/delay", [1.0, 1.0, np.nan, 1.0, 1.0]), r"edge 2 has the delay nan"),
    "no delay": (instead(EDGE_TYPES, " delay ", " lag "), r"edges source_to_cells have no delay; give it to each edge"),
    "a weight of NaN": (
        array("edges.h5", f"{EDGE}/1/syn_weight", [np.nan]),
        r"edge 4 has the syn_weight nan; it must be",
    ),
    "a negative weight": (
        instead(EDGE_TYPES, "0.001", "-1"),
        r"edge 4 has the syn_weight -1; it must be a conductance from",
    ),
    "no weight": (
        lambda f, c: (
            instead(EDGE_TYPES, "syn_weight", "w")(f, c),
            array("edges.h5", f"{EDGE}/0/syn_weight", None)(f, c),
        ),
        r"have no syn_weight; give it",
    ),
    "a weight by tuning": (
        array("edges.h5", f"{EDGE}/1/weight_function", np.array(["gaussianLL"], h5py.string_dtype())),
        r"the weight_function gaussianLL is not computed; write the weights",
    ),
    "an unknown synapse": (
        instead(EDGE_TYPES, "ExpSyn", "gaba"),
        r"synapses of the model_template 'gaba' are not read; give Exp2Syn, ExpSyn or tmgsyn",
    ),
    "a synapse of Hennig's": (
        instead(EDGE_TYPES, "ExpSyn", "stp5isyn"),
        r"the model_template 'stp5isyn' \(short-term plasticity of Hennig 2013.*\) are not read; give Exp2Syn",
    ),
    "no parameters": (
        instead(EDGE_TYPES, "ExpSyn inh.json", "ExpSyn NONE"),
        r"have no dynamics_params; name a JSON file",
    ),
    "a missing synapse": (
        lambda f, _: (f / "parts" / "exc.json").unlink(),
        r"exc\.json does not exist; name the file of a s",
    ),
    "no tau1": (text("parts/exc.json", '{"tau2": 3, "erev": 0}'), r"exc\.json lacks tau1; add it"),
    "a tau of zero": (text("parts/exc.json", '{"tau1": 0, "tau2": 3, "erev": 0}'), r"tau1 = 0 is no positive number"),
    "a tau beyond numbers": (
        text("parts/exc.json", f'{{"tau1": 1{"0" * 400}, "tau2": 3, "erev": 0}}'),
        r"exc\.json: tau1 = 10+ is no positive number",
    ),
    "no u0": (tmgsyn(u0=None), r"inh\.json lacks u0; add it"),
    "a share above 1": (tmgsyn(U=1.2), r"inh\.json: U = 1\.2 is no share, 0 to 1; correct it"),
    "a share that is no number": (tmgsyn(u0="x"), r"inh\.json: u0 = 'x' is no share, 0 to 1"),
    "a recovery of zero": (tmgsyn(tau_rec=0), r"inh\.json: tau_rec = 0 is no positive number"),
    "a negative facilitation": (tmgsyn(tau_facil=-1), r"inh\.json: tau_facil = -1 is no number from 0"),
    "broken JSON": (text("parts/exc.json", '{"tau2": 3,}'), r"exc\.json, line 1, column \d+: .*; correct the JSON"),
    # Spikes
    "no spikes": (
        lambda f, _: (f / "spikes.h5").unlink(),
        r"spikes\.h5 does not exist; name a file of events or spikes",
    ),
    "spikes before the start": (spikes("source", [0, 1], [3.0, -2.0]), r"a spike is at -2 ms, before the run starts"),
    "spikes of a node that is not there": (
        spikes("source", [0, 7], [3.0, 4.0]),
        r"node 7 fires, which source does not have",
    ),
    "spikes of another population": (
        spikes("lgn", [0, 1], [3.0, 4.0]),
        r"inputs\.in: .*spikes\.h5 holds spikes of lgn, and the input drives source; correct its node_set",
    ),
    "spikes at no time": (spikes("source", [0, 1], [3.0, np.nan]), r"a time is not finite; correct it"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_refused(fault: str, made: Path) -> None:
    """One line with the cause and the fix, before a cell is made, and nothing is written."""
    change, message = BROKEN[fault]
    config = config_of(made.parent)
    change(made.parent, config)
    write_config(made.parent, config)
    before = sorted(made.parent.rglob("*"))
    with pytest.raises(DendrotwinError, match=message) as caught:
        read_circuit(made, StubCells())
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value)
    assert sorted(made.parent.rglob("*")) == before


def test_a_config_that_is_no_json(tmp_path: Path) -> None:
    for content, message in (
        ("{", r"c\.json, line 1, column 2: .*; correct the JSON"),
        ('{"run": 1, "run": 2}', r"the key 'run' stands there twice; correct it"),
        ("[]", r"holds no JSON object"),
        ('{"network": "c.json"}', r"c\.json is named as a part of itself"),
        ('{"network": "d.json"}', r"d\.json does not exist; name the config"),
    ):
        (tmp_path / "c.json").write_text(content)
        with pytest.raises(DendrotwinError, match=message):
            read_config(tmp_path / "c.json")


def test_results_are_not_overwritten_unasked(made: Path) -> None:
    (made.parent / "out").mkdir()
    (made.parent / "out" / "v_soma.h5").touch()
    with pytest.raises(FileError, match=r"v_soma\.h5 exists; name another folder, or let overwrite_output_dir be true"):
        read_circuit(made, StubCells())
    read_circuit(made, StubCells(), overwrite=True)
    _, plan = read_circuit(made, StubCells(), made.parent / "elsewhere")
    assert plan.reports[0].path == made.parent / "elsewhere" / "v_soma.h5"


def test_what_has_no_effect_is_said(made: Path) -> None:
    config = config_of(made.parent)
    config["components"]["point_neuron_models_dir"] = "x"
    config["components"]["mechanisms_dir"] = "x"
    config["reports"]["cai"]["enabled"] = False
    config["target_simulator"] = "NEURON"
    (made.parent / "parts" / "exc.json").write_text('{"tau1": 3.5, "tau2": 3.0, "erev": 0.0, "p": 1}')
    circuit, plan = read_circuit(write_config(made.parent, config), StubCells())
    said = "\n".join(plan.notes)
    for part in (
        "run.nsteps_block has no effect",
        "target_simulator has no effect",
        "components.point_neuron_models_dir has no effect",
        "x does not exist; mechanisms are those in bmtk's wheel",
        "reports.cai is not enabled",
        "exc.json: p of a synapse Exp2Syn has no effect",
        "tau1 = 3.5 ms is lowered to 0.9999 tau2, as NEURON's Exp2Syn does it",
    ):
        assert part in said
    assert len(plan.reports) == 2
    assert circuit.projections[0].synapses[0].conductances[0].rise_ms == pytest.approx(0.9999 * 3.0)


def test_a_million_edges_in_seconds(made: Path) -> None:
    count = 1_000_000
    rng = np.random.default_rng(0)
    with h5py.File(made.parent / "network" / "edges.h5", "w") as file:
        group = file.create_group("edges/many")
        group["source_node_id"], group["target_node_id"] = rng.integers(0, 3, count), rng.integers(10, 14, count)
        for end, name in (("source", "source"), ("target", "cells")):
            group[f"{end}_node_id"].attrs["node_population"] = name
        group["edge_type_id"] = rng.integers(3, 5, count)
        group["edge_group_id"], group["edge_group_index"] = np.zeros(count, int), np.arange(count)
        group["0/afferent_section_id"] = rng.integers(0, 4, count).astype(np.uint32)
        group["0/afferent_section_pos"] = rng.random(count)
        group["0/syn_weight"] = rng.random(count)
    start = time.process_time()
    circuit, _ = read_circuit(made, StubCells())
    assert len(circuit.projections[0]) == count
    assert time.process_time() - start < 6  # it takes about one


# ---------------------------------------------------------------- circuits of others


@pytest.fixture
def shared() -> Path:
    if not (SHARED / "9_cells").is_dir():
        pytest.skip(f"no SONATA circuits at {SHARED}")
    return SHARED


def test_nine_cells_unchanged(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = StubCells()
    monkeypatch.setattr(edges, "compartment_at", lambda _, section_id, x: np.zeros(len(x), np.int32))
    circuit, plan = read_circuit(shared / "9_cells" / "config.json", cells, tmp_path)
    assert [len(of) for of in circuit.populations] == [9]
    assert {of.name: (len(of), len(of.node)) for of in circuit.trains} == {"excvirt": (10, 312), "inhvirt": (10, 285)}
    assert {of.source: len(of) for of in circuit.projections} == {"excvirt": 659, "inhvirt": 630}
    assert len(cells.asked) == 3
    assert [of.variable for of in plan.reports] == ["v", "cai"]
    assert plan.reports[0].clock.count == 30_000


def test_five_cells_unchanged(shared: Path, tmp_path: Path) -> None:
    cells = StubCells()
    circuit, plan = read_circuit(shared / "5_cells_iclamp" / "simulation_config.json", cells, tmp_path)
    assert len(cells.asked) == 5
    assert [clamp.current_nA.tolist() for clamp in circuit.clamps] == [[0.15] * 5, [0.175] * 5, [0.2] * 5]
    assert circuit.clamps[1].stop_ms.tolist() == [2000.0] * 5
    assert len(plan.extracellular[0].channel) > 1


def test_a_finished_run_is_that_of_the_same_reports(made: Path) -> None:
    """What is complete may be looked at again; other reports of the same circuit are another run."""

    def simulation(**changes: Any) -> Simulation:
        config = config_of(made.parent)
        config["reports"]["ecp"] |= changes
        circuit, plan = read_circuit(write_config(made.parent, config), StubCells(), made.parent / "done")
        return Simulation(circuit, plan, Settings(plan.stop_ms))

    (made.parent / "done").mkdir()
    whole = simulation()
    whole.plan.done.write_text(json.dumps({"digest": whole.digest}))
    assert simulation().is_done
    assert not simulation(electrode_channels=[2]).is_done
    assert not simulation(cells="first").is_done
