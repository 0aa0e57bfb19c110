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
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import parent_process, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, TypeVar

from dendrotwin.errors import DendrotwinError

T = TypeVar("T")
LOCK = threading.Lock()  # of `__main__`


class WorkerError(DendrotwinError):
    """A process ended before it gave its result.

    Attributes:
        exitcode: as `multiprocessing.Process` has it: below 0 the signal that killed it.
        last_words: what it wrote to standard error last, or "".
    """

    def __init__(self, exitcode: int, last_words: str = "") -> None:
        super().__init__(f"a worker process ended with code {exitcode}: {describe_end(exitcode, last_words)}")
        self.exitcode, self.last_words = exitcode, last_words

    def __reduce__(self) -> tuple[type[WorkerError], tuple[int, str]]:
        return WorkerError, (self.exitcode, self.last_words)


# What it means, as a rule, that a process was killed by a signal.
MEANINGS = {
    "SIGKILL": "as the system does when memory runs out, or a user",
    "SIGSEGV": "it crashed",
    "SIGABRT": "it gave up",
    "SIGBUS": "it crashed, or the disk is full",
    "SIGILL": "it was built for another processor",
    "SIGFPE": "it divided whole numbers by zero",
    "SIGTERM": "somebody stopped it",
    "SIGXCPU": "its time was used up",
}


def describe_end(exitcode: int, last_words: str = "") -> str:
    """How a process ended, for people.

    Args:
        exitcode: as `multiprocessing.Process` has it.
        last_words: what it wrote to standard error last.
    """
    if exitcode < 0:
        try:
            name = signal.Signals(-exitcode).name
        except ValueError:
            name = "unknown"
        meaning = f", {MEANINGS[name]}" if name in MEANINGS else ""
        how = f"killed by signal {-exitcode} ({name}{meaning})"
    else:
        how = f"it ended itself with exit code {exitcode}"
    return f"{how}; its last words: {last_words}" if last_words else how


class _Listener:
    """What one process writes to standard error: passed on to ours, its end kept."""

    KEPT_BYTES, WORDS = 2000, 300

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        self._kept = b""
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while data := os.read(self._read, 65536):
            self._kept = (self._kept + data)[-self.KEPT_BYTES :]
            with suppress(OSError):  # ours may be closed
                os.write(2, data)
        os.close(self._read)

    def last_words(self) -> str:
        """Its last line, once the process has ended."""
        self._thread.join(timeout=1.0)  # a process that it started may go on, and write
        lines = [line.strip() for line in self._kept.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1][-self.WORDS :] if lines else ""


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
        listener = _Listener()
        resource_tracker.ensure_running()  # else it would be started now, and keep the pipe open
        with _empty_main(), _errors_to(listener.write):
            super().start()
        self.listener = listener  # now: the process itself gets what is set before


@contextmanager
def _errors_to(pipe: int) -> Iterator[None]:
    """Let a process that is started in the block write its errors into a pipe, whose end here is closed then."""
    try:
        ours = os.dup(2)
    except OSError:  # we have no standard error
        ours = None
    try:
        os.dup2(pipe, 2)
        yield
    finally:
        os.close(pipe)
        if ours is None:
            os.close(2)
        else:
            os.dup2(ours, 2)
            os.close(ours)


class _Context(SpawnContext):
    """A context that knows the processes that it has made."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[_Process] = []

    def Process(self, *args: Any, **values: Any) -> _Process:  # type: ignore[override]
        self.made.append(_Process(*args, **values))
        return self.made[-1]


class WorkerPool(ProcessPoolExecutor):
    """Processes that can say how one of them died."""

    def __init__(self, workers: int, threads: int | None) -> None:
        """Args: see `worker_pool`."""
        self._context = _Context()
        super().__init__(workers, mp_context=self._context, initializer=start_worker, initargs=(threads,))

    def death(self) -> str:
        """How the first of them ended that did not end well; to be asked once the pool is broken."""
        for process in self._context.made:
            process.join(timeout=10.0)
            # The pool's own thread waits too: the one that comes second learns of the end a moment later.
            for _ in range(100):
                if process.exitcode is not None:
                    break
                time.sleep(0.01)
        ended = [process for process in self._context.made if process.exitcode not in (0, None)]
        # When one dies, the pool terminates the others.
        culprits = [process for process in ended if process.exitcode != -signal.SIGTERM] or ended
        if not culprits or culprits[0].exitcode is None:
            return "it ended before it gave its result"
        return describe_end(culprits[0].exitcode, culprits[0].listener.last_words())


def cores() -> int:
    """Cores that this process may use (a cluster's scheduler may have given it fewer than there are)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_pool(workers: int, threads: int | None = None) -> WorkerPool:
    """Processes for functions of this package.

    Args:
        workers: how many.
        threads: of torch, in each; None leaves torch's default.
    """
    return WorkerPool(workers, threads)


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
        raise WorkerError(process.exitcode, process.listener.last_words()) from None
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
