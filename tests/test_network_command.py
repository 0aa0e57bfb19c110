"""`dendrotwin network` as a user gives it: a whole SONATA circuit, in processes of its own, beside BMTK."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dendrotwin.cells.sonata import bmtk_folder
from sonata_files import write_config, write_spikes
from test_sonata_cells import NML, SWC

RUN_BMTK = Path(__file__).parents[1] / "benchmarks" / "sonata_runs.py"
DURATION_MS, DT_MS = 60.0, 0.0125
DELAYS_MS = (1.5, 2.3, 0.7)  # of the chain of cells 0, 1, 2, 3


def _edges(folder: Path, name: str, source: str, ends: list[tuple[int, int]], kind: list[int], **columns: Any) -> None:
    with h5py.File(folder / f"{name}.h5", "w") as file:
        group = file.create_group(f"edges/{name}")
        for end, population, nodes in (("source", source, 0), ("target", "cells", 1)):
            group[f"{end}_node_id"] = np.array([pair[nodes] for pair in ends], np.uint64)
            group[f"{end}_node_id"].attrs["node_population"] = population
        many = len(ends)
        group["edge_type_id"], group["edge_group_id"] = np.array(kind), np.zeros(many, np.uint16)
        group["edge_group_index"] = np.arange(many)
        for key, values in columns.items():
            group[f"0/{key}"] = values
        for end, name in enumerate(("source_to_target", "target_to_source")):  # without which BMTK reads no edges
            index = group.create_group(f"indices/{name}")
            nodes = np.array(ends)[:, end]  # those of one node follow each other
            index["range_to_edge_id"] = np.stack([np.arange(many), np.arange(many) + 1], 1)
            first = [int(np.argmax(nodes == node)) for node in range(4)]
            index["node_id_to_range"] = [[k, k + int((nodes == node).sum())] for node, k in enumerate(first)]


@pytest.fixture(scope="module")
def circuit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cells in a chain, one of them inhibited, and two sources; contacts beside them; every part in the files."""
    folder = tmp_path_factory.mktemp("circuit")
    network, parts = folder / "network", folder / "parts"
    network.mkdir()
    parts.mkdir()
    (parts / "c.swc").write_text(SWC)
    (parts / "c.nml").write_text(NML)
    (parts / "exc.json").write_text('{"tau1": 0.5, "tau2": 3.0, "erev": 0.0}')
    (parts / "inh.json").write_text('{"tau1": 1.0, "tau2": 8.0, "erev": -75.0}')
    (network / "cells_types.csv").write_text(
        "node_type_id model_type model_template morphology model_processing\n"
        "7 biophysical nml:c.nml c.swc aibs_perisomatic\n"
    )
    (network / "source_types.csv").write_text("node_type_id model_type\n1 virtual\n")
    (network / "edge_types.csv").write_text(
        "edge_type_id model_template dynamics_params delay syn_weight\n"
        "3 Exp2Syn exc.json 1.0 0.1\n4 Exp2Syn inh.json 1.0 0.3\n"
    )
    for name, kind, many in (("cells", 7, 4), ("source", 1, 2)):
        with h5py.File(network / f"{name}.h5", "w") as file:
            group = file.create_group(f"nodes/{name}")
            group["node_type_id"], group["node_id"] = np.full(many, kind), np.arange(many)
            group["node_group_id"], group["node_group_index"] = np.zeros(many, np.uint16), np.arange(many)
            group.create_group("0")
            if name == "cells":
                for axis, step_um in (("x", 40.0), ("y", -60.0), ("z", 10.0)):
                    group[f"0/{axis}"] = step_um * np.arange(many)
    where = {"afferent_section_id": np.array([0, 2, 0], np.uint32), "afferent_section_pos": [0.5, 0.3, 0.5]}
    _edges(network, "source_to_cells", "source", [(0, 0), (0, 2), (1, 3)], [3, 3, 4], **where)
    where["afferent_section_id"] = np.array([0, 0, 0], np.uint32)
    _edges(network, "cells_to_cells", "cells", [(0, 1), (1, 2), (2, 3)], [3, 3, 3], delay=DELAYS_MS, **where)
    write_spikes(folder / "spikes.h5", "source", [1, 0, 0, 1, 0], [8.3, 10.0, 24.25, 36.0, 38.5])
    (folder / "electrode.csv").write_text("channel x_pos y_pos z_pos\n0 80 -250 30\n1 80 -100 30\n2 80 50 30\n")
    membrane = {"module": "membrane_report", "variable_name": "v", "cells": "cells", "dt": DT_MS}
    outside = {
        "module": "extracellular", "variable_name": "v", "cells": "cells", "electrode_channels": "all",
        "electrode_positions": str(folder / "electrode.csv"), "minimum_distance": "auto",
    }  # fmt: skip
    nodes = [{"nodes_file": str(network / f"{name}.h5"), "node_types_file": str(network / f"{name}_types.csv")}
             for name in ("cells", "source")]  # fmt: skip
    edges = [{"edges_file": str(network / f"{name}_to_cells.h5"), "edge_types_file": str(network / "edge_types.csv")}
             for name in ("source", "cells")]  # fmt: skip
    return write_config(folder, {
        "run": {"tstop": DURATION_MS, "dt": DT_MS, "dL": 20.0, "spike_threshold": -15.0, "nsteps_block": 4800},
        "target_simulator": "NEURON",
        "conditions": {"celsius": 12.0, "v_init": -75.0},
        "node_sets": {"cells": {"population": "cells"}, "source": {"population": "source"}},
        "components": {
            "morphologies_dir": str(parts), "synaptic_models_dir": str(parts),
            "biophysical_neuron_models_dir": str(parts),
        },
        "networks": {"nodes": nodes, "edges": edges},
        "inputs": {"in": {"input_type": "spikes", "module": "h5", "node_set": "source",
                          "input_file": str(folder / "spikes.h5")}},
        "reports": {"soma": {**membrane, "sections": "soma"}, "whole": {**membrane, "sections": "all"}, "ecp": outside},
        "output": {"output_dir": str(folder / "bmtk"), "spikes_file": "spikes.h5", "log_file": "log.txt"},
    })  # fmt: skip


