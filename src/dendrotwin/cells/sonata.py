"""A biophysical node type of a SONATA circuit, built in NEURON as BMTK 1.2.0 builds it.

SONATA: Dai et al. 2020 (doi:10.1371/journal.pcbi.1007696). BMTK: Dai et al. 2020 (doi:10.1371/journal.pcbi.1008386).
The options have the names that they have in a circuit's files. `sonata_build` makes the sections.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from dendrotwin.cells import CellModel, Sections
from dendrotwin.errors import CellError

IMPORTED = ("Biophys1", "Biophys1.hoc")  # BMTK's template that imports an SWC file and does no more
NEURONS_OWN = {"", "pas", "hh", "fastpas", "extracellular", "capacitance"}
# What `model_processing` may be. The potential outside stays 0 with NEURON's `extracellular` alone: it changes nothing.
OUTSIDE = ("extracellular", "set_extracellular")
PROCESSINGS = (
    "aibs_perisomatic",
    "aibs_allactive",
    "aibs_perisomatic_directed",
    "aibs_allactive_directed",
    *OUTSIDE,
)
PREFIXES = ("soma", "axon", "apic", "dend")  # of the names of sections, which say what a section is
GROUPS = {
    **{"soma": "soma", "somatic": "soma", "axon": "axon", "axonal": "axon", "apic": "apic", "apical": "apic"},
    **{"dend": "dend", "basal": "dend", "dendritic": "dend"},
}  # NeuroML's segment groups
# The elements of NeuroML that are read, and the unit of each of their numbers.
UNITS = {
    "channelDensity": {"condDensity": "S_per_cm2", "erev": "mV"},
    "channelDensityNernst": {"condDensity": "S_per_cm2", "erev": "mV"},
    "resistivity": {"value": "ohm_cm"},
    "specificCapacitance": {"value": "uF_per_cm2"},
    "concentrationModel": {"decay": "ms", "gamma": ""},
}
NEEDED = {
    **dict.fromkeys(("channelDensity", "channelDensityNernst"), ("ion", "ionChannel", "condDensity")),
    **dict.fromkeys(("resistivity", "specificCapacitance"), ("value",)),
    "concentrationModel": ("type", "decay", "gamma"),
}
_COMMENT = re.compile(r"(?s)\bCOMMENT\b.*?\bENDCOMMENT\b|[:?][^\n]*")
_HOC_COMMENT = re.compile(r"(?s)/\*.*?\*/|//[^\n]*")
_NAME = re.compile(r"\b(?:SUFFIX|POINT_PROCESS|ARTIFICIAL_CELL)\s+(\w+)")


@dataclass(frozen=True)
class NodeType:
    """What a cell is made from; every value is text, "" where there is none.

    Attributes:
        model_template: `nml:FILE` (NeuroML), `ctdb:Biophys1.hoc`, or `hoc:TEMPLATE`.
        morphology: file of the reconstruction, SWC; a hoc template may read others.
        dynamics_params: JSON file of the parameters.
        model_processing: of PROCESSINGS, several with commas.
        mechanisms_dir: folder of .mod files, or of a folder `modfiles` with them; several with the system's separator
            of paths. Without one, those in bmtk's wheel.
        templates_dir: folder of hoc templates.
        dL: longest compartment allowed [um], 1 + 2 floor(L / (2 dL)) a section; without it as the template has it.
        v_init: potential at the start [mV].
        celsius: temperature [degC].
    """

    model_template: str = ""
    morphology: str = ""
    dynamics_params: str = ""
    model_processing: str = ""
    mechanisms_dir: str = ""
    templates_dir: str = ""
    dL: str = ""
    v_init: str = "-65"
    celsius: str = "6.3"

    @property
    def kind(self) -> str:
        """`nml`, `ctdb` or `hoc`."""
        return self.model_template.partition(":")[0]

    @property
    def named(self) -> str:
        """The template without its kind."""
        return self.model_template.partition(":")[2]

    @property
    def processings(self) -> list[str]:
        """Each of `model_processing`, in order."""
        return [name.strip() for name in self.model_processing.split(",") if name.strip()]


def node_type(options: Mapping[str, str]) -> NodeType:
    """A node type from options.

    Args:
        options: by the names of its attributes.

    Raises:
        CellError: there is no such option.
    """
    known = [field.name for field in dataclasses.fields(NodeType)]
    unknown = sorted(options.keys() - set(known))
    if unknown:
        raise CellError(f"the cell sonata has no option {', '.join(unknown)}; it knows {', '.join(known)}")
    return NodeType(**options)


def bmtk_folder() -> Path | None:
    """The folder of cells in bmtk's wheel, found without importing it; None where bmtk is not installed."""
    spec = importlib.util.find_spec("bmtk")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "utils" / "scripts" / "bionet"


