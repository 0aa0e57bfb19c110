"""A tiny SONATA circuit, and cells for it that need no NEURON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np

from dendrotwin.cell.tree import REGIONS, Tree

SECTIONS = ("soma[0]", "dend[0]", "dend[1]", "axon[0]")
ORDER = (0, 3, 1, 2)  # SONATA counts the axon second here


def a_tree() -> Tree:
    """A soma of one compartment, dendrites of two and three, an axon of one."""
    section = np.array([0, 1, 1, 2, 2, 2, 3], np.int32)
    n = len(section)
    count = np.bincount(section)
    x = np.concatenate([(np.arange(c) + 0.5) / c for c in count])
    return Tree(
        parent=np.array([-1, 0, 1, 2, 3, 4, 0], np.int32),
        region=np.array([REGIONS.index(r) for r in ("soma", *["basal"] * 5, "axon")], np.int32),
        section=section,
        section_names=SECTIONS,
        section_order=np.array(ORDER, np.int32),
        x=x,
        ends_um=np.zeros((n, 2, 3)),
        length_um=np.array([12.0, 20.0, 20.0, 30.0, 30.0, 30.0, 10.0]),
        diameter_um=np.full(n, 5.0),
        area_um2=np.full(n, 300.0),
        distance_um=np.array([0.0, 16.0, 36.0, 61.0, 91.0, 121.0, 11.0]),
        axial_parent=np.array([-1, 0, 1, 2, 3, 4, 0], np.int32),
        axial_uS=np.array([0.0, *[0.01] * 6]),
        capacitance_nF=np.full(n, 3e-3),
        leak_uS=np.full(n, 1e-4),
        leak_mV=np.full(n, -70.0),
        ih_uS=np.zeros(n),
        ih_mV=np.zeros(n),
        v_init_mV=-70.0,
        synapses=(),
        input_compartment=np.zeros(0, np.int32),
        input_synapse=np.zeros(0, np.int32),
    )


class StubCells:
    """Every type is a cell of `a_tree`; what it was asked for is kept."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    def __call__(self, node_types: list[dict[str, str]]) -> list[Any]:
        self.asked += node_types
        return [SimpleNamespace(tree=a_tree()) for _ in node_types]


def config_of(folder: Path) -> dict[str, Any]:
    """The circuit's config, in one file."""
    return {
        "manifest": {"$BASE": ".", "$NET": "${BASE}/network"},
        "run": {"tstop": 100.0, "dt": 0.1, "dL": 20.0, "spike_threshold": -15.0, "nsteps_block": 1000},
        "conditions": {"celsius": 34.0, "v_init": -70.0},
        "components": {
            "morphologies_dir": "$BASE/parts",
            "synaptic_models_dir": "$BASE/parts",
            "biophysical_neuron_models_dir": "$BASE/parts",
        },
        "networks": {
            "nodes": [
                {"nodes_file": "$NET/cells.h5", "node_types_file": "$NET/cell_types.csv"},
                {"nodes_file": "$NET/source.h5", "node_types_file": "$NET/source_types.csv"},
            ],
            "edges": [{"edges_file": "$NET/edges.h5", "edge_types_file": "$NET/edge_types.csv"}],
        },
        "node_sets": {
            "bio": {"model_type": "biophysical"},
            "first": {"population": "cells", "node_id": [10]},
            "deep": {"depth": [2.0, 3.0]},
            "both": ["first", "deep"],
            "e": {"ei": "e"},
        },
        "inputs": {
            "in": {"input_type": "spikes", "module": "h5", "input_file": "$BASE/spikes.h5", "node_set": "source"},
            "step": {
                "input_type": "current_clamp",
                "module": "IClamp",
                "node_set": "first",
                "amp": [0.1, -0.2],
                "delay": [10.0, 30.0],
                "duration": [5.0, 5.0],
                "section_name": "dend",
                "section_index": 1,
                "section_dist": 0.9,
            },
        },
        "reports": {
            "v_soma": {"module": "membrane_report", "variable_name": "v", "cells": "bio", "sections": "soma"},
            "v_dend": {
                "module": "membrane_report",
                "variable_name": "v",
                "cells": "both",
                "sections": ["basal"],
                "dt": 1.0,
            },
            "cai": {"module": "membrane_report", "variable_name": "cai", "cells": "first", "sections": "all"},
            "ecp": {"module": "extracellular", "electrode_positions": "$BASE/electrode.csv", "cells": "bio"},
        },
        "output": {"output_dir": "$BASE/out", "spikes_file": "spikes.h5", "spikes_sort_order": "time"},
    }


