"""The networks: one file each, one signature, a registry by name.

A network is made from a tree and its own configuration, and maps event counts (batch, n_inputs, history + time) to
z-scored potentials (batch, time, n) and spike logits (batch, time), where `history` is its attribute: the number of
steps before the first output that the output depends on. Output t depends on inputs up to and including step t.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from pydantic import BaseModel, ValidationError

from dendrotwin.errors import InputError
from dendrotwin.models.hard_sharing import HardSharing, HardSharingConfig
from dendrotwin.tree import Tree

ARCHITECTURES: dict[str, tuple[type[BaseModel], type[torch.nn.Module]]] = {
    "hard-sharing": (HardSharingConfig, HardSharing),
}


class Network(Protocol):
    """What every network offers besides being a `torch.nn.Module`."""

    history: int

    def __call__(self, events: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]: ...

    def parameters(self) -> Any: ...


def build_network(architecture: str, options: dict[str, Any], tree: Tree) -> tuple[BaseModel, torch.nn.Module]:
    """A network of this architecture for this cell, with its full configuration.

    Raises:
        InputError: the architecture or one of its options is unknown.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(f"there is no architecture {architecture!r}; choose {', '.join(ARCHITECTURES)}")
    config_class, network_class = ARCHITECTURES[architecture]
    try:
        config = config_class(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(f"the option {name!r} of {architecture}: {first['msg']}; correct it") from error
    return config, network_class(tree, config)
