"""The cells that can be simulated: one file each, a registry by name, and one protocol for a user's own."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

from dendrotwin.cell.synapse import Conductance, Synapse
from dendrotwin.cell.tree_checks import check_synapse
from dendrotwin.errors import CellError, in_one_line

MECHANISMS = Path(__file__).parent / "mod"

# The synapses of the paper's protocol (Beniaguev et al. 2021, doi:10.1016/j.neuron.2021.07.002).
EXCITATORY = Synapse(
    "excitatory",
    True,
    (
        Conductance(rise_ms=0.3, decay_ms=3.0, g_max_uS=4e-4, e_mV=0.0),
        Conductance(rise_ms=2.0, decay_ms=70.0, g_max_uS=4e-4, e_mV=0.0, mg_mM=1.0),
    ),
)
INHIBITORY = Synapse("inhibitory", False, (Conductance(rise_ms=0.2, decay_ms=8.0, g_max_uS=1e-3, e_mV=-80.0),))


class Sections(NamedTuple):
    """NEURON sections of a cell, in the order in which its compartments are counted, but for the root of the tree,
    whose section comes first.

    Attributes:
        soma, basal, apical, axon: the sections.
        synapses: the cell's own synapses, if it has some: point processes with NET_RECEIVE on any of its sections,
            each alone, for events of weight 1, or as (point process, weight). They are then the cell's inputs, in this
            order, and the synapses of the `CellModel` are not placed.
        order: all sections as the cell's own files count them, where that is another order (`Tree.section_order`).
        centre: sections whose 3-D points have their mean at the origin of the tree; without, as these points are.
    """

    soma: list[Any]
    basal: list[Any]
    apical: list[Any]
    axon: list[Any]
    synapses: Sequence[Any] = ()
    order: Sequence[Any] = ()
    centre: Sequence[Any] = ()


# What the functions of a `CellModel` give.
GIVES = {
    "build": "that gives Sections",
    "mechanisms": "that gives its .mod files, such as lambda: [Path('Ih.mod')]",
    "missing": "that gives a line, or None",
}


def nothing_missing() -> str | None:
    """For cells that need nothing but NEURON."""
    return None


@dataclass(frozen=True)
class CellModel:
    """How to build a cell in NEURON. A description: making one imports no NEURON and reads no file.

    Attributes:
        name: what users call it.
        source, licence: where it comes from, with a DOI where there is one, and on what terms.
        build: makes the sections, with geometry, `nseg`, passive properties and channels, in a process where the
            mechanisms are loaded. It may `from neuron import h`.
        mechanisms: gives the .mod files of the cell's channels; the synapses' are added to them.
        v_init_mV: potential at the start of a trial [mV].
        celsius: temperature of the simulation [degC].
        compartments: how many it has, for listings; None where that is not known before building.
        missing: says in one line what this machine lacks to build it, with the fix, or gives None.
        synapses: the kinds of synapse; every basal and apical compartment gets one of each, at its centre, unless
            `build` gives synapses of its own.
        rate_scale: factor on the rates of the input protocol that suits the cell (see `inputs.Modulated`).
        reads: gives what `build` reads beside the mechanisms; without it that is found by watching `build`.
    """

    name: str
    source: str
    licence: str
    build: Callable[[], Sections]
    mechanisms: Callable[[], list[Path]]
    v_init_mV: float
    celsius: float
    compartments: int | None = None
    missing: Callable[[], str | None] = nothing_missing
    synapses: tuple[Synapse, ...] = (EXCITATORY, INHIBITORY)
    rate_scale: float = 1.0
    reads: Callable[[], list[Path]] | None = None

    def __post_init__(self) -> None:
        """Raise CellError unless each field is of its type."""
        for name in ("name", "source", "licence"):
            self._check(name, isinstance(getattr(self, name), str), "a text")
        for name, gives in GIVES.items():
            self._check(name, callable(getattr(self, name)), f"a function {gives}")
        numbers = {"v_init_mV": (-1e3, 1e3), "celsius": (-273.15, 1e3), "rate_scale": (0.0, 1e6)}
        for name, (low, high) in numbers.items():
            value = getattr(self, name)
            is_number = isinstance(value, Real) and not isinstance(value, bool)
            self._check(name, is_number and low <= value <= high, f"a number from {low:g} to {high:g}")
        count = self.compartments
        self._check("compartments", count is None or isinstance(count, Integral), "a whole number, or None")
        kinds = isinstance(self.synapses, Sequence) and all(isinstance(one, Synapse) for one in self.synapses)
        self._check("synapses", kinds, "a tuple of dendrotwin.cell.synapse.Synapse")
        object.__setattr__(self, "synapses", tuple(self.synapses))
        for one in self.synapses:
            try:
                check_synapse(one)
            except (TypeError, ValueError, AttributeError) as error:
                raise CellError(f"the cell {self.name}: of `synapses`, {in_one_line(error)}; correct it") from error

    def _check(self, name: str, fits: bool, wanted: str) -> None:
        if not fits:
            value = f"{getattr(self, name)!r:.60}"
            raise CellError(f"the cell {self.name!r:.60}: its `{name}` must be {wanted}; it is {value}")

    def files(self) -> list[Path]:
        """The .mod files of its channels, and others that these include: what `mechanisms` gives.

        Raises:
            CellError: it gives something else, or fails.
        """
        try:
            files = self.mechanisms()
        except CellError:
            raise
        except (Exception, SystemExit) as error:  # a user's own function
            raise CellError(f"`mechanisms` of {self.name} failed: {in_one_line(error)}; correct it") from error
        if isinstance(files, str) or not isinstance(files, Iterable):
            raise CellError(f"the cell {self.name}: `mechanisms` must give a list of paths; it gives {files!r:.60}")
        listed = list(files)
        for file in listed:
            if not isinstance(file, str | Path):
                raise CellError(f"the cell {self.name}: `mechanisms` must give paths; {file!r:.60} is none")
        return [Path(file) for file in listed]


NAMES = ("ball_and_stick", "allen_l4", "allen", "bbp", "l5pc", "sonata")
OF_FILES = ("sonata",)  # those that are made of files that their options name, and that anybody may have written


def load_cell(name: str, options: dict[str, str] | None = None) -> CellModel:
    """The description of a cell.

    Args:
        name: one of NAMES, or the path of a Python file with a function `cell(**options) -> CellModel`.
        options: passed to that function; for `l5pc`, `parameters` and `morphology`, for `allen` and `bbp`, `model`, for
            `sonata`, those of `cells.sonata.NodeType`.

    Raises:
        CellError: there is no such cell, or it does not know an option.
    """
    if name in NAMES:
        module = importlib.import_module(f"dendrotwin.cells.{name}")
    elif name.endswith(".py"):
        module = _import_file(Path(name))
    else:
        raise CellError(
            f"there is no cell {name!r}; choose {', '.join(NAMES)}, or name a Python file with a function `cell()`"
        )
    if not callable(getattr(module, "cell", None)):
        raise CellError(f"{name} has no function `cell()`; define one that returns a dendrotwin.cells.CellModel")
    signature = inspect.signature(module.cell)
    try:
        signature.bind(**(options or {}))
    except TypeError as error:
        known = ", ".join(signature.parameters) or "none"
        raise CellError(f"the cell {name} does not take the options {options}: {error}; it knows {known}") from error
    try:
        model = module.cell(**(options or {}))
    except CellError:
        raise
    except (Exception, SystemExit) as error:  # a user's own function
        raise CellError(f"`cell()` of {name} failed: {in_one_line(error)}; correct it") from error
    if not isinstance(model, CellModel):
        raise CellError(
            f"`cell()` of {name} must return a dendrotwin.cells.CellModel, it returned {type(model).__name__}"
        )
    return model


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise CellError(f"{path} does not exist; name a Python file with a function `cell()`")
    name = f"dendrotwin_user_cell_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise CellError(f"{path} cannot be imported as a Python file; check its name")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _beside(path.resolve().parent):
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            raise CellError(f"{path} cannot be imported: {in_one_line(error)}; correct it") from error
    return module


_folder: list[str] = []  # of the user's cell, put last among those in which Python looks for modules
_modules: set[str] = set()  # that were imported from there


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Let a cell's file import modules that lie beside it, as they are now, while it is imported and from then on.

    Those of a cell before it are forgotten: another cell has other helpers of the same name, and files are edited.
    """
    for name in _modules:
        sys.modules.pop(name, None)
    for one in _folder:
        sys.path.remove(one)
    _folder[:] = [] if str(folder) in sys.path else [str(folder)]
    sys.path.extend(_folder)
    importlib.invalidate_caches()
    before, kept = set(sys.modules), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # a file that is edited twice in a second would be taken from there
    try:
        yield
    finally:
        sys.dont_write_bytecode = kept
        new = {name: getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before}
        _modules.clear()
        _modules.update(name for name, file in new.items() if file and Path(file).resolve().is_relative_to(folder))
