"""Compares the cell l5pc with reference simulations of the published model, and its currents with numpy.

Each function runs in a process whose mechanism library is loaded already and which holds no other cell; it
returns deviations, judges nothing, and removes its cell from NEURON. The reference folder holds `cell1.asc`
and `reference_*.npz`; its README.md says how they were made.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dendrotwin.cells import l5pc

DT_MS = 0.025
EXC_NS = {"gmax_ampa": 0.4, "gmax_nmda": 0.4}
GABA_GMAX_NS = 1.0

Array = np.ndarray[Any, np.dtype[Any]]


# --------------------------------------------------------------------------- the whole cell, three references


def compartments(folder: Path) -> dict[str, float]:
    """Names, areas and axial resistances of all compartments: mismatching names, relative deviations."""
    reference = np.load(folder / "reference_compartments.npz")
    with _cell(folder, "hay2011") as sections:
        segments = _segments(sections)
        names = [_name(s) for s in segments]
        area, ri = np.array([s.area() for s in segments]), np.array([s.ri() for s in segments])
    if len(names) != len(reference["names"]):
        return {"names": abs(len(names) - len(reference["names"])), "area": np.inf, "ri": np.inf}
    return {
        "names": sum(a != b for a, b in zip(names, reference["names"], strict=True)),
        "area": float(np.max(np.abs(area / reference["area"] - 1))),
        "ri": float(np.max(np.abs(ri / reference["ri"] - 1))),
    }


def synaptic(folder: Path, duration_ms: int = 400) -> float:
    """Synaptic input to "shai2015": max |dV| over all compartments and milliseconds [mV]."""
    from neuron import h

    reference = np.load(folder / "reference_synaptic.npz")
    with _cell(folder, "shai2015") as sections:
        segments = _segments(sections)
        dendritic = [s for region in (sections[1], sections[2]) for section in region for s in section]
        exc, inh = [], []
        for segment in dendritic:
            synapse = h.DendrotwinAmpaNmda(segment)
            for parameter, value_ns in EXC_NS.items():
                setattr(synapse, parameter, 1e-3 * value_ns)
            exc.append(synapse)
            synapse = h.DendrotwinGabaA(segment)
            synapse.gmax = 1e-3 * GABA_GMAX_NS
            inh.append(synapse)
        inputs = [[_input(s) for s in kind] for kind in (exc, inh)]

        _start(h, "shai2015")
        for connections, events in zip(inputs, (reference["exc_events"], reference["inh_events"]), strict=True):
            for compartment, time_ms in events:
                if time_ms < duration_ms:
                    connections[compartment].event(float(time_ms))
        steps_per_ms = round(1 / DT_MS)
        deviation = 0.0
        for t in range(duration_ms):
            v = np.array([s.v for s in segments])
            deviation = max(deviation, float(np.max(np.abs(v - reference["V_mV"][t]))))
            for _ in range(steps_per_ms):
                h.fadvance()
        return deviation


def step(folder: Path, duration_ms: float = 1500.0) -> dict[str, float]:
    """Current step into "hay2011": max |dV| of the soma [mV], max |dt| of spikes [ms] (inf: other count)."""
    from neuron import h

    reference = np.load(folder / "reference_currents.npz")
    with _cell(folder, "hay2011") as sections:
        clamp = h.IClamp(sections[0][0](0.5))
        clamp.delay, clamp.dur, clamp.amp = 700, 1e9, 0.793
        (v,) = _record_steps(h, [sections[0][0](0.5)], duration_ms)
        spikes = DT_MS * (1 + np.flatnonzero((v[:-1] < -10) & (v[1:] >= -10)))
        expected = reference["step_spike_times_ms"]
        expected = expected[expected <= duration_ms]
        same_count = len(spikes) == len(expected)
        return {
            "V": float(np.max(np.abs(v - reference["step_soma_mV"][: len(v)]))),
            "spikes": len(spikes),
            "spike_times": float(np.max(np.abs(spikes - expected), initial=0)) if same_count else np.inf,
        }


def back_propagation(folder: Path, with_epsp: bool, duration_ms: float = 600.0) -> dict[str, float]:
    """BAP (pulse at the soma) or BAC (with an apical current too): max |dV| at three sites [mV]."""
    from neuron import h

    reference = np.load(folder / "reference_currents.npz")
    with _cell(folder, "hay2011") as sections:
        soma, trunk = sections[0][0], sections[2][36]
        sites = {"soma": soma(0.5), "apic620": trunk(0.9723), "apic400": trunk(0.0753)}
        pulse = h.IClamp(sites["soma"])
        pulse.delay, pulse.dur, pulse.amp = 295, 5, 1.9
        if with_epsp:
            after = np.maximum(DT_MS * np.arange(round(duration_ms / DT_MS) + 1) - 300.0, 0.0)
            epsp = h.IClamp(sites["apic620"])
            epsp.delay, epsp.dur = 0, 1e9
            # The README gives 1/peak with six decimals, which costs 5e-4 mV at the soma.
            peak = 0.9 * 10 ** (-1 / 9)
            samples = h.Vector(0.5 / peak * (np.exp(-after / 5) - np.exp(-after / 0.5)))
            samples.play(epsp._ref_amp, DT_MS)
        voltages = _record_steps(h, list(sites.values()), duration_ms)
        kind = "BAC" if with_epsp else "BAP"
        return {
            site: float(np.max(np.abs(v - reference[f"{kind}_{site}_mV"][: len(v)])))
            for site, v in zip(sites, voltages, strict=True)
        }


# ---------------------------------------------------- single currents against numpy, in one small compartment

Q34 = 2.3 ** ((34 - 21) / 10)


def _linoid(x: Array, y: float) -> Array:
    """x/(1 - exp(-x/y)) with its limit y at 0: the rising form of the README's rates."""
    near = np.abs(x) < 1e-5
    safe = np.where(near, 1.0, x)
    return np.where(near, y + x / 2, safe / -np.expm1(-safe / y))


