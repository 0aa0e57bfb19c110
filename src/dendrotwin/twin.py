"""A twin: a network, trained or read, its scaling, cell and configuration, in one folder that is safe to open."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dendrotwin.cell.membrane import Membrane
from dendrotwin.cell.tree import Events, Tree
from dendrotwin.errors import DendrotwinError, TwinError
from dendrotwin.models import Network, build_network
from dendrotwin.models.cable import CABLE, Cable, CableConfig
from dendrotwin.models.scaling import Scaling
from dendrotwin.recording import read_tree, write_tree
from dendrotwin.support.atomic_files import whole_file, whole_folder

FORMAT_VERSION = 3
CHUNK_MS = 1000
POSSIBLE_MV = (-150.0, 80.0)  # what a membrane can be at; in a closed loop a step map with gain above 1 would explode
FILES = ("config.json", "model.safetensors", "tree.h5", "README.md")


@torch.inference_mode()
def run(
    network: Network,
    tree: Tree,
    events: Sequence[Events],
    steps: int,
    z_rest: torch.Tensor | None = None,
    z_true: torch.Tensor | None = None,
    z_range: tuple[torch.Tensor, torch.Tensor] | None = None,
    chunk_ms: int = CHUNK_MS,
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Evaluate a network over whole trials from rest, as one batch, chunk by chunk.

    Memory does not grow with the duration, and the result does not depend on where time is cut: a network without state
    gets the input before each chunk, one with state goes on from it. A network that sees past potentials gets the
    true ones (one step ahead) or, without them, its own predictions, millisecond by millisecond.

    Args:
        network: in evaluation mode.
        tree: the cell.
        events: of each trial.
        steps: duration of all trials [ms].
        z_rest: (n,) z-scored potentials before the trial, for a network that sees past potentials.
        z_true: (trials, steps, n) true z-scored potentials, for one step ahead.
        z_range: lowest and highest (n,) z-scored potential that a network gets to see of its own predictions.
        chunk_ms: duration of a chunk [ms].

    Yields:
        The steps of a piece, its z-scored potentials (trials, time, n), and its spike logits (trials, time).
    """
    context, state = network.context, None
    device = next(network.parameters()).device
    feeds_back = z_rest is not None and z_true is None
    # What is known of the potentials at the end of each of the last steps, up to the one before the piece.
    known = None if z_rest is None else z_rest.to(device).expand(len(events), context + 1, tree.n)
    for begin in range(0, steps, chunk_ms):
        end = min(begin + chunk_ms, steps)
        counts = np.stack([trial.counts(tree.n_inputs, begin - context, end) for trial in events])
        chunk = torch.from_numpy(counts).to(device)
        piece = 1 if feeds_back else end - begin
        for start in range(begin, end, piece):
            time = slice(start, start + piece)
            length = piece if state is not None else context + piece
            last = context + time.stop - begin
            past = None
            if known is not None:
                newer = known[:, :0] if z_true is None else z_true[:, start : time.stop - 1].to(device)
                past = torch.cat([known, newer], 1)[:, -length:].transpose(1, 2)
            z, logit, state = network(chunk[..., last - length : last], past, state)
            if known is not None:
                if z_true is None and z_range is not None:
                    z = z.clamp(*(limit.to(device) for limit in z_range))
                now = z if z_true is None else z_true[:, time].to(device)
                known = torch.cat([known, now], 1)[:, -context - 1 :]
            yield time, z, logit


