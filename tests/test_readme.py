"""What README and docs show works."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_command

from conftest import in_new_process
from dendrotwin.cell.stimuli import Modulated, draw_events, trial_rng
from dendrotwin.cells import load_cell
from dendrotwin.circuit import summary
from dendrotwin.cli.app import app
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.trial import run_trial
from test_cells import _facts

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {str(path.relative_to(ROOT / "docs")): path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))}
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def _run(text: str) -> dict[str, Any]:
    """The names that the one Python example of a page makes."""
    (block,) = EXAMPLE.findall(text)
    names: dict[str, Any] = {}
    exec(block, names)
    return names


@pytest.mark.parametrize("text", [README, PAGES["first-twin.md"]], ids=["README", "first-twin"])
def test_the_first_twin(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bmtk")
    monkeypatch.chdir(tmp_path)  # a figure is saved
    recording = _run(text)["recording"]
    assert recording.v_mV.shape == (1000, 264)
    assert np.ptp(recording.v_mV) > 10.0
    assert len(recording.spikes_ms) > 0


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) < 120


def test_the_paper_cell_of_the_docs() -> None:
    names = _run(PAGES["tutorials/paper-cell.md"])
    assert names["soma"].shape == names["tuft"].shape == (500,)
    assert np.ptp(names["soma"]) > 1.0


def test_own_cell_of_the_docs(tmp_path: Path) -> None:
    (block,) = EXAMPLE.findall(PAGES["tutorials/own-cell.md"])
    path = tmp_path / "my_cell.py"
    path.write_text(block)
    facts = in_new_process(_facts, str(path))
    assert facts["n"] == 1 + 7 + 21
    assert facts["inputs"] == 2 * (7 + 21)
    assert in_new_process(_output_spikes, str(path)) > 0


def test_hoc_template_of_the_docs(tmp_path: Path) -> None:
    """Word for word, in place of the sections in Python."""
    page = PAGES["tutorials/own-cell.md"]
    (block,) = EXAMPLE.findall(page)
    (template,) = re.findall(r"^```hoc\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (lines,) = re.findall(r"^```\n(h.load_file.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "my_template.hoc").write_text(template)
    start, end = block.index("    soma, dend, apic ="), block.index("def cell()")
    path = tmp_path / "my_cell.py"
    path.write_text(block[:start] + textwrap.indent(lines, "    ") + "\n\n" + block[end:])
    facts = in_new_process(_facts, str(path))
    assert facts["n"] == 1 + 5 + 5


def _output_spikes(path: str) -> int:
    cell = NeuronCell(load_cell(path))
    protocol = Modulated(rate_scale=cell.model.rate_scale)
    return len(run_trial(cell, draw_events(cell.tree, protocol, 2000, trial_rng(0, 0)), 2000)[1])


def test_current_injected_as_in_the_docs() -> None:
    """The pulse makes an output spike."""
    names = _run(PAGES["how-to/inject-current.md"])
    v_mV, spikes_ms = names["recording"].v_mV, names["recording"].spikes_ms
    soma = v_mV[:, names["twin"].tree.soma]
    assert soma[600:607].max() > 0 > soma[590:600].max()
    assert ((spikes_ms > 600) & (spikes_ms < 610)).any()


def test_signals_as_in_the_docs() -> None:
    names = _run(PAGES["tutorials/signals.md"])
    steps = len(names["lfp"].time_ms)
    assert names["lfp"].values.shape == (steps, 16)
    assert names["moment"].shape == (steps, 3)
    assert np.ptp(names["lfp"].values, axis=0).max() > 0.005  # mV: an output spike beside the soma
    assert names["eeg"].unit == "uV"
    assert not np.allclose(names["both"].values, names["lfp"].values)
    assert names["power"].shape == (len(names["hz"]), 16)


def test_network_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGES["how-to/networks.md"]
    (block,) = EXAMPLE.findall(page)
    assert len([line for line in block.splitlines() if line]) <= 20
    result = _run(page)["result"]
    rates = [summary(*result.spikes(name), count, 300.0).rate_hz for name, count in (("e", 80), ("i", 20))]
    assert all(2.0 < rate < 20.0 for rate in rates)
    assert np.ptp(result.recorded("lfp")["values"].sum(axis=0), axis=0).max() > 1e-3  # mV
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lfp.png", "potentials.png", "raster.png"]


def _commands() -> list[str]:
    """All commands that README and pages show, each once."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", "\n".join([README, *PAGES.values()]), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return sorted({line.split("#")[0].strip() for line in lines if line.startswith("dendrotwin ")})


def test_cluster_script_of_the_docs(tmp_path: Path) -> None:
    """As it stands, but for a small data set, a free port, and an `srun` that starts one worker here."""
    pytest.importorskip("distributed")
    (script,) = re.findall(r"^```bash\n(.*?)^```", PAGES["tutorials/cluster.md"], re.DOTALL | re.MULTILINE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for here, there in (("l5pc", "ball_and_stick"), ("paper", "tiny"), ("8786", port), (". .venv/bin/activate\n", "")):
        assert here in script
        script = script.replace(here, there)
    (tmp_path / "srun").write_text('#!/bin/bash\nexec "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        ["bash", "-ec", script], cwd=tmp_path, env={**os.environ, "PATH": path}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert process.wait(timeout=400) == 0
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # SLURM ends what a script leaves running
        output, _ = process.communicate()
    assert "12 trials of 1.5 s in tiny" in output


@pytest.mark.parametrize("command", _commands())
def test_commands_of_the_docs_are_understood(command: str) -> None:
    """Every sub-command and option exists (they are run for real by the demo and in test_cli.py)."""
    _, name, *arguments = shlex.split(command)
    sub_command = get_command(app).commands[name]
    context = sub_command.make_context(name, arguments)
    assert not context.args


def test_links_of_the_readme_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if not link.startswith("http")]
    assert not [link for link in links if not (ROOT / link).exists()]
    # No figure is still to be filled in.
    assert not re.findall(r"\b[A-Z]{3,}_[A-Z]{3,}\b", re.sub(r"\$[A-Z_0-9]+", "", README))


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Links, anchors, the pages that are generated, and docstrings."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert "dendrotwin simulate" in (tmp_path / "site/reference/command-line/index.html").read_text()
