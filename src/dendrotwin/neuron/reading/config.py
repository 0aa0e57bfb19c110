"""How a cell is read and how the reading is proved: what is tried, how exactly currents must agree, and how far."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dendrotwin.cell.tree import Floats


@dataclass(frozen=True)
class ClampConfig:
    """The compartments on which a mechanism is probed: isolated from each other, at a held potential."""

    axial_resistivity_ohm_cm: float = 1e20
    """Axial resistivity by which neighbours share no current [ohm cm]."""
    capacitance_uF_cm2: float = 1e12
    """Membrane capacitance by which the potential stands still [uF/cm2]."""
    length_um: float = 10.0
    """Length of a compartment [um]."""
    compartments_per_section: int = 1000
    """Most compartments of one NEURON section; NEURON takes 32767."""
    settling_ms: float = 1e-3
    """Step before a current is read, for mechanisms that compute in SOLVE what their current needs [ms]."""
    capacities_S_cm2: tuple[float, float] = (3.0, 6.0)
    """Two capacitances per step of 1 ms; the changes of V under both give the whole current and its slope [S/cm2]."""
    most_compartments: int = 60_000
    """Most compartments that are clamped at once."""
    most_compartments_of_plane: int = 4000
    """Most of them where tables over potential and concentration are made, some concentrations at a time."""


@dataclass(frozen=True)
class ProbeConfig:
    """Potentials, concentrations and states at which a mechanism is looked at before its tables are made."""

    few_round_mV: tuple[float, ...] = (-120.0, -93.0, -71.3, -55.1, -41.7, -22.9, -3.3, 18.7, 47.1)
    """Potentials at which it is seen what a mechanism depends on, before `off_round_mV` is added [mV]."""
    off_round_mV: float = 0.0137
    """Shift off round numbers, where rates such as x / (exp(x) - 1) are 0/0 in many published mechanisms [mV]."""
    few_states: tuple[float, ...] = (0.25, 0.4, 0.7)
    """Values of states at which compartments are compared."""
    few_concentrations: tuple[float, ...] = (0.01, 0.3, 1.0, 5.0, 100.0)
    """Concentrations at which it is seen what a mechanism depends on, as factors on that at the start."""
    v_beside_concentration_mV: float = -64.7863
    """Potential at which tables over a concentration alone are made [mV]."""
    density_v_mV: tuple[float, ...] = (-103.7863, -71.2863, -44.0363, -21.5363, 3.2137, 34.4637)
    """Potentials at which the densities of all compartments are compared, on the grid of the tables [mV]."""
    density_concentration: float = 10.0
    """Concentration at which densities are compared, as a factor on that at the start."""
    other_time_ms: float = 137.3
    """Time at which a mechanism must do the same as at 0 [ms]."""

    @property
    def few_mV(self) -> Floats:
        """(points,) the few potentials [mV]."""
        return np.array(self.few_round_mV) + self.off_round_mV


@dataclass(frozen=True)
class KineticsConfig:
    """Steps of NEURON from which the kinetics of states are read."""

    step_ms: float = 0.05
    """Step by which states are told apart [ms]."""
    other_step_ms: float = 0.4
    """Second step, by which NEURON's rule of integration is told [ms]."""
    gate_steps_ms: tuple[float, ...] = (1e-4, 3e-3, 0.1, 3.0)
    """Steps of which the one that leaves about half of a gate's state tells its time constant [ms]."""
    scheme_steps_ms: tuple[float, ...] = (0.05, 1e-3, 1e-5, 1e-7)
    """Steps of which the longest that can be inverted tells a kinetic scheme's rates [ms]."""
    scheme_condition: float = 1e6
    """Largest condition number of the map of such a step; beyond, the step has forgotten where it began."""
    state: float = 0.3
    """State from which steps are made."""
    state_shift: float = 0.37
    """Distance to the other state from which steps are made."""
    nonlinearity: float = 1e-6
    """Largest relative deviation of states from a linear step, above the errors of NEURON's Newton iterations."""
    coupling: float = 1e-8
    """Relative influence of a state on another from which on they depend on each other."""
    fastest_ms: float = 1e-6
    """Smallest time constant of a gate; faster ones follow at once in any step of a simulation [ms]."""


