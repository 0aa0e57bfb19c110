"""A twin: a trained network with its scaling, its cell and its configuration, in one folder that is safe to open."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dendrotwin.dataset import Scaling
from dendrotwin.errors import DendrotwinError, TwinError
from dendrotwin.files import whole_folder
from dendrotwin.models import build_network
from dendrotwin.recording import read_tree, write_tree
from dendrotwin.tree import Tree

FORMAT_VERSION = 1
FILES = ("config.json", "model.safetensors", "tree.h5", "README.md")


@dataclass(frozen=True, eq=False)
class Twin:
    """What a user holds: input events in, millivolts and output spikes out (see `predict`).

    Attributes:
        architecture: name in `models.ARCHITECTURES`.
        options: full configuration of the network.
        tree: the cell.
        scaling: of the training split.
        network: maps event counts to z-scored potentials and spike logits.
        threshold: probability at which a step holds an output spike, chosen on the validation split.
        training: what it was trained on, how, and how it went.
    """

    architecture: str
    options: dict[str, Any]
    tree: Tree
    scaling: Scaling
    network: torch.nn.Module
    threshold: float
    training: dict[str, Any]

    @property
    def history(self) -> int:
        """Steps of input before the first output that the output depends on."""
        return int(self.network.history)  # type: ignore[arg-type]

    @torch.inference_mode()
    def forward(self, events: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Evaluate the network on event counts.

        Args:
            events: (batch, n_inputs, history + time) number of events in each 1 ms step.

        Returns:
            V (batch, time, n) [mV] and the probability of an output spike (batch, time).
        """
        self.network.eval()
        z, logit = self.network(torch.from_numpy(events))
        return self.scaling.restore(z).numpy(), torch.sigmoid(logit).numpy()

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
            tensors |= {"scaling.mean_mV": self.scaling.mean_mV, "scaling.sd_mV": self.scaling.sd_mV}
            save_file(tensors, folder / "model.safetensors")
            with h5py.File(folder / "tree.h5", "w") as file:
                write_tree(file, self.tree)
            config = {
                "format_version": FORMAT_VERSION,
                "architecture": self.architecture,
                "options": self.options,
                "threshold": self.threshold,
                "tree_fingerprint": self.tree.fingerprint(),
                "tensors_sha256": _sha256(folder / "model.safetensors"),
                "training": self.training,
            }
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
            raise TwinError(f"{path} is no twin: {', '.join(absent)} is missing; `dendrotwin train` makes one")
        try:
            config = json.loads((path / "config.json").read_text())
            if config.get("format_version") != FORMAT_VERSION:
                raise TwinError(
                    f"{path} has format version {config.get('format_version')}, this dendrotwin reads "
                    f"{FORMAT_VERSION}; train it again"
                )
            with h5py.File(path / "tree.h5", "r") as file:
                tree = read_tree(file)
            tensors = load_file(path / "model.safetensors")
            if tree.fingerprint() != config["tree_fingerprint"]:
                raise TwinError(
                    f"{path}: tree.h5 is not the one that the twin was saved with; restore or train it again"
                )
            _, network = build_network(config["architecture"], config["options"], tree)
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
            raise TwinError(f"{path} is damaged ({error}); restore it or train it again") from error


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
