"""What processes say to each other: what they find while a run is set up, and spikes, once for each smallest delay.

An error that one process finds while it draws, reads or sets up is raised in all, so that none waits for another in
vain: see `Exchange.together`.
"""

from __future__ import annotations

import datetime
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as distributed
from numpy.typing import NDArray

from dendrotwin.cell.tree import Floats
from dendrotwin.circuit.last_words import end_with_a_line
from dendrotwin.errors import CircuitError, DendrotwinError

LEAVING = datetime.timedelta(seconds=10)  # for all to say that they have passed one barrier
ROOM = 256  # spikes of a process in a slice that one all-gather carries at first
Indices = NDArray[np.int64]


@functools.cache
def exchange() -> Exchange:
    """The processes of which this one is one."""
    return Exchange()


class Exchange:
    """The processes of a run, started by `torchrun`, or one alone.

    Attributes:
        rank, size: which process this is, of how many.
        device: through which spikes go to the others: by NCCL between cards, else by gloo.
    """

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.room, self.runs, self.device = ROOM, 0, torch.device("cpu")
        self._known: DendrotwinError | None = None  # the last error that all processes know of
        if self.size > 1:
            self._try(self._meet)

    def _meet(self) -> None:
        self._store, *_ = next(distributed.rendezvous("env://", self.rank, self.size))
        if not distributed.is_initialized():
            cards = distributed.is_nccl_available() and torch.cuda.is_available()
            backend = "cpu:gloo,cuda:nccl" if cards else "gloo"
            distributed.init_process_group(backend, store=self._store, rank=self.rank, world_size=self.size)
        end_with_a_line(lambda: f"dendrotwin: {self._loss}" if self._known is None else None)

    def gather(self, value: Any) -> list[Any]:
        """What all processes have, in their order.

        Args:
            value: of this process; what can be pickled.

        Raises:
            DendrotwinError: of the first process that has failed in `together`, in all of them.
            CircuitError: another process has ended.
        """
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        self._try(lambda: distributed.all_gather_object(found, value))
        for each in found:
            if isinstance(each, DendrotwinError):
                self._known = each
                raise each
        return found

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that all processes pass, or none: an error of one of them is raised in all.

        In it all processes `gather` equally often, up to an error; blocks may be within each other.

        Raises:
            DendrotwinError: of the first process that has failed.
            CircuitError: another process has ended.
        """
        try:
            yield
        except DendrotwinError as error:
            if error is not self._known:
                self.gather(error)
            raise
        self.gather(None)

    def any(self, flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which flags are set in any process.

        Args:
            flags: (k, ...) of this process, of one shape in all.

        Returns:
            (k, ...) the same in all.

        Raises:
            CircuitError: another process has ended.
        """
        found = torch.from_numpy(flags.astype(np.uint8))
        if self.size > 1:
            self._try(lambda: distributed.all_reduce(found, distributed.ReduceOp.MAX))
        return found.numpy().astype(bool)

    def spikes(self, node: Indices, time_ms: Floats, flag: bool) -> tuple[Indices, Floats, bool]:
        """All spikes of a slice, of all processes, sorted by time and then by node.

        Args:
            node: (s,) numbers of this process's nodes that fired.
            time_ms: (s,) when [ms].
            flag: says something to all; that of the first process counts.

        Returns:
            (all,) nodes, (all,) times [ms], and the first process's flag.

        Raises:
            CircuitError: another process has ended.
        """
        if self.size > 1:
            node, time_ms, flag = self._gather(node, time_ms, flag)
        order = np.lexsort((node, time_ms))
        return node[order], time_ms[order], flag

    def _gather(self, node: Indices, time_ms: Floats, flag: bool) -> tuple[Indices, Floats, bool]:
        """A header of the count and the flag, then nodes, then times as bits; again where the room was too small."""
        while True:
            room = self.room
            mine = np.zeros(2 + 2 * room, np.int64)
            mine[0], mine[1] = len(node), flag
            if len(node) <= room:
                mine[2 : 2 + len(node)], mine[2 + room : 2 + room + len(node)] = node, time_ms.view(np.int64)
            sent = torch.from_numpy(mine).to(self.device)
            parts = [torch.empty_like(sent) for _ in range(self.size)]
            self._try(lambda: distributed.all_gather(parts, sent))  # noqa: B023
            arrays = [part.cpu().numpy() for part in parts]
            most = max(int(part[0]) for part in arrays)
            if most <= room:
                break
            self.room = 2 * most
        nodes = [part[2 : 2 + part[0]] for part in arrays]
        times = [part[2 + room : 2 + room + part[0]].view(np.float64) for part in arrays]
        return np.concatenate(nodes), np.concatenate(times), bool(arrays[0][1])

    def barrier(self) -> None:
        """Wait until all processes are here.

        Raises:
            CircuitError: another process has ended.
        """
        self.any(np.zeros(1, np.bool_))

    def end(self) -> None:
        """Wait until all processes are here, and none needs the others any more: who leaves now breaks no connection.

        The first wait sees at once that another process is no more; the second one is for those who are still in it.

        Raises:
            CircuitError: another process has ended before.
        """
        if self.size > 1:
            self.barrier()
            self._store.set(f"end-{self.runs}-{self.rank}", "here")
            all_ended = [f"end-{self.runs}-{rank}" for rank in range(self.size)]
            self._try(lambda: self._store.wait(all_ended, LEAVING))
            self.runs += 1

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except RuntimeError as error:
            self._known = CircuitError(self._loss)  # no other one is there to be told
            raise self._known from error

    @property
    def _loss(self) -> str:
        return (
            f"process {self.rank} of {self.size} lost another one, which failed or was killed; give the same command "
            "again, which goes on from the last checkpoint"
        )
