"""Edges as projections: what the files say of each synapse, and where it ends."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.synapse import Synapse
from dendrotwin.cell.tree import Tree
from dendrotwin.circuit.description import Population, Projection
from dendrotwin.circuit.project import TsodyksMarkram
from dendrotwin.circuit.sonata.compartments import compartment_at
from dendrotwin.circuit.sonata.config import SonataConfig
from dendrotwin.circuit.sonata.nodes import Nodes, file_of
from dendrotwin.circuit.sonata.rows import Floats, Ints, Rows, Texts, combined, open_sonata, read_types
from dendrotwin.circuit.sonata.sections import SECTIONS
from dendrotwin.circuit.sonata.synapses import read_synapse
from dendrotwin.errors import InputError
from dendrotwin.support.hdf5 import text_of

AS_SAID = ("", "wmax", "default_weight_fnc", "set_syn_weight")  # functions of BMTK that give syn_weight as it is
NO_PLACE = -1
PLACE = ("sec_id", "afferent_section_id"), ("sec_x", "afferent_section_pos")


@dataclass(frozen=True, eq=False)
class Edges:
    """A population of edges, K of them, with ends that are there, and without places on the cells.

    Attributes:
        where: file and population, for errors.
        source, target: names of the populations.
        source_node, target_node: (K,) indices in them.
        weight_uS, delay_ms: (K,) [uS], [ms].
        synapses, synapse: the kinds, and (K,) which.
        plasticity: that of each kind, or None.
        section_id, x: (K,) where it ends; NO_PLACE for one that is drawn.
        count: (K,) how many synapses it makes; more than 1 only where they are drawn.
        areas, area: parts of cells to draw from, `target_sections` and `distance_range`, and (K,) which.
        seed: of the draws.
    """

    where: str
    source: str
    target: str
    source_node: Ints
    target_node: Ints
    weight_uS: Floats
    delay_ms: Floats
    synapses: tuple[Synapse, ...]
    synapse: Ints
    plasticity: tuple[TsodyksMarkram | None, ...]
    section_id: Ints
    x: Floats
    count: Ints
    areas: tuple[tuple[str, ...], ...]
    area: Ints
    seed: tuple[int, int]

    def __len__(self) -> int:
        return len(self.source_node)


def read_edges(config: SonataConfig, nodes: Mapping[str, Nodes], notes: list[str]) -> list[Edges]:
    """All edges of a circuit.

    Args:
        config: of the simulation.
        nodes: all populations of nodes.
        notes: gets a line for what has no effect.

    Raises:
        FileError: a file is missing or damaged, or lacks a part.
        InputError: an edge names a node, type or synapse that is not there, or has a wrong weight, delay or place.
    """
    found: list[Edges] = []
    names: dict[str, Path] = {}
    for files in config.networks.edges:
        if not files.enabled:
            notes.append(f"{files.edges_file} is not enabled")
            continue
        types = read_types(files.edge_types_file, "edge")
        with open_sonata(files.edges_file, "file of edges") as file:
            populations = file.group("edges")
            for name in populations.names():
                if name in names:
                    raise InputError(
                        f"{files.edges_file}: there are edges {name} already, in {names[name]}; rename them, or name "
                        "the file once"
                    )
                names[name] = files.edges_file
                part = populations.group(name)
                rows = Rows(part, "edge", types, len(part.dataset("source_node_id")))
                found.append(_read(rows, nodes, config, (config.run.random_seed, len(found)), notes))
    return found


def _read(
    rows: Rows, nodes: Mapping[str, Nodes], config: SonataConfig, seed: tuple[int, int], notes: list[str]
) -> Edges:
    """One population."""
    where = f"{rows.part.path}: edges {rows.name}"
    source, source_node = _end(rows, "source", nodes, where)
    target, target_node = _end(rows, "target", nodes, where)
    if nodes[target].virtual:
        raise InputError(f"{where} end at {target}, whose nodes are virtual; let them end at biophysical ones")
    gap = rows.numbers("is_gap_junction") if "is_gap_junction" in rows.names else None
    if gap is not None and (np.nan_to_num(gap) != 0).any():
        raise InputError(f"{where} hold gap junctions, which are not simulated; leave them away")
    for function in _used(rows.texts("weight_function")):
        if function not in AS_SAID:
            raise InputError(
                f"{where}: the weight_function {function} is not computed; write the weights it gives as syn_weight, "
                "and leave it away"
            )
    kinds, kind = _kinds(rows, config, where, notes)
    section, x = (_place(rows, which) for which in PLACE)
    placed = np.isfinite(section)
    _refuse(
        where, placed & (section != np.rint(section)) | (section < 0), section, "section id", "a whole number from 0"
    )
    _refuse(where, placed & ~((x >= 0) & (x <= 1)), x, "position in its section", "a number from 0 to 1")
    count = rows.numbers("nsyns")
    count = np.ones(rows.count) if count is None else np.where(np.isnan(count), 1.0, count)
    _refuse(where, (count != np.rint(count)) | (count < 0), count, "nsyns", "a whole number")
    if (placed & (count != 1)).any():
        notes.append(f"{where}: nsyns has no effect where an edge gives its section: it makes one synapse, as in BMTK")
    areas, area = combined(rows.texts("target_sections"), rows.texts("distance_range"))
    return Edges(
        where,
        source,
        target,
        source_node,
        target_node,
        _numbers(rows, "syn_weight", where, "a conductance from 0 [uS]", zero=True),
        _numbers(rows, "delay", where, "a time above 0 [ms]", zero=False),
        tuple(synapse for synapse, _ in kinds),
        kind,
        tuple(plasticity for _, plasticity in kinds),
        np.where(placed, section, NO_PLACE).astype(np.int64),
        x,
        np.where(placed, 1, count).astype(np.int64),
        tuple(areas),
        area,
        seed,
    )


def _end(rows: Rows, end: str, nodes: Mapping[str, Nodes], where: str) -> tuple[str, Ints]:
    """The population at one end of the edges, and (K,) which nodes."""
    said = rows.part.attribute("node_population", f"{end}_node_id")
    name = str(text_of(said))
    if name not in nodes:
        raise InputError(f"{where}: the {end} population {name} is not there; there are {', '.join(nodes)}")
    ids = np.asarray(rows.part.array(f"{end}_node_id"))
    if ids.shape != (rows.count,) or ids.dtype.kind not in "iu":
        raise rows.part.error(f"has a {end}_node_id of {rows.name} that is not {rows.count} whole numbers")
    at = nodes[name].index(ids)
    if (at < 0).any():
        k = int(np.flatnonzero(at < 0)[0])
        raise InputError(f"{where}: edge {k} has the {end} node {ids[k]}, which {name} does not have; correct it")
    return name, at


def _used(texts: Texts) -> list[str]:
    return [texts.values[k] for k in np.unique(texts.code)]


def _place(rows: Rows, names: tuple[str, ...]) -> Floats:
    """(K,) by the first name that there is, as in BMTK; NaN where nothing is said."""
    found = next((rows.numbers(name) for name in names if name in rows.names), None)
    return np.full(rows.count, np.nan) if found is None else np.asarray(found)


def _refuse(where: str, wrong: NDArray[np.bool_], values: Floats, called: str, right: str) -> None:
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise InputError(f"{where}: edge {k} has the {called} {values[k]:g}; it must be {right}")


def _numbers(rows: Rows, name: str, where: str, right: str, *, zero: bool) -> Floats:
    """(K,) numbers that every edge must have."""
    found = rows.numbers(name)
    if found is None:
        raise InputError(f"{where} have no {name}; give it to each edge, or to the types")
    with np.errstate(invalid="ignore"):
        fits = (found >= 0 if zero else found > 0) & np.isfinite(found)
    _refuse(where, ~fits, found, name, right)
    return np.asarray(found)


def _kinds(
    rows: Rows, config: SonataConfig, where: str, notes: list[str]
) -> tuple[list[tuple[Synapse, TsodyksMarkram | None]], Ints]:  # fmt: skip
    """The kinds of synapse with their plasticity, and (K,) which of them each edge is."""
    pairs, kind = combined(rows.texts("model_template"), rows.texts("dynamics_params"))
    made = []
    for template, name in pairs:
        file = file_of("synaptic_models_dir", name, where, config) if name else None
        made.append(read_synapse(template, file, where, notes))
    return made, kind


def place(edges: Edges, target: Population) -> Projection:
    """Edges as connections onto the compartments of their cells.

    An edge without a section makes `nsyns` synapses, drawn as BMTK draws them: a compartment of `target_sections` with
    a probability of its length within `distance_range` [um] of the soma, along the tree. BMTK counts from the soma's 0
    end; here that is half the soma's length before its middle, the same wherever dendrites start at the soma's middle
    or its 1 end. The random numbers are our own, of `run.random_seed` and the place of the edges in the circuit; those
    of BMTK depend on the order in which it builds.

    Args:
        edges: of one population.
        target: the cells.

    Raises:
        InputError: a section is not there, or nothing of a cell is in the part to draw from.
    """
    model = np.asarray(target.model)[edges.target_node]
    drawn = np.flatnonzero(edges.section_id == NO_PLACE)
    at = np.zeros(len(edges), np.int64)
    for m in np.unique(model[edges.section_id != NO_PLACE]).tolist():
        of = np.flatnonzero((model == m) & (edges.section_id != NO_PLACE))
        try:
            at[of] = compartment_at(target.twins[m].tree, edges.section_id[of], edges.x[of])
        except InputError as error:
            raise InputError(f"{edges.where}: {error}") from error
    row = np.repeat(np.arange(len(edges)), edges.count)
    compartment = at[row]
    if len(drawn):
        uniform = np.random.default_rng(np.random.SeedSequence(edges.seed[0], spawn_key=edges.seed[1:])).random(
            len(row)
        )
        for m, a in np.unique(np.stack([model[drawn], edges.area[drawn]], 1), axis=0).tolist():
            of_row = (model == m) & (edges.area == a) & (edges.section_id == NO_PLACE)
            of = np.flatnonzero(of_row[row])
            below = _cumulated(target.twins[m].tree, edges.areas[a], edges.where)
            compartment[of] = np.searchsorted(below, uniform[of] * below[-1], side="right")
    none = np.full(5, np.nan)
    parameters = np.array([none if p is None else p.parameters() for p in edges.plasticity]).reshape(-1, 5)
    return Projection(
        edges.source,
        edges.target,
        edges.source_node[row],
        edges.target_node[row],
        compartment.astype(np.int32),
        edges.synapses,
        edges.synapse[row].astype(np.int32),
        edges.weight_uS[row],
        edges.delay_ms[row],
        parameters[edges.synapse[row]] if any(edges.plasticity) else None,
    )


def _cumulated(tree: Tree, area: tuple[str, ...], where: str) -> Floats:
    """(n,) cumulated lengths of a tree's compartments within a part of it [um]."""
    sections, distances = area
    names = _literal(sections, "target_sections", where)
    if not isinstance(names, list | tuple) or not all(str(name).lower() in SECTIONS for name in names):
        _no_area(sections, "target_sections", f"a list of {', '.join(SECTIONS)}", where)
    span = _literal(distances, "distance_range", where)
    span = [0.0, span] if isinstance(span, int | float) else span
    if not isinstance(span, list | tuple) or len(span) != 2 or not all(isinstance(d, int | float) for d in span):
        _no_area(distances, "distance_range", "[from, to] in um", where)
    prefixes = {SECTIONS[str(name).lower()] for name in names}
    is_named = np.array([section_prefix(name) in prefixes for name in tree.section_names])[tree.section]
    soma = np.array([section_prefix(name) == "soma" for name in tree.section_names])[tree.section]
    length = float(tree.length_um[soma].sum())
    distance = np.where(soma, tree.x * length, tree.distance_um + length / 2)
    half = tree.length_um / 2
    inside = np.maximum(0.0, np.minimum(distance + half, span[1]) - np.maximum(distance - half, span[0]))
    below = np.cumsum(np.where(is_named, inside, 0.0))
    if not below[-1] > 0:
        raise InputError(
            f"{where}: nothing of a target cell lies in {sections} within {distances} um; correct one of them"
        )
    return below


def _literal(text: str, name: str, where: str) -> Any:
    if not text:
        raise InputError(
            f"{where}: edges give neither a section (afferent_section_id) nor {name} to draw one from; give either"
        )
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        _no_area(text, name, "a list, such as ['basal', 'apical'] or [0.0, 100.0]", where)


def _no_area(text: str, name: str, right: str, where: str) -> NoReturn:
    raise InputError(f"{where}: {name} = {text} is not {right}; correct it")


def section_prefix(name: str) -> str:
    """What a section is, by its name: soma, axon, dend or apic.

    Args:
        name: such as "Cell[0].dend[3]".
    """
    return name.split(".")[-1][:4]
