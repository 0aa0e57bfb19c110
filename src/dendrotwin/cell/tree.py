"""The compartments of a cell and where its inputs arrive: all that a twin needs to know about the cell.

A `Tree` holds what NEURON would integrate if every active current but Ih were taken away: capacitance, leak,
Ih, axial conductances, and the synapses. Its units are NEURON's: um, mV, ms, nF, uS, nA (uS * mV = nA,
nF * mV / ms = nA), so that no conversion factor appears in any equation that uses it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.cell.synapse import Conductance, Synapse
from dendrotwin.cell.trial_numbers import as_numbers, check_duration, column_of_numbers
from dendrotwin.errors import FileError, InputError

REGIONS = ("soma", "basal", "oblique", "trunk", "tuft", "axon")
APICAL = ("oblique", "trunk", "tuft")
SPIKE_MV = -25.0  # [mV] an output spike is a local maximum of the soma's potential above this
FORMAT_VERSION = 1

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Events:
    """Input events of one trial, sorted by time and then by input.

    NEURON delivers an event at its time, to the nearest step of the integration. What goes by milliseconds (learned
    networks, the coarse cable) takes it from the start of its 1 ms bin; see `bins`.

    Attributes:
        input: (k,) which input of the tree.
        time_ms: (k,) when the event arrives, any real time [ms].
    """

    input: Ints
    time_ms: Floats

    def __post_init__(self) -> None:
        """Numbers of other types become those: in 8 bits, the input after number 127 would be -128."""
        object.__setattr__(self, "input", as_numbers(self.input, np.int32))
        object.__setattr__(self, "time_ms", as_numbers(self.time_ms, np.float64))

    @classmethod
    def sort(cls, input: NDArray[Any], time_ms: NDArray[Any]) -> Events:
        """Events in any order, at any real time [ms], sorted.

        `Events.sort([3, 0], [12.7, 5.0])` is an event at input 0 after 5 ms, and one at input 3 after 12.7 ms.

        Args:
            input: (k,) number of the input of each event, from 0.
            time_ms: (k,) its time [ms].

        Raises:
            InputError: a number is not finite, or beyond 32 bits; an input is no whole number; or there are not as many
                times as inputs.
        """
        inputs, times = column_of_numbers("input", input), column_of_numbers("time", time_ms)
        if inputs.shape != times.shape:
            raise InputError(f"there are {len(inputs)} inputs and {len(times)} times; give a time for each event")
        if (inputs != np.rint(inputs)).any():
            raise InputError(f"input {inputs[inputs != np.rint(inputs)][0]} is no whole number; inputs count from 0")
        inputs, times = inputs.astype(np.int32), times.astype(np.float64)
        order = np.lexsort((inputs, times))
        return cls(inputs[order], times[order])

    def __repr__(self) -> str:
        span = f" from {self.time_ms[0]:g} to {self.time_ms[-1]:g} ms" if len(self) else ""
        return f"Events({len(self)} at {len(np.unique(self.input))} inputs{span})"

    def bins(self) -> Ints:
        """(k,) the 1 ms step in which each event arrives."""
        return np.floor(self.time_ms).astype(np.int32)

    def __len__(self) -> int:
        return len(self.input)

    def check(self, n_inputs: int, duration_ms: int) -> None:
        """See that every event is at one of the cell's inputs and within the trial.

        Args:
            n_inputs: of the cell.
            duration_ms: duration of the trial [ms].

        Raises:
            InputError: one is not, the arrays are not those of the class, or the duration is none.
        """
        check_duration(duration_ms)
        for name, array, kinds in (("input", self.input, "iu"), ("time_ms", self.time_ms, "iuf")):
            if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds or array.ndim != 1:
                raise InputError(f"`{name}` of the events is no array (k,) of numbers; make them with Events.sort")
        if len(self.input) != len(self.time_ms):
            raise InputError(
                f"the events have {len(self.input)} inputs and {len(self.time_ms)} times; make them with Events.sort"
            )
        if len(self.input) == 0:
            return
        if not np.isfinite(self.time_ms).all():
            raise InputError("an event has a time that is no finite number; correct the events")
        if (np.diff(self.time_ms) < 0).any():
            raise InputError("the events are not sorted by time; make them with Events.sort")
        if self.input.min() < 0 or self.input.max() >= n_inputs:
            wrong = self.input[(self.input < 0) | (self.input >= n_inputs)][0]
            raise InputError(
                f"an event names input {wrong}, the cell has inputs 0 to {n_inputs - 1}; correct the events"
            )
        if np.signbit(self.time_ms[0]):  # -0.0 too, which is another trial's input to the byte
            raise InputError(
                f"an event is at {self.time_ms[0]:g} ms, before the trial starts; shift the events to t >= 0"
            )
        last = float(self.time_ms.max())
        if last >= duration_ms:
            raise InputError(
                f"an event is at {last:.12g} ms, after the end at {duration_ms} ms; drop it or lengthen the trial"
            )


@dataclass(frozen=True, eq=False)
class Injection:
    """Current injected through electrodes during one trial.

    Attributes:
        compartment: (e,) compartment of each electrode.
        current_nA: (duration in ms, e) current, constant over each 1 ms step, positive depolarises [nA].
    """

    compartment: Ints
    current_nA: Floats

    def __post_init__(self) -> None:
        """Numbers of other types become those; see `Events`."""
        object.__setattr__(self, "compartment", as_numbers(self.compartment, np.int32))
        object.__setattr__(self, "current_nA", as_numbers(self.current_nA, np.float64))

    def __repr__(self) -> str:
        low, high = (float(f(self.current_nA)) if self.current_nA.size else 0.0 for f in (np.min, np.max))
        places = ", ".join(map(str, np.asarray(self.compartment).tolist()))
        return f"Injection(compartment {places}; {len(self.current_nA)} ms, {low:g} to {high:g} nA)"

    def check(self, n: int, duration_ms: int) -> None:
        """See that the electrodes are in the cell's compartments and cover the trial.

        Args:
            n: number of the cell's compartments.
            duration_ms: duration of the trial [ms].

        Raises:
            InputError: they do not.
        """
        where, current = self.compartment, self.current_nA
        if not isinstance(where, np.ndarray) or where.dtype.kind not in "iu" or where.ndim != 1:
            raise InputError(
                f"the compartments of an injection are an array of whole numbers, not {where!r}; such as np.array([0])"
            )
        if not isinstance(current, np.ndarray) or current.dtype.kind not in "iuf":
            raise InputError(f"the injected current is an array of real numbers in nA, not {type(current).__name__}")
        outside = (self.compartment < 0) | (self.compartment >= n)
        if outside.any():
            raise InputError(
                f"current is injected into compartment {self.compartment[outside][0]}, "
                f"the cell has compartments 0 to {n - 1}; correct the injection"
            )
        if self.current_nA.shape != (duration_ms, len(self.compartment)):
            raise InputError(
                f"the injected current has shape {self.current_nA.shape}, the trial needs "
                f"{(duration_ms, len(self.compartment))} (1 ms steps, electrodes)"
            )
        if not np.isfinite(self.current_nA).all():
            raise InputError("the injected current holds NaN or infinity; replace them")


@dataclass(frozen=True, eq=False)
class Tree:
    """The compartments of one cell, n of them, in NEURON's order: soma, basal, apical, axon.

    The axial network has n + j nodes: the n compartments, then j *joints*, the points without area at which
    the sections of the cell meet (NEURON's nodes at the ends of sections). With them Kirchhoff's law holds exactly
    at branch points; without them it does not.

    Attributes:
        parent: (n,) compartment next on the way to the root, -1 at the root (compartment 0).
        region: (n,) index into REGIONS.
        section: (n,) index into `section_names`.
        section_names: names of the sections.
        x: (n,) relative position of the compartment's centre in its section, 0..1.
        ends_um: (n, 2, 3) 3-D start and end [um].
        length_um, diameter_um, area_um2: (n,) [um], [um], [um2].
        distance_um: (n,) path distance from the middle of the soma [um].
        axial_parent: (n + j,) node next on the way to the root, -1 at the root.
        axial_uS: (n + j,) conductance between a node and its axial parent [uS]; 0 at the root.
        capacitance_nF, leak_uS, leak_mV: (n,) membrane capacitance [nF], leak conductance [uS], its reversal [mV].
        ih_uS, ih_mV: (n,) maximal conductance [uS] and reversal [mV] of Ih (Kole et al. 2006,
            doi:10.1523/JNEUROSCI.3664-05.2006), zero where there is none.
        v_init_mV: potential of all compartments at the start of a trial [mV].
        synapses: the kinds of synapse.
        input_compartment: (m,) where each input arrives.
        input_synapse: (m,) of which kind of synapse it is, an index into `synapses`.
        input_weight: (m,) factor on the conductances of each input's events; 1 where nothing is said.
        section_order: (sections,) index into `section_names` of each section as the cell's own files count them (the
            `section_id` of SONATA); as they come where nothing is said.
    """

    parent: Ints
    region: Ints
    section: Ints
    section_names: tuple[str, ...]
    x: Floats
    ends_um: Floats
    length_um: Floats
    diameter_um: Floats
    area_um2: Floats
    distance_um: Floats
    axial_parent: Ints
    axial_uS: Floats
    capacitance_nF: Floats
    leak_uS: Floats
    leak_mV: Floats
    ih_uS: Floats
    ih_mV: Floats
    v_init_mV: float
    synapses: tuple[Synapse, ...]
    input_compartment: Ints
    input_synapse: Ints
    input_weight: Floats = field(default_factory=lambda: np.ones(0))
    section_order: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int32))

    def __post_init__(self) -> None:
        m = len(self.input_synapse)
        if len(self.input_weight) != m:
            if (self.input_weight != 1.0).any():
                raise InputError(f"the tree has {m} inputs and {len(self.input_weight)} weights; give one for each")
            object.__setattr__(self, "input_weight", np.ones(m))
        if np.size(self.section_order) == 0:
            object.__setattr__(self, "section_order", np.arange(len(self.section_names), dtype=np.int32))

    @property
    def n(self) -> int:
        """Number of compartments."""
        return len(self.parent)

    @property
    def n_inputs(self) -> int:
        """Number of inputs (synapses of the twin: a compartment and a kind)."""
        return len(self.input_compartment)

    def __repr__(self) -> str:
        regions = ", ".join(f"{count} {name}" for name in REGIONS if (count := int(self.in_region(name).sum())))
        kinds = ", ".join(
            f"{int((self.input_synapse == k).sum())} {synapse.name}" for k, synapse in enumerate(self.synapses)
        )
        return f"Tree({self.n} compartments: {regions}; {self.n_inputs} inputs: {kinds or 'none'})"

    @property
    def inputs(self) -> NDArray[np.void]:
        """A table of the inputs, (n_inputs,) a row for each, in the order in which `Events.input` counts them.

        Columns: index; kind, of the synapse; excitatory; compartment; section; x, the compartment's position in its
        section, 0..1; region; distance_um, along the tree from the middle of the soma [um]; weight, factor on
        the conductance of its events. A data frame of it is `pandas.DataFrame(tree.inputs)`.
        """
        at, kinds = self.input_compartment, [self.synapses[k] for k in self.input_synapse]
        columns = {
            "index": np.arange(self.n_inputs),
            "kind": np.array([synapse.name for synapse in kinds], str),
            "excitatory": np.array([synapse.excitatory for synapse in kinds], bool),
            "compartment": at,
            "section": np.array([self.section_names[s] for s in self.section[at]], str),
            "x": self.x[at],
            "region": np.array([REGIONS[r] for r in self.region[at]], str),
            "distance_um": self.distance_um[at],
            "weight": self.input_weight,
        }
        table = np.empty(self.n_inputs, [(name, column.dtype) for name, column in columns.items()])
        for name, column in columns.items():
            table[name] = column
        return table

    @property
    def names(self) -> list[str]:
        """NEURON's names of the compartments, such as `dend[3](0.166667)`."""
        return [f"{self.section_names[s]}({x:f})" for s, x in zip(self.section, self.x, strict=True)]

    def in_region(self, *names: str) -> NDArray[np.bool_]:
        """Mask (n,) of the compartments whose region is one of `names`; "apical" is oblique, trunk and tuft.

        Args:
            names: of REGIONS, or "apical".

        Raises:
            InputError: there is no such region.
        """
        for name in names:
            if name not in (*REGIONS, "apical"):
                raise InputError(f"there is no region {name!r}; choose {', '.join(REGIONS)}, or apical")
        wanted = {*names, *(APICAL if "apical" in names else ())}
        return np.isin(self.region, [k for k, name in enumerate(REGIONS) if name in wanted])

    def compartment(self, section: str, x: float = 0.5) -> int:
        """The compartment at a place that NEURON writes `apic[36](0.5)`; at a border, the one that begins there.

        Args:
            section: its name, as in `section_names`.
            x: relative position in it, 0..1.

        Raises:
            InputError: there is no such section, or several, or x is outside of 0..1.
        """
        found = [k for k, name in enumerate(self.section_names) if name == section]
        if len(found) != 1:
            first = ", ".join(self.section_names[:5])
            raise InputError(f"{len(found)} sections are named {section!r}; see `section_names` (first: {first})")
        if not 0.0 <= x <= 1.0:
            raise InputError(f"x is {x}, the position in {section}; give a number from 0 to 1")
        here = sorted(np.flatnonzero(self.section == found[0]), key=lambda k: self.x[k])
        return int(here[min(int(x * len(here)), len(here) - 1)])

    @property
    def dendrites(self) -> NDArray[np.bool_]:
        """Mask (n,) of the basal and apical compartments."""
        return self.in_region("basal", "apical")

    @property
    def soma(self) -> int:
        """The compartment in the middle of the soma, which makes the output spikes (without one, the root)."""
        somatic = np.flatnonzero(self.in_region("soma"))
        return int(somatic[len(somatic) // 2]) if len(somatic) else 0

    def fingerprint(self) -> str:
        """Hash of everything in the tree: two recordings are of one cell where it is equal."""
        digest = hashlib.sha256()
        for name, value in sorted(self.to_dict().items()):
            digest.update(name.encode())
            digest.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
        return digest.hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Arrays and scalars from which `from_dict` makes the same tree; what the files store."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["section_names"] = json.dumps(self.section_names)
        synapses = [dataclasses.asdict(synapse) for synapse in self.synapses]
        # What is as it always was is left away: such a tree has the fingerprint that it had before there was a choice.
        for conductance in (g for synapse in synapses for g in synapse["conductances"] if not g["block"]):
            del conductance["block"]
        values["synapses"] = json.dumps(synapses)
        if (self.input_weight == 1.0).all():
            del values["input_weight"]
        if np.array_equal(self.section_order, np.arange(len(self.section_names))):
            del values["section_order"]
        values["format_version"] = FORMAT_VERSION
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Tree:
        """The inverse of `to_dict`.

        Args:
            values: arrays and scalars by name.

        Raises:
            FileError: a field is missing, or the format is of another version.
        """
        values = dict(values)
        version = values.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise FileError(
                f"the tree has format version {version}, this dendrotwin reads {FORMAT_VERSION}; "
                "simulate or train again with this version"
            )
        fields = {field.name for field in dataclasses.fields(cls)} - {"input_weight", "section_order"}
        missing = sorted(fields - values.keys())
        if missing:
            raise FileError(f"the tree lacks {', '.join(missing)}; the file is damaged, make it again")
        values["section_names"] = tuple(json.loads(values["section_names"]))
        values["synapses"] = tuple(
            Synapse(
                s["name"],
                s["excitatory"],
                tuple(Conductance(**{**c, "block": tuple(c.get("block", ()))}) for c in s["conductances"]),
            )
            for s in json.loads(values["synapses"])
        )
        values["v_init_mV"] = float(values["v_init_mV"])
        return cls(**values)
