"""A twin of a NEURON cell, read from the model, and the model card of its folder: what was read, and how exactly."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np

from dendrotwin.cell.membrane import names_of
from dendrotwin.cells import load_cell
from dendrotwin.models import configure
from dendrotwin.models.cable import ARCHITECTURE, Cable
from dendrotwin.neuron.cell_files import cell_digest
from dendrotwin.neuron.reading import Reading, read_cell
from dendrotwin.neuron.reading.config import READING
from dendrotwin.neuron.simulate import Simulation
from dendrotwin.recording import provenance
from dendrotwin.solver.accuracy import CableConfig
from dendrotwin.twin import Twin
from dendrotwin.twin_config import read_config

DURATION_MS = 6000  # of the trials that the twin's speed is measured on


def twin_of(
    cell: str | Path,
    options: dict[str, str] | None = None,
    accuracy: str = "standard",
    tolerance_mV: float | None = None,
) -> Twin:
    """A twin of a NEURON cell, read from the model in seconds: no training data, nothing learned.

    The cell is built in NEURON and read, and what was read is compared with NEURON.

    Args:
        cell: name of a cell (`dendrotwin cells`), or path of a Python file that defines one.
        options: of the cell, such as {"parameters": "hay2011"}.
        accuracy: fast, standard or exact.
        tolerance_mV: in place of the tolerance of that accuracy [mV]; see `solver.accuracy.CableConfig`.

    Returns:
        The twin; `twin.save(folder)` writes its folder.

    Raises:
        CellError: the cell cannot be built, or holds what a twin cannot; or the reading fails its proof.
        InputError: there is no such accuracy.

    Example, 500 ms of a cell with one event a ms, at inputs in turn:

        twin = dendrotwin.twin_of("ball_and_stick")
        events = Events.sort(np.arange(500) % twin.tree.n_inputs, np.arange(500.0))
        recording = twin.predict(events, duration_ms=500)
        recording.v_mV  # (500, 37) mV
        recording.spikes_ms
    """
    config = _configured(accuracy, tolerance_mV)
    cell, options = _absolute(cell), options or {}
    tree, reading = read_cell(cell, options)
    training = {
        "simulation": _simulation(cell, options).model_dump(mode="json"),
        "train_trials": [],
        "validation_trials": [],
        "test_trials": [],
        "reading": _proofs(reading),
        "minutes": reading.seconds / 60.0,
        "date": datetime.now(UTC).date().isoformat(),
        **provenance(),
    }
    model = Cable(tree, reading.membrane, config)
    twin = Twin(ARCHITECTURE.name, config.model_dump(mode="json"), tree, model, 0.5, training)
    return replace(twin, readme=model_card(twin))


def _configured(accuracy: str, tolerance_mV: float | None) -> CableConfig:
    return cast(CableConfig, configure(ARCHITECTURE, {"accuracy": accuracy, "tolerance_mV": tolerance_mV}))


def _absolute(cell: str | Path) -> str:
    return str(Path(cell).resolve()) if str(cell).endswith(".py") else str(cell)


def _simulation(cell: str, options: dict[str, str]) -> Simulation:
    """What a twin of this cell stands for, with the hash of the cell's files."""
    description = load_cell(cell, options)
    simulation = Simulation(cell=cell, cell_options=options, duration_ms=DURATION_MS).of_cell(description)
    return simulation.model_copy(update={"cell_digest": cell_digest(simulation, description)})


def made_of_cell(
    cell: str | Path, options: dict[str, str], accuracy: str = "standard", tolerance_mV: float | None = None
) -> dict[str, Any]:
    """All that decides what `twin_of` makes, by name; see `support.made_by.is_done`.

    Args:
        cell, options, accuracy: see `twin_of`.
        tolerance_mV: see `twin_of` [mV].

    Raises:
        CellError, InputError: see `twin_of`.
    """
    simulation = _simulation(_absolute(cell), options).model_dump(mode="json")
    return _work(simulation, _configured(accuracy, tolerance_mV).model_dump(mode="json"), provenance())


def made_of(folder: Path) -> dict[str, Any]:
    """The same of a twin that is there.

    Args:
        folder: of the twin.

    Raises:
        TwinError: it is damaged.
    """
    config = read_config(folder)
    training = config.training.model_dump()
    return _work(training["simulation"], config.options, training)


def _work(simulation: dict[str, Any], options: dict[str, Any], made_with: dict[str, Any]) -> dict[str, Any]:
    versions = json.loads(made_with.get("versions", "{}"))
    return {
        "cell": simulation.get("cell"),
        "option of the cell": simulation.get("cell_options"),
        "content of the cell's files": simulation.get("cell_digest"),
        **{name: options.get(name) for name in CableConfig.model_fields},
        **{f"version of {name}": versions.get(name) for name in ("dendrotwin", "neuron")},
    }


def _proofs(reading: Reading) -> dict[str, object]:
    """What the twin's folder keeps of the reading."""
    assert reading.cell_proof is not None
    return {
        "seconds": reading.seconds,
        "errors": reading.errors,
        "whole_cell_mV": reading.cell_proof.twin_mV,
        "neuron_default_mV": reading.cell_proof.default_mV,
        "moved_mV": reading.cell_proof.moved_mV,
        "configuration": asdict(READING),
    }


def model_card(twin: Twin) -> str:
    """The README.md of a read twin's folder: how it was made, and how exact its parts are.

    Args:
        twin: of `twin_of`.

    Returns:
        The text, in Markdown.
    """
    reading, simulation = twin.training["reading"], twin.training["simulation"]
    options = "".join(f" --option {key}={value}" for key, value in simulation["cell_options"].items())
    accuracy = f" --accuracy {twin.options['accuracy']}"
    model = twin.model
    assert isinstance(model, Cable)
    rows = [
        f"| {name} | {_sizes(model, name)} | {reading['errors'].get(name, float('nan')):.1e} |"
        for name in names_of(model.membrane)
    ]
    table = "\n".join(["| mechanism | compartments | largest error of its current |", "| --- | ---: | ---: |", *rows])
    return f"""# A twin of {simulation["cell"]}

Read from the NEURON model, nothing learned:

```
dendrotwin twin {simulation["cell"]}{options}{accuracy} --out TWIN
```

Compartments: {twin.tree.n}. Inputs: {twin.tree.n_inputs}. Temperature: {model.membrane.celsius:g} degC.
Reading took {reading["seconds"]:.1f} s. Steps: {json.dumps(twin.options)}.

Each mechanism was driven in NEURON by a rough trace of potential and concentrations (of a pool: of current), and its
current compared with the tables', as a share of the largest current:

{table}

The whole cell, 100 ms of input, in steps of 1/64 ms: {reading["whole_cell_mV"]:.3g} mV (root mean square over all
compartments) from NEURON's Crank-Nicolson of 0.025 ms. NEURON's own default, backward Euler of 0.025 ms, is
{reading["neuron_default_mV"]:.3g} mV from it; the cell moved by {reading["moved_mV"]:.3g} mV.

Made on {twin.training["date"]} with {twin.training["versions"]}.
"""


def _sizes(model: Cable, name: str) -> int:
    membrane = model.membrane
    places = [m.at for m in membrane.mechanisms if m.name == name] + [p.at for p in membrane.pools if p.name == name]
    return len(np.unique(np.concatenate(places)))
