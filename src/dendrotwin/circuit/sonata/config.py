"""What a SONATA simulation config and its circuit config ask for; what we cannot do is refused before anything runs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from dendrotwin.circuit.sonata import sections
from dendrotwin.circuit.sonata.sections import (
    COMPONENTS,
    ClampInput,
    Conditions,
    ExtracellularReport,
    MembraneReport,
    Networks,
    NodeSet,
    Output,
    Run,
    Section,
    SpikeInput,
)
from dendrotwin.errors import FileError, InputError

PARTS = ("network", "simulation")  # keys that name a further config
VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
# Keys whose texts are paths from the folder of the config that holds them.
PATHS = {
    *("nodes_file", "node_types_file", "edges_file", "edge_types_file", "node_sets_file"),
    *("input_file", "electrode_positions", "output_dir"),
}
Of = TypeVar("Of", bound=Section)


@dataclass(frozen=True)
class SonataConfig:
    """A simulation, with all paths absolute.

    Attributes:
        path: of the file that was named.
        run, conditions, networks, output: sections.
        components: folders by name.
        node_sets: definitions by name.
        inputs, reports: those that are enabled, by name.
        notes: a line for each key that has no effect here.
    """

    path: Path
    run: Run
    conditions: Conditions
    networks: Networks
    output: Output
    components: dict[str, Path]
    node_sets: dict[str, NodeSet]
    inputs: dict[str, SpikeInput | ClampInput]
    reports: dict[str, MembraneReport | ExtracellularReport]
    notes: tuple[str, ...]

    def file_of_report(self, name: str) -> str:
        """The file of a report, in the output folder.

        Args:
            name: of the report.
        """
        return self.reports[name].file_name or (name if name.endswith((".h5", ".hdf", ".hdf5")) else f"{name}.h5")


def read_config(path: str | Path) -> SonataConfig:
    """Read a simulation config, with the circuit config and the node sets that it names.

    Args:
        path: a simulation config that names its circuit config (`network`), a file that names both, or one that holds
            everything. Variables of a manifest, which may name each other, hold in the file that defines them; so do
            `configdir` and `workingdir`. Paths are from the folder of the file that they stand in.

    Raises:
        FileError: a file is missing, or is no JSON.
        InputError: a key is unknown, missing or wrong, or asks for what is not done here.
    """
    path = Path(path)
    notes: list[str] = []
    whole, origin = _merged(path, ())
    reader = _Reader(whole, origin, path, notes)
    components = reader.components()
    made = SonataConfig(
        path,
        reader.section("run", Run),
        reader.section("conditions", Conditions),
        reader.section("networks", Networks),
        reader.section("output", Output),
        components,
        reader.node_sets(),
        reader.kinds("inputs", sections.INPUTS, sections.REFUSED_INPUTS),
        reader.kinds("reports", sections.REPORTS, sections.REFUSED_REPORTS),
        (),
    )
    reader.nothing_left()
    return SonataConfig(**{**made.__dict__, "notes": tuple(notes)})


def _merged(path: Path, above: tuple[Path, ...]) -> tuple[dict[str, Any], dict[str, Path]]:
    """A config with the parts that it names, and which file each of its sections is from."""
    if path.resolve() in above:
        raise InputError(f"{path} is named as a part of itself; name the circuit config and the simulation config")
    content = read_json(path, "config")
    content = _resolved(content, _manifest(content.pop("manifest", {}), path), path)
    whole, origin = dict(content), dict.fromkeys(content, path)
    for key in PARTS:
        part = whole.pop(key, None)
        if isinstance(part, str):
            said, of = _merged(path.parent / part, (*above, path.resolve()))
            whole.update(said)
            origin.update(of)
        elif part is not None:
            raise InputError(f"{path}: {key} = {json.dumps(part)[:60]}: name a file")
    return whole, origin


def read_json(path: Path, called: str) -> dict[str, Any]:
    """A JSON file that holds one object.

    Args:
        path: the file.
        called: what it is, for errors.

    Raises:
        FileError: it is missing, cannot be read, or holds something else, or a key twice.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_unique)
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist; name the {called}, a JSON file") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {os.strerror(error.errno or 0)}; see to that first") from error
    except json.JSONDecodeError as error:
        raise FileError(f"{path}, line {error.lineno}, column {error.colno}: {error.msg}; correct the JSON") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is no JSON: {error}; correct it") from error
    if not isinstance(content, dict):
        raise FileError(f"{path} holds no JSON object; a {called} is one: {{...}}")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return made


def _manifest(said: Any, path: Path) -> dict[str, str]:
    """The values of all variables of a file."""
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        raise InputError(f"{path}: manifest is no object of texts; write it as {{'$NAME': 'folder'}}")
    open_ = {key.strip("${}"): value for key, value in said.items()}
    known = {"configdir": str(path.resolve().parent), "workingdir": str(Path.cwd())}
    while open_:
        ready = {
            key: _inserted(value, known, path, "manifest")
            for key, value in open_.items()
            if not {a or b for a, b in VARIABLE.findall(value)} & open_.keys()
        }
        if not ready:
            raise InputError(
                f"{path}: the manifest defines {', '.join(sorted(open_))} by each other; give one a folder"
            )
        known |= ready
        open_ = {key: value for key, value in open_.items() if key not in ready}
    return known


