"""Networks of twins beside networks in NEURON."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dendrotwin
from conftest import in_new_process
from dendrotwin.cell.synapse import Conductance, Synapse
from dendrotwin.cells import load_cell
from dendrotwin.circuit.description import Description, Population, Projection, SpikeTrains
from dendrotwin.circuit.engine import Settings
from dendrotwin.circuit.recorders import Potentials
from dendrotwin.circuit.run import run
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.solver.accuracy import CableConfig

# Differential equations, which NEURON integrates between the spikes: of Tsodyks, Pawelzik and Markram 1998,
AT_ONCE = """
NEURON { POINT_PROCESS Plastic NONSPECIFIC_CURRENT i RANGE tau, e, use, depression, facilitation }
UNITS { (mV) = (millivolt) (nA) = (nanoamp) (uS) = (microsiemens) }
PARAMETER { tau = 3 e = 0 use = 0.5 depression = 100 facilitation = 50 }
ASSIGNED { v (mV) i (nA) }
STATE { g r u }
INITIAL { g = 0 r = 1 u = 0 }
BREAKPOINT { SOLVE s METHOD cnexp  i = g * (v - e) }
DERIVATIVE s { g' = -g / tau  r' = (1 - r) / depression  u' = -u / facilitation }
NET_RECEIVE(w) { u = u + use * (1 - u)  g = g + w * r * u  r = r - r * u }
"""
# and of Tsodyks, Uziel and Markram 2000, by the names of NEURON's tmgsyn.
IN_TIME = """
NEURON { POINT_PROCESS tmgsyn NONSPECIFIC_CURRENT i RANGE tau_1, tau_rec, tau_facil, U, u0, e }
UNITS { (mV) = (millivolt) (nA) = (nanoamp) (uS) = (microsiemens) }
PARAMETER { tau_1 = 3 tau_rec = 100 tau_facil = 1000 U = 0.04 u0 = 0 e = 0 }
ASSIGNED { v (mV) i (nA) }
STATE { g active recovering u }
INITIAL { g = 0 active = 0 recovering = 0 u = u0 }
BREAKPOINT { SOLVE s METHOD derivimplicit  i = g * (v - e) }
DERIVATIVE s {
    g' = -g / tau_1
    active' = -active / tau_1
    recovering' = active / tau_1 - recovering / tau_rec
    u' = -u / tau_facil
}
NET_RECEIVE(w) {
    LOCAL used
    u = u + U * (1 - u)
    used = u * (1 - active - recovering)
    g = g + w * used
    active = active + used
}
"""
SPIKES_MS = np.array([20.0, 30.0, 38.0, 50.0, 58.0, 120.0, 126.0, 200.0])
KINDS = {  # tau of the conductance, and U, depression, facilitation, inactivation [ms], u0
    "depresses": (3.0, (0.6, 150.0, 1.0, 0.0, 0.0)),
    "facilitates": (3.0, (0.08, 20.0, 300.0, 0.0, 0.0)),
    "both": (3.0, (0.3, 80.0, 60.0, 0.0, 0.0)),
    "stays active": (9.0, (0.6, 60.0, 5.0, 9.0, 0.0)),
    "starts above 0": (3.0, (0.2, 30.0, 200.0, 3.0, 0.8)),
    "recovers as fast": (12.0, (0.5, 12.0, 80.0, 12.0, 0.0)),
}
DURATION_MS, DT_MS = 250, 0.0125
CHARGE = 0.012  # of a synapse with all its resources [uS ms]


def _in_neuron(folder: Path) -> dict[str, Any]:
    """The potential of a soma under a plastic synapse of each kind, at every step [mV]."""
    model = load_cell("ball_and_stick")
    own = [*model.mechanisms()]
    for name, text in (("Plastic", AT_ONCE), ("tmgsyn", IN_TIME)):
        own.append(folder / f"{name}.mod")
        own[-1].write_text(text)
    cell = NeuronCell(dataclasses.replace(model, mechanisms=lambda: own))
    from neuron import h

    h.load_file("stdrun.hoc")
    soma = cell.segments[cell.tree.soma]
    h.celsius, h.secondorder, h.dt, h.steps_per_ms = model.celsius, 2, DT_MS, 1.0 / DT_MS
    v, found = h.Vector().record(soma._ref_v), {}
    for name, (tau_ms, (use, depression_ms, facilitation_ms, inactivation_ms, u0)) in KINDS.items():
        if inactivation_ms:
            synapse = h.tmgsyn(soma)
            synapse.tau_1, synapse.tau_rec, synapse.tau_facil = tau_ms, depression_ms, facilitation_ms
            synapse.U, synapse.u0 = use, u0
        else:
            synapse = h.Plastic(soma)
            synapse.tau, synapse.depression, synapse.facilitation, synapse.use = (
                tau_ms, depression_ms, facilitation_ms, use
            )  # fmt: skip
        connection = h.NetCon(None, synapse)
        connection.weight[0] = CHARGE / tau_ms
        h.finitialize(model.v_init_mV)
        for spike_ms in SPIKES_MS:
            connection.event(spike_ms + 1.0)
        h.continuerun(DURATION_MS)
        found[name] = np.array(v)[1:]
    return found


@pytest.fixture(scope="module")
def neuron(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[np.float64]]:
    return in_new_process(_in_neuron, tmp_path_factory.mktemp("plastic"))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", KINDS)
def test_plastic_synapses_are_neurons(neuron: dict[str, NDArray[np.float64]], kind: str) -> None:
    twin = dendrotwin.twin_of("ball_and_stick")
    tau_ms, parameters = KINDS[kind]
    cell = Population("cell", (twin,), np.zeros(1, np.int32), np.zeros((1, 3)), np.eye(3)[None])
    train = SpikeTrains("train", 1, np.zeros(len(SPIKES_MS), np.int64), SPIKES_MS)
    exponential = Synapse("exponential", True, (Conductance(0.0, tau_ms, 1.0, 0.0),))
    one, zero = np.ones(1), np.zeros(1, np.int64)
    soma = np.array([twin.tree.soma], np.int32)
    plastic = np.array([parameters])

    def soma_mV(plasticity: NDArray[np.float64] | None) -> NDArray[np.float64]:
        to_cell = Projection(
            "train",
            "cell",
            zero,
            zero,
            soma,
            (exponential,),
            zero.astype(np.int32),
            CHARGE / tau_ms * one,
            one,
            plasticity,
        )
        settings = Settings(DURATION_MS, accuracy=CableConfig(accuracy="exact"))
        result = run(Description((cell,), (train,), (to_cell,)), settings, [Potentials("cell")])
        assert result is not None
        return np.asarray(result.recorded("v-cell")["values"][:, 0], np.float64)

    every_ms = neuron[kind][round(1.0 / DT_MS) - 1 :: round(1.0 / DT_MS)]
    error_mV, without_mV = (np.sqrt(np.mean((soma_mV(each) - every_ms) ** 2)) for each in (plastic, None))
    assert error_mV < 0.02 * without_mV
    assert np.ptp(every_ms) > 1.0
