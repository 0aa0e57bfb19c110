"""The command line: one thin sub-command for each step. Everything heavy is imported when it is needed."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer
from typer.exceptions import TyperException

from dendrotwin import __version__
from dendrotwin.cli import make, measure, start, use  # noqa: F401  (each adds its commands)
from dendrotwin.cli.base import app
from dendrotwin.errors import DendrotwinError, InputWarning


def main() -> None:
    """Run the command line; what a user can cause ends in one line and exit status 2."""
    warnings.simplefilter("always", InputWarning)
    usual = warnings.showwarning
    warnings.showwarning = lambda message, category, *rest: (
        print(f"dendrotwin: {message}", file=sys.stderr)
        if issubclass(category, InputWarning)
        else usual(message, category, *rest)
    )
    try:
        status = app(standalone_mode=False)
    except DendrotwinError as error:
        print(f"dendrotwin: {error}", file=sys.stderr)
        status = 2
    except OSError as error:
        print(f"dendrotwin: {error}; see to that and try again", file=sys.stderr)
        status = 2
    except TyperException as error:
        print(f"dendrotwin: {error.format_message().rstrip('.')}; --help says more", file=sys.stderr)
        status = error.exit_code
    if status == 130:  # Ctrl-C
        print(
            "dendrotwin: stopped; `simulate`, `train` and `benchmark` go on from here when called again",
            file=sys.stderr,
        )
    raise SystemExit(status or 0)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False
) -> None:
    if version:
        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())
