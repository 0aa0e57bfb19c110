"""Training: from a data set to a twin."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from dendrotwin.errors import TwinError
from dendrotwin.models.base import Batch
from dendrotwin.support.atomic_files import refuse_existing
from dendrotwin.support.folder_lock import alone
from dendrotwin.support.progress import progress
from dendrotwin.training.checkpoint import Log, resume, save_checkpoint, threads_restored
from dendrotwin.training.config import Training
from dendrotwin.training.losses import meta_gradient
from dendrotwin.training.rounds import end_round, finished_twin, save_best
from dendrotwin.training.run import Run
from dendrotwin.twin import Twin


@threads_restored()
def train(
    data: str | Path, out: str | Path, training: Training, *, overwrite: bool = False, tensorboard: bool = False
) -> Twin:
    """Train a network on a data set and save the twin with the best validation loss.

    A killed run goes on from its last checkpoint when it is called again with the same arguments, with as many threads
    of PyTorch as it began with; on a CPU the result is the same to the last bit. Under torchrun several processes
    share the batches. Beside `out`, `NAME.log.jsonl` gets a line for each round.

    Args:
        data: the data set.
        out: folder of the twin.
        training: how to train.
        overwrite: replace a twin that is there.
        tensorboard: also write the rounds for TensorBoard, into `NAME.tensorboard`.

    Returns:
        The twin; that in `out`, where the same training on the same trials has made it already.

    Raises:
        TwinError: the loss is no longer finite; the best weights so far, if there are some, are saved.
        FileError, InputError: `out` holds something else, another process trains into it, the data set is not one, is
            too small, or an option is wrong.
    """
    began = time.monotonic()
    data, out = Path(data), Path(out)
    finished = None if overwrite else finished_twin(data, out, training)
    if finished is not None:
        return finished
    refuse_existing(out, "config.json", overwrite=overwrite)
    run = Run(data, training)
    checkpoint = out.parent / f".{out.name}.checkpoint"
    if run.fabric.global_rank > 0:
        resume(checkpoint, run)
        _all_steps(run, out, checkpoint, None, began, overwrite=overwrite)
        run.fabric.barrier()
        return Twin.load(out, training.architecture)
    log = Log(out, tensorboard)
    with alone(log.path, "is training", out):
        refuse_existing(out, "config.json", overwrite=overwrite)
        resume(checkpoint, run)
        log.start(run.state["curve"])
        _all_steps(run, out, checkpoint, log, began, overwrite=overwrite)
        twin = save_best(run, out, overwrite=overwrite)
        checkpoint.unlink(missing_ok=True)
    run.fabric.barrier()
    return twin


def _all_steps(run: Run, out: Path, checkpoint: Path, log: Log | None, began: float, *, overwrite: bool) -> None:
    """The steps that are not done yet; the process with the log saves what must be saved."""
    training, state, steps = run.training, run.state, run.training.steps
    saved = time.monotonic()
    before = state["seconds"]
    with progress(f"training {training.architecture} into {out}", steps, "steps", state["step"]) as advance:
        for step, batch in enumerate(run.batches(state["step"], steps), state["step"]):
            try:
                _step(run, step, batch)
            except (torch.OutOfMemoryError, MemoryError) as error:
                raise TwinError(f"out of memory ({error}); use a smaller --micro-batch or --batch") from error
            except FloatingPointError as error:
                rescued = ""
                if state["best"] is not None:
                    if log is not None:
                        save_best(run, out, overwrite=overwrite)
                    run.fabric.barrier()
                    rescued = f"; the best weights so far, of step {state['best']['step']}, are kept in {out}"
                raise TwinError(f"{error}; use a lower --learning-rate{rescued}") from error
            state["seconds"] = before + time.monotonic() - began
            advance(1)
            if state["step"] % training.round_steps == 0 or state["step"] == steps:
                point = end_round(run)
                advance(0, f"validation loss {point['validation']:.4f}, best {state['best']['validation']:.4f}")
                if log is not None:
                    log.add(point)
            if training.patience is not None and _steps_since_best(state) >= training.patience * training.round_steps:
                break
            if log is not None and time.monotonic() - saved >= 60.0 * training.checkpoint_minutes:
                save_checkpoint(checkpoint, run)
                saved = time.monotonic()


def _steps_since_best(state: dict[str, Any]) -> int:
    """Steps since the best round, counted at the end of the last one."""
    return int(state["curve"][-1]["step"] - state["best"]["step"]) if state["curve"] else 0


def _step(run: Run, step: int, batch: Batch) -> None:
    """One optimiser step.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    training, wrapped = run.training, run.wrapped
    # Dropout of a step does not depend on where a killed run was started again.
    torch.manual_seed(int(np.random.SeedSequence([training.seed, step, run.fabric.global_rank]).generate_state(1)[0]))
    wrapped.train()
    run.optimiser.zero_grad()
    if training.meta_rate > 0:
        groups = np.append(run.tree.region, run.tree.region.max() + 1)
        tasks = meta_gradient(run.objective, batch, groups, training.meta_rate, run.fabric.autocast)
    else:
        tasks = _gradient(run, batch)
    if run.fabric.world_size > 1:  # each process has seen its share of the batch; all decide on the same numbers
        tasks = cast(torch.Tensor, run.fabric.all_reduce(tasks, reduce_op="mean"))
    loss = run.objective.balance(tasks).item()
    norm = cast(
        torch.Tensor,
        run.fabric.clip_gradients(wrapped, run.optimiser, max_norm=training.clip, error_if_nonfinite=False),
    )
    skips = getattr(run.fabric.strategy.precision, "scaler", None) is not None  # fp16 leaves such a step out
    what = "loss" if not math.isfinite(loss) else "gradient"
    if not math.isfinite(loss) or not (skips or math.isfinite(float(norm))):
        raise FloatingPointError(
            f"the {what} is no longer finite at step {step} with a learning rate of {run.schedule.get_last_lr()[0]:.2g}"
        )
    run.optimiser.step()
    run.schedule.step()
    state = run.state
    state["step"] = step + 1
    state["in_round"] += 1
    tasks = tasks.cpu()  # as it is in a checkpoint
    state["tasks"] = tasks if state["tasks"] is None else state["tasks"] + tasks


