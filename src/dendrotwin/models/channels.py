"""The channels that a cable twin starts from: published kinetics, of which it learns densities and tunes the rest.

Steady states and time constants over the potential, at 34 degC where the source gives a temperature factor (Q10 2.3).
They are those of many cortical models (Hay et al. 2011, doi:10.1371/journal.pcbi.1002107; Gouwens et al. 2018,
doi:10.1038/s41467-017-02718-3; Markram et al. 2015, doi:10.1016/j.cell.2015.09.029).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

Q = 2.3**1.3  # from 21 to 34 degC

Gate = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def _linoid(x: torch.Tensor, k: float) -> torch.Tensor:
    """x / (1 - exp(-x/k)), k at 0."""
    small = x.abs() < 1e-6
    y = torch.where(small, torch.ones_like(x), x)
    return torch.where(small, k + x / 2, y / (1 - torch.exp(-y / k)))


def _rates(alpha: torch.Tensor, beta: torch.Tensor, q: float = Q) -> tuple[torch.Tensor, torch.Tensor]:
    return alpha / (alpha + beta), 1 / (alpha + beta) / q


def _sodium_m(v: torch.Tensor, half: float) -> tuple[torch.Tensor, torch.Tensor]:
    return _rates(0.182 * _linoid(v - half, 6.0), 0.124 * _linoid(half - v, 6.0))


def _sodium_h(v: torch.Tensor, half: float) -> tuple[torch.Tensor, torch.Tensor]:
    return _rates(0.015 * _linoid(half - v, 6.0), 0.015 * _linoid(v - half, 6.0))


def _persistent_m(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.sigmoid((v + 52.6) / 4.6), 6 * _sodium_m(v, -38.0)[1]


def _persistent_h(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    _, tau = _rates(2.88e-6 * _linoid(-(v + 17.0), 4.63), 6.94e-6 * _linoid(v + 64.4, 2.63))
    return torch.sigmoid(-(v + 48.8) / 10), tau


def _transient_k_m(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.sigmoid((v + 10) / 19), (0.34 + 0.92 * torch.exp(-(((v + 81) / 59) ** 2))) / Q


def _transient_k_h(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.sigmoid(-(v + 76) / 10), (8 + 49 * torch.exp(-(((v + 83) / 23) ** 2))) / Q


def _persistent_k_m(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    u = v + 10
    tau = torch.where(u < -50, 175.03 * torch.exp(0.026 * u.clamp(max=0)), 13 * torch.exp(-0.026 * u))
    return torch.sigmoid((v + 11) / 12), (1.25 + tau) / Q


def _persistent_k_h(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    tau = (360 + (1010 + 24 * (v + 65)) * torch.exp(-(((v + 85) / 48) ** 2))) / Q
    return torch.sigmoid(-(v + 64) / 11), tau.clamp(min=1.0)


def _shaw_m(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.sigmoid((v - 18.7) / 9.7), 4 * torch.sigmoid((v + 46.56) / 44.14)


def _muscarinic_m(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return _rates(0.0033 * torch.exp(0.1 * (v + 35)), 0.0033 * torch.exp(-0.1 * (v + 35)))


def _h_m(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return _rates(0.00643 * _linoid(-(v + 154.9), 11.9), 0.193 * torch.exp(v / 33.1), 1.0)


def _high_m(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return _rates(0.055 * _linoid(v + 27, 3.8), 0.94 * torch.exp(-(v + 75) / 17), 1.0)


def _high_h(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return _rates(0.000457 * torch.exp(-(v + 13) / 50), 0.0065 * torch.sigmoid((v + 15) / 28), 1.0)


def _low_m(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.sigmoid((v + 40) / 6), (5 + 20 * torch.sigmoid(-(v + 35) / 5)) / Q


def _low_h(v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.sigmoid(-(v + 90) / 6.4), (20 + 50 * torch.sigmoid(-(v + 50) / 7)) / Q


class Channel(NamedTuple):
    """A channel of conductance density times m^power times h.

    Attributes:
        name, source: for people.
        activation, power, inactivation: names in `GATES`; the last may be None.
        reversal_mV: to start from, None for calcium, whose Nernst potential follows its concentration.
        fast: whether it asks for small substeps where it is open.
        slow: whether it changes once in a quiet millisecond only; these come last. Calcium's all are.
        density: to start from in soma, axon and dendrites [S/cm2], of the order that models of pyramidal cells have: in
            the axon the sodium of axons, in the soma that of somata (Colbert and Pan 2002).
    """

    name: str
    source: str
    activation: str
    power: int
    inactivation: str | None
    reversal_mV: float | None
    fast: bool
    slow: bool
    density: tuple[float, float, float]


GATES: dict[str, Gate] = {
    "axonal sodium m": lambda v: _sodium_m(v, -38.0),
    "axonal sodium h": lambda v: _sodium_h(v, -66.0),
    "somatic sodium m": lambda v: _sodium_m(v, -32.0),
    "somatic sodium h": lambda v: _sodium_h(v, -60.0),
    "persistent sodium m": _persistent_m,
    "transient potassium m": _transient_k_m,
    "Kv3 m": _shaw_m,
    "persistent sodium h": _persistent_h,
    "transient potassium h": _transient_k_h,
    "persistent potassium m": _persistent_k_m,
    "persistent potassium h": _persistent_k_h,
    "high calcium m": _high_m,
    "high calcium h": _high_h,
    "low calcium m": _low_m,
    "low calcium h": _low_h,
    "M current m": _muscarinic_m,
    "Ih m": _h_m,
}

E_NA_MV, E_K_MV = 50.0, -85.0
_FEW, _LITTLE, _SOME = 1e-4, 3e-4, 3e-3

CHANNELS: tuple[Channel, ...] = (
    Channel("NaTa_t", "Colbert and Pan 2002, doi:10.1038/nn0602-857", "axonal sodium m", 3, "axonal sodium h",
            E_NA_MV, True, False, (0.02, 2.0, _FEW)),
    Channel("NaTs2_t", "Colbert and Pan 2002, doi:10.1038/nn0602-857", "somatic sodium m", 3, "somatic sodium h",
            E_NA_MV, True, False, (0.5, 0.02, _FEW)),
    Channel("Nap_Et2", "Magistretti and Alonso 1999, doi:10.1085/jgp.114.4.491", "persistent sodium m", 3,
            "persistent sodium h", E_NA_MV, False, False, (_SOME, _SOME, _FEW)),
    Channel("K_Tst", "Korngreen and Sakmann 2000, doi:10.1111/j.1469-7793.2000.00621.x", "transient potassium m", 4,
            "transient potassium h", E_K_MV, False, False, (0.03, 0.03, _FEW)),
    Channel("SKv3_1", "Rettig et al. 1992, doi:10.1002/j.1460-2075.1992.tb05312.x", "Kv3 m", 1, None,
            E_K_MV, False, False, (0.3, 0.3, 1e-3)),
    Channel("K_Pst", "Korngreen and Sakmann 2000, doi:10.1111/j.1469-7793.2000.00621.x", "persistent potassium m", 2,
            "persistent potassium h", E_K_MV, False, True, (0.03, 0.03, _FEW)),
    Channel("Ca_HVA", "Reuveni et al. 1993, doi:10.1523/JNEUROSCI.13-11-04609.1993", "high calcium m", 2,
            "high calcium h", None, False, True, (_LITTLE, _LITTLE, _FEW)),
    Channel("Ca_LVAst", "Avery and Johnston 1996, doi:10.1523/JNEUROSCI.16-18-05567.1996", "low calcium m", 2,
            "low calcium h", None, False, True, (_LITTLE, _LITTLE, _FEW)),
    Channel("Im", "Adams, Brown and Constanti 1982, doi:10.1113/jphysiol.1982.sp014357", "M current m", 1, None,
            E_K_MV, False, True, (1e-3, 0.01, _FEW)),
)  # fmt: skip
"""What is learned beside Ih, whose density the tree knows (Kole et al. 2006, doi:10.1523/JNEUROSCI.3664-05.2006), and
SK, which follows calcium; both are slow."""

QUICK_CHANNELS = sum(not channel.slow for channel in CHANNELS)
QUICK_GATES = list(GATES).index("persistent sodium h")  # the others change with what is slow, see `membrane`
assert all(channel.slow for channel in CHANNELS[QUICK_CHANNELS:])
assert all(channel.slow or channel.reversal_mV is not None for channel in CHANNELS)
assert all(1 <= channel.power <= 4 for channel in CHANNELS)

SK_DENSITY = (0.05, 0.05, _FEW)


def tables(
    grid_mV: torch.Tensor, halves_ms: tuple[float, float], late_ms: float, shift_mV: torch.Tensor,
    log_tau: torch.Tensor, gates: list[str],
) -> torch.Tensor:  # fmt: skip
    """Steady state, decay and lead of gates over the potential.

    A gate goes on for half of the substep before, h1, and half of the one to come, h2, both at the potential V between
    them. But that potential moves: if by dV in the substep to come, and at the same rate before, a gate of time
    constant tau gets to `lead` times dV more (variation of constants),

        lead = dx/dV (h2 - tau + (h1 + tau) exp(-(h1 + h2) / tau)) / 2 h2,   x the steady state:

    next to nothing for a slow gate, and for one far quicker than the substep the change of its steady state in h2. The
    simulation has substeps of its own, through which its gates follow a potential that moves as if their time constant
    were late / tanh(late / tau), with half of its step for late; that tau stands in the lead but for the exponential.

    Args:
        grid_mV: (bins,) evenly spaced potentials.
        halves_ms: h1 and h2.
        late_ms: half of the simulation's step; 0 for the gates of nature.
        shift_mV: (gates,) by which each gate's kinetics are moved along the potential.
        log_tau: (gates,) logarithm of a factor of its time constant.
        gates: names.

    Returns:
        (gates, bins, 3): steady state, exp(-(h1 + h2) / tau), and lead [1/mV].
    """
    found = [GATES[name](grid_mV - shift_mV[k]) for k, name in enumerate(gates)]
    steady = torch.stack([s for s, _ in found])
    tau = torch.stack([t for _, t in found]) * torch.exp(log_tau)[:, None]
    before, after = halves_ms
    keep = torch.exp(-(before + after) / tau)
    behind = late_ms / torch.tanh(late_ms / tau) if late_ms > 0 else tau
    (steep,) = torch.gradient(steady, spacing=float(grid_mV[1] - grid_mV[0]), dim=1)
    lead = steep * (after - behind + (before + behind) * keep) / (2.0 * after)
    return torch.stack([steady, keep, lead], 2)