def _inserted(text: str, variables: Mapping[str, str], path: Path, where: str) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in variables:
            raise InputError(
                f"{path}: {where} names the variable ${name}, which the manifest does not define; "
                f"it defines {', '.join(sorted(variables))}"
            )
        return variables[name]

    return VARIABLE.sub(value, text)


def _resolved(value: Any, variables: Mapping[str, str], path: Path, *keys: str) -> Any:
    """With variables replaced, and paths absolute."""
    if isinstance(value, dict):
        return {key: _resolved(of, variables, path, *keys, key) for key, of in value.items()}
    if isinstance(value, list):
        return [_resolved(each, variables, path, *keys) for each in value]
    if not isinstance(value, str):
        return value
    value = _inserted(value, variables, path, ".".join(keys))
    is_path = keys[-1] in PATHS or (keys[0] == "components" and len(keys) == 2)
    return os.path.normpath(path.parent.resolve() / value) if is_path else value


class _Reader:
    """Takes the sections of a merged config out of it, one after the other."""

    def __init__(self, whole: dict[str, Any], origin: dict[str, Path], path: Path, notes: list[str]) -> None:
        self.left, self.origin, self.path, self.notes = whole, origin, path, notes

    def take(self, name: str) -> dict[str, Any]:
        """A section, which may be missing."""
        said = self.left.pop(name, {})
        if not isinstance(said, dict):
            raise InputError(f"{self.origin[name]}: {name} is no object; write it as {{...}}")
        return said

    def section(self, name: str, of: type[Of]) -> Of:
        """A section as its class."""
        return self.made(name, self.take(name), of)

    def made(self, name: str, said: dict[str, Any], of: type[Of]) -> Of:
        """What was said under a name, as a class; the first error as one line."""
        where = self.origin.get(name.split(".")[0], self.path)
        for key, why in of._without_effect.items():
            if key in said:
                self.notes.append(f"{name}.{key} has no effect: {why}")
        for key, fix in of._refused.items():
            if said.get(key):
                raise InputError(f"{where}: {name}.{key} asks for what is not done here; {fix}")
        kept = {key: value for key, value in said.items() if key not in of._without_effect.keys() | of._refused.keys()}
        try:
            return of.model_validate(kept)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join([name, *map(str, first["loc"])])
            if first["type"] == "missing":
                raise InputError(f"{where}: {key} is missing; add it") from error
            if first["type"] == "extra_forbidden":
                known = ", ".join(of.model_fields) if len(first["loc"]) == 1 else "those of the format"
                raise InputError(f"{where}: {key} is an unknown key; leave it away (known: {known})") from error
            if first["type"] == "value_error":
                raise InputError(f"{where}: {key}: {first['msg'].removeprefix('Value error, ')}") from error
            said_value = json.dumps(first["input"], default=str)[:60]
            raise InputError(f"{where}: {key} = {said_value}: {first['msg']}; correct it") from error

    def components(self) -> dict[str, Path]:
        """The folders."""
        said = self.take("components")
        for key, value in said.items():
            if not isinstance(value, str):
                raise InputError(f"{self.origin['components']}: components.{key} is no text; name a folder")
            if key not in COMPONENTS:
                self.notes.append(f"components.{key} has no effect: nothing of it is read")
        return {key: Path(value) for key, value in said.items() if key in COMPONENTS}

    def node_sets(self) -> dict[str, NodeSet]:
        """Sets that the config defines; without any, those of its file, as in BMTK."""
        file = self.left.pop("node_sets_file", None)
        found = self.take("node_sets")
        if file is not None and not found:
            found = read_json(Path(file), "file of node sets")
        for name, value in found.items():
            if not isinstance(value, dict | list):
                raise InputError(f"the node set {name} = {json.dumps(value)[:60]} is neither an object nor a list")
        return found

    def kinds(self, name: str, known: Mapping[str, Any], refused: Mapping[str, str]) -> dict[str, Any]:
        """The inputs or reports that are enabled, each as the class of its module."""
        made = {}
        for key, said in self.take(name).items():
            full = f"{name}.{key}"
            if not isinstance(said, dict):
                raise InputError(f"{self.origin[name]}: {full} is no object; write it as {{...}}")
            said = dict(said)
            enabled, module = said.pop("enabled", True), said.get("module")
            if not isinstance(enabled, bool):
                raise InputError(f"{self.origin[name]}: {full}.enabled = {json.dumps(enabled)}: give true or false")
            if not enabled:
                self.notes.append(f"{full} is not enabled")
            elif isinstance(module, str) and module in refused:
                raise InputError(f"{self.origin[name]}: {full}: the module {module} is refused: {refused[module]}")
            elif not isinstance(module, str) or module not in known:
                raise InputError(
                    f"{self.origin[name]}: {full}: there is no module {module!r}; choose {', '.join(known)}, "
                    "or set enabled to false"
                )
            else:
                made[key] = self.made(full, said, known[module])
        return made

    def nothing_left(self) -> None:
        """See that every section was known."""
        for key in self.left:
            if key not in sections.WITHOUT_EFFECT:
                raise InputError(f"{self.origin[key]}: {key} is an unknown section; leave it away")
            self.notes.append(f"{key} has no effect: {sections.WITHOUT_EFFECT[key]}")