def command(config: Path, out: Path, *more: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "--no-python"]
    given = [
        sys.executable,
        "-m",
        "dendrotwin",
        "network",
        str(config),
        "--out",
        str(out),
        "--accuracy",
        "exact",
        *more,
    ]
    return subprocess.run(
        [sys.executable, *several, *given] if processes > 1 else given, env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(circuit: Path) -> Path:
    done = command(circuit, circuit.parent / "result")
    assert done.returncode == 0, done.stderr
    assert "cells: " in done.stdout
    assert f"figures in {circuit.parent / 'result' / 'figures'}" in done.stdout
    return circuit.parent / "result"


def spikes_of(out: Path) -> tuple[Any, Any]:
    with h5py.File(out / "spikes.h5") as file:
        node, time_ms = (file[f"spikes/cells/{name}"][()] for name in ("node_ids", "timestamps"))
    order = np.lexsort((time_ms, node))
    return node[order].astype(int), time_ms[order].astype(float)


def test_what_comes_out(circuit: Path, result: Path) -> None:
    assert sorted(path.name for path in (result / "figures").iterdir()) == ["ecp.png", "raster.png", "whole.png"]
    assert not (result / "running").exists()
    node, time_ms = spikes_of(result)
    of = [time_ms[node == k] for k in range(4)]
    assert [len(times) for times in of] == [3, 3, 4, 2]  # the last is inhibited
    assert (of[1] - of[0] > DELAYS_MS[0]).all()
    with h5py.File(result / "whole.h5") as whole, h5py.File(result / "soma.h5") as soma:
        v, pointer = whole["report/cells/data"], whole["report/cells/mapping/index_pointer"][()].astype(int)
        assert len(v) == DURATION_MS / DT_MS
        np.testing.assert_array_equal(v[:, pointer[:-1]], soma["report/cells/data"][()])
    again = command(circuit, result)
    assert (again.returncode, "is finished already" in again.stdout) == (0, True)


def test_a_dry_run_writes_nothing(circuit: Path, tmp_path: Path) -> None:
    done = command(circuit, tmp_path / "dry", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "connections cells to cells: 3, delays 0.7 to 2.3 ms" in done.stdout
    assert "MiB in each process" in done.stdout
    assert not (tmp_path / "dry").exists()


def test_two_processes_write_the_same(circuit: Path, result: Path, tmp_path: Path) -> None:
    done = command(circuit, tmp_path / "two", processes=2)
    assert done.returncode == 0, done.stderr
    for name, array in (
        ("spikes.h5", "spikes/cells/timestamps"), ("spikes.h5", "spikes/cells/node_ids"),
        ("soma.h5", "report/cells/data"), ("whole.h5", "report/cells/data"),
    ):  # fmt: skip
        with h5py.File(result / name) as one, h5py.File(tmp_path / "two" / name) as two:
            np.testing.assert_array_equal(one[array][()], two[array][()])
    with h5py.File(result / "ecp.h5") as one, h5py.File(tmp_path / "two" / "ecp.h5") as two:
        np.testing.assert_allclose(two["ecp/data"][()], one["ecp/data"][()], rtol=1e-4, atol=1e-7)


def test_bmtk_gives_the_same(circuit: Path, result: Path) -> None:
    folder = bmtk_folder()
    if folder is None:
        pytest.skip("bmtk is not installed: pip install 'dendrotwin[allen]'")
    mechanisms = circuit.parent / "mechanisms"
    (mechanisms / "modfiles").mkdir(parents=True)
    shutil.copy(next(folder.rglob("vecevent.mod")), mechanisms / "modfiles")  # its sources of spikes
    nrnivmodl = Path(sys.executable).parent / "nrnivmodl"
    subprocess.run([nrnivmodl, "modfiles"], cwd=mechanisms, check=True, capture_output=True)
    config = json.loads(circuit.read_text())
    config["components"]["mechanisms_dir"] = str(mechanisms)
    (circuit.parent / "bmtk.json").write_text(json.dumps(config))
    node, time_ms = spikes_of(result)
    away_ms = []
    for dt_ms, out in ((DT_MS, circuit.parent / "bmtk"), (DT_MS / 2, circuit.parent / "finer")):
        given = [sys.executable, RUN_BMTK, circuit.parent / "bmtk.json", out, "--dt", str(dt_ms)]
        done = subprocess.run(given, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        theirs = spikes_of(out)
        np.testing.assert_array_equal(node, theirs[0])
        away_ms.append(np.abs(time_ms - theirs[1]).max())
    assert away_ms[1] < 0.6 * away_ms[0] < 0.1  # BMTK comes to the twins as its step falls
    for name, array, every in (("whole.h5", "report/cells/data", 1), ("ecp.h5", "ecp/data", 2)):
        with h5py.File(result / name) as ours, h5py.File(out / name) as right:
            a, b = np.asarray(ours[array][()], float), np.asarray(right[array][every - 1 :: every], float)
        assert a.shape == b.shape
        explained = 1.0 - ((a - b) ** 2).sum(0) / ((b - b.mean(0)) ** 2).sum(0)
        assert explained.min() > 0.98, name
