"""Arrays that travel between the host and a device together: one copy takes them all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from numpy.typing import NDArray

ALIGNED = 64  # bytes: where an array may begin
Arrays = Mapping[str, NDArray[Any]]
Shape = tuple[int, ...]


class Parcel:
    """One piece of memory on the host and another on a device, each made once and used again; they grow when they must.

    Args:
        device: where the other one is.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.here, self.there = torch.empty(0, dtype=torch.uint8), torch.empty(0, dtype=torch.uint8, device=device)
        self.parts: list[tuple[str, torch.dtype, Shape, int]] = []
        self.size = 0

    def room(self, parts: Mapping[str, tuple[torch.dtype, Shape]]) -> dict[str, torch.Tensor]:
        """Room for arrays; what was in it is lost.

        Args:
            parts: type and shape of each.

        Returns:
            They on the device, flat; of an empty one a number that is not looked at, so that there is an address.
        """
        self.parts, self.size = [], 0
        for name, (dtype, shape) in parts.items():
            self.parts.append((name, dtype, shape, self.size))
            self.size += -(-max(1, math.prod(shape)) * dtype.itemsize // ALIGNED) * ALIGNED
        if self.size > len(self.there):
            self.there = torch.empty(self.size + self.size // 4, dtype=torch.uint8, device=self.device)
        return {name: part for name, part, _ in self._views(self.there)}

    def send(self, arrays: Arrays, dtypes: Mapping[str, torch.dtype]) -> dict[str, torch.Tensor]:
        """To the device.

        Args:
            arrays: by name.
            dtypes: of each there.

        Returns:
            They on the device, as of `room`.
        """
        found = self.room({name: (dtypes[name], array.shape) for name, array in arrays.items()})
        for name, part, shape in self._views(self._host()):
            part.numpy()[: math.prod(shape)] = arrays[name].ravel()
        self.there[: self.size].copy_(self.here[: self.size])
        return found

    def fetch(self) -> dict[str, NDArray[Any]]:
        """To the host, when the device is done: the arrays of `room`, which the next call writes over."""
        host = self._host()
        host[: self.size].copy_(self.there[: self.size])
        return {name: part.numpy()[: math.prod(shape)].reshape(shape) for name, part, shape in self._views(host)}

    def _host(self) -> torch.Tensor:
        if self.size > len(self.here):
            pinned = self.device.type == "cuda"  # such memory is copied fastest
            self.here = torch.empty(len(self.there), dtype=torch.uint8, pin_memory=pinned)
        return self.here

    def _views(self, whole: torch.Tensor) -> Iterator[tuple[str, torch.Tensor, Shape]]:
        for name, dtype, shape, at in self.parts:
            size = max(1, math.prod(shape)) * dtype.itemsize
            yield name, whole[at : at + size].view(dtype), shape
