"""What a patch pipette in current clamp sees of the potential at its tip."""

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

    tau dV_p/dt = V + R I - V_p, tau = R C (Brette et al. 2008, doi:10.1016/j.neuron.2008.06.021): the capacitance C
    of pipette and amplifier behind the series resistance R, I the current injected into the same compartment, whose
    drop over R is seen without bridge balance. Between samples V goes in a straight line, for which the filter is
    exact. The tau of a good pipette (10 MOhm, 5 pF: 0.05 ms) hardly shows in samples that are 1 ms apart.

    Attributes:
        compartment: where; None for the soma.
        series_MOhm: R [MOhm].
        capacitance_pF: C [pF].
        noise_mV: standard deviation of white noise on each sample [mV].
        seed: of the noise.
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

    def at(self, tree: Tree) -> int:
        """The compartment.

        Raises:
            InputError: the cell has none of this number.
        """
        compartment = tree.soma if self.compartment is None else self.compartment
        if not 0 <= compartment < tree.n:
            raise InputError(f"a patch at compartment {compartment}; the cell has compartments 0 to {tree.n - 1}")
        return compartment

    def recorder(self, tree: Tree, step_ms: float) -> Callable[[NDArray[np.floating], Injection | None], Floats]:
        """A function that goes on from chunk to chunk of a trial: V (time, n) and injection to (time, 1) [mV].

        Args:
            tree: the cell.
            step_ms: from one sample to the next [ms].
        """
        at, rng = self.at(tree), np.random.default_rng(self.seed)
        tau_ms = self.series_MOhm * self.capacitance_pF * 1e-3
        keep = np.exp(-step_ms / tau_ms) if tau_ms > 0.0 else 0.0
        # V_p(t + dt) for an input that goes straight from x(t) to x(t + dt).
        ahead = 1.0 - tau_ms / step_ms * (1.0 - keep)
        behind = 1.0 - keep - ahead
        state: Floats | None = None

        def record(v_mV: NDArray[np.floating], injection: Injection | None) -> Floats:
            nonlocal state
            x = np.array(v_mV[:, at], dtype=np.float64)
            if injection is not None:
                x += self.series_MOhm * injection.current_nA[:, injection.compartment == at].sum(axis=1)
            if state is None:  # settled at the first sample
                state = np.array([(1.0 - ahead) * x[0]])
            y, state = lfilter([ahead, behind], [1.0, -keep], x, zi=state)
            return np.asarray(y + self.noise_mV * rng.standard_normal(len(y)))[:, None]

        return record

    def channels(self) -> dict[str, Any]:
        """The compartment, -1 for the soma."""
        return {"compartment": np.array([-1 if self.compartment is None else self.compartment])}
