"""The sections of a SONATA config: their keys, what is refused by name, and what has no effect here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NodeSet = str | dict[str, Any] | list[Any]
Listed = BeforeValidator(lambda value: value if isinstance(value, list) else [value])
CLAMPS = "give the input_type current_clamp with amp, delay and duration"


class Section(BaseModel):
    """A section: a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
    _without_effect: ClassVar[dict[str, str]] = {}  # keys, and why they change nothing here
    _refused: ClassVar[dict[str, str]] = {}  # keys, and what to do where one asks for something


class Run(Section):
    """When and how; dt is the clock of the reports, the steps of the cells are the twin's own."""

    _refused: ClassVar = {
        "tstart": "a run starts at 0 ms",
        "use_old_import3d": "morphologies are read by NEURON's own import3d",
    }
    _without_effect: ClassVar = {"nsteps_block": "reports are written while the run goes on, in blocks of its own"}

    tstop: Positive
    """Length of the run [ms]."""
    dt: Positive = 0.1
    """Clock of the reports [ms]; the steps of the cells are the twin's own."""
    dL: Positive = 20.0
    """Longest compartment allowed [um]; a section gets 1 + 2 floor(L / (2 dL)) of them, as in BMTK."""
    spike_threshold: Finite = -15.0
    """A spike is when the soma's potential crosses it upwards [mV]."""
    random_seed: Annotated[int, Field(ge=0)] = 0
    """Of the places of synapses that edges leave open."""

    @model_validator(mode="after")
    def _one_step(self) -> Run:
        if self.dt > self.tstop:
            raise ValueError(f"dt = {self.dt:g} ms is longer than the run of tstop = {self.tstop:g} ms; shorten it")
        return self


class Conditions(Section):
    """Temperature and potential at the start."""

    celsius: Annotated[float, Field(gt=-20, lt=100)]
    """Temperature [degC]."""
    v_init: Annotated[float, Field(gt=-200, lt=100)]
    """Potential of all compartments at the start [mV]."""


class NodesFile(Section):
    """A file of nodes, and the table of their types."""

    nodes_file: Path
    """HDF5."""
    node_types_file: Path | None = None
    """CSV."""


class EdgesFile(Section):
    """A file of edges, and the table of their types."""

    edges_file: Path
    """HDF5."""
    edge_types_file: Path | None = None
    """CSV."""
    enabled: bool = True
    """Whether these edges count."""


class Networks(Section):
    """The files of the circuit."""

    _refused: ClassVar = {"gap_juncs": "gap junctions are not simulated; leave them away"}

    nodes: Annotated[tuple[NodesFile, ...], Field(min_length=1)]
    """Files of nodes."""
    edges: tuple[EdgesFile, ...] = ()
    """Files of edges."""


class Output(Section):
    """Where results go; names of files are those in the folder."""

    _refused: ClassVar = {"spikes_file_nwb": "spikes are written as SONATA (spikes_file) and CSV (spikes_file_csv)"}
    _without_effect: ClassVar = {
        **dict.fromkeys(
            ("log_file", "log_level", "log_format", "log_to_console", "quiet_simulator"), "it is about BMTK's log"
        ),
        **dict.fromkeys(("cache_to_disk", "compression"), "files are written in one way"),
    }

    output_dir: Path = Path()
    """Folder of all results."""
    spikes_file: str | None = None
    """Spikes as SONATA."""
    spikes_file_csv: str | None = None
    """Spikes as BMTK's CSV."""
    spikes_sort_order: Literal["none", "na", "time", "by_time", "id", "by_id", "node_id", "gid"] = "none"
    """Order of the spikes in both."""
    overwrite_output_dir: bool = False
    """Replace results that are there."""

    @property
    def order(self) -> Literal["none", "by_time", "by_id"]:
        """In which order spikes are written, by its name in the files."""
        if self.spikes_sort_order in ("none", "na"):
            return "none"
        return "by_time" if self.spikes_sort_order in ("time", "by_time") else "by_id"


class SpikeInput(Section):
    """Spikes of virtual nodes, from a file."""

    _without_effect: ClassVar = {"trial": "files of spikes that are read here hold one trial"}

    input_type: Literal["spikes"]
    """`spikes`."""
    module: Literal["h5", "sonata", "csv", "nwb"]
    """Format of the file."""
    input_file: Path
    """File of spikes, in any order."""
    node_set: NodeSet = "all"
    """Whose spikes count; of virtual populations."""


