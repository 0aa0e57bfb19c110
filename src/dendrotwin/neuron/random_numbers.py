"""Random numbers of mechanisms, such as stochastic channels: those of a trial depend on its number and the seed alone.

Left to itself NEURON goes on from trial to trial, so that which worker simulates which trials would change them.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from dendrotwin.neuron.variables import pointers

MECHANISMS_KEY = 1  # beside the trial's number in the key of its seed: input events draw from another stream


def seed_mechanisms(segments: list[Any], seed: int, trial: int) -> None:
    """Start all random numbers of a cell anew: `scop_random`, Random123, RANDOM of NMODL, and hoc's Random objects.

    Args:
        segments: of the cell.
        seed: of the data set.
        trial: number of the trial.
    """
    from neuron import h, hoc

    sequence = np.random.SeedSequence(seed, spawn_key=(trial, MECHANISMS_KEY))
    index, start, legacy = (int(word) >> 1 for word in sequence.generate_state(3))
    h.Random().Random123_globalindex(index)  # before sequences start, which look at it
    of_mechanism: dict[str, list[str]] = {}
    for segment in segments:
        for mechanism in segment:
            own = mechanism.name()
            if own not in of_mechanism:
                of_mechanism[own] = [] if mechanism.is_ion() else pointers(own)
            for name in of_mechanism[own]:
                random = getattr(mechanism, name.removesuffix(f"_{own}"))
                if hasattr(random, "set_seq"):  # a RANDOM, no POINTER
                    random.set_seq(0)
    for random in h.List("Random"):
        _forget_second_normal(random)
        random.seq(start)
    set_seed = getattr(ctypes.CDLL(hoc.__file__), "_Z8set_seedd")  # noqa: B009  (of scop_random; hoc cannot call it)
    set_seed.argtypes = [ctypes.c_double]
    set_seed(float(legacy))


def _forget_second_normal(random: Any) -> None:
    """Use up the second of two normal numbers that hoc's Random makes at once and keeps; `seq` does not forget it."""
    for _ in range(2):
        before = random.seq()
        random.repick()
        if random.seq() == before:  # that was the one that was kept
            return
