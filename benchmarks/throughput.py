"""`simulate` on one worker beside a bare NEURON loop, on two workers beside one, and the memory of a worker.

    python benchmarks/throughput.py [--cell allen_l4] [--trials 8] [--seconds 6] [--repeats 3]

Both sides count everything: starting a process, building the cell, drawing the input, writing the result. The bare
loop is what one would write by hand: all events queued, `Vector.record` of every compartment each ms and of the soma
each step, one call to run the trial, the potentials saved by numpy. Two bare loops at once, each with half of the
trials, show what the machine's cores, caches and memory allow. The results are in docs/measurements/speed.md.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from dendrotwin.cell.stimuli import Modulated, draw_events, trial_rng
from dendrotwin.cells import load_cell
from dendrotwin.neuron.build import NeuronCell
from dendrotwin.neuron.simulate import Simulation, simulate
from dendrotwin.neuron.trial import run_trial


def bare_loop(simulation: Simulation, trials: range, out: Path) -> None:
    """The same trials by hand, in this process."""
    from neuron import h

    cell = NeuronCell(load_cell(simulation.cell))
    h.celsius, h.dt, h.secondorder = cell.model.celsius, simulation.dt_ms, 2
    context = h.ParallelContext()
    context.set_maxstep(10)
    recorded = [h.Vector().record(segment._ref_v, 1.0) for segment in cell.segments]
    soma = h.Vector().record(cell.segments[0]._ref_v)
    for trial in trials:
        events = draw_events(cell.tree, simulation.inputs, simulation.duration_ms, trial_rng(simulation.seed, trial))
        h.finitialize(cell.tree.v_init_mV)
        for i, at in zip(events.input.tolist(), events.time_ms.tolist(), strict=True):
            cell.connections[i].event(at)
        context.psolve(simulation.duration_ms)
        np.savez(
            out / f"{trial}.npz", v=np.array([np.array(v) for v in recorded], dtype=np.float32), soma=np.array(soma)
        )


def memory(simulation: Simulation, trials: int) -> list[float]:
    """Resident memory [MB] of one process after each of many trials of 200 ms."""
    cell = NeuronCell(load_cell(simulation.cell))
    found = []
    for trial in range(trials):
        run_trial(cell, draw_events(cell.tree, simulation.inputs, 200, trial_rng(0, trial)), 200)
        found.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cell", default="allen_l4")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    simulation = Simulation(
        cell=arguments.cell,
        duration_ms=round(1000 * arguments.seconds),
        seed=1,
        inputs=Modulated(rate_scale=load_cell(arguments.cell).rate_scale),
    )
    times: dict[str, list[float]] = {"bare loop": [], "two bare loops": [], "one worker": [], "two workers": []}
    context = get_context("spawn")
    for _ in range(arguments.repeats):  # interleaved, so that a slow minute of the machine hits all alike
        for name, seconds in times.items():
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder)
                start = time.perf_counter()
                if name.endswith(("loop", "loops")):
                    loops = 1 if name == "bare loop" else 2
                    with ProcessPoolExecutor(loops, mp_context=context) as pool:
                        shares = [range(first, arguments.trials, loops) for first in range(loops)]
                        running = [pool.submit(bare_loop, simulation, share, out) for share in shares]
                        for future in running:
                            future.result()
                else:
                    simulate(simulation, arguments.trials, out / "data", workers=1 if name == "one worker" else 2)
                seconds.append(time.perf_counter() - start)
                print(f"{name:<14} {seconds[-1]:7.2f} s", flush=True)
    bare, two_bare, one, two = (statistics.median(seconds) for seconds in times.values())
    print(f"{arguments.cell}, {arguments.trials} trials of {arguments.seconds:g} s, medians of {arguments.repeats}:")
    print(f"one worker / bare loop  {one / bare:.3f}")
    print(f"one worker / two workers {one / two:.3f}")
    print(f"bare loop / two bare loops at once {bare / two_bare:.3f} (what the machine allows)")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        resident = pool.submit(memory, simulation, 50).result()
    print(f"memory of a worker after 5, 25, 50 trials: {resident[4]:.1f}, {resident[24]:.1f}, {resident[49]:.1f} MB")


if __name__ == "__main__":
    main()
