"""What is given as the input of trials, looked at where it comes in: `Events` and `Injection`, one for each trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dendrotwin.cell.tree import Events, Injection
from dendrotwin.errors import InputError


def check_input_classes(events: Any, injections: Any) -> None:
    """See that the input of some trials is made of `Events` and `Injection`, one of each for a trial.

    Args:
        events: a sequence of Events.
        injections: a sequence of Injection or None, or None.

    Raises:
        InputError: it is anything else.
    """
    if isinstance(events, Events) or not isinstance(events, Sequence | np.ndarray):
        raise InputError("give the events of each trial, in a list: [events]")
    for trial in events:
        if not isinstance(trial, Events):
            raise InputError(
                f"events are dendrotwin.Events.sort(inputs, times_ms), not {_kind(trial)}; of (input, time) pairs: "
                "Events.sort(*zip(*pairs))"
            )
    if isinstance(injections, Injection):
        raise InputError("give the injection of each trial, or None, in a list: [injection]")
    if injections is not None and not isinstance(injections, Sequence):
        injections = [injections]
    for injection in injections or ():
        if not isinstance(injection, Injection | None):
            raise InputError(
                f"injected current is dendrotwin.Injection(compartment, current_nA), not {_kind(injection)}; such as "
                "Injection(np.array([0]), current_nA) with a current of shape (ms, 1)"
            )


def _kind(value: Any) -> str:
    """What a value of another kind is called in an error."""
    return "None" if value is None else f"a value of the type {type(value).__name__}"
