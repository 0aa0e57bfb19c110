"""Look-ups in tables over a bin, eight places at a time.

A row of a table holds values at its bin and then how much each changes up to the next one. LLVM vectorises such a loop
number by number. Here the rows of eight places are loaded whole and transposed in registers, in less than half the
time; the plain loops in the same functions do what is left over, and say what is meant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

JIT: dict[str, Any] = {"cache": True, "fastmath": True, "nogil": True, "error_model": "numpy"}
LANES = 8
Single = NDArray[np.float32]
INDEX = ir.IntType(64)
FAST = ("fast",)


def _joined(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, order: list[int]) -> ir.Value:
    """Lanes of two vectors, counted through both."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
    return builder.shuffle_vector(first, second, mask)


def _transposed(builder: ir.IRBuilder, rows: list[ir.Value], columns: int) -> list[ir.Value]:
    """The columns of eight rows of 2 or 4 numbers, as vectors of eight.

    Two rows four places apart become one vector, whose halves are then transposed side by side, as AVX does it.
    """
    half = LANES // 2
    wide = [_joined(builder, rows[j], rows[j + half], list(range(2 * columns))) for j in range(half)]
    if columns == 2:  # (a0 b0 a4 b4), (a1 b1 a5 b5), ... to (a0 b0 a1 b1 | a4 b4 a5 b5), ...
        wide = [_joined(builder, wide[j], wide[j + 1], [0, 1, 4, 5, 2, 3, 6, 7]) for j in (0, 2)]
        return [
            _joined(builder, wide[0], wide[1], [c, c + 2, c + 8, c + 10, c + 4, c + 6, c + 12, c + 14]) for c in (0, 1)
        ]
    mixed = [
        _joined(builder, wide[j], wide[j + 1], [c, c + 8, c + 1, c + 9, c + 4, c + 12, c + 5, c + 13])
        for c in (0, 2)
        for j in (0, 2)
    ]
    return [
        _joined(builder, mixed[p], mixed[p + 1], [c, c + 1, c + 8, c + 9, c + 4, c + 5, c + 12, c + 13])
        for p in (0, 2)
        for c in (0, 2)
    ]


Combine = Callable[[ir.IRBuilder, list[ir.Value], ir.Value], ir.Value]


def _plain(_: ir.IRBuilder, values: list[ir.Value], __: ir.Value) -> ir.Value:
    return values[0]


def _nearer(builder: ir.IRBuilder, values: list[ir.Value], before: ir.Value) -> ir.Value:
    """What was before, of the distance from the first value so much kept as the second says."""
    distance = builder.fmul(builder.fsub(before, values[0], flags=FAST), values[1], flags=FAST)
    return builder.fadd(values[0], distance, flags=FAST)


def _eight(columns: int, combine: Combine) -> Callable[..., None]:
    """A function of a table (bins, columns), bins, fractions, what it changes, and the first of the eight places."""

    @intrinsic
    def eight(_: Any, table: Any, b: Any, f: Any, y: Any, at: Any) -> Any:
        for array, number in ((table, types.float32), (b, types.uint32), (f, types.float32), (y, types.float32)):
            if array.dtype != number or array.layout != "C":
                raise TypingError(f"look-ups take contiguous arrays of float32, and bins of uint32, not {array}")
        signature = types.void(table, b, f, y, types.int64)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
            table, b, f, y = (make_array(signature.args[k])(context, builder, arguments[k]).data for k in range(4))
            at = arguments[4]

            def place(data: ir.Value, offset: ir.Value, lanes: int) -> ir.Value:
                return builder.bitcast(builder.gep(data, [offset]), ir.VectorType(ir.FloatType(), lanes).as_pointer())

            rows = []
            for lane in range(LANES):
                bin_ = builder.load(builder.gep(b, [builder.add(at, ir.Constant(INDEX, lane))]))
                first = builder.mul(builder.zext(bin_, INDEX), ir.Constant(INDEX, columns))
                rows.append(builder.load(place(table, first, columns), align=4))
            found, fraction = _transposed(builder, rows, columns), builder.load(place(f, at, LANES), align=4)
            half = columns // 2
            values = [
                builder.fadd(value, builder.fmul(fraction, change, flags=FAST), flags=FAST)
                for value, change in zip(found[:half], found[half:], strict=True)
            ]
            result = combine(builder, values, builder.load(place(y, at, LANES), align=4))
            builder.store(result, place(y, at, LANES), align=4)
            return context.get_dummy_value()

        return signature, generate

    return eight


_eight_found, _eight_nearer = _eight(2, _plain), _eight(4, _nearer)


@numba.njit(**JIT)
def look_up(table: Single, b: NDArray[np.uint32], f: Single, found: Single) -> None:
    """found (n,) = values of a table (bins, 2) at bins b (n,), and fractions f (n,) of the way to the next bin.

    All are contiguous, float32 and bins uint32.
    """
    whole = len(b) // LANES * LANES
    for i in range(0, whole, LANES):
        _eight_found(table, b, f, found, i)
    for i in range(whole, len(b)):
        found[i] = table[b[i], 0] + f[i] * table[b[i], 1]


@numba.njit(**JIT)
def go_nearer(table: Single, b: NDArray[np.uint32], f: Single, y: Single) -> None:
    """y (n,) becomes steady + (y - steady) keep, with (steady, keep) from a table (bins, 4); else as `look_up`."""
    whole = len(b) // LANES * LANES
    for i in range(0, whole, LANES):
        _eight_nearer(table, b, f, y, i)
    for i in range(whole, len(b)):
        at = b[i]
        steady, keep = table[at, 0] + f[i] * table[at, 2], table[at, 1] + f[i] * table[at, 3]
        y[i] = steady + (y[i] - steady) * keep