def nata_gates(v: Array) -> dict[str, tuple[Array, Array]]:
    """(steady state, time constant) of each gate of NaTa_t at v [mV]."""
    am, bm = 0.182 * _linoid(v + 38, 6), 0.124 * _linoid(-v - 38, 6)
    ah, bh = 0.015 * _linoid(-v - 66, 6), 0.015 * _linoid(v + 66, 6)
    return {
        "m": (am / (am + bm), 1 / ((am + bm) * Q34)),
        "h": (ah / (ah + bh), 1 / ((ah + bh) * Q34)),
    }


def ca_lvast_gates(v: Array) -> dict[str, tuple[Array, Array]]:
    """(steady state, time constant) of each gate of Ca_LVAst at v [mV]."""
    u = v + 10
    return {
        "m": (1 / (1 + np.exp(-(u + 30) / 6)), (5 + 20 / (1 + np.exp((u + 25) / 5))) / Q34),
        "h": (1 / (1 + np.exp((u + 80) / 6.4)), (20 + 50 / (1 + np.exp((u + 40) / 7))) / Q34),
    }


def voltage_course(dt_ms: float) -> Array:
    """Steps, a ramp and an oscillation through all the voltages of a spiking cell [mV]."""
    n = round(40 / dt_ms)
    ramp = np.linspace(-110, 50, n)
    wave = -50 + 45 * np.sin(2 * np.pi * np.arange(n) * dt_ms / 13)
    levels = [np.full(n // 4, level) for level in (-80.0, -38.0, 20.0, -66.0, -100.0, -45.0, 0.0, -75.0)]
    return np.concatenate([*levels, ramp, wave])


def nata_current() -> float:
    """Relative error of NaTa_t's current under a voltage course."""
    return _channel_error("NaTa_t", "ina", {"ena": 50.0}, nata_gates, {"m": 3, "h": 1}, "ena")


def ca_lvast_current() -> float:
    """Relative error of Ca_LVAst's current under a voltage course."""
    return _channel_error("Ca_LVAst", "ica", {"eca": 120.0}, ca_lvast_gates, {"m": 2, "h": 1}, "eca")


def nata_singular_rates() -> float:
    """Relative error of NaTa_t's steady states and time constants at and beside its rates' 0/0 points."""
    from neuron import h

    section = _small_compartment(h)
    section.insert("NaTa_t")
    error = 0.0
    for point in (-38.0, -66.0):
        for offset in (-1e-3, -1e-5, -1e-9, 0.0, 1e-9, 1e-5, 1e-3):
            h.finitialize(point + offset)
            channel = section(0.5).NaTa_t
            for gate, (steady, tau) in nata_gates(np.array(point + offset)).items():
                error = max(error, abs(getattr(channel, f"{gate}_inf") / steady - 1))
                error = max(error, abs(getattr(channel, f"{gate}_tau") / tau - 1))
    return float(error)


def nmda_current() -> float:
    """Relative error of the NMDA part of an excitatory synapse after events, under a voltage course."""
    from neuron import h

    rise_ms, decay_ms, gmax_us = 2.0, 70.0, 4e-4
    section = _small_compartment(h)
    synapse = h.DendrotwinAmpaNmda(section(0.5))
    events_ms = {5.0: 1.0, 6.0: 1.0, 40.0: 2.0, 90.0: 0.5}  # time: weight
    connections = []
    for time_ms, weight in events_ms.items():
        connection = _input(synapse)
        connection.weight[0] = weight
        connections.append((connection, time_ms))
    v, current = _clamp(h, section, lambda: synapse.i_nmda, connections)

    t = DT_MS * np.arange(len(v))
    late = np.linspace(0, 50, 1_000_001)
    peak = np.max(np.exp(-late / decay_ms) - np.exp(-late / rise_ms))
    conductance = np.zeros_like(t)
    for time_ms, weight in events_ms.items():
        after = np.maximum(t - time_ms, 0)
        conductance += gmax_us * weight * (np.exp(-after / decay_ms) - np.exp(-after / rise_ms)) / peak
    return _relative(current, conductance * v / (1 + np.exp(-0.08 * v) / 3.57))


def _channel_error(
    mechanism: str,
    current_name: str,
    reversal: dict[str, float],
    gates: Callable[[Array], dict[str, tuple[Array, Array]]],
    powers: dict[str, int],
    reversal_name: str,
) -> float:
    """Clamp one channel; integrate its gates over the sampled voltages, each held over the step it ends."""
    from neuron import h

    gbar = 0.01
    section = _small_compartment(h)
    section.insert(mechanism)
    setattr(section, f"gbar_{mechanism}", gbar)
    setattr(section, reversal_name, reversal[reversal_name])
    segment = section(0.5)
    v, current = _clamp(h, section, lambda: getattr(segment, current_name), [])

    conductance = np.full(len(v), gbar)
    for gate, (steady, tau) in gates(v).items():
        x = np.empty(len(v))
        x[0] = steady[0]
        keep = np.exp(-DT_MS / tau)
        for k in range(1, len(v)):
            x[k] = steady[k] + (x[k - 1] - steady[k]) * keep[k]
        conductance *= x ** powers[gate]
    return _relative(current, conductance * (v - reversal[reversal_name]))


# --------------------------------------------------------------------------------------------- NEURON by hand


@contextmanager
def _cell(folder: Path, parameters: str) -> Iterator[tuple[list[Any], ...]]:
    """The cell's sections, deleted at the end: NEURON would go on simulating it beside the next one."""
    from neuron import h

    sections = l5pc.build(folder / "cell1.asc", parameters)
    try:
        yield sections
    finally:
        for region in sections:
            for section in region:
                h.delete_section(sec=section)


def _segments(sections: tuple[list[Any], ...]) -> list[Any]:
    return [segment for region in sections for section in region for segment in section]


def _name(segment: Any) -> str:
    """As the reference names it: without the hoc object that owns the section."""
    return f"{segment.sec.name().split('.')[-1]}({segment.x:.6f})"


def _input(synapse: Any) -> Any:
    """A connection without source: its `event(t)` reaches the synapse at t, with weight 1."""
    from neuron import h

    connection = h.NetCon(None, synapse)
    connection.delay, connection.weight[0] = 0, 1
    return connection


def _start(h: Any, parameters: str) -> None:
    h.CVode().active(False)
    h.secondorder = 0
    h.dt = DT_MS
    h.celsius = l5pc.CELSIUS
    h.finitialize(l5pc.V_INIT_MV[parameters])


def _record_steps(h: Any, segments: list[Any], duration_ms: float) -> list[Array]:
    """Run "hay2011" and keep every step's potential at the given places [mV]."""
    recorded = [h.Vector().record(s._ref_v) for s in segments]
    _start(h, "hay2011")
    for _ in range(round(duration_ms / DT_MS)):
        h.fadvance()
    return [np.array(r) for r in recorded]


def _small_compartment(h: Any) -> Any:
    section = h.Section(name="small")
    section.L = section.diam = 10
    return section


def _clamp(
    h: Any, section: Any, current: Callable[[], float], connections: list[tuple[Any, float]]
) -> tuple[Array, Array]:
    """Lead a compartment along `voltage_course`: its potential [mV] and the current at each sample.

    NEURON leaves in a current's variable the value at the start of the step: it belongs to the sample before.
    """
    course = voltage_course(DT_MS)
    clamp = h.SEClamp(section(0.5))
    clamp.rs, clamp.dur1 = 1e-7, 1e9
    # A step's clamp target is set at its start: play the course one sample ahead.
    target = h.Vector(np.append(course[1:], course[-1]))
    target.play(clamp._ref_amp1, DT_MS)
    h.CVode().active(False)
    h.secondorder = 0
    h.dt = DT_MS
    h.celsius = l5pc.CELSIUS
    h.finitialize(course[0])
    for connection, time_ms in connections:
        connection.event(time_ms)
    v, i = [section(0.5).v], []
    for _ in range(len(course) - 1):
        h.fadvance()
        v.append(section(0.5).v)
        i.append(current())
    if np.max(np.abs(np.array(v) - course)) > 0.1:
        raise RuntimeError("the voltage clamp does not follow its course")
    return np.array(v[:-1]), np.array(i)


def _relative(value: Array, expected: Array) -> float:
    """The largest deviation, relative to the largest expected value."""
    return float(np.max(np.abs(value - expected)) / np.max(np.abs(expected)))
