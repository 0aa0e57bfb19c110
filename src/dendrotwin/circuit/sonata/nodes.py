"""Populations of nodes, and sets of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.circuit.sonata.config import SonataConfig
from dendrotwin.circuit.sonata.rows import Floats, Ints, Rows, combined, open_sonata, read_types
from dendrotwin.circuit.sonata.sections import NodeSet
from dendrotwin.errors import FileError, InputError

# What two cells must share to be of one model.
OF_CELL = ("model_template", "model_processing", "morphology", "dynamics_params")
ROTATION = (
    *("rotation_angle_xaxis", "rotation_angle_yaxis", "rotation_angle_zaxis"),
    *("orientation_w", "orientation_x", "orientation_y", "orientation_z"),
)
ALL = "all"


def file_of(component: str, name: str, where: str, config: SonataConfig) -> Path:
    """The path of a file in a component of the config.

    Args:
        component: such as "morphologies_dir".
        name: of the file; an absolute one is taken as it is.
        where: what names it, for errors.
        config: of the simulation.

    Raises:
        InputError: the config has no such component.
    """
    if component not in config.components and not Path(name).is_absolute():
        raise InputError(f"{where}: {name} lies in components.{component}, which {config.path} does not give; add it")
    return config.components.get(component, Path()) / name


@dataclass(frozen=True, eq=False)
class Nodes:
    """A population of nodes, N of them.

    Attributes:
        name: of the population.
        id: (N,) by which the files name them.
        rows: their attributes.
        virtual: whether they have no membrane.
    """

    name: str
    id: Ints
    rows: Rows
    virtual: bool

    def __len__(self) -> int:
        return len(self.id)

    def index(self, ids: NDArray[Any]) -> Ints:
        """Where nodes are in the population; -1 for one that is not there.

        Args:
            ids: (k,) by which files name them.

        Returns:
            (k,) from 0.
        """
        ids = np.asarray(ids).astype(np.int64)
        if len(self.id) and self.id[0] == 0 and self.id[-1] == len(self.id) - 1 and (np.diff(self.id) == 1).all():
            return np.where((ids >= 0) & (ids < len(self.id)), ids, -1)
        order = np.argsort(self.id)
        at = np.minimum(np.searchsorted(self.id, ids, sorter=order), max(len(self.id) - 1, 0))
        found = order[at] if len(order) else np.zeros(len(ids), np.int64)
        return np.where(self.id[found] == ids, found, -1) if len(order) else np.full(len(ids), -1)

    def cell_types(self, config: SonataConfig) -> tuple[list[dict[str, str]], Ints]:
        """The different models of its cells, by the options of the cell `sonata`.

        Args:
            config: of the simulation.

        Returns:
            Options of each model, and (N,) which of them each cell is.

        Raises:
            FileError: a file that a model names does not exist.
            InputError: a model has no template, or its files are in no component of the config.
        """
        kinds, model = combined(*(self.rows.texts(name) for name in OF_CELL))
        return [self._options(dict(zip(OF_CELL, said, strict=True)), config) for said in kinds], model

    def _options(self, said: dict[str, str], config: SonataConfig) -> dict[str, str]:
        """What a type says, with the files' full paths, and what the config says of all cells."""
        if not said["model_template"]:
            raise InputError(
                f"{self.rows.part.path}: biophysical nodes of {self.name} have no model_template; give one"
            )
        kind, _, named = said["model_template"].partition(":")
        if kind == "nml":
            said["model_template"] = f"nml:{self._file(named, 'biophysical_neuron_models_dir', config)}"
        for name, folder in (("morphology", "morphologies_dir"), ("dynamics_params", "biophysical_neuron_models_dir")):
            if said[name]:
                said[name] = str(self._file(said[name], folder, config))
        for name in ("mechanisms_dir", "templates_dir"):
            if name in config.components and config.components[name].is_dir():
                said[name] = str(config.components[name])
        of_all = {"dL": config.run.dL, "v_init": config.conditions.v_init, "celsius": config.conditions.celsius}
        return {name: value for name, value in said.items() if value} | {k: repr(v) for k, v in of_all.items()}

    def _file(self, name: str, component: str, config: SonataConfig) -> Path:
        """A file of a component; the ending .swc may be left away."""
        path = file_of(component, name, f"{self.rows.part.path}: {self.name}", config)
        found = next((each for each in (path, path.with_name(f"{path.name}.swc")) if each.is_file()), None)
        if found is None:
            raise FileError(f"{path} does not exist; nodes of {self.name} name it, in components.{component}")
        return found

    def rotation(self) -> dict[str, Floats]:
        """What the files say of the cells' rotation: (N,) numbers of each attribute that is there, of ROTATION.

        Raises:
            InputError: one is no finite number.
        """
        found = {name: self.rows.numbers(name) for name in ROTATION if name in self.rows.names}
        for name, values in found.items():
            if not np.isfinite(values).all():
                raise InputError(f"{self.rows.part.path}: a node of {self.name} has no {name}; give all of them one")
        return found

    def position(self) -> Floats:
        """(N, 3) where the somata are [um]; 0 where nothing is said, as in BMTK.

        Raises:
            FileError: an attribute has another shape.
            InputError: one is no finite number.
        """
        out = np.zeros((len(self), 3))
        for k, name in enumerate("xyz"):
            given = self.rows.given(name)
            if given.any():
                out[given, k] = self.rows.numbers(name)[given]
        for name in ("position", "positions"):
            given = self.rows.given(name)
            if given.any():
                out[given] = self.rows.numbers(name, 3)[given]
        if not np.isfinite(out).all():
            wrong = self.id[~np.isfinite(out).all(axis=1)][0]
            raise InputError(
                f"{self.rows.part.path}: node {wrong} of {self.name} has a position that is not finite; "
                "give it x, y and z"
            )
        return out