class ClampInput(Section):
    """Current steps, each into one place of every cell of the set."""

    input_type: str
    """`current_clamp`; others are refused."""
    module: Literal["IClamp"]
    """`IClamp`."""
    node_set: NodeSet = "all"
    """Which cells."""
    amp: Annotated[list[Finite], Listed]
    """Currents [nA], positive depolarises."""
    delay: Annotated[list[Finite], Listed]
    """When each begins [ms]."""
    duration: Annotated[list[NotNegative], Listed]
    """How long each lasts [ms]."""
    section_name: str = "soma"
    """Name of the section that the electrode is in."""
    section_index: Any = 0
    """Number of the section among those of that name."""
    section_dist: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Relative position in the section, 0..1."""

    @field_validator("input_type")
    @classmethod
    def _steps(cls, value: str) -> str:
        if value != "current_clamp":
            raise ValueError(f"currents of the input_type {value!r} are not read; {CLAMPS}")
        return value

    @field_validator("section_index")
    @classmethod
    def _one_section(cls, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{value!r} is no number of one section; give one (BMTK draws from a range)")
        return value

    @model_validator(mode="after")
    def _as_many(self) -> ClampInput:
        if not len(self.amp) == len(self.delay) == len(self.duration):
            raise ValueError("amp, delay and duration differ in number; give one of each for every step")
        return self


INPUTS: dict[str, type[SpikeInput] | type[ClampInput]] = {
    **dict.fromkeys(("h5", "sonata", "csv", "nwb"), SpikeInput),
    "IClamp": ClampInput,
}
REFUSED_INPUTS = {
    "function": "run the function once and write its spikes to a file (module h5 or csv)",
    "SEClamp": "voltage clamps are not simulated; leave it away",
    "xstim": "extracellular stimulation is not simulated; leave it away",
    "comsol": "extracellular stimulation is not simulated; leave it away",
    "replay": "write the spikes as the input of a virtual population with these edges",
    "syn_activity": "write the spikes as the input of a virtual population with these edges",
    "ecephys_probe": "write the spikes of the probe to a file (module h5, csv or nwb)",
}


class MembraneReport(Section):
    """A variable of the membrane, over time, at compartments of cells."""

    _without_effect: ClassVar = {"buffer": "values are written while the run goes on"}
    _refused: ClassVar = {
        "transform": "values are written as they are; leave it away",
        "gids": "choose cells by `cells`, a node set",
    }

    module: Literal["membrane_report"]
    """`membrane_report`."""
    variable_name: str
    """v or cai."""
    cells: NodeSet | None = None
    """Node set; without one, all biophysical cells."""
    sections: Annotated[list[str], Listed] = ["all"]
    """`soma`, `all`, or names of kinds of section."""
    file_name: str | None = None
    """In the output folder; the report's name without it."""
    dt: Positive | None = None
    """Time between samples [ms]; the run's without it."""
    start_time: NotNegative | None = None
    """Where the report begins [ms]."""
    end_time: Positive | None = None
    """Where it ends [ms]."""

    @field_validator("variable_name", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        names = value if isinstance(value, list) else [value]
        if len(names) != 1:
            raise ValueError("a report is of one variable; give each variable a report of its own")
        if names[0] not in UNITS:
            raise ValueError(f"the variable {names[0]!r} is not recorded; choose {' or '.join(UNITS)}")
        return names[0]

    @field_validator("sections")
    @classmethod
    def _names(cls, value: list[str]) -> list[str]:
        for name in value:
            if name.lower() not in ("all", *SECTIONS):
                raise ValueError(f"there are no sections {name!r}; choose all, {', '.join(SECTIONS)}")
        return [name.lower() for name in value]


class ExtracellularReport(Section):
    """The extracellular potential at the contacts of an electrode."""

    _without_effect: ClassVar = {"variable_name": "the potential comes from the membrane currents"}
    _refused: ClassVar = {
        "file_name_nwb": "potentials are written as HDF5 (file_name)",
        "cell_bounds": "choose cells by `cells`, a node set",
    }

    module: Literal["extracellular", "ecp"]
    """`extracellular` or `ecp`."""
    electrode_positions: Path
    """Table of contacts: channel x_pos y_pos z_pos [um]."""
    cells: NodeSet | None = None
    """Node set; without one, all biophysical cells."""
    file_name: str | None = None
    """In the output folder; the report's name without it."""
    contributions_dir: str | None = None
    """Folder in the output folder for the potential of each cell alone."""
    electrode_channels: Literal["all"] | list[int] = "all"
    """`all`, or which channels of the table."""
    minimum_distance: Literal["auto"] | None = None
    """`auto`: a contact inside a cell counts as if it were on the membrane, which it does in any case."""

    @field_validator("minimum_distance", mode="before")
    @classmethod
    def _on_the_membrane(cls, value: Any) -> Any:
        if isinstance(value, int | float) and value != 0:
            raise ValueError(f"a distance of {value:g} um is not kept; give auto, the radius of each compartment")
        return value or None


# Units of what is recorded.
UNITS = {"v": "mV", "cai": "mM"}
# Beginnings of the names of sections, by what BMTK calls them.
SECTIONS = {
    **dict.fromkeys(("soma", "somatic"), "soma"),
    **dict.fromkeys(("axon", "axonal"), "axon"),
    **dict.fromkeys(("dend", "basal"), "dend"),
    **dict.fromkeys(("apic", "apical"), "apic"),
}
REPORTS: dict[str, type[MembraneReport] | type[ExtracellularReport]] = {
    "membrane_report": MembraneReport,
    "extracellular": ExtracellularReport,
    "ecp": ExtracellularReport,
}
REFUSED_REPORTS = {
    "netcon_report": "variables of synapses are not recorded; leave it away",
    "clamp_report": "currents of electrodes are not recorded; leave it away",
    "SEClamp": "voltage clamps are not simulated; leave it away",
    "save_synapses": "synapses are those of the edges; leave it away",
    "SaveSynapses": "synapses are those of the edges; leave it away",
    "multimeter": "it is of point neurons; give a membrane_report",
    "multimeter_report": "it is of point neurons; give a membrane_report",
    "weight_recorder": "weights do not change; leave it away",
    "spikes_report": "give the files of spikes under output (spikes_file, spikes_file_csv)",
}
# Sections of a whole config that change nothing here.
WITHOUT_EFFECT = {
    "target_simulator": "dendrotwin runs it",
    "target_simulator_version": "dendrotwin runs it",
    "version": "keys are looked at one by one",
    "config_path": "it is where BMTK found the config",
    "config_dir": "it is where BMTK found the config",
}
COMPONENTS = (
    *("morphologies_dir", "synaptic_models_dir", "mechanisms_dir"),
    *("biophysical_neuron_models_dir", "templates_dir"),
)