def mechanism_folders(node: NodeType) -> list[Path]:
    """Where the .mod files of a node type lie.

    Args:
        node: the node type.

    Raises:
        CellError: a folder is not there.
    """
    if not node.mechanisms_dir:
        bmtk = bmtk_folder()
        if bmtk is None:
            raise CellError("no mechanisms_dir is named, and bmtk, whose wheel has Allen's, is not installed; name one")
        return [bmtk / "mechanisms" / "modfiles"]
    folders = [Path(folder) for folder in node.mechanisms_dir.split(os.pathsep)]
    for folder in folders:
        if not folder.is_dir():
            raise CellError(f"the folder of mechanisms {folder} does not exist; correct mechanisms_dir")
    return [folder / "modfiles" if (folder / "modfiles").is_dir() else folder for folder in folders]


def mechanisms(node: NodeType) -> list[Path]:
    """The .mod files of the mechanisms that a node type uses, by the names in its files.

    Args:
        node: the node type.

    Raises:
        CellError: a file is missing or damaged, or no .mod file defines a mechanism that is used.
    """
    hoc = node.kind == "hoc"
    text = "\n".join(_HOC_COMMENT.sub("", _text(file)) for file in hoc_files(node)) if hoc else ""
    words, used = set(re.findall(r"\w+", text)), set(re.findall(r"\binsert\s+(\w+)", text))
    if node.kind == "nml":
        for prefix in nml_elements(Path(node.named)).values():
            used |= {e.get("ionChannel", "") for e in prefix.values()}
            used |= {name for name, e in prefix.items() if e.tag == "concentrationModel"}
    if _fits(node):
        used |= {str(entry.get("mechanism", "")) for entry in fit(Path(node.dynamics_params))["genome"]}
    used -= NEURONS_OWN
    files = {}
    for folder in mechanism_folders(node) if used or words else []:
        for file in sorted(folder.glob("*.mod")):
            name = _NAME.search(_COMMENT.sub("", _text(file)))
            if name and name[1] in used | words | ({"nothing"} if hoc else set()):
                files[file] = name[1]
    lacking = sorted(used - set(files.values()))
    if lacking:
        folders = ", ".join(map(str, mechanism_folders(node)))
        raise CellError(
            f"no .mod file in {folders} defines {', '.join(lacking)}, which {node.named or node.dynamics_params} uses; "
            "put it there, or correct mechanisms_dir"
        )
    return list(files)


def _fits(node: NodeType) -> bool:
    """Whether `dynamics_params` is an Allen fit that a processing applies."""
    applied = [name for name in node.processings if name not in OUTSIDE]
    return bool(node.dynamics_params and applied)


def fit(path: Path) -> dict[str, Any]:
    """Allen's parameters of a cell: `passive`, `conditions` with `erev`, `genome`.

    Args:
        path: the JSON file.

    Raises:
        CellError: it is not there, no JSON, or lacks one of these.
    """
    values = parameters(path)
    try:
        entries = [*values["passive"], *values["conditions"], *values["genome"], *values["conditions"][0]["erev"]]
        whole = bool(values["passive"]) and all(isinstance(entry, dict) for entry in entries)
        whole = whole and all({"section", "name", "value"} <= entry.keys() for entry in values["genome"])
    except (KeyError, IndexError, TypeError):
        whole = False
    if not whole:
        raise CellError(
            f"{path} is no fit of Allen's: it needs the lists passive, conditions with erev, and genome of entries "
            "with section, name and value; correct it, or leave model_processing away"
        )
    return values


def parameters(path: Path) -> dict[str, Any]:
    """A JSON file with an object.

    Args:
        path: the file.

    Raises:
        CellError: it is not there, or holds something else.
    """
    try:
        values = json.loads(_text(path))
    except ValueError as error:
        raise CellError(f"{path} is no JSON ({error}); correct dynamics_params") from error
    if not isinstance(values, dict):
        raise CellError(f"{path} holds no JSON object; correct dynamics_params")
    return values


def nml_elements(path: Path) -> dict[str, dict[str, ElementTree.Element]]:
    """The elements of a NeuroML file that BMTK reads, of each prefix of section names, by their `id`.

    Args:
        path: the file. Its numbers must be in the units that NEURON has: BMTK does not convert them.

    Raises:
        CellError: it is not there, no XML, or an element has no segment group, an unknown one, or another unit.
    """
    try:
        root = ElementTree.fromstring(_text(path))
    except ElementTree.ParseError as error:
        raise CellError(f"{path} is no NeuroML: {error}; correct the file of the template") from error
    found: dict[str, dict[str, ElementTree.Element]] = {prefix: {} for prefix in PREFIXES}
    for element in root.iter():
        tag = element.tag.partition("}")[2] if element.tag.startswith("{") else ""
        if tag not in UNITS:
            continue
        name, group = element.get("id", tag), element.get("segmentGroup", "")
        what = f"{path}: {tag} {name}"
        if group.lower() not in (*GROUPS, "all"):
            raise CellError(f"{what} has the segmentGroup {group!r}; it must be one of all, {', '.join(GROUPS)}")
        lacking = [key for key in NEEDED[tag] if element.get(key) is None]
        if lacking:
            raise CellError(f"{what} lacks {', '.join(lacking)}; correct the file")
        for key, unit in UNITS[tag].items():
            if element.get(key) is not None:
                _check_unit(what, key, element.get(key, ""), unit)
        element.tag = tag
        for prefix in PREFIXES if group.lower() == "all" else (GROUPS[group.lower()],):
            found[prefix][name] = element
    return found