def read_nodes(config: SonataConfig) -> dict[str, Nodes]:
    """All populations of a circuit, by name.

    Args:
        config: of the simulation.

    Raises:
        FileError: a file is missing or damaged, or lacks a part.
        InputError: two populations have one name, or nodes are of a kind that is not simulated.
    """
    found: dict[str, Nodes] = {}
    for files in config.networks.nodes:
        types = read_types(files.node_types_file, "node")
        with open_sonata(files.nodes_file, "file of nodes") as file:
            populations = file.group("nodes")
            if not populations.names():
                raise file.error("holds no population in nodes")
            for name in populations.names():
                part = populations.group(name)
                if name in found:
                    raise InputError(
                        f"{files.nodes_file}: there is a population {name} already, in {found[name].rows.part.path}; "
                        "rename one, or name the file once"
                    )
                rows = Rows(part, "node", types, len(part.dataset("node_type_id"))).keep()
                ids = np.asarray(part.array("node_id")).astype(np.int64) if "node_id" in part else np.arange(rows.count)
                if len(ids) != rows.count or len(np.unique(ids)) < len(ids):
                    raise part.error(f"has a node_id of {name} twice, or not as many as nodes")
                found[name] = Nodes(name, ids, rows, _virtual(rows))
    return found


def _virtual(rows: Rows) -> bool:
    """Whether a population has no membranes; its nodes are either all virtual or all biophysical."""
    said = rows.texts("model_type")
    kinds = {said.values[k] for k in np.unique(said.code)}
    where = f"{rows.part.path}: nodes of {rows.name}"
    for kind in sorted(kinds - {"virtual", "biophysical"}):
        if not kind:
            raise InputError(f"{where} have no model_type; give biophysical or virtual")
        raise InputError(
            f"{where} have the model_type {kind}, which is not simulated; it can be biophysical, or virtual, with its "
            "spikes in a file"
        )
    if len(kinds) == 2:
        raise InputError(f"{where} are virtual and biophysical; put the virtual ones into a population of their own")
    return kinds == {"virtual"}


def select(nodes: Mapping[str, Nodes], sets: Mapping[str, NodeSet], chosen: NodeSet, where: str) -> dict[str, Ints]:
    """The nodes of a set.

    Args:
        nodes: all populations.
        sets: definitions by name. There are also `all`, and the name of each population.
        chosen: a name, a list of ids or of names of sets, or attributes with one value or a list of values each;
            `population` and `node_id` are attributes too.
        where: what asks for it, for errors.

    Returns:
        Populations with at least one node in it, and (k,) which: indices, sorted.

    Raises:
        InputError: there is no such set, population or attribute, or no node is in it.
    """
    found = _select(nodes, sets, chosen, where, ())
    found = {name: index for name, index in found.items() if len(index)}
    if not found:
        raise InputError(f"{where}: no node is in the set {chosen!r}; correct it, or leave it away")
    return found


def _select(
    nodes: Mapping[str, Nodes], sets: Mapping[str, NodeSet], chosen: NodeSet, where: str, above: tuple[str, ...]
) -> dict[str, Ints]:
    if isinstance(chosen, str):
        if chosen in above:
            raise InputError(f"{where}: the node set {chosen} is a part of itself; correct its definition")
        if chosen in sets:
            return _select(nodes, sets, sets[chosen], where, (*above, chosen))
        if chosen == ALL:
            return {name: np.arange(len(of)) for name, of in nodes.items()}
        if chosen in nodes:
            return {chosen: np.arange(len(nodes[chosen]))}
        known = ", ".join([*sets, *(name for name in nodes if name not in sets)])
        raise InputError(f"{where}: there is no node set {chosen!r}; there are {known}")
    if isinstance(chosen, list) and all(isinstance(each, str) for each in chosen):
        parts = [_select(nodes, sets, each, where, above) for each in chosen]
        none = np.zeros(0, np.int64)
        return {name: np.unique(np.concatenate([none, *(p[name] for p in parts if name in p)])) for name in nodes}
    conditions = dict(chosen) if isinstance(chosen, dict) else {"node_id": chosen}
    names = conditions.pop("population", conditions.pop("populations", list(nodes)))
    names = names if isinstance(names, list) else [names]
    for name in names:
        if name not in nodes:
            raise InputError(f"{where}: there is no population {name!r}; there are {', '.join(nodes)}")
    known_to = {key: [n for n in names if _has(nodes[n], key)] for key in conditions}
    for key, of in known_to.items():
        if not of:
            raise InputError(f"{where}: no node of {', '.join(names)} has an attribute {key!r}; correct the node set")
    return {
        name: np.flatnonzero(np.all([_matches(nodes[name], k, v, where) for k, v in conditions.items()], axis=0))
        if conditions
        else np.arange(len(nodes[name]))
        for name in names
        if all(name in of for of in known_to.values())
    }


def _has(nodes: Nodes, key: str) -> bool:
    return key in ("node_id", "node_ids", "node_type_id") or key in nodes.rows.names


def _matches(nodes: Nodes, key: str, value: Any, where: str) -> NDArray[np.bool_]:
    """(N,) whether an attribute has one of the values."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str | int | float) for each in values):
        raise InputError(f"{where}: {key} = {value!r} in a node set; give a text, a number, or a list of these")
    own = {"node_id": nodes.id, "node_ids": nodes.id, "node_type_id": nodes.rows.type_id}.get(key)
    if own is not None:
        return np.isin(own, values)
    if all(isinstance(each, str) for each in values):
        texts = nodes.rows.texts(key)
        return np.isin(texts.code, [k for k, text in enumerate(texts.values) if text in values])
    return np.isin(nodes.rows.numbers(key), np.array([float(each) for each in values]))
