"""What all commands share: the application, and options that are generated from configuration classes."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.core import TyperGroup

from dendrotwin.cell.trial_numbers import LONGEST_MS
from dendrotwin.errors import FileError, InputError

# To start, to make twins and data, to use them, to measure.
ORDER = (
    *("demo", "doctor", "cells", "download"),
    *("twin", "simulate", "import", "train"),
    *("predict", "signals", "plot", "figure"),
    *("network", "evaluate", "benchmark"),
)
LONG_S = 100.0  # a trial that is longer may be meant in ms: its length is said once more
UNITS = ("_ms", "_mV")  # the ends of fields' names that an option's name leaves out


class _Commands(TyperGroup):
    """Sub-commands in the order in which one meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command; refused where an option that takes one value is given twice, of which the last would win."""
        name, command, rest = super().resolve_command(ctx, args)
        said = [word.split("=")[0] for word in (rest[: rest.index("--")] if "--" in rest else rest)]
        for option in command.params if command is not None else []:
            single = not option.multiple and not getattr(option, "is_flag", True)  # an argument is no option
            if single and sum(word in option.opts for word in said) > 1:
                raise InputError(f"{option.opts[0]} is given twice, and takes one value; leave one away")
        return name, command, rest


app = typer.Typer(
    cls=_Commands,
    help="Twins of biophysically detailed neuron models: synaptic input in, every compartment's potential out.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)

Command = Callable[..., None]
Cell = Annotated[str, typer.Argument(help="Name of a cell (`dendrotwin cells`), or a Python file that defines one.")]
CellOptions = Annotated[
    list[str], typer.Option("--option", help="Option of the cell as NAME=VALUE, such as parameters=hay2011.")
]
OwnArchitecture = Annotated[
    Path | None,
    typer.Option("--architecture", help="Python file of the twin's architecture, if it is none of dendrotwin's."),
]
OwnCell = Annotated[
    Path | None,
    typer.Option("--cell", help="Python file of the cell, if NEURON is to build it and it is none of dendrotwin's."),
]
InputsOfSpikes = Annotated[
    Path | None,
    typer.Option("--inputs", help="Which input each source of spikes drives: CSV of node_id,input [their numbers]."),
]
TimeUnit = Annotated[
    str | None, typer.Option("--time-unit", help="Of events and spikes whose file does not say it: ms or s [ms].")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


def milliseconds(duration: float) -> int:
    """A duration that was given in seconds, in [ms].

    Raises:
        InputError: it is none.
    """
    if not 0.001 <= duration <= LONGEST_MS / 1000:  # NaN too
        raise InputError(
            f"a trial cannot last {duration:g} s; give --duration in seconds, 0.001 to {LONGEST_MS // 1000}"
        )
    if duration >= LONG_S:
        print(f"--duration is in seconds: a trial lasts {duration:g} s ({duration / 60:g} min)", file=sys.stderr)
    return round(duration * 1000)


def refuse_other_than_hdf5(path: Path) -> None:
    """Raise InputError unless the name of a file to be written ends as those of HDF5 files do."""
    if path.suffix not in (".h5", ".hdf5"):
        raise InputError(f"{path} would hold HDF5; name a file that ends in .h5")


def twin_files(twin: Path) -> list[Path]:
    """The files that decide what a twin predicts: of its folder, or of one that comes along.

    Args:
        twin: its folder or its name.
    """
    from dendrotwin.twin import FILES, TWINS

    folder = twin if (twin / FILES[0]).is_file() else TWINS / twin
    return [folder / name for name in FILES if name != "README.md"]  # `evaluate` adds to that


def say_done(path: Path) -> None:
    """Say that the same command of the same files has made this already.

    Args:
        path: what it made.
    """
    print(f"{path} is done already, by the same command of the same files")


def made_by(path: Path) -> str:
    """The digest of the command that made an HDF5 file; "" where it does not say.

    Args:
        path: the file, which need not exist.
    """
    from dendrotwin.support.hdf5 import damage_as_file_error, open_hdf5, text_of

    if not path.is_file():
        return ""
    try:
        with damage_as_file_error(path), open_hdf5(path) as file:
            return str(text_of(file.attrs.get("made_by", "")))
    except FileError:
        return ""


def pairs(options: list[str]) -> dict[str, str]:
    """`options` of the form NAME=VALUE as a dictionary.

    Raises:
        InputError: one says no value, or no name.
    """
    for option in options:
        if not option.partition("=")[0] or "=" not in option:
            raise InputError(f"{option!r} says no value; write NAME=VALUE, such as channels=64,64")
    return dict(option.split("=", 1) for option in options)


def flag_of(field: str) -> str:
    """The option of a field: its name without its unit."""
    for unit in UNITS:
        field = field.removesuffix(unit)
    return f"--{field.replace('_', '-')}"


def with_options(
    config: type[BaseModel], fields: tuple[str, ...], flags: Mapping[str, str] | None = None
) -> Callable[[Command], Command]:
    """Let a command have an option for each of these fields of a configuration class.

    Type, default and help are the field's own, so that nothing is written a second time. The command gets them as
    keyword arguments, by the fields' names.

    Args:
        config: the class.
        fields: of it.
        flags: options whose name is not that of the field.
    """
    flags = flags or {}

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        options = [_parameter(name, config.model_fields[name], flags.get(name, flag_of(name))) for name in fields]
        names = {option.name: name for option, name in zip(options, fields, strict=True)}

        @functools.wraps(command)
        def wrapped(*args: Any, **values: Any) -> None:
            given = {names.get(key, key): value for key, value in values.items()}
            defaults = {name: option.default for option, name in zip(options, fields, strict=True)}
            command(*args, **{**defaults, **given})

        kept = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        first = [p for p in kept if p.default is inspect.Parameter.empty]
        rest = [p for p in kept if p.default is not inspect.Parameter.empty]
        signature = own.replace(parameters=[*first, *options, *rest])
        wrapped.__signature__ = signature  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        return wrapped

    return decorate


def _parameter(name: str, field: FieldInfo, flag: str) -> inspect.Parameter:
    """A field as a parameter that Typer reads."""
    plain: Any = field.annotation
    if get_origin(plain) is UnionType or type(None) in get_args(plain):
        plain = next(kind for kind in get_args(plain) if kind is not type(None)) | None
    elif get_origin(plain) is Literal:  # a wrong one is refused in the configuration's own words
        plain = str
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=field.default,
        annotation=Annotated[plain, typer.Option(flag, help=field.description)],
    )
