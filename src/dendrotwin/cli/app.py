"""The command line: one thin sub-command for each step. Everything heavy is imported when it is needed."""

from __future__ import annotations

import io
import re
import sys
import warnings
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from dendrotwin import __version__
from dendrotwin.cli import make, measure, network, start, use  # noqa: F401  (each adds its commands)
from dendrotwin.cli.base import app
from dendrotwin.errors import DendrotwinError, InputWarning
from dendrotwin.support.atomic_files import NO_ROOM, no_room


def main() -> None:
    """Run the command line; what a user can cause ends in one line and exit status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a path may hold what the terminal's encoding does not
            stream.reconfigure(errors="backslashreplace")
    warnings.simplefilter("always", InputWarning)
    usual = warnings.showwarning
    warnings.showwarning = lambda message, category, *rest: (
        _say(str(message)) if issubclass(category, InputWarning) else usual(message, category, *rest)
    )
    status: Any = 2
    try:
        status = app(standalone_mode=False)
    except DendrotwinError as error:
        _say(str(error))
    except OSError as error:
        full = error.errno in NO_ROOM
        _say(str(no_room(error.filename or "a file", error)) if full else f"{error}; see to that and try again")
    except TyperException as error:
        _say(f"{_plain(error.format_message()).rstrip('.')}; --help says more")
        status = error.exit_code
    except MemoryError as error:
        _say(_out_of_memory(error))
    except RuntimeError as error:
        if not any(words in str(error) for words in NO_MEMORY):
            raise
        _say(_out_of_memory(error))
    except SystemExit as error:  # none of ours: Typer returns the status
        _say(f"the code of a cell or a network ended the program, sys.exit({error.code!r}); take that out of its file")
    if status == 130:  # Ctrl-C
        _say("stopped; `simulate`, `train` and `benchmark` go on from here when called again")
    raise SystemExit(status or 0)


NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")  # what PyTorch says


# What Typer says of a value, by a pattern, and how a person would say it.
PLAIN = {
    r"Input should be a valid integer, .*": "give a whole number",
    r"Input should be a valid number, .*": "give a number",
    r"Input should be greater than or equal to": "give at least",
    r"Input should be less than or equal to": "give at most",
    r"Input should be (?:a valid )?": "give ",
}


def _plain(message: str) -> str:
    """What Typer says of a command line, in plain words."""
    for pattern, words in PLAIN.items():
        message = re.sub(pattern, words, message)
    return message


def _out_of_memory(error: Exception) -> str:
    return f"out of memory ({error}); ask for less, such as shorter trials or fewer channels, or use a larger machine"


def _say(message: str) -> None:
    """One line on standard error."""
    print(f"dendrotwin: {' '.join(message.split())}", file=sys.stderr)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False
) -> None:
    if version:
        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())