def _gradient(run: Run, batch: Batch) -> torch.Tensor:
    """Add up the gradient of a batch, some windows at a time; returns the (n + 1,) losses of the tasks."""
    size = len(batch)
    at_once = run.training.micro_batch or size
    tasks = torch.zeros(run.tree.n + 1, device=batch.v_mV.device)
    for start in range(0, size, at_once):
        part = batch.part(slice(start, start + at_once))
        share = len(part) / size
        with run.fabric.no_backward_sync(run.wrapped, enabled=start + at_once < size):
            loss, losses = run.wrapped(part)
            run.fabric.backward(share * loss)
        tasks += share * losses.detach()
    return tasks


def measure_time(data: Path, training: Training, steps: int = 20) -> tuple[float, float]:
    """Time a training; nothing is written.

    Args:
        data: the data set.
        training: how to train.
        steps: how many are timed, after a first one that is not; their median counts.

    Returns:
        Wall seconds before the first step, and of each step, with its share of the validation after a round.

    Raises:
        TwinError: the loss is no longer finite.
    """
    began = time.perf_counter()
    run = Run(data, training)
    seconds, first = [], time.perf_counter()
    last = first
    for step, batch in enumerate(run.batches(0, steps + 1)):
        try:
            _step(run, step, batch)
        except FloatingPointError as error:
            raise TwinError(f"{error}; use a lower learning_rate") from error
        now = time.perf_counter()
        seconds.append(now - last)
        last = now
    end_round(run)
    validation = (time.perf_counter() - last) / training.round_steps
    return first - began, float(np.median(seconds[1:])) + validation
