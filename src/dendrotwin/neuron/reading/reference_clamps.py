"""Voltage clamps of the references of a mechanism's classes, over grids of concentrations and potentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dendrotwin.cell.membrane import PLANE_C_MM, PLANE_V_MV
from dendrotwin.cell.tree import Floats
from dendrotwin.neuron.reading.config import READING
from dendrotwin.neuron.reading.voltage_clamp import AS_BUILT, Compartments, Conditions, VoltageClamp, mesh_indices
from dendrotwin.neuron.variables import Globals


class Clamped(NamedTuple):
    """A clamp of n compartments, (classes, concentrations, potentials) flat.

    Attributes:
        clamp: the clamp.
        v_mV: (n,) potentials [mV].
        conditions: what else is held.
        shape: (classes, concentrations, potentials).
    """

    clamp: VoltageClamp
    v_mV: Floats
    conditions: Conditions
    shape: tuple[int, int, int]


class ReferenceClamps:
    """Clamps of the references of classes, one for each size of grid.

    Attributes:
        references: one compartment of each class.
        ion: the one whose changing concentration matters; "" for none.
    """

    def __init__(self, mechanism: str, references: Compartments, shared: Globals, nernst_ions: frozenset[str]) -> None:
        """Nothing is built yet.

        Args:
            mechanism: NEURON's name.
            references: one compartment of each class.
            shared: GLOBALs.
            nernst_ions: ions whose reversal potential follows their concentration.
        """
        self._mechanism, self.references, self._shared, self._nernst_ions = mechanism, references, shared, nernst_ions
        self.ion = ""
        self._clamps: dict[tuple[int, int], VoltageClamp] = {}

    def new(self, c_mM: Floats | None, v_mV: Floats) -> Clamped:
        """A clamp of each class at each of some concentrations and potentials, which the caller closes.

        Args:
            c_mM: (classes, c) or (1, c) inside concentrations of `ion` [mM]; None for that at the start.
            v_mV: (v,) potentials [mV].
        """
        return self._clamped(c_mM, v_mV, None)

    def at(self, c_mM: Floats | None, v_mV: Floats) -> Clamped:
        """As `new`, but closed with all others; clamps are used again for grids of the same size.

        Args:
            c_mM: (classes, c) or (1, c) inside concentrations of `ion` [mM]; None for that at the start.
            v_mV: (v,) potentials [mV].
        """
        key = (1 if c_mM is None else c_mM.shape[-1], len(v_mV))
        clamped = self._clamped(c_mM, v_mV, self._clamps.get(key))
        self._clamps[key] = clamped.clamp
        return clamped

    def _clamped(self, c_mM: Floats | None, v_mV: Floats, clamp: VoltageClamp | None) -> Clamped:
        shape = (len(self.references), 1 if c_mM is None else c_mM.shape[-1], len(v_mV))
        which, i, j = mesh_indices(*shape)
        if clamp is None:
            references = self.references.take(which)
            clamp = VoltageClamp(self._mechanism, references, self._shared, nernst_ions=self._nernst_ions)
        conditions = AS_BUILT
        if c_mM is not None:
            conditions = Conditions({self.ion: np.broadcast_to(c_mM, shape[:2])[which, i]})
        return Clamped(clamp, v_mV[j], conditions, shape)

    def start(self) -> Floats | None:
        """(classes, 1) concentration of `ion` at the start [mM]; None without an ion."""
        return self.references.ions[self.ion]["i"][:, None] if self.ion else None

    def few_concentrations(self) -> Floats | None:
        """(classes, c) a few concentrations of `ion` [mM]; None without an ion."""
        start = self.start()
        return None if start is None else start * np.array(READING.probe.few_concentrations)

    def few(self) -> Clamped:
        """At a few concentrations and potentials."""
        return self.at(self.few_concentrations(), READING.probe.few_mV)

    def over_plane(
        self,
        make: Callable[[Clamped], list[Floats]],
        axis: int,
        c_mM: Floats = PLANE_C_MM,
        v_mV: Floats = PLANE_V_MV,
    ) -> list[Floats]:
        """Tables over concentrations and potentials, made some concentrations at a time on one clamp.

        Args:
            make: gives tables (..., concentrations, ...) at those of a clamp.
            axis: of the tables, along which concentrations lie.
            c_mM: (c,) inside concentrations of `ion` [mM].
            v_mV: (v,) potentials [mV].
        """
        some = max(1, READING.clamp.most_compartments_of_plane // (len(self.references) * len(v_mV)))
        made = []
        for first in range(0, len(c_mM), some):
            at = np.minimum(np.arange(first, first + some), len(c_mM) - 1)
            made.append(make(self.at(c_mM[None, at], v_mV)))
        return [np.take(np.concatenate(x, axis=axis), range(len(c_mM)), axis=axis) for x in zip(*made, strict=True)]

    def close(self) -> None:
        """Remove all from NEURON."""
        for clamp in self._clamps.values():
            clamp.close()


def joined(parts: list[Compartments]) -> Compartments:
    """Compartments of one mechanism, one after the other.

    Args:
        parts: with the same parameters and ions.
    """
    first = parts[0]
    return Compartments(
        {name: np.concatenate([part.parameters[name] for part in parts]) for name in first.parameters},
        np.concatenate([part.diam_um for part in parts]),
        {
            ion: {key: np.concatenate([part.ions[ion][key] for part in parts]) for key in values}
            for ion, values in first.ions.items()
        },
    )