def write_config(folder: Path, config: Mapping[str, Any]) -> Path:
    path = folder / "simulation.json"
    path.write_text(json.dumps(config))
    return path


def write_spikes(path: Path, name: str, nodes: Any, times: Any) -> None:
    with h5py.File(path, "w") as file:
        file[f"spikes/{name}/node_ids"] = np.array(nodes, np.uint64)
        file[f"spikes/{name}/timestamps"] = np.array(times, float)


def make_circuit(folder: Path) -> Path:
    """Four cells (ids 10 to 13) of two types, in two groups; three sources; six edges in two groups."""
    (folder / "network").mkdir()
    (folder / "parts").mkdir()
    for name in ("a.swc", "b.swc", "cell.nml", "own.swc"):
        (folder / "parts" / name).write_text("")
    (folder / "parts" / "exc.json").write_text('{"level_of_detail": "exp2syn", "tau1": 1, "tau2": 3.0, "erev": 0.0}')
    (folder / "parts" / "inh.json").write_text('{"tau": 8.0, "erev": -80.0}')
    (folder / "network" / "cell_types.csv").write_text(
        "node_type_id model_type model_template morphology model_processing dynamics_params ei\n"
        "7 biophysical nml:cell.nml a aibs_perisomatic NONE e\n"
        "5 biophysical nml:cell.nml b.swc aibs_perisomatic NONE i\n"
    )
    (folder / "network" / "source_types.csv").write_text("node_type_id model_type\n1 virtual\n")
    (folder / "network" / "edge_types.csv").write_text(
        "edge_type_id model_template dynamics_params delay syn_weight target_sections distance_range\n"
        '3 Exp2Syn exc.json 2.0 0.001 "[\'basal\']" "[50.0, 110.0]"\n'
        "4 ExpSyn inh.json 1.5 0.002 NONE NONE\n"
    )
    (folder / "electrode.csv").write_text("channel x_pos y_pos z_pos\n0 10.0 0 5\n2 10.0 -10 5\n")
    write_spikes(folder / "spikes.h5", "source", [2, 0, 1, 2], [50.0, 3.25, 7.0, 100.5])
    with h5py.File(folder / "network" / "cells.h5", "w") as file:
        group = file.create_group("nodes/cells")
        group["node_type_id"], group["node_id"] = [7, 5, 7, 7], [10, 11, 12, 13]
        group["node_group_id"], group["node_group_index"] = [0, 1, 0, 1], [1, 0, 0, 1]
        group["0/x"], group["0/y"], group["0/depth"] = [1.0, 2.0], [3.0, 4.0], [2.0, 9.0]
        group["1/positions"] = np.arange(6.0).reshape(2, 3)
        group["1/morphology"] = np.array(["b.swc", "own.swc"], h5py.string_dtype())
        group["1/x"] = [5.0, 6.0]
    with h5py.File(folder / "network" / "source.h5", "w") as file:
        group = file.create_group("nodes/source")
        group["node_type_id"] = [1, 1, 1]
        group["node_group_id"], group["node_group_index"] = [0, 0, 0], [0, 1, 2]
        group.create_group("0")
    with h5py.File(folder / "network" / "edges.h5", "w") as file:
        group = file.create_group("edges/source_to_cells")
        group["source_node_id"], group["target_node_id"] = [0, 1, 2, 0, 1, 2], [10, 11, 12, 13, 10, 11]
        for end, name in (("source", "source"), ("target", "cells")):
            group[f"{end}_node_id"].attrs["node_population"] = name
        group["edge_type_id"] = [3, 3, 4, 4, 3, 4]
        group["edge_group_id"], group["edge_group_index"] = [0, 0, 0, 0, 1, 0], [0, 1, 2, 3, 0, 4]
        group["0/afferent_section_id"] = np.array([2, 3, 0, 1, 3], np.uint32)
        group["0/afferent_section_pos"] = [0.1, 0.5, 0.5, 0.5, 0.9]
        group["0/syn_weight"] = [0.01, 0.02, 0.03, 0.04, 0.05]
        group["1/nsyns"] = [400]
    return write_config(folder, config_of(folder))
