"""Tables and files of an evaluation say what was measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dendrotwin.cell.tree import Tree
from dendrotwin.evaluation.figures import draw_comparison
from dendrotwin.evaluation.metrics import SpikeErrors
from dendrotwin.evaluation.predictors import Evaluation
from dendrotwin.evaluation.report import (
    MAIN_COLUMNS,
    Row,
    markdown,
    write_comparison,
    write_measured_error,
    write_report,
)
from dendrotwin.recording.trials import TrialIndex
from test_plot import small_tree

TEST = [TrialIndex(Path("a.h5"), 0, "one", 2000), TrialIndex(Path("b.h5"), 0, "two", 1500)]


def evaluation(tree: Tree, name: str, seed: int = 0, ahead: bool = False, ev: float = 0.5) -> Evaluation:
    rng = np.random.default_rng(seed)
    spikes = SpikeErrors(0.9, 0.5, 0.25, 1 / 3, 2.0, 11, 7)
    errors = [ev + rng.uniform(-0.1, 0.1, tree.n) for _ in range(4)]
    return Evaluation(name, ahead, *errors, spikes=spikes, threshold=0.3)


def parse(text: str) -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    """Cells by section, table, row and column; every table is well-formed Markdown."""
    found: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    section = heading = ""
    header: list[str] = []
    for line in text.splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif line.startswith("### "):
            heading, header = line[4:], []
        elif line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").replace("\\|", "!").split("|")]
            if not header:
                header = cells
            elif set(line) <= set("|-: "):
                assert len(cells) == len(header)
            else:
                assert len(cells) == len(header)
                table = found.setdefault(section, {}).setdefault(heading, {})
                assert cells[0] not in table
                table[cells[0]] = dict(zip(header, cells, strict=True))
    return found


def test_the_tables_hold_mean_and_deviation_over_the_seeds(tmp_path: Path) -> None:
    tree = small_tree()
    seeds = [evaluation(tree, f"a|b-seed{k}", k) for k in range(3)]
    costs = [{"parameters": 1234567, "training_minutes": 0.5 + k, "steps": 10 + k} for k in range(3)]
    costs[0]["x_neuron_batch_1"] = 41.25
    rows = [Row("a|b", seeds, costs, [{"steps": 1}] * 3), Row("mean", [evaluation(tree, "mean", 9)])]
    rows.append(Row("persistence", [evaluation(tree, "persistence", 8, ahead=True)]))
    write_comparison(tmp_path, tree, rows, "2 test trials", "# A benchmark\n\nA note.\n", {"date": "today"})
    tables = parse((tmp_path / "table.md").read_text())
    assert [name.split(":")[0] for name in tables] == [
        "Free-running",
        "One step ahead (sees the true V of 1 ms before)",
    ]
    free = tables["Free-running: 2 test trials"]
    soma = [e.ev[tree.soma] for e in seeds]
    assert free["Potentials"]["a!b"]["EV soma"] == f"{np.mean(soma):.3f} ± {np.std(soma, ddof=1):.3f}"
    assert free["Potentials"]["mean"]["EV soma"] == f"{rows[1].evaluations[0].ev[tree.soma]:.3f}"
    assert list(free["Cost"]) == ["a!b"]  # a baseline costs nothing, and has no empty line
    assert free["Cost"]["a!b"]["parameters"] == "1,234,567 ± 0"
    assert free["Cost"]["a!b"]["training [min]"] == "1.500 ± 1.000"
    assert free["Cost"]["a!b"]["x NEURON default, batch 1"] == "41.2"
    tuft = np.median(rows[1].evaluations[0].ev[tree.in_region("tuft")])
    assert free["Regions, median EV"]["mean"]["tuft"] == f"{tuft:.3f}"
    assert free["Output spikes"]["mean"]["recall"] == "0.250"

    found = json.loads((tmp_path / "table.json").read_text())
    assert found["date"] == "today"
    first = found["rows"][0]
    assert (first["name"], first["seeds"], first["one_step_ahead"]) == ("a|b", 3, False)
    assert first["mean"]["EV soma"] == pytest.approx(np.mean(soma))
    assert first["sd"]["EV soma"] == pytest.approx(np.std(soma, ddof=1))
    assert first["sd"]["x_neuron_batch_1"] is None
    with open(tmp_path / "compartments.csv") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["rmse_mV a|b-seed2"]) for line in lines] == pytest.approx(seeds[2].rmse_mV, rel=1e-5)
    assert [line["region"] for line in lines][:2] == ["soma", "basal"]


def test_what_cannot_be_measured_is_a_dash() -> None:
    tree = small_tree()
    silent = evaluation(tree, "x")
    silent.ev[:] = np.nan
    numbers = parse(markdown(tree, [Row("x", [silent]), Row("y", [evaluation(tree, "y")])], "m"))
    assert numbers["Free-running: m"]["Potentials"]["x"]["EV soma"] == "-"
    assert numbers["Free-running: m"]["Potentials"]["y"]["EV soma"] != "-"


def test_report_has_every_row(tmp_path: Path) -> None:
    tree = small_tree()
    rows = [evaluation(tree, "ours"), evaluation(tree, "persistence", 1, ahead=True)]
    write_report(tmp_path, tree, rows, TEST, {"twin": "it", "data": "here"})
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["test_trials"] == ["one", "two"]
    assert (found["test_s"], found["data"]) == (3.5, "here")
    assert [(row["name"], row["one_step_ahead"], row["threshold"]) for row in found["rows"]] == [
        ("ours", False, 0.3),
        ("persistence", True, 0.3),
    ]
    for e, row in zip(rows, found["rows"], strict=True):
        assert {name: row[name] for name in e.summary(tree)} == e.summary(tree)
    tables = parse((tmp_path / "report.md").read_text())
    assert list(tables["Free-running: 2 test trials, 3.5 s, 11 output spikes"]["Potentials"]) == ["ours"]


def test_the_measured_error_in_the_readme_is_that_of_the_last_time(tmp_path: Path) -> None:
    tree = small_tree()
    readme = tmp_path / "README.md"
    readme.write_text("# A twin\n\nOf a cell.\n\n## Notes\n\nMine.\n")
    write_measured_error(tmp_path, tree, [evaluation(tree, "x", ev=0.1)], TEST, Path("first"))
    once = readme.read_text()
    assert once.startswith(
        "# A twin\n\nOf a cell.\n\n## Notes\n\nMine.\n\n## Measured error\n\nOn 2 test trials, 3.5 s, 11"
    )
    assert "of `first`" in once
    readme.write_text(f"{once}\n## Later\n\nMine too.\n")
    rows = [evaluation(tree, "x", 1, ahead=True), evaluation(tree, "x, closed loop", 2)]
    write_measured_error(tmp_path, tree, rows, TEST, Path("second"))
    text = readme.read_text()
    assert "first" not in text
    assert text.count("## Measured error") == 1
    assert "Mine.\n\n## Later\n\nMine too.\n\n## Measured error" in text
    table = parse(text)["Measured error"][""]
    assert list(table) == ["one step ahead (sees the true V of 1 ms before)", "free-running"]
    assert table["free-running"]["EV soma"] == f"{rows[1].ev[tree.soma]:.3f}"
    seen = {title for key, title in MAIN_COLUMNS.items() if key.startswith(("LFP", "dipole"))}
    assert list(table["free-running"])[1:] == [title for title in MAIN_COLUMNS.values() if title not in seen]


def test_figures_of_a_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dendrotwin.plot.style.DPI", 40)
    tree = small_tree()
    curve = [{"minutes": 0.1, "training": 2.0, "validation": 2.1}, {"minutes": 0.2, "training": 0.5, "validation": 1.0}]
    point = {"step": 1, "distances": [[0.0, 1.0], [1.0, 0.0]], "determinant": -1.0, "permanent": 1.0}
    trainings = [{"curve": curve, "diversity": [point]}, {"curve": curve, "diversity": []}]
    rows = [Row(f"arch{k}", [evaluation(tree, "a", k)] * 2, [], [trainings[k]] * 2) for k in range(2)]
    draw_comparison(tmp_path, tree, [*rows, Row("linear", [evaluation(tree, "linear", ev=-0.6)])])
    names = ["cells.png", "curves.png", "distances.png", "distributions.png", "experts-arch0.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
