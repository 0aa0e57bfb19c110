"""Edges as projections: what the files say of each synapse, and where it ends.

A process reads the edges that end in its own cells. Which these are says the index of the targets, where a file has
one; else the targets of all edges are looked through, in blocks.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.synapse import Synapse
from dendrotwin.cell.tree import Tree
from dendrotwin.circuit.description import Population, Projection
from dendrotwin.circuit.exchange import exchange
from dendrotwin.circuit.project import TsodyksMarkram
from dendrotwin.circuit.sonata.compartments import compartment_at
from dendrotwin.circuit.sonata.config import SonataConfig
from dendrotwin.circuit.sonata.nodes import Nodes, file_of
from dendrotwin.circuit.sonata.rows import Floats, Ints, Rows, Texts, combined, open_sonata, read_types
from dendrotwin.circuit.sonata.sections import SECTIONS
from dendrotwin.circuit.sonata.synapses import read_synapse
from dendrotwin.errors import InputError
from dendrotwin.support.hdf5 import text_of
from dendrotwin.support.hdf5_parts import AT_ONCE, Part

AS_SAID = ("", "wmax", "default_weight_fnc", "set_syn_weight")  # functions of BMTK that give syn_weight as it is
NO_PLACE = -1
INDEX = "indices/target_to_source"
PLACE = ("sec_id", "afferent_section_id"), ("sec_x", "afferent_section_pos")


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges of a population, K of them, with ends that are there, and without places on the cells.

    Attributes:
        where: file and population, for errors.
        source, target: names of the populations.
        source_node, target_node: (K,) indices in them.
        weight_uS, delay_ms: (K,) [uS], [ms].
        synapses, synapse: the kinds, and (K,) which.
        plasticity: that of each kind, or None.
        section_id, x: (K,) where it ends; NO_PLACE for one that is drawn.
        count: (K,) how many synapses it makes; more than 1 only where they are drawn.
        first: (K,) how many synapses the edges before it make, of the whole population.
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
    first: Ints
    areas: tuple[tuple[str, ...], ...]
    area: Ints
    seed: tuple[int, int]

    def __len__(self) -> int:
        return len(self.source_node)


def read_edges(
    config: SonataConfig, nodes: Mapping[str, Nodes], own: Mapping[str, NDArray[np.bool_]], notes: list[str]
) -> list[Edges]:
    """The edges of a circuit that end in some cells; all processes read theirs together.

    Args:
        config: of the simulation.
        nodes: all populations of nodes.
        own: (N,) which nodes of each population of cells.
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
                source, target = (_population(part, end, nodes) for end in ("source", "target"))
                if nodes[target].virtual:
                    raise InputError(
                        f"{part.path}: edges {name} end at {target}, whose nodes are virtual; let them end at "
                        "biophysical ones"
                    )
                total = len(part.dataset("source_node_id"))
                rows = Rows(part, "edge", types, total, _rows_of(part, total, nodes[target], own[target]))
                ends = (source, _end(rows, "source", nodes[source])), (target, _end(rows, "target", nodes[target]))
                found.append(_read(rows, ends, config, (config.run.random_seed, len(found)), notes))
    return found


def _population(part: Part, end: str, nodes: Mapping[str, Nodes]) -> str:
    """The population at one end of edges."""
    name = str(text_of(part.attribute("node_population", f"{end}_node_id")))
    if name not in nodes:
        where = f"{part.path}: edges {part.h5.name.split('/')[-1]}"
        raise InputError(f"{where}: the {end} population {name} is not there; there are {', '.join(nodes)}")
    return name


def _rows_of(part: Part, total: int, nodes: Nodes, own: NDArray[np.bool_]) -> Ints:
    """Which edges end in own nodes, or in none that is there, rising."""
    if own.all() and exchange().size == 1:
        return np.arange(total)
    found = _indexed(part, total, nodes, own)
    # An index is right if the edges that it names end where it says, none twice, and they are all.
    if sum(exchange().gather(len(found) if found is not None else -total - 1)) == total and found is not None:
        return found
    blocks = [np.zeros(0, np.int64)]
    for begin in range(0, total, AT_ONCE):
        block = np.arange(begin, min(begin + AT_ONCE, total))
        at = nodes.index(part.rows("target_node_id", block))
        blocks.append(block[own[at] | (at < 0)])
    return np.concatenate(blocks)


def _indexed(part: Part, total: int, nodes: Nodes, own: NDArray[np.bool_]) -> Ints | None:
    """Which edges end in own nodes, by the file's index; None if it has none, or one that is wrong for these nodes."""
    if f"{INDEX}/node_id_to_range" not in part or f"{INDEX}/range_to_edge_id" not in part:
        return None
    index, ids = part.group(INDEX), nodes.id[own]
    of_nodes, of_ranges = (index.dataset(name).shape for name in ("node_id_to_range", "range_to_edge_id"))
    if of_nodes[1:] != (2,) or of_ranges[1:] != (2,):
        return None
    known = ids[(ids >= 0) & (ids < of_nodes[0])]
    ranges = _between(index.rows("node_id_to_range", known).astype(np.int64), of_ranges[0])
    edges = None if ranges is None else _between(index.rows("range_to_edge_id", ranges).astype(np.int64), total)
    if edges is None:
        return None
    edges = np.sort(edges)
    at = nodes.index(part.rows("target_node_id", edges))
    right = (np.diff(edges) > 0).all() and (at >= 0).all() and own[at].all()
    return edges if right else None


