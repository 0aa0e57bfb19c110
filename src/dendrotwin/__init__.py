"""dendrotwin: twins of biophysically detailed neuron models."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dendrotwin.cell.tree import Events, Injection, Tree
    from dendrotwin.recording import Recording
    from dendrotwin.twin import Twin

__version__ = "0.1.0"
__all__ = ["Events", "Injection", "Recording", "Tree", "Twin", "load", "twin_of"]

TWINS = Path(__file__).parent / "twins"


def __getattr__(name: str) -> Any:
    """Classes at their first use: `import dendrotwin` alone is to be quick."""
    rooms = {
        "Events": "cell.tree",
        "Injection": "cell.tree",
        "Tree": "cell.tree",
        "Recording": "recording",
        "Twin": "twin",
    }
    if name not in rooms:
        raise AttributeError(f"module 'dendrotwin' has no attribute {name!r}")
    return getattr(import_module(f"dendrotwin.{rooms[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def load(name: str | Path) -> Twin:
    """A twin that comes with the package, by its name, or one's own, by its folder.

    Args:
        name: such as "l5pc", or a path; where both are there, the folder.

    Raises:
        TwinError: there is none of this name, or the folder is no twin.
    """
    from dendrotwin.errors import TwinError
    from dendrotwin.twin import Twin

    ours = {path.name: path for path in TWINS.glob("*") if path.is_dir()}
    if str(name) in ours and not (Path(name) / "config.json").is_file():
        return Twin.load(ours[str(name)])
    if not Path(name).exists():
        known = ", ".join(sorted(ours)) or "none"
        raise TwinError(
            f"{name} is no twin: there is no such folder, and of those that come with dendrotwin ({known}) none has "
            "this name; `dendrotwin twin` makes one"
        )
    return Twin.load(Path(name))


def twin_of(
    cell: str | Path,
    options: dict[str, str] | None = None,
    accuracy: str = "standard",
    tolerance_mV: float | None = None,
) -> Twin:
    """A twin of a NEURON cell, read from the model in seconds: no training data, nothing learned.

    Args:
        cell: name of a cell (`dendrotwin cells`), or path of a Python file that defines one.
        options: of the cell, such as {"parameters": "hay2011"}.
        accuracy: fast, standard or exact.
        tolerance_mV: in place of the setting's own; see `models.cable.CableConfig`.

    Returns:
        The twin; `twin.save(folder, card(twin))` with `dendrotwin.read_twin.card` writes its folder.

    Raises:
        CellError: the cell cannot be built, or holds what a twin cannot; or the reading fails its proof.
        InputError: there is no such accuracy.

    Example, 500 ms of a cell with one event a ms, at inputs in turn:

        twin = dendrotwin.twin_of("ball_and_stick")
        events = Events.sort(np.arange(500) % twin.tree.n_inputs, np.arange(500.0))
        v_mV, score = predict(twin, [events], steps=500)  # (1, 500, 37) mV, (1, 500)
        spikes_ms = predicted_spikes(score[0], twin.threshold)

    with `Events` of `dendrotwin`, `predict` of `dendrotwin.prediction`, `predicted_spikes` of `dendrotwin.cell.spikes`.
    """
    from pydantic import ValidationError

    from dendrotwin.errors import InputError
    from dendrotwin.models.cable import CableConfig
    from dendrotwin.read_twin import make_twin

    try:
        config = CableConfig(accuracy=accuracy, tolerance_mV=tolerance_mV)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{first['loc'][0]} = {first['input']!r}: {first['msg']}; correct it") from error
    return make_twin(str(cell), options, config)
