"""How long work shows where it is: a bar on a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

LINE_EVERY_S = 10.0


class Advance(Protocol):
    """Say that `amount` more of the total is done, and what there is to say about it."""

    def __call__(self, amount: float = 1.0, note: str = "") -> None: ...


@contextmanager
def progress(what: str, total: float, unit: str, done: float = 0.0) -> Iterator[Advance]:
    """Show the progress of `total` units of work, with its rate and the time left, on standard error.

    Args:
        what: what is being done, such as "simulating".
        total: how much there is to do.
        unit: what it is counted in, such as "trials".
        done: how much was done before, by a run that was stopped.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
        with Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=total, completed=int(done), note="")
            began, reached = time.monotonic(), 0.0

            def advance(amount: float = 1.0, note: str = "") -> None:
                nonlocal reached
                reached += amount
                rate = reached / max(time.monotonic() - began, 1e-9)
                bar.update(task, advance=amount, note=f"{rate:.2g}/s {note}")

            yield advance
        return

    start = last = time.monotonic()
    before = done

    def advance_line(amount: float = 1.0, note: str = "") -> None:
        nonlocal done, last
        done += amount
        now = time.monotonic()
        if now - last >= LINE_EVERY_S or done >= total:
            last = now
            rate = (done - before) / max(now - start, 1e-9)
            left = f", {(total - done) / max(rate, 1e-9):.0f} s left" if done < total else ""
            print(
                f"{what}: {done:g} of {total:g} {unit}, {rate:.2g}/s{left} {note}".rstrip(), file=sys.stderr, flush=True
            )

    yield advance_line
