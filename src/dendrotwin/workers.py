"""Worker processes of this machine: how many, and that none outlives the process that started it."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import parent_process


def cores() -> int:
    """Cores that this process may use (a cluster's scheduler may have given it fewer than there are)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_worker() -> None:
    """Let a worker die with Ctrl-C, and with the process that started it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = parent_process()
    if parent is not None:

        def follow() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()
