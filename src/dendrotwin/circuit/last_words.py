"""What a process says whose connection to another one breaks in a thread of PyTorch's `gloo`.

Where a connection breaks while gloo's own thread writes to it (`sendAsyncMode` in gloo/transport/tcp/pair.cc), the
thread throws, nothing above it catches, and C++ aborts the process without a word. C++ asks a function of ours first.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress

OTHERS_S = 2.0  # for the other threads to say what they know
_Handler = ctypes.CFUNCTYPE(None)
_kept: list[object] = []  # C++ has no part in counting references


def end_with_a_line(line: Callable[[], str | None]) -> None:
    """End this process with a line and status 2 where a thread of gloo would abort it.

    Of any other exception that nothing catches, C++ does what it did before. Without GNU's C++ library nothing changes.

    Args:
        line: what is said; None where another thread is saying it.
    """
    with suppress(OSError, AttributeError):
        cxx = ctypes.CDLL("libstdc++.so.6")
        thrown, set_terminate = cxx.__cxa_current_exception_type, cxx._ZSt13set_terminatePFvvE
        thrown.restype, thrown.argtypes = ctypes.c_void_p, []
        set_terminate.restype, set_terminate.argtypes = _Handler, [_Handler]

        def handle() -> None:
            if b"gloo" not in _name(thrown()):
                before()
                return
            said = line()
            if said is None:
                time.sleep(OTHERS_S)
            else:
                os.write(sys.stderr.fileno() if sys.stderr else 2, f"{said}\n".encode())
            os._exit(2)

        handler = _Handler(handle)
        before = set_terminate(handler)
        _kept.extend([handler, before, cxx])


def _name(type_info: int | None) -> bytes:
    """The name of a C++ type, from its `std::type_info`: a table of functions, and then the name."""
    if not type_info:
        return b""
    return ctypes.c_char_p.from_address(type_info + ctypes.sizeof(ctypes.c_void_p)).value or b""
