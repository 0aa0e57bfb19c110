"""How loops are compiled to machine code, and when code from an earlier run may be used again.

The compiler is numba (Lam et al. 2015, doi:10.1145/2833157.2833162), which keeps machine code on disk. It compiles a
function anew when the function's own file changes, but not when another file does whose functions or constants are part
of that code. Here every function counts as changed as soon as any file of the solver or of the cell changes, so that
nobody who upgrades the package runs what an older one has compiled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache

PACKAGE = Path(__file__).parents[1]


def sources_digest(package: Path = PACKAGE) -> str:
    """Digest of all files whose code or constants are compiled.

    Args:
        package: folder of the package; its `solver` and `cell` are read.
    """
    digest = hashlib.sha256()
    for path in sorted(path for room in ("solver", "cell") for path in (package / room).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


SOURCES = sources_digest()


class _Cache(FunctionCache):
    """Machine code on disk, which is stale when the digest of all sources is another one."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = SOURCES

    def load_overload(self, *of_call: Any) -> Any:
        """Machine code of a signature, or None."""
        try:
            return super().load_overload(*of_call)
        except Exception:  # numba unpickles before it looks whether it is stale: classes may be gone since
            self.flush()
            return None


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called, and keep the machine code on disk.

    Floating-point operations may be reordered and fused, which vector instructions need; a division by zero is inf or
    NaN, as in C; and other Python threads run meanwhile.

    Args:
        function: of arrays, numbers and named tuples of them.

    Returns:
        What is called in its place.
    """
    dispatcher: Any = numba.njit(fastmath=True, nogil=True, error_model="numpy")(function)
    dispatcher._cache = _Cache(function)  # in place of the one that cache=True makes
    return dispatcher
