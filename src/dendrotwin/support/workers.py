"""Worker processes of this machine: how many, that none outlives its parent, and that none runs the user's script.

A spawned process imports the parent's `__main__` again. A script that calls this package without
`if __name__ == "__main__":`, or that comes from standard input, would then fail in each worker. All that ours do lies
in this package, so they start without it; what is defined in `__main__` cannot be given to them.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, TypeVar

from dendrotwin.errors import DendrotwinError

T = TypeVar("T")
LOCK = threading.Lock()  # of `__main__`


class WorkerError(DendrotwinError):
    """A process ended before it gave its result; `exitcode` as `multiprocessing.Process` has it."""

    def __init__(self, exitcode: int) -> None:
        super().__init__(f"a worker process ended with code {exitcode}; was it killed, or out of memory?")
        self.exitcode = exitcode

    def __reduce__(self) -> tuple[type[WorkerError], tuple[int]]:
        return WorkerError, (self.exitcode,)


@contextmanager
def _empty_main() -> Iterator[None]:
    with LOCK:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


class _Process(SpawnProcess):
    def start(self) -> None:
        with _empty_main():
            super().start()


class _Context(SpawnContext):
    Process = _Process


def cores() -> int:
    """Cores that this process may use (a cluster's scheduler may have given it fewer than there are)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_pool(workers: int, threads: int | None = None) -> ProcessPoolExecutor:
    """Processes for functions of this package.

    Args:
        workers: how many.
        threads: of torch, in each; None leaves torch's default.
    """
    return ProcessPoolExecutor(workers, mp_context=_Context(), initializer=start_worker, initargs=(threads,))


def run_apart(function: Callable[..., T], *args: object) -> T:
    """The result of a function of this package, called in a process of its own; what it raises is raised here.

    Args:
        function: defined in this package.
        args: its arguments, which can be pickled.

    Raises:
        WorkerError: the process ended without a result.
    """
    receiver, sender = _Context().Pipe(duplex=False)
    process = _Process(target=_send_result, args=(sender, function, args))
    process.start()
    sender.close()
    try:
        outcome: tuple[bool, Any] = receiver.recv()
    except (EOFError, OSError):  # it ended before it sent, or while it did
        process.join()
        assert process.exitcode is not None
        raise WorkerError(process.exitcode) from None
    except BaseException:  # Ctrl-C
        process.terminate()
        raise
    finally:
        receiver.close()
        process.join()
    succeeded, result = outcome
    if not succeeded:
        raise result
    return result  # type: ignore[no-any-return]


def _send_result(sender: Connection, function: Callable[..., object], args: tuple[object, ...]) -> None:
    start_worker()
    try:
        sender.send((True, function(*args)))
    except Exception as error:
        error.add_note(traceback.format_exc())
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # one that cannot be sent, or not be made again there
            error = RuntimeError("".join(traceback.format_exception(error)))
        sender.send((False, error))


def start_worker(threads: int | None = None) -> None:
    """Let a worker die with Ctrl-C, and with the process that started it, however that ends.

    Args:
        threads: of torch; None leaves torch's default.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
    if threads is not None:
        import torch  # only the workers that train

        torch.set_num_threads(threads)
