"""What a patch pipette in current clamp records of the potential at its tip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from dendrotwin.cell.tree import Floats, Injection, Tree
from dendrotwin.errors import InputError


@dataclass(frozen=True, eq=False)
class Patch:
    """Whole-cell current clamp at a compartment: V behind the pipette's resistance and capacitance, with noise [mV].

    With the capacitance C of pipette and amplifier behind the series resistance R, the recorded potential V_p follows

    tau dV_p/dt = V + R I - V_p, tau = R C (Brette et al. 2008, doi:10.1016/j.neuron.2008.06.021).

    I is the current injected into the same compartment; its drop over R is recorded too, as without bridge balance.
    The filter is exact for what they are: I is held over each of its milliseconds, V is linear between samples. Before
    the trial I is zero and V that of the first sample. The defaults are our choice of a good pipette: their tau of 0.05
    ms hardly shows in samples that are 1 ms apart.

    Attributes:
        compartment: number of the compartment; None for the soma.
        series_MOhm: R [MOhm].
        capacitance_pF: C [pF].
        noise_mV: standard deviation of white noise on each sample [mV].
        seed: of the noise.
        name, unit: of the signal, see `LinearInstrument`.
    """

    compartment: int | None = None
    series_MOhm: float = 10.0
    capacitance_pF: float = 5.0
    noise_mV: float = 0.1
    seed: int = 0
    name: str = "patch"
    unit: ClassVar[str] = "mV"

    def __post_init__(self) -> None:
        """Raise InputError where a value is negative or not finite."""
        values = (self.series_MOhm, self.capacitance_pF, self.noise_mV, self.seed)
        if not (np.isfinite(values).all() and min(values) >= 0.0):
            raise InputError("a patch's series_MOhm, capacitance_pF, noise_mV and seed are 0 or more")

    def compartment_of(self, tree: Tree) -> int:
        """Number of the compartment.

        Args:
            tree: the cell.

        Raises:
            InputError: the cell has no compartment of this number.
        """
        compartment = tree.soma if self.compartment is None else self.compartment
        if not 0 <= compartment < tree.n:
            raise InputError(f"a patch at compartment {compartment}; choose one from 0 to {tree.n - 1}")
        return compartment

    def recorder(self, tree: Tree, interval_ms: float) -> Callable[[NDArray[np.floating], Injection | None], Floats]:
        """The pipette on one cell.

        Args:
            tree: the cell.
            interval_ms: from one sample to the next [ms].

        Returns:
            A function from V (samples, n) [mV] and injection to V_p (samples, 1) [mV]. It continues from call to call,
            so that a trial can be given in chunks.

        Raises:
            InputError: see `compartment_of`.
        """
        at, rng = self.compartment_of(tree), np.random.default_rng(self.seed)
        tau_ms = self.series_MOhm * self.capacitance_pF * 1e-3
        decay = np.exp(-interval_ms / tau_ms) if tau_ms > 0.0 else 0.0
        # For an input that is linear from x(t) to x(t + dt): V_p(t + dt) = decay V_p(t) + before x(t) + now x(t + dt).
        # For one that is held at x from t to t + dt: decay V_p(t) + (1 - decay) x. The filter is linear in both.
        now = 1.0 - tau_ms / interval_ms * (1.0 - decay)
        before = 1.0 - decay - now
        of_v: Floats | None = None
        of_drop = np.zeros(1)

        def record(v_mV: NDArray[np.floating], injection: Injection | None) -> Floats:
            nonlocal of_v, of_drop
            x = np.array(v_mV[:, at], dtype=np.float64)
            if of_v is None:  # at rest at the first sample: V_p = V
                of_v = np.array([(1.0 - now) * x[0]])
            y, of_v = lfilter([now, before], [1.0, -decay], x, zi=of_v)
            if injection is not None:
                drop_mV = self.series_MOhm * injection.current_nA[:, injection.compartment == at].sum(axis=1)
                held, of_drop = lfilter([1.0 - decay], [1.0, -decay], drop_mV, zi=of_drop)
                y = y + held
            return np.asarray(y + self.noise_mV * rng.standard_normal(len(y)))[:, None]

        return record

    def channels(self) -> dict[str, Any]:
        """Number of the compartment, -1 for the soma, and what the pipette is like."""
        return {
            "compartment": np.array([-1 if self.compartment is None else self.compartment]),
            "series_MOhm": np.array([float(self.series_MOhm)]),
            "capacitance_pF": np.array([float(self.capacitance_pF)]),
        }
