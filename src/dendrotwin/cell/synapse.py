"""Kinds of synapse: what one event opens.

The units are NEURON's: ms, mV, uS.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BLOCK_MV = np.arange(-150.0, 100.01, 1.0)  # where a `Conductance.block` is given [mV]


@dataclass(frozen=True)
class Conductance:
    """One component of a synapse: a dual exponential, normalised to a peak of 1, times `g_max_uS`.

    g(t) = g_max f (exp(-t/decay) - exp(-t/rise)) B(V), with f such that the peak of g/B is g_max; without a rise,
    rise = 0, g(t) = g_max exp(-t/decay) B(V). The block B(V) is 1 / (1 + mg exp(-slope V) / 3.57), that of magnesium
    (Jahr and Stevens 1990, doi:10.1523/JNEUROSCI.10-09-03178.1990), where mg = 0 means no block; or any other, given
    by its values.

    Attributes:
        rise_ms, decay_ms: time constants [ms], 0 <= rise < decay.
        g_max_uS: peak conductance of one event of weight 1, where the block is 1 [uS].
        e_mV: reversal potential [mV].
        mg_mM: magnesium concentration [mM].
        slope_per_mV: slope of the block [1/mV].
        block: values of B at BLOCK_MV, straight between them and level beyond; empty: by `mg_mM` and `slope_per_mV`.
    """

    rise_ms: float
    decay_ms: float
    g_max_uS: float
    e_mV: float
    mg_mM: float = 0.0
    slope_per_mV: float = 0.08
    block: tuple[float, ...] = field(default=(), repr=False)

    def normalisation(self) -> float:
        """The factor f that makes the peak of f (exp(-t/decay) - exp(-t/rise)) equal to 1."""
        if self.rise_ms == 0.0:
            return 1.0
        t_peak = self.rise_ms * self.decay_ms / (self.decay_ms - self.rise_ms) * np.log(self.decay_ms / self.rise_ms)
        return float(1.0 / (np.exp(-t_peak / self.decay_ms) - np.exp(-t_peak / self.rise_ms)))

    def time_course(self, t_ms: Floats) -> Floats:
        """Conductance at times t >= 0 after an event of weight 1, without the block.

        Args:
            t_ms: (...,) times since the event [ms].

        Returns:
            (...,) conductances [uS].
        """
        course = np.exp(-t_ms / self.decay_ms)
        if self.rise_ms > 0.0:
            course = course - np.exp(-t_ms / self.rise_ms)
        return self.g_max_uS * self.normalisation() * course

    def open_share(self, v_mV: Floats) -> Floats:
        """The block B(V).

        Args:
            v_mV: (...,) potentials [mV].

        Returns:
            (...,) shares of the conductance that are not blocked, 0..1.
        """
        if self.block:
            return np.interp(v_mV, BLOCK_MV, self.block)
        return 1.0 / (1.0 + self.mg_mM * np.exp(-self.slope_per_mV * np.asarray(v_mV)) / 3.57)


@dataclass(frozen=True)
class Synapse:
    """A kind of synapse.

    Attributes:
        name: such as "excitatory".
        excitatory: whether it excites.
        conductances: that one event opens.
    """

    name: str
    excitatory: bool
    conductances: tuple[Conductance, ...]
