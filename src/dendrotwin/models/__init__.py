"""The networks: one file each, one signature, a registry by name.

A new architecture is a file with a configuration and a network, and a line in `ARCHITECTURES`
(docs/benchmark.md has an example).
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from pydantic import BaseModel, ValidationError

from dendrotwin.cell.tree import Tree
from dendrotwin.errors import InputError
from dendrotwin.models.networks import elm, hard_sharing, mmoe, mmoeex

# Name: configuration, network, and named sets of options.
ARCHITECTURES: dict[str, tuple[type[BaseModel], type[torch.nn.Module], dict[str, dict[str, Any]]]] = {
    "hard-sharing": (hard_sharing.HardSharingConfig, hard_sharing.HardSharing, hard_sharing.PRESETS),
    "mmoe": (mmoe.MMoEConfig, mmoe.MMoE, mmoe.PRESETS),
    "mmoeex": (mmoeex.MMoEExConfig, mmoeex.MMoEEx, mmoeex.PRESETS),
    "elm": (elm.ELMConfig, elm.ELM, {}),
}


class Network(Protocol):
    """What every network offers besides being a `torch.nn.Module`, made from a tree, its configuration and `history`.

    Attributes:
        context: steps of input before the first output of a call without state. For a network without state these are
            all that the output depends on.
    """

    context: int

    def parameters(self) -> Any: ...

    def __call__(
        self, events: torch.Tensor, past: torch.Tensor | None = None, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Potentials and spike logits.

        Args:
            events: (batch, n_inputs, context + time) event counts; (batch, n_inputs, time) where a state is given.
            past: of the same steps, (batch, n, ...): z-scored potentials at the *start* of each step, that is at the
                end of the step before; only for a network made with `history`, which predicts one step ahead.
            state: what an earlier call returned, to go on after its last step.

        Returns:
            z-scored potentials (batch, time, n), spike logits (batch, time), and the state after the last step, None
            for a network that has none. Output t depends on inputs up to and including step t.
        """


def build_network(
    architecture: str, options: dict[str, Any], tree: Tree, history: bool = False
) -> tuple[BaseModel, torch.nn.Module]:
    """A network of this architecture for this cell, with its full configuration.

    Args:
        architecture: name in `ARCHITECTURES`.
        options: of the network; `preset` names a set of options that the others change.
        tree: the cell.
        history: whether the network also sees past potentials, and predicts one step ahead.

    Raises:
        InputError: the architecture, its preset or one of its options is unknown, or does not fit the cell.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(f"there is no architecture {architecture!r}; choose {', '.join(ARCHITECTURES)}")
    config_class, network_class, presets = ARCHITECTURES[architecture]
    options = dict(options)
    if "preset" in options:
        preset = options.pop("preset")
        if preset not in presets:
            known = ", ".join(presets) or "none"
            raise InputError(f"{architecture} has no preset {preset!r}; known: {known}")
        options = {**presets[preset], **options}
    try:
        config = config_class(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        unknown = first["type"] == "extra_forbidden"
        what = f"there is none; choose among {', '.join(config_class.model_fields)}" if unknown else first["msg"]
        raise InputError(f"the option {name!r} of {architecture}: {what}; correct it") from error
    return config, network_class(tree, config, history)
