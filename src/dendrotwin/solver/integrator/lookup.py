"""Interpolation in tables over one variable, eight compartments at a time.

    value = table[bin] + fraction change[bin],    and of gates x <- steady + (x - steady) keep
    (Hines 1984, doi:10.1016/0020-7101(84)90008-4)

A row of a table holds values at its bin and then how much each changes up to the next one. LLVM vectorises such a loop
number by number. Here the rows of eight compartments are loaded whole and transposed in registers, in less than half
the time; the plain loops in the same functions do what is left over, and say what is meant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from dendrotwin.solver.cell_arrays import Bins, Single
from dendrotwin.solver.compiled import compiled

LANES = 8  # numbers in single precision in a register of AVX2
INDEX = ir.IntType(64)
FLAGS = ("fast",)  # as `compiled` has it for the plain loops


def _joined(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, order: list[int]) -> ir.Value:
    """Lanes of two vectors, counted through both."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
    return builder.shuffle_vector(first, second, mask)


def _transposed(builder: ir.IRBuilder, rows: list[ir.Value], columns: int) -> list[ir.Value]:
    """The columns of eight rows of 2 or 4 numbers, as vectors of eight.

    Two rows that are four apart become one vector, whose halves are then transposed side by side, as AVX does it.
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


def _value(_: ir.IRBuilder, values: list[ir.Value], __: ir.Value) -> ir.Value:
    return values[0]


def _relaxed(builder: ir.IRBuilder, values: list[ir.Value], before: ir.Value) -> ir.Value:
    """steady + (before - steady) keep."""
    steady, keep = values
    distance = builder.fmul(builder.fsub(before, steady, flags=FLAGS), keep, flags=FLAGS)
    return builder.fadd(steady, distance, flags=FLAGS)


def _eight(columns: int, combine: Combine) -> Callable[..., None]:
    """A function of a table (points, columns), bins, fractions, what it changes, and the first of the eight numbers."""

    @intrinsic
    def eight(_: Any, table: Any, b: Any, f: Any, y: Any, at: Any) -> Any:
        for array, number in ((table, types.float32), (b, types.uint32), (f, types.float32), (y, types.float32)):
            if array.dtype != number or array.layout != "C":
                raise TypingError(f"interpolation takes contiguous arrays of float32, and bins of uint32, not {array}")
        signature = types.void(table, b, f, y, types.int64)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: list[ir.Value]) -> ir.Value:
            table, b, f, y = (make_array(signature.args[k])(context, builder, arguments[k]).data for k in range(4))
            at = arguments[4]

            def address(data: ir.Value, offset: ir.Value, lanes: int) -> ir.Value:
                return builder.bitcast(builder.gep(data, [offset]), ir.VectorType(ir.FloatType(), lanes).as_pointer())

            rows = []
            for lane in range(LANES):
                bin_ = builder.load(builder.gep(b, [builder.add(at, ir.Constant(INDEX, lane))]))
                first = builder.mul(builder.zext(bin_, INDEX), ir.Constant(INDEX, columns))
                rows.append(builder.load(address(table, first, columns), align=4))
            found, fraction = _transposed(builder, rows, columns), builder.load(address(f, at, LANES), align=4)
            half = columns // 2
            values = [
                builder.fadd(value, builder.fmul(fraction, change, flags=FLAGS), flags=FLAGS)
                for value, change in zip(found[:half], found[half:], strict=True)
            ]
            result = combine(builder, values, builder.load(address(y, at, LANES), align=4))
            builder.store(result, address(y, at, LANES), align=4)
            return context.get_dummy_value()

        return signature, generate

    return eight


_eight_values, _eight_relaxed = _eight(2, _value), _eight(4, _relaxed)


@compiled
def interpolate(table: Single, bins: Bins, fraction: Single, out: Single) -> None:
    """Values of a table; all arrays are contiguous.

    Args:
        table: (points, 2) value, and its change to the next point.
        bins, fraction: (n,) where it is looked up.
        out: (n,) gets the values.
    """
    whole = len(bins) // LANES * LANES
    for i in range(0, whole, LANES):
        _eight_values(table, bins, fraction, out, i)
    for i in range(whole, len(bins)):
        out[i] = table[bins[i], 0] + fraction[i] * table[bins[i], 1]


@compiled
def relax(table: Single, bins: Bins, fraction: Single, x: Single) -> None:
    """x <- steady + (x - steady) keep; all arrays are contiguous.

    Args:
        table: (points, 4) steady, keep, and their changes to the next point.
        bins, fraction: (n,) where it is looked up.
        x: (n,) is changed.
    """
    whole = len(bins) // LANES * LANES
    for i in range(0, whole, LANES):
        _eight_relaxed(table, bins, fraction, x, i)
    for i in range(whole, len(bins)):
        at = bins[i]
        steady, keep = table[at, 0] + fraction[i] * table[at, 2], table[at, 1] + fraction[i] * table[at, 3]
        x[i] = steady + (x[i] - steady) * keep
