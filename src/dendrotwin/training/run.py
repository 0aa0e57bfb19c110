"""What a training works with: the model, its losses, the optimiser, the data, one process or several."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from dendrotwin.cell.tree import Tree
from dendrotwin.errors import InputError
from dendrotwin.evaluation.split import Split, split_trials
from dendrotwin.models import build_model, load_architecture
from dendrotwin.models.base import Batch
from dendrotwin.models.scaling import Scaling, measure_scaling
from dendrotwin.recording import SETTLE_MS
from dendrotwin.recording.trials import TrialIndex, read_trial
from dendrotwin.solver.axial import axial_matrix
from dendrotwin.support.memory import require_memory
from dendrotwin.training.config import Training
from dendrotwin.training.losses import Balance, CurrentLoss, Objective
from dendrotwin.training.windows import Windows

# A current that varies less than this counts as none: its standard deviation, relative to what 1 mV around it drives.
LEAST_CURRENT = 1e-6
BYTES_PER_NUMBER = 4
CURRENT_TRIALS = 10  # enough for the standard deviation of currents


class Run:
    """Everything that a training works with: the parts that learn, the data, and what has happened so far.

    Attributes:
        training: how to train.
        tree: the cell.
        split: its trials.
        scaling: of the training trials.
        windows: of the training trials.
        model: what learns.
        options: its full configuration.
        objective: the model with its losses.
        wrapped: the objective in Fabric's wrapper, which is called in training steps for precision and processes.
        optimiser, schedule, fabric: of the training.
        state: what has happened so far.
    """

    def __init__(self, data: Path, training: Training) -> None:
        """Build everything, up to the start of the first step.

        Args:
            data: the data set.
            training: how to train.

        Raises:
            InputError: an option is wrong or does not fit the data, or the data have no output spikes.
            FileError: the data set is not one.
        """
        self.training = training
        load_architecture(training.architecture)  # its name is wrong more often than the data are
        self.tree, self.split = split_trials(data, training.validation, training.test, training.train_trials)
        torch.manual_seed(training.seed)
        self.options, self.model = build_model(
            training.architecture, training.options, self.tree, training.autoregressive
        )
        self._require_memory()
        self.scaling = measure_scaling(self.split.train)
        self.windows = Windows(self.model, self.split.train, training.window_ms, training.spike_share)
        if training.spike_weight > 0 and self.windows.spikes == 0:
            raise InputError(
                f"no training trial in {data} has an output spike; simulate with more input, or use --spike-weight 0"
            )
        self.fabric = _fabric(training)
        if training.batch % self.fabric.world_size:
            raise InputError(
                f"a batch of {training.batch} windows cannot be shared by {self.fabric.world_size} processes; "
                "choose a multiple"
            )
        if training.meta_rate > 0 and (training.micro_batch is not None or training.batch % 2):
            raise InputError("the two-step update halves the batch; choose an even --batch, and no --micro-batch")
        if training.meta_rate > 0 and training.current_weight > 0:
            raise InputError("the two-step update is of tasks alone; use one of --meta-rate and --current-weight")
        initialised = {id(p) for p in self.model.prepare(self.split.train, self.scaling)}
        balance = Balance(self.tree.n + 1, training.balance, training.spike_weight)
        currents = None
        if training.current_weight > 0:
            matrix = _current_matrix(self.tree, self.split.train, self.scaling)
            currents = CurrentLoss(matrix, training.current_weight)
        self.objective = Objective(self.model, balance, currents)
        learned = [p for p in self.objective.parameters() if p.requires_grad]
        slow, fast = ([p for p in learned if (id(p) in initialised) is chosen] for chosen in (True, False))
        rate = training.learning_rate
        groups: list[dict[str, Any]] = [{"params": fast}, {"params": slow, "lr": training.start_rate * rate}]
        optimiser = torch.optim.AdamW(groups, rate, weight_decay=training.weight_decay)
        self.wrapped, self.optimiser = self.fabric.setup(self.objective, optimiser)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, lambda step: _rate(step, training))
        self.state: dict[str, Any] = {
            "step": 0, "best": None, "curve": [], "diagnoses": [],
            "in_round": 0, "tasks": None, "seconds": 0.0, "waited": 0.0,
        }  # fmt: skip

    def _require_memory(self) -> None:
        """Raise InputError where a training step takes more than this machine has, before it is tried."""
        t, model = self.training, self.model
        share = -(-t.batch // int(os.environ.get("WORLD_SIZE", "1")))
        at_once = min(t.micro_batch or share, share)
        kept = model.count_activations(self.tree, self.options, t.autoregressive) * at_once
        steps = t.window_ms + model.context
        what = f"a step on {share} windows of {t.window_ms} ms, seen from {model.context} ms before,"
        fix = "use a smaller --batch or --micro-batch, a shorter --window, or a smaller network"
        require_memory(BYTES_PER_NUMBER * steps * (kept + self.tree.n * share), what, fix)

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """This process's share of the batch of each step; the next one is read while one is worked on.

        Args:
            first: the first step.
            last: the step before which they end.

        Yields:
            The batches, on the device of the training.
        """
        t, f = self.training, self.fabric

        def draw(step: int) -> Batch:
            return self.windows.draw(t.batch, np.random.default_rng([t.seed, step]), f.global_rank, f.world_size)

        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(draw, first)
            for step in range(first, last):
                began = time.perf_counter()
                batch = coming.result()
                self.state["waited"] += time.perf_counter() - began
                if step + 1 < last:
                    coming = reader.submit(draw, step + 1)
                yield batch.map(f.to_device)

    def identity(self) -> str:
        """What must be the same for a checkpoint to be gone on from; see `identity_of`."""
        return identity_of(self.training, self.split)

    def parts(self) -> dict[str, Any]:
        """What a checkpoint keeps the state of, by name; the precision has the scale of fp16's gradients."""
        return {
            "objective": self.wrapped,
            "optimiser": self.optimiser,
            "schedule": self.schedule,
            "precision": self.fabric.strategy.precision,
        }


