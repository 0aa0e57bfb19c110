"""Pages of the site that follow from the program itself, made at each build: a hook of MkDocs.

The command line is asked for its help; the package's rooms, their order and their files are read from the sources.
Nothing heavy is imported: `dendrotwin.cli` starts without torch and NEURON (tests/test_house.py).
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "dendrotwin"
HELP_WIDTH = 100


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Append the rooms to the section Reference."""
    (reference,) = [entry["Reference"] for entry in config.nav if "Reference" in entry]
    reference += [{room: f"reference/{room}.md"} for layer in _layers() for room in layer]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    pages = {f"reference/{room}.md": _room_page(room) for layer in _layers() for room in layer}
    pages["reference/dendrotwin.md"] = "# The package\n\n::: dendrotwin\n"
    pages["reference/command-line.md"] = _command_line()
    pages["developers/source-tree.md"] = (ROOT / "docs/developers/source-tree.md.in").read_text() + _source_tree()
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def _layers() -> list[list[str]]:
    """The rooms of the package, from the ground up, as the test of the house has them."""
    tree = ast.parse((ROOT / "tests" / "test_house.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "LAYERS":
            return [sorted(layer) for layer in ast.literal_eval(node.value)]
    raise ValueError("tests/test_house.py has no LAYERS")


def _modules(room: str) -> list[Path]:
    """The files of a room that say something, its own `__init__.py` first."""
    files = sorted((SOURCE / room).rglob("*.py")) if (SOURCE / room).is_dir() else [SOURCE / f"{room}.py"]
    files = [file for file in files if file.name != "__main__.py"]
    return sorted(files, key=lambda file: (file.parent, file.name != "__init__.py", file.name))


def _name(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _docstring(file: Path) -> str:
    """The first paragraph of a file's docstring, on one line."""
    text = ast.get_docstring(ast.parse(file.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


def _room_page(room: str) -> str:
    blocks = []
    for file in _modules(room):
        # What a room's face takes from its files is described there.
        own = "" if file.name != "__init__.py" else "\n    options:\n      members: " + str(_own(file))
        blocks.append(f"::: {_name(file)}{own}\n")
    return f"# {room}\n\n" + "\n".join(blocks)


def _own(file: Path) -> list[str]:
    """Public names that a file defines itself."""
    names: list[str] = []
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
    return [name for name in names if not name.startswith("_")]


def _command_line() -> str:
    sys.path.insert(0, str(SOURCE.parent))
    from typer.main import get_command

    from dendrotwin.cli.app import app

    group: Any = get_command(app)
    context = group.make_context("dendrotwin", [], resilient_parsing=True, terminal_width=HELP_WIDTH)
    blocks = [f"```text\n{group.get_help(context)}\n```\n"]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        own = command.make_context(
            f"dendrotwin {name}", [], resilient_parsing=True, terminal_width=HELP_WIDTH, max_content_width=HELP_WIDTH
        )
        blocks.append(f"## {name}\n\n```text\n{command.get_help(own)}\n```\n")
    return "# Command line\n\nEach command, as its `--help` has it.\n\n" + "\n".join(blocks)


def _source_tree() -> str:
    lines = []
    for height, layer in reversed(list(enumerate(_layers()))):
        for room in layer:
            lines.append(f"\n## {room}\n\nLayer {height}. [Reference](../reference/{room}.md)\n")
            lines.append("| file | what it does |\n| --- | --- |")
            for file in _modules(room):
                lines.append(f"| `{file.relative_to(SOURCE)}` | {_docstring(file).replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"
