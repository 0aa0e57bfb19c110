"""Do the tests notice a fault? One small fault at a time is put into a copy of the source, and tests have to fail.

    python benchmarks/mutants.py [--check] [WORD ...]

runs all mutants, or those whose file or text holds one of the words, and prints which were killed and which survived.
The tests are run once without a fault first; a test that fails then proves nothing. Tests stay where they are; the
copy of the source comes first in PYTHONPATH. A text that is not found, or found twice, is an error. With `--check`
no test runs: only the list itself is checked, which takes a second; tests/test_house.py does so too.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "dendrotwin"
TESTS = ROOT / "tests"
LONGEST_S = 900.0  # a fault may let a loop never end
COMPILED = ("solver/", "cell/")  # what Numba's functions are made of


class Mutant(NamedTuple):
    """A fault.

    Attributes:
        file: in src/dendrotwin.
        old, new: text that stands in it once, and what takes its place.
        tests: files or tests in tests/ of which one has to fail, separated by spaces.
    """

    file: str
    old: str
    new: str
    tests: str


def of(file: str, tests: str, *texts: tuple[str, str]) -> list[Mutant]:
    """Faults of one file that the same tests have to find."""
    return [Mutant(file, old, new, tests) for old, new in texts]


def without(file: str, statement: str, tests: str, *needless: str) -> list[Mutant]:
    """Each statement like this one left out, one at a time, but not after these texts; what stands before is unique."""
    lines, found, left = (SOURCE / file).read_text().splitlines(keepends=True), [], 0
    for k, line in enumerate(lines):
        if line.strip() == statement:
            first = k - 1
            while "".join(lines).count("".join(lines[first : k + 1])) > 1:
                first -= 1
            before = "".join(lines[first:k])
            if before.endswith(needless):
                left += 1
                continue
            found.append(Mutant(file, before + line, before + line.replace(statement, "pass"), tests))
    if not found or left != len(needless):
        raise SystemExit(f"{file} has {len(found)} of {statement!r}, and {left} after one of {needless}, not each once")
    return found


LAWS = "test_training_laws.py"

MUTANTS = [
    # What a window of a training is, and what prediction sees: events and potentials a step early or late.
    *of(
        "models/base.py", f"test_models.py::test_binned_events_are_the_counts {LAWS}",
        ("[start, start + steps])", "[start, start + steps - 1])"),
        ("np.divmod(place, n_inputs)", "np.divmod(place + n_inputs, n_inputs)"),
        ("- start * steps, self.input", ", self.input"),
        ("torch.tensor([start, stop]", "torch.tensor([start, stop - 1]"),
        ("self.v_mV[windows]", "self.v_mV[: len(self.v_mV[windows])]"),
        ("self.spikes[windows])", "self.spikes[: len(self.spikes[windows])])"),
    ),
    # SONATA's cells: where sections, compartments and axons are, how cells are turned, whose files are data's.
    *of(
        "cells/sonata_build.py", "test_sonata_cells.py",
        ("1.0 if all_active else 0.5", "0.5"),
        ("order=every, ", ""),
        ("int(section.L / (2.0 * longest_um))", "int(section.L / longest_um)"),
        ("STUB_UM * np.outer(np.arange(3), direction)", "STUB_UM * np.outer(np.arange(3), -direction)"),
    ),
    *of(
        "circuit/sonata/compartments.py", "test_sonata_cells.py",
        ("(places * count[section])", "(places * (count[section] - 1))"),
        ("tree.section_order[ids]", "ids"),
    ),
    *of(
        "circuit/sonata/placement.py", "test_sonata_cells.py",
        ("turns[0] @ turns[1] @ turns[2]", "turns[2] @ turns[1] @ turns[0]"),
        ("np.eye(3) + 2.0 *", "np.eye(3) - 2.0 *"),
    ),
    *of("neuron/cell_files.py", "test_sonata_cells.py", (" or simulation.cell in OF_FILES", "")),
    *of("neuron/cell_of_data.py", "test_sonata_cells.py", (" and simulation.cell not in OF_FILES", "")),
    *of("cell/tree.py", LAWS, ("np.floor(self.time_ms)", "np.ceil(self.time_ms)")),
    *of(
        "training/windows.py", LAWS,
        ("start - self._context)", "start - self._context - 1)"),
        ("start - self._context)", "start - self._context + 1)"),
        ("max(start - self._before, 0), stop)", "max(start - self._before - 1, 0), stop - 1)"),
        ("self._spikes[trial], stop)[start:]", "self._spikes[trial] + 1.0, stop)[start:]"),
        ("self._events[trial], start", "self._events[0], start"),
        ("[rank::ranks]", "[0::ranks]"),
        ("[rank::ranks]", "[: size // ranks]"),
        ("rng.random() < self._spike_share", "rng.random() >= self._spike_share"),
        ("spike - int(rng.integers(self._window))", "spike"),
        ("rng.integers(self._window))", "rng.integers(self._window + 1))"),
        ("if time >= SETTLE_MS", "if time >= 0"),
    ),
    *of("training/windows.py", "test_dataset.py", ("p=starts / starts.sum()", "p=None"), ("latest + 1))", "latest))")),
    *of(
        "models/networks/network.py", LAWS,
        ("[(trial, first) for", "[(trial, first - 1) for"),
        ("[(trial, first) for", "[(trial, first + 1) for"),
        ("z[:, :-1].transpose(1, 2)", "z[:, 1:].transpose(1, 2)"),
        ("z[:, self.context + 1 :]", "z[:, self.context : -1]"),
        ("z_true[:, :-1]", "z_true[:, 1:]"),
        ("[before, z if z_true is None else z_true]", "[before, z]"),
        ("true_mV[:, start:stop]", "true_mV[:, :stop - start]"),
        ("self.tree.v_init_mV", "self.tree.v_init_mV + 3.0"),
        ("residual = z - true", "residual = true - z"),
    ),
    *of(
        "models/networks/task_heads.py", LAWS + " test_models.py",
        ("past[..., past.shape[-1] - z.shape[1] :]", "past[..., : z.shape[1]]"),
    ),
    *of(
        "models/scaling.py", LAWS,
        ("squares / count - mean", "squares / (count - 1) - mean"),
        ("SETTLE_MS if trial", "0 if trial"),
        ("np.maximum(squares / count - mean**2", "np.maximum(squares / count"),
    ),
    # What a step does.
    *of(
        "training/run.py", LAWS + " test_train.py::test_learning_rate_warms_up_and_goes_to_zero",
        ("in initialised) is chosen", "in initialised) is not chosen"),
        ("training.start_rate * rate", "rate"),
        ("weight_decay=training.weight_decay", "weight_decay=0.0"),
        ("(step + 1) / warm", "step / warm"),
        ("return (step + 1) / warm", "return 0.0"),
        ("math.pi * (step - warm)", "2.0 * math.pi * (step - warm)"),
        ("[t.seed, step])", "[t.seed, 0])"),
        ("f.global_rank, f.world_size)", "0, f.world_size)"),
        ('"schedule": self.schedule,', ""),
        ('"optimiser": self.optimiser,', ""),
    ),
    *of(
        "training/loop.py", LAWS + " test_train.py::test_micro_batches_add_up",
        ("share * loss)", "loss)"),
        ("tasks += share * losses", "tasks += losses"),
        ("share = len(part) / size", "share = at_once / size"),
        ("run.schedule.step()", "pass"),
        ("max_norm=training.clip", "max_norm=1.0"),
        ("step, run.fabric.global_rank]", "step]"),
        ("[training.seed, step, run", "[training.seed, run"),
        ("torch.manual_seed(int(np", "abs(int(np"),
        (">= training.patience * training.round_steps", "> training.patience * training.round_steps"),
        ("training.patience * training.round_steps", "training.patience"),
        ('state["best"]["step"]) if', '0) if'),
        ('state["in_round"] += 1', 'state["in_round"] = 1'),
    ),
    *of(
        "training/checkpoint.py", LAWS,
        ('run.state.update(saved["state"])', "pass"),
        ("part.load_state_dict(saved[name])", 'name == "optimiser" or part.load_state_dict(saved[name])'),
        ("part.load_state_dict(saved[name])", 'name == "schedule" or part.load_state_dict(saved[name])'),
        ("part.load_state_dict(saved[name])", 'name == "objective" or part.load_state_dict(saved[name])'),
    ),
    *of(
        "training/losses.py", " ".join(f"test_train.py::test_{name}" for name in (
            "uncertainty_balance_finds_the_losses", "dynamic_weight_average", "current_loss_is_its_definition",
            "equal_balance_is_the_mean_and_the_weighed_spikes", "meta_step_is_its_definition",
        )),
        ("1.0 / (tasks - 1)", "1.0 / tasks"),
        ("fixed_weight[-1] = spike_weight", "fixed_weight[-1] = 1.0"),
        ("torch.full_like(losses, 0.5)", "torch.full_like(losses, 1.0)"),
        ("half[-1] = 1.0", "pass"),
        ("+ 0.5 * self.log_variance", "+ self.log_variance"),
        ("losses / self.previous / TEMPERATURE", "self.previous / losses / TEMPERATURE"),
        ("/ TEMPERATURE", ""),
        ("self.weight.copy_(len(losses) * ", "self.weight.copy_("),
        ("self.previous.copy_(losses)", "pass"),
        ("return self.weight * (residual", "return (residual"),
        ("p -= rate * g", "p -= g"),
        ("after = gradients(outer", "after = gradients(inner"),
        ("p.copy_(old)", "pass"),
    ),
    # What a round does.
    *of(
        "training/rounds.py", LAWS,
        ("run.objective.balance.end_round(fabric.to_device(tasks))", "pass"),
        ('validation["loss"] < state', 'validation["loss"] <= state'),
        ('validation["loss"] < state', 'validation["regression"] < state'),
        ('if state["best"] is None or', "if True or"),
        (".cpu().clone()", ".cpu()"),
        ('run.model.load_state_dict(state["best"]["weights"])', "pass"),
        ("score.numpy() for score in", "1.0 - score.numpy() for score in"),
        ('state["in_round"], state["tasks"] = 0, None', 'state["in_round"] = 0'),
        ("regression + run.training.spike_weight * spike", "regression"),
        ("regression + run.training.spike_weight * spike", "regression + spike"),
        ("(v[0, SETTLE_MS:] - recording.v_mV[SETTLE_MS:])", "(v[0] - recording.v_mV)"),
        ("spike_train()[SETTLE_MS:]", "spike_train()[SETTLE_MS - 1 : -1]"),
        ("count += len(residual)", "count = len(residual)"),
        ("if run.training.autoregressive else None", "if False else None"),
        ("score[:SETTLE_MS] = 0.0", "score[SETTLE_MS:] = 0.0"),
    ),
    # The steps of the solver.
    *of(
        "solver/integrator/time_loop.py", "test_solver.py",
        ("pair = previous * levels + level", "pair = level * levels + level"),
        ("np.float32(2.0 / (h + 1.0 / steps_per_ms[previous]))", "np.float32(1.0 / h)"),
        ("largest = max(largest, change)", "largest = change"),
        ("peak_mV, peak_ms = soma_mV, s * h", "peak_mV, peak_ms = soma_mV, 0.0"),
        ("copy_state(backup, state)", "pass"),
        ("injected[t if len", "injected[t - 1 if len"),
    ),
    *of(
        "solver/integrator/adaptive.py", "test_solver.py",
        ("if change <= tolerance *", "if change <= 4.0 * tolerance *"),
        ("and change > control.tolerance_mV *", "and change > 4.0 * control.tolerance_mV *"),
    ),
    *of(
        "solver/integrator/implicit.py", "test_solver.py",
        ("SECOND_WEIGHT * right[i]", "right[i]"),
        ("right[i] = per_gamma_ms * capacitance[i] * change[i]", "right[i] = 0.0"),
    ),
    *of("solver/integrator/pools.py", "test_solver.py", ("v[i] - 0.5 * change[i]", "v[i]")),
    *of("solver/integrator/currents.py", "test_solver.py", ("np.float32(2.0) * powers", "powers")),
    *of("solver/integrator/synapses.py", "test_solver.py", ("end_ms - after[event]", "h_ms")),
    *of(
        "solver/stepper.py", "test_solver.py",
        ("time - bins", "0.0 * time"),
        ("bins = np.floor(time)", "bins = np.rint(time)"),
        ("+= current", "= current"),
    ),
    *of("solver/accuracy.py", "test_solver.py", ("refinement <= self.max_steps", "refinement < self.max_steps")),
    *of(
        "solver/accuracy.py", "test_read_twin.py::test_settings_differ_in_cost_and_in_error",
        ("Accuracy(chosen.min_steps, chosen.max_steps, self.tolerance_mV)", "chosen"),
    ),
    *of(
        "solver/gpu_kernel.py", "test_gpu.py",
        ("previous * sizes.levels + level", "level * sizes.levels + level"),
        ("tolerance * many * many):\n        level", "4.0 * tolerance * many * many):\n        level"),
    ),
    *of("solver/gpu_tree.py", "test_gpu.py", ("SECOND_WEIGHT * tl.load", "tl.load")),
    *of("solver/gpu_synapses.py", "test_gpu.py", ("(step.s + 1) * h - after", "h")),
    *of(
        "models/cable.py", "test_gpu.py::test_trials_in_pieces",
        ("events.time_ms[first:last] - begin", "events.time_ms[first:last]"),
        ("injection.current_nA[begin:end]", "injection.current_nA[: end - begin]"),
        ("else injections[k], begin", "else injections[0], begin"),
    ),
    # Splits, baselines and measures.
    *of(
        "evaluation/split.py", "test_dataset.py",
        ("trials[:n_test])", "trials[-n_test:])"),
        ("trials[n_test + n_validation :]", "trials[n_validation:]"),
        ("(test, validation))", "(validation, test))"),
    ),
    *of(
        "models/baselines.py", "test_evaluate.py",
        ("if error < best_error", "if error > best_error"),
        ("check_squares = products(validation)", "check_squares = products(train)"),
        ("check_gram @ weights", "gram @ weights"),
        ("penalty * scale), 0.0)", "penalty * scale), scale)"),
        ("np.float32)])[SETTLE_MS:]", "np.float32)])[SETTLE_MS - 1 : -1]"),
    ),
    *of(
        "models/networks/ridge_init.py", LAWS + " test_ridge_init.py",
        ("config.ridge_penalty * size)", "size)"),
        ("config.ridge_penalty * size)", "config.ridge_penalty)"),
        ("penalty[-1] = 0.0", "pass"),
        ("axes[:, -rank:]", "axes[:, :rank]"),
        ("columns.insert(1, z[at - 1])", "columns.insert(1, z[at])"),
        ("offset[0] + mean @ cut", "offset[0]"),
        ("np.arange(SETTLE_MS, recording", "np.arange(1, recording"),
        ("network.heads.zero_init()", "pass"),
    ),
    *of(
        "evaluation/metrics.py", "test_metrics.py",
        ("MATCH_MS = 2.0", "MATCH_MS = 1.9"),
        ("MATCH_MS = 2.0", "MATCH_MS = 3.0"),
        ("<= within_ms", "< within_ms"),
        ("pairs + 1, i + 1, j + 1", "pairs + 1, i + 1, j"),
        ("candidates = candidates[::-1]", "pass"),
        ("np.argmax(f1)", "np.argmin(f1)"),
        ("0.1, 10.0, 41)", "0.1, 10.0, 3)"),
        ("spikes_ms >= SETTLE_MS]", "spikes_ms >= 0]"),
        ("[SETTLE_MS:], dtype=np.float64) for v in", "[0:], dtype=np.float64) for v in"),
    ),
    *of("evaluation/metrics.py", "test_lfp_metrics.py", ("time_ms - AFTER_MS", "time_ms - BEFORE_MS")),
    *of(
        "twin.py", "test_twin.py::test_a_model_is_told_what_it_may_know_and_no_more",
        ("given.true_mV, [given.injection])\n        spikes", "given.true_mV, None)\n        spikes"),
        ("one_step_ahead and not feed_back", "one_step_ahead"),
        ("self.one_step_ahead and not", "not"),
        ("source.each_ms()", "source"),
        ("predicted_spikes(probability[0], self.threshold)", "predicted_spikes(probability[0], 0.5)"),
        ("identity, given.injection, probability", "identity, None, probability"),
    ),
    # Circuits in Python: who is connected to whom, where, and what the numbers of spikes are.
    *of(
        "circuit/rules.py", "test_circuit_python.py",
        ("connected[target] = False", "pass"),
        ("(found >= target)", "(found > target)"),
        ("default_rng((*self.seed, target))", "default_rng((*self.seed, 0))"),
        ("between_um = distance_um[source]", "between_um = np.sort(distance_um[source])"),
        ("tree.area_um2 if self.by", "tree.length_um if self.by"),
        ("sums[np.flatnonzero(found)[-1] :] = 1.0", "sums *= 1.0 - 1e-9"),
    ),
    *of(
        "circuit/project.py", "test_circuit_python.py",
        ("(name, values, many)[row]", "(name, values, many)[: len(row)]"),
        ("weight * factor", "weight"),
        ("np.array(astuple(self), np.float64)", "np.array(astuple(self), np.float64)[[0, 2, 1, 3, 4]]"),
        ("kind[here] = len(kinds) + tree", "kind[here] = tree"),
    ),
    *of(
        "circuit/circuit.py", "test_circuit_parts.py",
        ("each.of(np.arange(len(each.cells)))", "each.own"),
        ("mine = np.isin(node, targets)", "mine = node >= 0"),
        ("self._random(number, cell).random(places)", "self._random(number, 0).random(places)"),
    ),
    *of(
        "circuit/identity.py", "test_circuit_parts.py",
        ("places_within(node[mine])", "0 * node[mine]"),
        ("settings.of_results", "settings"),
        ("_hashed(part, ", "_hashed(0, "),
    ),
    *of(
        "circuit/wiring.py", "test_circuit_parts.py",
        ("places_within(joined(models))", "np.arange(len(joined(models)))"),
    ),
    *of(
        "circuit/exchange.py", "test_circuit_parts.py",
        ("            if error is not self._known:\n                self.gather(error)\n", ""),
    ),
    *of(
        "circuit/run.py", "test_circuit_parts.py",
        ("min(processes.gather(shortest_delay(circuit)))", "shortest_delay(circuit)"),
    ),
    *of(
        "circuit/sonata/edges.py", "test_sonata_parts.py",
        ("made + (np.cumsum(count) - count)[mine]", "(np.cumsum(count) - count)[mine]"),
        ("block[own[at] | (at < 0)]", "block[own[at] & (at >= 0)]"),
        ("exchange().gather(here)", "[here]"),
        (" and own[at].all()", ""),
        ("(np.diff(edges) > 0).all()", "True"),
    ),
    *of("circuit/sonata/load.py", "test_sonata_parts.py", ("copy(twin) for twin in", "twin for twin in")),
    *of("support/hdf5_parts.py", "test_sonata_parts.py", ("out[order] = found", "out[:] = found")),
    *of(
        "solver/delivery.py", "test_circuit.py",
        ("u, y, z, -delay_ms)", "u, y, z, 0.0 * delay_ms)"),
        (" + p.active[k] * passed", ""),
        ("-np.expm1(-apart) / apart if", "np.exp(-apart) if"),
        ('"u", "active", "recovering"', '"u", "recovering"'),
    ),
    *of(
        "circuit/fields.py", "test_circuit.py",
        ("            first += len(matrix)\n", ""),
        ("one.injected_nA[counts]", "one.injected_nA[0 * counts]"),
    ),
    *of(
        "circuit/sonata/edges.py", "test_sonata_files.py",
        ("parameters[edges.synapse[row]]", "parameters[np.sort(edges.synapse[row])]"),
    ),
    *of(
        "circuit/places.py", "test_circuit_python.py",
        ("self.radius_um * np.sqrt(random.random(count))", "self.radius_um * random.random(count)"),
        (".as_matrix() @ up", ".as_matrix()"),
    ),
    *of(
        "circuit/check.py", "test_circuit_check.py",
        ("        named[part.name] = part", "        pass"),
        ("p.delay_ms.min() < SHORTEST_DELAY_MS", "p.delay_ms.min() < 0.5 * SHORTEST_DELAY_MS"),
        ("wrong |= np.linalg.det(population.rotation) < 0.0", "pass"),
        ("[cells.model[node]]", "[0 * node]"),
        (" & (p.weight > 0.0)]", "]"),
    ),
    *of(
        "circuit/measures.py", "test_circuit_measures.py",
        ("np.lexsort((time_ms, node))", "np.lexsort((node, time_ms))"),
        ("interval - mean[of]", "interval"),
        ("bin_ms + 1e-9), bins)", "bin_ms), bins)"),
        ("many.astype(float) ** power", "many.astype(float)"),
    ),
    *of(
        "circuit/figures.py", "test_circuit_python.py",
        ('population.position_um[:, "xyz".index(up)]', "population.position_um[:, 1]"),
        ("placed_trees(populations[recorder.population], nodes)", "placed_trees(populations[recorder.population])[:1]"),
        (".argmin(axis=0)", ".argmax(axis=0)"),
    ),
    # Barriers of the GPU's kernel. Two are needless where a lane is a thread: others follow before lanes meet.
    *without(
        "solver/gpu_kernel.py", "tl.debug_barrier()", "test_gpu_barriers.py",
        "taken = tl.load(batch.counts + 2 * trial + 1)\n", "per_ms, memory, TILE)\n",
    ),
    *without("solver/gpu_tree.py", "tl.debug_barrier()", "test_gpu_barriers.py"),
    *without("solver/gpu_synapses.py", "tl.debug_barrier()", "test_gpu_barriers.py"),
]  # fmt: skip


class Workshop:
    """A copy of the source in which faults are put and taken out again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "src" / "dendrotwin"
        (folder / "compiled").mkdir()
        shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))

    def fails(self, tests: str) -> str | None:
        """The first test that fails, if any."""
        environment = {
            **os.environ, "PYTHONPATH": str(self.folder / "src"), "NUMBA_CACHE_DIR": str(self.folder / "compiled"),
            "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        wanted = [str(TESTS / test) for test in tests.split()]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", *wanted]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False
            )
        except subprocess.TimeoutExpired:
            return "no end"
        if done.returncode not in (0, 1):
            raise SystemExit(f"the tests {tests} cannot be run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        lines = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        return lines[0].split(" - ")[0].rsplit("/", 1)[-1] if lines else None

    def check(self, mutant: Mutant) -> str | None:
        """The first test that notices a fault, if any."""
        path = self.source / mutant.file
        text, times = path.read_text(), path.stat()
        path.write_text(text.replace(mutant.old, mutant.new))
        compiled = self.folder / "compiled"  # by Numba, file by file, but with what others hold in it
        if mutant.file.startswith(COMPILED):
            compiled.rename(self.folder / "before")
        try:
            return self.fails(mutant.tests)
        finally:
            path.write_text(text)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # else Numba compiles it anew
            if mutant.file.startswith(COMPILED):
                shutil.rmtree(self.folder / "compiled", ignore_errors=True)
                (self.folder / "before").rename(self.folder / "compiled")


def faults_of(mutant: Mutant) -> list[str]:
    """What is wrong with a mutant itself: its text, what the source would be with it, or its tests."""
    file, found = SOURCE / mutant.file, []
    if not file.is_file():
        return [f"{mutant.file} is no file"]
    text = file.read_text()
    if text.count(mutant.old) != 1:
        found.append(f"{mutant.file} holds the text {mutant.old!r} {text.count(mutant.old)} times, not once")
    try:
        ast.parse(text.replace(mutant.old, mutant.new))
    except SyntaxError as error:
        found.append(f"{mutant.file} with {mutant.new!r} is not Python: {error}")
    for test in mutant.tests.split():
        name, _, function = test.partition("::")
        tests = (TESTS / name).read_text() if (TESTS / name).is_file() else ""
        if not tests or (function and f"def {function}(" not in tests):
            found.append(f"there is no test {test}")
    return found


def check_list() -> None:
    """Stop with all that is wrong with the list, if anything is."""
    found = [fault for mutant in MUTANTS for fault in faults_of(mutant)]
    if found:
        raise SystemExit("\n".join(dict.fromkeys(found)))


def main() -> None:
    """Run the mutants; exit with 1 where one survives."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true", help="check the list of mutants only; run no test")
    parser.add_argument("word", nargs="*", help="run the mutants whose file or text holds one of these")
    asked = parser.parse_args()
    check_list()
    if asked.check:
        print(f"{len(MUTANTS)} mutants can be run")
        return
    mutants = [m for m in MUTANTS if not asked.word or any(word in part for word in asked.word for part in m)]
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder))
        tests = " ".join(sorted({test for mutant in mutants for test in mutant.tests.split()}))
        failing = workshop.fails(tests)
        if failing is not None:
            raise SystemExit(f"{failing} fails without a fault")
        for mutant in mutants:
            began = time.monotonic()
            failing = workshop.check(mutant)
            survivors += failing is None
            verdict = "SURVIVED" if failing is None else f"killed by {failing}"
            print(f"{mutant.file}: {mutant.old!r} -> {mutant.new!r}: {verdict} ({time.monotonic() - began:.0f} s)")
            sys.stdout.flush()
    print(f"{len(mutants)} mutants, {survivors} survived")
    raise SystemExit(survivors > 0)


if __name__ == "__main__":
    main()