def identity_of(training: Training, split: Split) -> str:
    """What makes a training the same one: how to train, on which trials, and the file of a network of one's own.

    Args:
        training: how to train.
        split: the trials.
    """
    trials = [trial.trial_id for trial in split.train + split.validation]
    parts: list[Any] = [training.model_dump(mode="json"), trials]
    if training.architecture.endswith(".py"):
        parts.append(hashlib.sha256(Path(training.architecture).read_bytes()).hexdigest())
    return json.dumps(parts)


def _current_matrix(tree: Tree, trials: list[TrialIndex], scaling: Scaling) -> NDArray[np.float64]:
    """What `CurrentLoss` takes, (n, n), without rows of no current.

    Standard deviations are those of the first CURRENT_TRIALS trials.
    """
    matrix = axial_matrix(tree)
    currents = [read_trial(trial, tree).v_mV[SETTLE_MS:] @ matrix for trial in trials[:CURRENT_TRIALS]]
    sd_nA = np.concatenate(currents).std(axis=0)
    some = sd_nA > LEAST_CURRENT * abs(matrix).sum(axis=1)  # a cell of one compartment has no current
    if not some.any():
        raise InputError("no current flows between compartments; train without --current-weight")
    return np.asarray(matrix.toarray()[some] * scaling.sd_mV.double().numpy() / sd_nA[some, None])


def _fabric(training: Training) -> Fabric:
    """One process, or those that torchrun has started; bf16 on a GPU that has it."""
    precision: Any = training.precision
    gpu = torch.cuda.is_available()
    if precision == "auto":
        precision = "32-true"
        if gpu:
            precision = "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if training.meta_rate > 0 and precision == "16-mixed":
        raise InputError("the two-step update does not scale fp16's gradients; use --precision bf16-mixed or 32-true")
    accelerator = "cuda" if gpu else "cpu"
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Fabric(accelerator=accelerator, devices=1, precision=precision)
    if training.meta_rate > 0:
        raise InputError("the two-step update runs in one process; train without --meta-rate, or without torchrun")
    local = int(os.environ["LOCAL_WORLD_SIZE"])
    if accelerator == "cuda" and local > torch.cuda.device_count():
        raise InputError(
            f"torchrun has started {local} processes on a machine with {torch.cuda.device_count()} GPUs; "
            "start as many as there are"
        )
    nodes = int(os.environ["WORLD_SIZE"]) // local
    fabric = Fabric(accelerator=accelerator, devices=local, num_nodes=nodes, strategy="ddp", precision=precision)
    fabric.launch()
    return fabric


def _rate(step: int, training: Training) -> float:
    """Learning rate at a step relative to its highest: linear warm-up, then a cosine to zero."""
    steps = training.steps
    warm = max(1, round(training.warm_up * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
