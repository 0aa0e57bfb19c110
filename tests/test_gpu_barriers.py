"""Lanes of the GPU's kernel meet in memory only across a barrier.

The interpreter takes one instruction of all lanes after the other, so that a barrier which is lost changes no result
there. It can be asked for every address that is read and written, though, and what may happen between two barriers is
a law: no lane reads or writes what another one has written, and none writes what another has read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("triton", reason="there is none for this system")

from triton.runtime import interpreter

from dendrotwin.solver import gpu
from dendrotwin.solver.accuracy import Accuracy
from dendrotwin.solver.integrator.state import Watch
from dendrotwin.solver.stepper import Stepper
from test_gpu import a_membrane, a_tree, cut, inputs

ALL_LANES, ONE_LANE = -1, -2  # a single number is read by every lane, and written by one, whichever that is


class Lanes:
    """Which lanes have touched each address since the last barrier; tiles have as many numbers as there are lanes."""

    def __init__(self) -> None:
        self.read: dict[int, set[int]] = {}
        self.written: dict[int, int] = {}
        self.races: list[int] = []
        self.barriers = 0

    def touch(self, pointers: Any, mask: Any, writes: bool) -> None:
        """One instruction of all lanes."""
        addresses, on = np.ravel(pointers), np.broadcast_to(mask, np.shape(pointers)).ravel()
        of_single = ONE_LANE if writes else ALL_LANES
        for lane in np.flatnonzero(on).tolist():
            address, who = int(addresses[lane]), of_single if addresses.size == 1 else lane
            readers = self.read.setdefault(address, set())
            if self.written.get(address, who) != who or (writes and readers - {who}):
                self.races.append(address)
            if writes:
                self.written[address] = who
            else:
                readers.add(who)

    def barrier(self) -> None:
        """From here on everything counts anew."""
        self.read.clear()
        self.written.clear()
        self.barriers += 1


def test_lanes_meet_across_barriers_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """All kinds of channels and synapses in several tiles, one twice in a step; samples, of which no lane has its own
    compartments, and an output spike; and a step that is done again."""
    watch, builder = Lanes(), interpreter.InterpreterBuilder
    load, store = builder.create_masked_load, builder.create_masked_store

    def watched_load(self: Any, pointers: Any, mask: Any, *rest: Any) -> Any:
        watch.touch(pointers.data, mask.data, writes=False)
        return load(self, pointers, mask, *rest)

    def watched_store(self: Any, pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        watch.touch(pointers.data, mask.data, writes=True)
        return store(self, pointers, value, mask, *rest)

    monkeypatch.setattr(builder, "create_masked_load", watched_load)
    monkeypatch.setattr(builder, "create_masked_store", watched_store)
    monkeypatch.setattr(builder, "create_barrier", lambda self: watch.barrier())
    monkeypatch.setattr(gpu, "TILE", 4)
    tree = a_tree()
    cpu = Stepper(tree, a_membrane(), Accuracy(min_steps=1, max_steps=4, tolerance_mV=0.01))
    stepper = gpu.GPUStepper(cpu, "cpu")
    events = cpu.synaptic_events(cut(inputs(tree)[1], 0, 1), 1)
    electrodes = gpu.Electrodes(np.array([0, 2]), np.array([tree.n - 1, 0]), np.array([[-0.002], [0.3]]))
    looked = Watch(-64.9, np.array([0, 3]), np.array([0.1, 0.6, 1.0]), np.arange(tree.n)[::-1].copy())
    drive = stepper.send(events._replace(first=events.first[None]), electrodes, looked)
    assert drive.stimulus.passes.tolist() == [4]
    state = stepper.start(1)
    output = stepper.run(state, drive)
    assert state.counts[0, 1] > 4
    assert 0.0 < output.crossing_ms[0] < 1.0
    assert output.sample_mV[-tree.n :].tolist() == output.v_mV[0, 0].tolist()
    counted = state.counts.data_ptr() + np.arange(0, state.counts.nbytes, state.counts.element_size())
    # Of its counts a cell reads and writes one at the very end, and uses it nowhere else.
    assert set(watch.races) <= set(counted.tolist())
    assert watch.barriers > 100