@dataclass(frozen=True)
class CurrentConfig:
    """How a mechanism's current is taken apart into powers of its states."""

    states: tuple[float, float] = (0.31, 0.62)
    """Two values of the states around which the powers are looked for."""
    factors: tuple[float, float] = (1.3, 0.7)
    """Factors by which one state at a time is moved."""
    tolerance: float = 1e-6
    """Largest relative error of the current of an ion, which NEURON gives itself."""
    tolerance_nonspecific: float = 1e-5
    """Largest relative error of a current of no ion, which is seen in changes of V."""
    highest_degrees: tuple[int, ...] = (8, 6, 5, 4, 4, 3, 3, 2, 2, 2)
    """Highest degree of a polynomial in one state, in two, in three, ...; in more states it is 1."""

    def highest_degree(self, states: int) -> int:
        """Highest degree of a polynomial in so many states.

        Args:
            states: their number.
        """
        return self.highest_degrees[states - 1] if 0 < states <= len(self.highest_degrees) else 1


@dataclass(frozen=True)
class PoolConfig:
    """How the pool of an ion is probed."""

    currents_mA_cm2: tuple[float, ...] = (-1e-2, -1e-3, 0.0, 1e-3)
    """Currents of the ion, the most inward one first, one of them 0 [mA/cm2]."""
    concentrations: tuple[float, float, float, float] = (0.5, 1.0, 2.0, 20.0)
    """Concentrations, as factors on that at the start; the second is 1."""
    nonlinearity: float = 1e-5
    """Largest relative deviation from a concentration that is linear in itself and in the current."""


@dataclass(frozen=True)
class MechanismProofConfig:
    """The test trace under which NEURON's mechanisms and the tables must give the same currents."""

    largest_error: float = 2e-3
    """Largest difference of a current, as a share of the largest current under the trace."""
    step_ms: float = 0.025
    """NEURON's step [ms]; its own default."""
    points: int = 400
    """Potentials and concentrations of the trace."""
    steps_per_point: int = 2
    """Steps for which a point is held: some currents are those of the step before."""
    most_classes: int = 12
    """Most classes of a mechanism that are driven, and most compartments of a pool."""
    capacity_S_cm2: float = 1e5
    """Capacitance per step, so large that V hardly moves, so small that how it moves tells the current [S/cm2]."""
    seed: int = 5
    """Seed of the trace."""


@dataclass(frozen=True)
class CellProofConfig:
    """The proof of the whole cell: synaptic input in NEURON, and from the tables in fine steps."""

    duration_ms: int = 100
    """Duration [ms]."""
    seed: int = 20261126
    """Seed of the input."""
    step_ms: float = 0.025
    """NEURON's step [ms]."""
    steps_per_ms: int = 64
    """Steps in each ms, from the tables."""
    most_mV: float = 0.5
    """Largest difference, a root mean square over compartments and time [mV]."""
    most_of_change: float = 0.05
    """Largest difference as a share of how far the cell moved from its start, where that is less."""
    least_mV: float = 0.02
    """Difference that is allowed in any case [mV]."""
    most_of_default: float = 2.0
    """Difference that is allowed in any case, as a multiple of that of NEURON's own default, backward Euler."""


@dataclass(frozen=True)
class ReadingConfig:
    """All of it."""

    clamp: ClampConfig = field(default_factory=ClampConfig)
    """Compartments on which a mechanism is probed."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """Where it is probed."""
    kinetics: KineticsConfig = field(default_factory=KineticsConfig)
    """Steps for its states."""
    current: CurrentConfig = field(default_factory=CurrentConfig)
    """Powers of its currents."""
    pool: PoolConfig = field(default_factory=PoolConfig)
    """Pools of ions."""
    mechanism_proof: MechanismProofConfig = field(default_factory=MechanismProofConfig)
    """Test trace of each mechanism."""
    cell_proof: CellProofConfig = field(default_factory=CellProofConfig)
    """Proof of the whole cell."""


READING = ReadingConfig()
