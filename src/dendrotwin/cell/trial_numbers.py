"""What the numbers of a trial may be: how long it lasts, and the columns of its events."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dendrotwin.errors import InputError

LONGEST_MS = 2**31 - 1  # [ms] milliseconds, and inputs, are counted in 32 bits


def check_duration(duration_ms: int) -> int:
    """See that a trial can last so long.

    Args:
        duration_ms: how long [ms].

    Returns:
        The same as a number of Python's, which no product overflows [ms].

    Raises:
        InputError: it is no whole number from 1 to LONGEST_MS.
    """
    whole = isinstance(duration_ms, int | np.integer) and not isinstance(duration_ms, bool)
    if not whole or not 1 <= duration_ms <= LONGEST_MS:
        raise InputError(f"a trial cannot last {duration_ms} ms; give a whole number of ms from 1 to {LONGEST_MS}")
    return int(duration_ms)


def as_numbers(values: Any, dtype: type[np.number[Any]]) -> Any:
    """An array of real numbers in the type that compiled code takes; what that cannot hold stays, and is refused later.

    Args:
        values: (k, ...) of any type.
        dtype: int32, which takes whole numbers within its bounds, or float64.

    Returns:
        (k, ...) of `dtype`, or `values`.
    """
    whole = dtype is np.int32
    if not isinstance(values, np.ndarray) or values.dtype.kind not in ("iu" if whole else "iuf"):
        return values
    if whole and values.size and not (values.min() >= -(2**31) and values.max() < 2**31):
        return values
    return values.astype(dtype, copy=False)


def column_of_numbers(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """A column of events as an array.

    Args:
        name: of the column, for errors.
        values: (k,) what was given.

    Returns:
        (k,) real numbers within 32 bits.

    Raises:
        InputError: they are none.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise InputError(f"`{name}` of the events is no list of numbers ({error}); correct the events") from error
    if array.size == 0 and array.ndim == 1:
        return np.zeros(0)
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise InputError(
            f"`{name}` of the events has shape {array.shape} and holds {array.dtype}; give a list of real numbers"
        )
    if not np.abs(array.astype(np.float64)).max() <= LONGEST_MS:  # NaN too
        raise InputError(f"an event has {name} beyond {LONGEST_MS} or not a number; correct the events")
    return array