def number_of(element: ElementTree.Element, key: str) -> float:
    """A number of an element, without its unit.

    Args:
        element: of `nml_elements`.
        key: the attribute.
    """
    return float(element.get(key, "").split()[0])


def _check_unit(what: str, key: str, text: str, unit: str) -> None:
    try:
        number, *units = text.split()
        float(number)
    except ValueError:
        raise CellError(f"{what}: {key}={text!r} is no number with its unit; correct the file") from None
    if units != [unit] * bool(unit):
        raise CellError(f"{what}: {key}={text!r} must be in {unit or 'no unit'}, which BMTK takes it for; convert it")


def hoc_files(node: NodeType) -> list[Path]:
    """The file that defines the hoc template, and those of its folder that it names or whose templates it uses.

    Args:
        node: with a `hoc:` template.

    Raises:
        CellError: no file in the folder defines it.
    """
    folder = Path(node.templates_dir or ".")
    texts = {file: _text(file) for file in sorted(folder.glob("*.hoc"))}
    defined = {file: re.findall(r"^\s*begintemplate\s+(\w+)", text, re.MULTILINE) for file, text in texts.items()}
    queue = [file for file, names in defined.items() if node.named in names][:1]
    if not queue:
        there = ", ".join(sorted({name for names in defined.values() for name in names})) or "none"
        raise CellError(
            f"no .hoc file in {folder} defines the template {node.named} (there: {there}); correct model_template or "
            "templates_dir"
        )
    taken: list[Path] = []
    while queue:
        file = queue.pop()
        taken.append(file)
        words = set(re.findall(r"\w+", texts[file]))
        for other, names in defined.items():
            if other not in taken + queue and (words & set(names) or other.name in texts[file]):
                queue.append(other)
    return taken[::-1]  # what is used before what uses it


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="latin-1")
    except OSError as error:
        raise CellError(f"{path} cannot be read ({error.strerror}); correct its name") from error


def _fault(node: NodeType) -> str | None:
    """What keeps a node type from being built, with the fix."""
    if node.kind not in ("nml", "ctdb", "hoc") or not node.named:
        return (
            f"the model_template {node.model_template!r} is none that is built; use nml:FILE, ctdb:Biophys1.hoc or "
            "hoc:TEMPLATE"
        )
    if node.kind == "ctdb" and node.named not in IMPORTED:
        return f"of the kind ctdb there is only Biophys1.hoc, not {node.named}; correct model_template"
    unknown = [name for name in node.processings if name not in PROCESSINGS]
    if unknown:
        return f"the model_processing {unknown[0]} is none of BMTK's; there are {', '.join(PROCESSINGS)}"
    files = [node.morphology, node.dynamics_params, *([node.named] if node.kind == "nml" else [])]
    if node.kind != "hoc" and not node.morphology:
        return "it has no morphology; name the SWC file: morphology"
    absent = [file for file in files if file and not Path(file).is_file()]
    return f"{absent[0]} does not exist; correct its name" if absent else None


def _number(node: NodeType, name: str) -> float:
    text = getattr(node, name)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (name == "dL" and value <= 0.0):
        raise CellError(f"the cell sonata: {name}={text} must be a {'positive ' * (name == 'dL')}number; correct it")
    return value


def build_node(node: NodeType) -> Sections:
    """The sections of a node type, in this process's NEURON.

    Args:
        node: the node type.

    Raises:
        CellError: it does not build.
    """
    from dendrotwin.cells.sonata_build import build

    return build(node, _number(node, "dL") if node.dL else None)


def _read(node: NodeType) -> list[Path]:
    """The files that are read beside mechanisms; what a hoc template reads can only be seen while it does."""
    return [Path(file) for file in (node.morphology, node.dynamics_params, node.named) if Path(file).is_file()]


def cell(**options: str) -> CellModel:
    """The description of a cell.

    Args:
        options: the attributes of `NodeType`.

    Raises:
        CellError: an option is unknown, or is no number where it must be one.
    """
    node = node_type(options)
    if node.dL:
        _number(node, "dL")
    return CellModel(
        name="sonata",
        source=f"a node type of a SONATA circuit (doi:10.1371/journal.pcbi.1007696){_of(node)}",
        licence="that of its files",
        build=lambda: build_node(node),
        mechanisms=lambda: mechanisms(node),
        v_init_mV=_number(node, "v_init"),
        celsius=_number(node, "celsius"),
        missing=lambda: (
            _fault(node)
            if node != NodeType()
            else "name its files: --option model_template=nml:FILE --option morphology=FILE.swc, and so on"
        ),
        rate_scale=0.3,
        reads=None if node.kind == "hoc" else lambda: _read(node),
    )


def _of(node: NodeType) -> str:
    return (
        f", {node.model_template} with {Path(node.morphology).name or 'no morphology'}" if node.model_template else ""
    )
