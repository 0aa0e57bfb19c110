"""Where the cells of a process are: on the CPU, or on a card."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from dendrotwin.errors import CircuitError, InputError
from dendrotwin.models.cable import gpu_stepper_class
from dendrotwin.solver.batch import Batch
from dendrotwin.solver.stepper import Stepper

if TYPE_CHECKING:
    from dendrotwin.solver.gpu_batch import GPUBatch


def device_of(name: str) -> torch.device:
    """The device of this process. Of several that `torchrun` has started, each takes the card of its number there.

    Args:
        name: "cpu", "cuda", or "cuda:1" for the second card.

    Raises:
        InputError: there is no such device, or several processes would share a card.
        MissingPackageError: there is no Triton.
    """
    if name == "cpu":
        return torch.device("cpu")
    asked = re.fullmatch(r"cuda(?::(\d+))?", name) if isinstance(name, str) else None
    if asked is None:
        raise InputError(f"there is no device {name!r}; give cpu, cuda, or cuda:1 for the second card")
    cards = torch.cuda.device_count()
    if not cards:
        raise InputError("there is no CUDA card here that PyTorch can use; run on the device cpu")
    number, many = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if many > cards or (many > 1 and asked[1]):
        raise InputError(
            f"{many} processes on this machine, and {cards} cards: each needs one of its own; start as many as there "
            "are cards, on the device cuda"
        )
    index = int(asked[1] or number)
    if index >= cards:
        raise InputError(f"there is no card cuda:{index}; this machine has cuda:0 to cuda:{cards - 1}")
    device = torch.device("cuda", index)
    gpu_stepper_class(device)
    return device


@contextmanager
def memory_of(device: torch.device) -> Iterator[None]:
    """Say it in a line where the memory of a card is not enough.

    Args:
        device: that is used within.

    Raises:
        CircuitError: it is not enough.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise CircuitError(
            f"the cells of this process do not fit into the memory of {device}; share them among several cards "
            "(torchrun), or run on the device cpu"
        ) from error


def batch_of(stepper: Stepper, count: int, device: torch.device, threads: int) -> Batch | GPUBatch:
    """Cells of one model on a device.

    Args:
        stepper: the model.
        count: of the cells.
        device: see `device_of`.
        threads: on the CPU.

    Raises:
        CircuitError: they do not fit into its memory.
    """
    if device.type == "cpu":
        return Batch(stepper, count, threads)
    from dendrotwin.solver.gpu_batch import GPUBatch

    with memory_of(device):
        return GPUBatch(gpu_stepper_class(device)(stepper, device), count)