@dataclass(frozen=True, eq=False)
class Twin:
    """What a user holds: input events in, millivolts and output spikes out (see `predict`).

    Attributes:
        architecture: name in `models.ARCHITECTURES`, or `models.cable.CABLE`.
        options: full configuration of the network.
        tree: the cell.
        scaling: of the training split.
        network: maps event counts to z-scored potentials and spike logits; a `Cable` events to potentials.
        threshold: probability at which a step holds an output spike, chosen on the validation split.
        one_step_ahead: whether the network also sees past potentials, true ones or its own, up to 1 ms before.
        training: what it was trained on, how, and how it went.
    """

    architecture: str
    options: dict[str, Any]
    tree: Tree
    scaling: Scaling
    network: torch.nn.Module
    threshold: float
    one_step_ahead: bool
    training: dict[str, Any]

    def __repr__(self) -> str:
        mode = "one step ahead" if self.one_step_ahead else "free-running"
        return f"Twin({self.architecture}, {mode}, {self.tree!r})"

    @property
    def inputs(self) -> NDArray[np.void]:
        """A table of the inputs, see `Tree.inputs`."""
        return self.tree.inputs

    def save(self, path: Path, readme: str, *, overwrite: bool = False) -> None:
        """Write the folder, under a temporary name until it is whole.

        Args:
            path: the folder.
            readme: what it was trained on and its measured error, for people.
            overwrite: replace a twin that is there.

        Raises:
            FileError: the folder exists.
        """
        with whole_folder(path, "config.json", overwrite=overwrite) as folder:
            tensors = {f"network.{name}": t.contiguous().cpu() for name, t in self.network.state_dict().items()}
            membrane = None
            if isinstance(self.network, Cable):
                membrane, arrays = self.network.membrane.to_arrays()
                tensors |= {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
            tensors |= {"scaling.mean_mV": self.scaling.mean_mV, "scaling.sd_mV": self.scaling.sd_mV}
            with whole_file(folder / "model.safetensors") as temporary:  # for its permissions
                save_file(tensors, temporary)
            with h5py.File(folder / "tree.h5", "w") as file:
                write_tree(file, self.tree)
            config = {
                "format_version": FORMAT_VERSION,
                "architecture": self.architecture,
                "options": self.options,
                "threshold": self.threshold,
                "one_step_ahead": self.one_step_ahead,
                "tree_fingerprint": self.tree.fingerprint(),
                "tensors_sha256": _sha256(folder / "model.safetensors"),
                "training": self.training,
            }
            if membrane is not None:
                config["membrane"] = membrane
            (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
            (folder / "README.md").write_text(readme)

    @classmethod
    def load(cls, path: Path) -> Twin:
        """Open a twin's folder.

        Raises:
            TwinError: it is missing, incomplete or altered.
        """
        path = Path(path)
        absent = [name for name in FILES if not (path / name).is_file()]
        if absent:
            raise TwinError(
                f"{path} is no twin: {', '.join(absent)} is missing; `dendrotwin twin` makes one of a "
                "cell, `dendrotwin train` of data"
            )
        try:
            config = json.loads((path / "config.json").read_text())
            if config.get("format_version") != FORMAT_VERSION:
                raise TwinError(
                    f"{path} has format version {config.get('format_version')}, this dendrotwin reads "
                    f"{FORMAT_VERSION}; make it again: `dendrotwin twin` from the cell, `dendrotwin train` from data"
                )
            with h5py.File(path / "tree.h5", "r") as file:
                tree = read_tree(file)
            tensors = load_file(path / "model.safetensors")
            if tree.fingerprint() != config["tree_fingerprint"]:
                raise TwinError(
                    f"{path}: tree.h5 is not the one that the twin was saved with; restore or train it again"
                )
            if config["architecture"] == CABLE:
                arrays = {name: t.numpy() for name, t in tensors.items() if name.startswith("membrane")}
                membrane = Membrane.from_arrays(config["membrane"], arrays)
                network: torch.nn.Module = Cable(tree, membrane, CableConfig(**config["options"]))
                tensors = {name: t for name, t in tensors.items() if name not in arrays}
            else:
                _, network = build_network(
                    config["architecture"], config["options"], tree, history=config["one_step_ahead"]
                )
            _check_tensors(path, network, tree.n, tensors)
            if _sha256(path / "model.safetensors") != config["tensors_sha256"]:
                raise TwinError(f"{path}: model.safetensors was altered after it was saved; restore or train it again")
            network.load_state_dict({name.removeprefix("network."): t for name, t in _of_network(tensors).items()})
            scaling = Scaling(tensors["scaling.mean_mV"], tensors["scaling.sd_mV"])
            return cls(
                config["architecture"],
                config["options"],
                tree,
                scaling,
                network,
                config["threshold"],
                config["one_step_ahead"],
                config["training"],
            )
        except TwinError:
            raise
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RuntimeError,
            OSError,
            SafetensorError,
            DendrotwinError,
        ) as error:
            cause = " ".join(str(error).split())  # some have several lines
            raise TwinError(f"{path} is damaged ({cause}); restore it or train it again") from error


def _of_network(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.startswith("network.")}


def _check_tensors(path: Path, network: torch.nn.Module, n: int, tensors: dict[str, torch.Tensor]) -> None:
    expected = {f"network.{name}": tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    expected |= {"scaling.mean_mV": (n,), "scaling.sd_mV": (n,)}
    missing, unknown = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or unknown:
        what = f"lacks {', '.join(missing)}" if missing else f"holds the unknown {', '.join(unknown)}"
        raise TwinError(f"{path}: model.safetensors {what}; restore it or train it again")
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise TwinError(
                f"{path}: {name} has shape {tuple(tensors[name].shape)}, not {shape}; restore it or train it again"
            )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