def _between(spans: Ints, count: int) -> Ints | None:
    """All numbers from the first to below the second of each span (k, 2); None if they are not below a count."""
    first, stop = spans[spans[:, 1] > spans[:, 0]].T
    if len(first) and (first.min() < 0 or stop.max() > count or (stop - first).sum() > count):
        return None
    long = stop - first
    return np.repeat(first - np.cumsum(long) + long, long) + np.arange(long.sum())


def _read(
    rows: Rows, ends: tuple[tuple[str, Ints], tuple[str, Ints]], config: SonataConfig, seed: tuple[int, int],
    notes: list[str],
) -> Edges:  # fmt: skip
    """Some rows of one population."""
    where = f"{rows.part.path}: edges {rows.name}"
    (source, source_node), (target, target_node) = ends
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
        rows, placed & (section != np.rint(section)) | (section < 0), section, "section id", "a whole number from 0"
    )
    _refuse(rows, placed & ~((x >= 0) & (x <= 1)), x, "position in its section", "a number from 0 to 1")
    said, count = _synapses(rows)
    _refuse(rows, (said != np.rint(said)) | (said < 0), said, "nsyns", "a whole number")
    if (placed & (said != 1)).any():
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
        count,
        _before(rows),
        tuple(areas),
        area,
        seed,
    )


def _end(rows: Rows, end: str, nodes: Nodes) -> Ints:
    """(K,) the nodes at one end of the edges."""
    ids = rows.whole(f"{end}_node_id")
    at = nodes.index(ids)
    if (at < 0).any():
        k = int(np.flatnonzero(at < 0)[0])
        raise InputError(
            f"{rows.part.path}: edges {rows.name}: edge {rows.number[k]} has the {end} node {ids[k]}, which "
            f"{nodes.name} does not have; correct it"
        )
    return at


def _synapses(rows: Rows) -> tuple[Floats, Ints]:
    """(K,) nsyns, 1 where nothing is said; and (K,) how many synapses an edge makes: one where its section is given."""
    said = rows.numbers("nsyns")
    said = np.ones(rows.count) if said is None else np.where(np.isnan(said), 1.0, said)
    return said, np.where(np.isfinite(_place(rows, PLACE[0])), 1, np.nan_to_num(said)).astype(np.int64)


def _before(rows: Rows) -> Ints:
    """(K,) how many synapses all edges of the population make that come before each of these."""
    if "nsyns" not in rows.names:
        return rows.number
    found, made = [np.zeros(0, np.int64)], 0
    for begin in range(0, rows.total, AT_ONCE):
        stop = min(begin + AT_ONCE, rows.total)
        _, count = _synapses(Rows(rows.part, "edge", rows.types, rows.total, np.arange(begin, stop)))
        mine = rows.number[slice(*np.searchsorted(rows.number, (begin, stop)))] - begin
        found.append(made + (np.cumsum(count) - count)[mine])
        made += int(count.sum())
    return np.concatenate(found)


def _used(texts: Texts) -> list[str]:
    return [texts.values[k] for k in np.unique(texts.code)]


def _place(rows: Rows, names: tuple[str, ...]) -> Floats:
    """(K,) by the first name that there is, as in BMTK; NaN where nothing is said."""
    found = next((rows.numbers(name) for name in names if name in rows.names), None)
    return np.full(rows.count, np.nan) if found is None else np.asarray(found)


def _refuse(rows: Rows, wrong: NDArray[np.bool_], values: Floats, called: str, right: str) -> None:
    if wrong.any():
        k = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{rows.part.path}: edges {rows.name}: edge {rows.number[k]} has the {called} {values[k]:g}; it must be "
            f"{right}"
        )


def _numbers(rows: Rows, name: str, where: str, right: str, *, zero: bool) -> Floats:
    """(K,) numbers that every edge must have."""
    found = rows.numbers(name)
    if found is None:
        raise InputError(f"{where} have no {name}; give it to each edge, or to the types")
    with np.errstate(invalid="ignore"):
        fits = (found >= 0 if zero else found > 0) & np.isfinite(found)
    _refuse(rows, ~fits, found, name, right)
    return np.asarray(found)


def _kinds(
    rows: Rows, config: SonataConfig, where: str, notes: list[str]
) -> tuple[list[tuple[Synapse, TsodyksMarkram | None]], Ints]:  # fmt: skip
    """The kinds of synapse, with their plasticity, of all processes, in whose order currents are summed; and (K,) which
    each edge is."""
    here, kind = combined(rows.texts("model_template"), rows.texts("dynamics_params"))
    pairs = sorted(set(itertools.chain(*exchange().gather(here))))
    made = []
    for template, name in pairs:
        file = file_of("synaptic_models_dir", name, where, config) if name else None
        made.append(read_synapse(template, file, where, notes))
    return made, np.array([pairs.index(pair) for pair in here], np.int64)[kind]


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
        uniform = _uniform(edges.seed, np.repeat(edges.first - np.cumsum(edges.count) + edges.count, edges.count))
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


def _uniform(seed: tuple[int, int], start: Ints) -> Floats:
    """(k,) random numbers from 0 to 1: of a series that all processes draw, the (start + 0, 1, ...)-th, rising."""
    at = start + np.arange(len(start))
    random = np.random.default_rng(np.random.SeedSequence(seed[0], spawn_key=seed[1:]))
    found, last = np.empty(len(at)), int(at[-1]) + 1 if len(at) else 0
    for begin in range(0, last, AT_ONCE):
        block = random.random(min(AT_ONCE, last - begin))
        mine = slice(*np.searchsorted(at, (begin, begin + AT_ONCE)))
        found[mine] = block[at[mine] - begin]
    return found


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
