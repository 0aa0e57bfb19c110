"""A data set to a twin."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from dendrotwin.cell.tree import Tree
from dendrotwin.errors import InputError, MissingPackageError, TwinError
from dendrotwin.evaluation.metrics import best_threshold, expert_diversity
from dendrotwin.evaluation.split import split_trials
from dendrotwin.models import build_network
from dendrotwin.models.networks.ridge_init import linear_paths, start_from_linear
from dendrotwin.models.scaling import Scaling, measure_scaling
from dendrotwin.recording import SETTLE_MS, RecordingFile, TrialIndex, made_by, provenance, read_trial
from dendrotwin.solver.axial import axial_matrix
from dendrotwin.support.atomic_files import refuse_existing, whole_file
from dendrotwin.support.progress import progress
from dendrotwin.training.losses import Balance, Balancing, CurrentLoss, Objective, meta_gradient, task_losses
from dendrotwin.training.windows import Batch, Windows
from dendrotwin.twin import Twin, run

WARM_UP = 0.05  # of the steps
NEVER = float(np.nextafter(1.0, 2.0))  # a probability that no step reaches
LEAST_CURRENT = 1e-6  # standard deviation of a current that counts, relative to what 1 mV around it drives
CURRENT_TRIALS = 10  # from which the scale of currents is known
DIVERSITY_MS = 500  # how much of a validation trial the experts are compared on
DIVERSITY = ("distances", "determinant", "permanent")


class Training(BaseModel):
    """How a twin is trained.

    Attributes:
        architecture: name in `models.ARCHITECTURES`.
        options: of the network; what is not said has its default, or that of the `preset` named there.
        history: whether the network also sees the potentials of the steps before, and predicts one step ahead.
        steps: optimiser steps, 500 for a demo to 100000.
        batch: windows in a step, of all processes together.
        micro_batch: windows that a process evaluates at once; gradients add up to the whole batch's, memory shrinks.
        window_ms: length of a window [ms].
        learning_rate: highest learning rate of AdamW; warm-up over 5 % of the steps, then a cosine to zero.
        start_rate: learning rate of the linear paths that a training starts from, relative to that of the rest.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        spike_share: share of the windows placed around an output spike (Verhellen et al. 2024 balance theirs too).
        spike_weight: weight of the spikes' cross-entropy beside the mean squared z-score.
        current_weight: weight of the error of membrane currents, see `losses.CurrentLoss`.
        balance: how the tasks are weighed, see `losses.Balance`.
        meta_rate: learning rate of the first step of the two-step update of Aoki et al. 2021, see
            `losses.meta_gradient`; 0 leaves it out.
        round_steps: steps between two looks at the validation split.
        patience: rounds without a better validation loss after which training stops; None never stops early.
        checkpoint_minutes: time between two checkpoints.
        precision: "auto" is float32 on a CPU, bf16 on a GPU, fp16 on a GPU without bf16.
        validation, test: share of the trials, where the data set does not say itself.
        train_trials: use only the first so many training trials; None means all.
        seed: of weights and windows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    architecture: str = "hard-sharing"
    options: dict[str, Any] = {}
    history: bool = False
    steps: int = Field(default=4000, ge=1)
    batch: int = Field(default=4, ge=1)
    micro_batch: int | None = Field(default=None, ge=1)
    window_ms: int = Field(default=400, ge=10)
    learning_rate: float = Field(default=2e-3, gt=0)
    start_rate: float = Field(default=0.2, ge=0, le=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip: float = Field(default=1.0, gt=0)
    spike_share: float = Field(default=0.2, ge=0, le=1)
    spike_weight: float = Field(default=2.0, ge=0)
    current_weight: float = Field(default=0.0, ge=0)
    balance: Balancing = "equal"
    meta_rate: float = Field(default=0.0, ge=0)
    round_steps: int = Field(default=250, ge=1)
    patience: int | None = Field(default=None, ge=1)
    checkpoint_minutes: float = Field(default=2.0, ge=0)
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    validation: float = Field(default=0.1, gt=0, lt=1)
    test: float = Field(default=0.2, gt=0, lt=1)
    train_trials: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)


class _Run:
    """Everything that a training works with: the parts that learn, the data, and what has happened so far."""

    def __init__(self, data: Path, training: Training) -> None:
        self.training = training
        self.tree, self.split = split_trials(data, training.validation, training.test, training.train_trials)
        torch.manual_seed(training.seed)
        self.options, self.network = build_network(training.architecture, training.options, self.tree, training.history)
        self.scaling = measure_scaling(self.split.train)
        self.context = int(self.network.context)  # type: ignore[arg-type]
        self.windows = Windows(
            self.tree,
            self.split.train,
            self.scaling,
            self.context,
            training.window_ms,
            training.spike_share,
            training.history,
        )
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
            raise InputError("the two-step update is of tasks alone; leave --meta-rate or --current-weight away")
        start_from_linear(self.network, self.tree, self.split.train, self.scaling)
        balance = Balance(self.tree.n + 1, training.balance, training.spike_weight)
        currents = None
        if training.current_weight > 0:
            rows = _current_rows(self.tree, self.split.train, self.scaling)
            currents = CurrentLoss(rows, training.current_weight)
        self.bare = Objective(self.network, balance, currents)
        started = {id(p) for p in linear_paths(self.network)}
        learned = [p for p in self.bare.parameters() if p.requires_grad]
        slow, fast = ([p for p in learned if (id(p) in started) is chosen] for chosen in (True, False))
        rate = training.learning_rate
        groups: list[dict[str, Any]] = [{"params": fast}, {"params": slow, "lr": training.start_rate * rate}]
        optimiser = torch.optim.AdamW(groups, rate, weight_decay=training.weight_decay)
        self.objective, self.optimiser = self.fabric.setup(self.bare, optimiser)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, lambda step: _rate(step, training.steps))
        self.state: dict[str, Any] = {
            "step": 0, "best": None, "curve": [], "in_round": 0, "tasks": None, "seconds": 0.0, "waited": 0.0
        }  # fmt: skip

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """This process's share of the batch of each step, the next one read while one is worked on."""
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
        """What a checkpoint must be of to go on from it."""
        trials = [trial.trial_id for trial in self.split.train + self.split.validation]
        return json.dumps([self.training.model_dump(mode="json"), trials])

    def parts(self) -> dict[str, Any]:
        """What has weights or counts of its own; of the precision, the scale of fp16's gradients."""
        return {
            "objective": self.objective,
            "optimiser": self.optimiser,
            "schedule": self.schedule,
            "precision": self.fabric.strategy.precision,
        }


def _current_rows(tree: Tree, trials: list[TrialIndex], scaling: Scaling) -> NDArray[np.float64]:
    """(n, n) what `CurrentLoss` takes; standard deviations are those of the first `CURRENT_TRIALS` trials."""
    matrix = axial_matrix(tree)
    currents = [read_trial(trial, tree).v_mV[SETTLE_MS:] @ matrix for trial in trials[:CURRENT_TRIALS]]
    sd_nA = np.concatenate(currents).std(axis=0)
    some = sd_nA > LEAST_CURRENT * abs(matrix).sum(axis=1)  # a cell of one compartment has no current
    if not some.any():
        raise InputError("no current flows between compartments; leave --current-weight away")
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
        raise InputError("the two-step update runs in one process; leave --meta-rate away, or torchrun")
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


def _rate(step: int, steps: int) -> float:
    """Learning rate at a step relative to its highest: linear warm-up, then a cosine to zero."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def train(data: Path, out: Path, training: Training, *, overwrite: bool = False, tensorboard: bool = False) -> Twin:
    """Train a network on a data set and save the twin with the best validation loss.

    A killed run goes on from its last checkpoint when it is called again with the same arguments; on a CPU the result
    is the same to the last bit. Under torchrun several processes share the batches. Beside `out`, `NAME.log.jsonl`
    gets a line for each round.

    Args:
        data: the data set.
        out: folder of the twin.
        training: how.
        overwrite: replace a twin that is there.
        tensorboard: also write the rounds for TensorBoard, into `NAME.tensorboard`.

    Returns:
        The twin.

    Raises:
        TwinError: the loss is no longer finite; the best weights so far, if there are some, are saved.
        FileError, InputError: `out` exists, the data set is not one, is too small, or an option is wrong.
    """
    began = time.monotonic()
    out = Path(out)
    refuse_existing(out, "config.json", overwrite=overwrite)
    work = _Run(data, training)
    state, steps = work.state, training.steps
    log = _Log(out, tensorboard) if work.fabric.global_rank == 0 else None
    checkpoint = out.parent / f".{out.name}.checkpoint"
    _resume(checkpoint, work)
    if log is not None:
        log.start(state["curve"])
    saved = time.monotonic()
    before = state["seconds"]
    with progress(f"training {training.architecture} into {out}", steps, "steps", state["step"]) as advance:
        for step, batch in enumerate(work.batches(state["step"], steps), state["step"]):
            try:
                _step(work, step, batch)
            except (torch.OutOfMemoryError, MemoryError) as error:
                raise TwinError(f"out of memory ({error}); use a smaller --micro-batch or --batch") from error
            except FloatingPointError as error:
                kept = ""
                if state["best"] is not None:
                    if log is not None:
                        _finish(work, out, overwrite=overwrite)
                    work.fabric.barrier()
                    kept = f"; the best weights so far, of step {state['best']['step']}, are kept in {out}"
                raise TwinError(f"{error}; use a lower --learning-rate{kept}") from error
            state["seconds"] = before + time.monotonic() - began
            advance(1)
            if state["step"] % training.round_steps == 0 or state["step"] == steps:
                point = _end_round(work)
                advance(0, f"validation loss {point['validation']:.4f}, best {state['best']['validation']:.4f}")
                if log is not None:
                    log.add(point)
            if training.patience is not None and _stale(state) >= training.patience * training.round_steps:
                break
            if log is not None and time.monotonic() - saved >= 60.0 * training.checkpoint_minutes:
                _save_checkpoint(checkpoint, work)
                saved = time.monotonic()
    if log is None:
        work.fabric.barrier()
        return Twin.load(out)
    twin = _finish(work, out, overwrite=overwrite)
    checkpoint.unlink(missing_ok=True)
    work.fabric.barrier()
    return twin


def _stale(state: dict[str, Any]) -> int:
    """Steps since the best round, counted at the end of the last one."""
    return int(state["curve"][-1]["step"] - state["best"]["step"]) if state["curve"] else 0


def _step(work: _Run, step: int, batch: Batch) -> None:
    """One optimiser step.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    training, objective = work.training, work.objective
    # Dropout of a step does not depend on where a killed run was started again.
    torch.manual_seed(int(np.random.SeedSequence([training.seed, step, work.fabric.global_rank]).generate_state(1)[0]))
    objective.train()
    work.optimiser.zero_grad()
    if training.meta_rate > 0:
        groups = np.append(work.tree.region, work.tree.region.max() + 1)
        tasks = meta_gradient(work.bare, batch, groups, training.meta_rate, work.fabric.autocast)
    else:
        tasks = _gradient(work, batch)
    if work.fabric.world_size > 1:  # each process has seen its share of the batch; all decide on the same numbers
        tasks = cast(torch.Tensor, work.fabric.all_reduce(tasks, reduce_op="mean"))
    loss = work.bare.balance(tasks).item()
    norm = cast(
        torch.Tensor,
        work.fabric.clip_gradients(objective, work.optimiser, max_norm=training.clip, error_if_nonfinite=False),
    )
    skips = getattr(work.fabric.strategy.precision, "scaler", None) is not None  # fp16 leaves such a step out
    what = "loss" if not math.isfinite(loss) else "gradient"
    if not math.isfinite(loss) or not (skips or math.isfinite(float(norm))):
        raise FloatingPointError(
            f"the {what} is no longer finite at step {step} with a learning rate of "
            f"{work.schedule.get_last_lr()[0]:.2g}"
        )
    work.optimiser.step()
    work.schedule.step()
    state = work.state
    state["step"] = step + 1
    state["in_round"] += 1
    tasks = tasks.cpu()  # as it is in a checkpoint
    state["tasks"] = tasks if state["tasks"] is None else state["tasks"] + tasks


def _gradient(work: _Run, batch: Batch) -> torch.Tensor:
    """Add up the gradient of a batch, some windows at a time; returns the (n + 1,) losses of the tasks."""
    size = len(batch.events)
    at_once = work.training.micro_batch or size
    tasks = torch.zeros(work.tree.n + 1, device=batch.z.device)
    for start in range(0, size, at_once):
        part = batch.part(slice(start, start + at_once))
        share = len(part.events) / size
        with work.fabric.no_backward_sync(work.objective, enabled=start + at_once < size):
            loss, losses = work.objective(part)
            work.fabric.backward(share * loss)
        tasks += share * losses.detach()
    return tasks


def _end_round(work: _Run) -> dict[str, Any]:
    """Look at the validation split, keep the weights if they are the best; returns the round's line of the log."""
    state, fabric = work.state, work.fabric
    tasks = state["tasks"] / state["in_round"]
    work.bare.balance.end_round(fabric.to_device(tasks))
    # One process looks, so that all go on, or stop, together.
    validation = {}
    if fabric.global_rank == 0:
        validation = _validate(work)
    validation = fabric.broadcast(validation)
    if state["best"] is None or validation["loss"] < state["best"]["validation"]:
        weights = {name: tensor.detach().cpu().clone() for name, tensor in work.network.state_dict().items()}
        state["best"] = {"validation": validation["loss"], "step": state["step"], "weights": weights}
        state["best"]["scores"] = validation["scores"]
    point = {
        "step": state["step"],
        # As the validation loss, whatever the balancing, so that trainings can be compared.
        "training": float(tasks[:-1].mean()) + work.training.spike_weight * float(tasks[-1]),
        "training_spikes": float(tasks[-1]),
        "validation": validation["loss"],
        "validation_regression": validation["regression"],
        "validation_spikes": validation["spikes"],
        "learning_rate": work.schedule.get_last_lr()[0],
        "minutes": state["seconds"] / 60.0,
        "reading_share": state["waited"] / max(state["seconds"], 1e-9),
        **_diversity(work),
    }
    state["curve"].append(point)
    state["in_round"], state["tasks"] = 0, None
    return point


@torch.no_grad()
def _validate(work: _Run) -> dict[str, Any]:
    """Losses over whole validation trials after SETTLE_MS, all tasks equally weighed.

    The loss with equal weights is what weights and architectures are compared by, whatever the balancing. A network
    that sees past potentials sees the true ones.

    Returns:
        "regression", "spikes" and their weighted sum "loss", and "scores": the probability of an output spike in each
        step of each trial (steps,), 0 before SETTLE_MS.
    """
    work.network.eval()
    total, count = torch.zeros(work.tree.n + 1), 0
    scores: list[torch.Tensor] = []
    for trial in work.split.validation:
        recording = read_trial(trial, work.tree)
        true = work.scaling.normalise(torch.from_numpy(recording.v_mV))[None]
        spikes = torch.from_numpy(recording.spike_train().astype(np.float32))[None]
        z_rest = work.scaling.normalise(torch.full((work.tree.n,), work.tree.v_init_mV))
        past = {"z_rest": z_rest, "z_true": true} if work.training.history else {}
        score = torch.zeros(recording.steps)
        for time_, z, logit in run(work.network, work.tree, [recording.events], recording.steps, **past):  # type: ignore[arg-type]
            skip = max(0, SETTLE_MS - time_.start)
            piece = slice(time_.start + skip, time_.stop)
            if piece.start >= piece.stop:
                continue
            z, logit = z[:, skip:].float().cpu(), logit[:, skip:].float().cpu()
            total += task_losses(z, logit, true[:, piece], spikes[:, piece]) * z.shape[1]
            count += z.shape[1]
            score[piece] = torch.sigmoid(logit[0])
        scores.append(score)
    regression, spike = float(total[:-1].mean()) / count, float(total[-1]) / count
    loss = regression + work.training.spike_weight * spike
    return {"loss": loss, "regression": regression, "spikes": spike, "scores": scores}


@torch.no_grad()
def _diversity(work: _Run) -> dict[str, Any]:
    """How far the experts of a mixture are apart on a validation trial; {} for networks without experts."""
    if not hasattr(work.network, "expert_outputs"):
        return {}
    work.network.eval()
    trial = work.split.validation[0]
    steps = min(DIVERSITY_MS, trial.steps - SETTLE_MS)
    windows = Windows(work.tree, [trial], work.scaling, work.context, steps, 0.0, work.training.history)
    batch = windows.draw(1, np.random.default_rng(0)).map(work.fabric.to_device)
    outputs = work.network.expert_outputs(batch.events, batch.past)  # type: ignore[operator]
    return expert_diversity(outputs[0].flatten(1).float().cpu().numpy())


def _save_checkpoint(path: Path, work: _Run) -> None:
    with whole_file(path) as temporary:
        parts = {name: part.state_dict() for name, part in work.parts().items()}
        torch.save({"identity": work.identity(), "state": work.state, **parts}, temporary)


def _resume(checkpoint: Path, work: _Run) -> None:
    """Go on where a killed run of the same training was, if there is one; another's checkpoint is not used."""
    if not checkpoint.is_file():
        return
    try:
        saved = torch.load(checkpoint, weights_only=True, map_location="cpu")
        if saved["identity"] != work.identity():
            return
        for name, part in work.parts().items():
            part.load_state_dict(saved[name])
        work.state.update(saved["state"])
    except Exception as error:
        raise TwinError(f"the checkpoint {checkpoint} is damaged ({error}); delete it and train again") from error


class _Log:
    """The rounds of a training as lines of JSON and, if wanted, for TensorBoard."""

    def __init__(self, out: Path, tensorboard: bool) -> None:
        self.path = out.parent / f"{out.name}.log.jsonl"
        self._board: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise MissingPackageError(
                    "--tensorboard needs the package tensorboard: pip install tensorboard"
                ) from error
            self._board = SummaryWriter(str(out.parent / f"{out.name}.tensorboard"))

    def start(self, curve: list[dict[str, Any]]) -> None:
        """Begin with the rounds that a resumed run has behind it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(json.dumps(point) + "\n" for point in curve))

    def add(self, point: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(point) + "\n")
        if self._board is not None:
            for name, value in point.items():
                if isinstance(value, float):
                    self._board.add_scalar(name, value, point["step"])
            self._board.flush()


def _finish(work: _Run, out: Path, *, overwrite: bool) -> Twin:
    """The twin of the best weights so far, saved."""
    training, state, split = work.training, work.state, work.split
    true_spikes = []
    for trial in split.validation:
        with RecordingFile(trial.path) as file:
            true_spikes.append(file.spikes_ms(trial.number))
    work.network.cpu()
    work.network.load_state_dict(state["best"]["weights"])
    curve = [{k: v for k, v in point.items() if k not in DIVERSITY} for point in state["curve"]]
    diversity = [{k: point[k] for k in ("step", *DIVERSITY)} for point in state["curve"] if DIVERSITY[0] in point]
    twin = Twin(
        training.architecture,
        work.options.model_dump(mode="json"),
        work.tree,
        work.scaling,
        work.network,
        threshold=min(best_threshold(true_spikes, [score.numpy() for score in state["best"]["scores"]]), NEVER),
        one_step_ahead=training.history,
        training={
            "configuration": training.model_dump(mode="json"),
            "simulation": made_by(split.train[0]),
            "train_trials": [trial.trial_id for trial in split.train],
            "validation_trials": [trial.trial_id for trial in split.validation],
            "test_trials": [trial.trial_id for trial in split.test],
            "train_s": sum(trial.steps for trial in split.train) / 1000.0,
            "best_step": state["best"]["step"],
            "steps": state["step"],
            "windows": state["step"] * training.batch,
            "curve": curve,
            "diversity": diversity,
            "minutes": state["seconds"] / 60.0,
            "date": datetime.now(UTC).date().isoformat(),
            **provenance(),
        },
    )
    twin.save(out, _readme(twin), overwrite=overwrite)
    return twin


def measure_time(data: Path, training: Training, steps: int = 20) -> tuple[float, float]:
    """Time a training; nothing is written.

    Args:
        data: the data set.
        training: how.
        steps: how many are timed, after a first one that is not; their median counts.

    Returns:
        Wall seconds before the first step, and of each, with its share of a look at the validation trials.
    """
    began = time.perf_counter()
    work = _Run(data, training)
    seconds, first = [], time.perf_counter()
    last = first
    for step, batch in enumerate(work.batches(0, steps + 1)):
        try:
            _step(work, step, batch)
        except FloatingPointError as error:
            raise TwinError(f"{error}; use a lower learning_rate") from error
        now = time.perf_counter()
        seconds.append(now - last)
        last = now
    _end_round(work)
    look = (time.perf_counter() - last) / training.round_steps
    return first - began, float(np.median(seconds[1:])) + look


def _readme(twin: Twin) -> str:
    training = twin.training
    simulation = training["simulation"]
    sees = "the input and the true potentials up to 1 ms before" if twin.one_step_ahead else "the input alone"
    return f"""# A twin of {simulation.get("cell", "a cell")}

Network: {twin.architecture}, {json.dumps(twin.options)}.
It sees {sees}.
Trained on {len(training["train_trials"])} trials ({training["train_s"]:.0f} s of simulated time) of
`{json.dumps(simulation)}`,
best at step {training["best_step"]} of {training["configuration"]["steps"]} by the loss on
{len(training["validation_trials"])} validation trials, {min(point["validation"] for point in training["curve"]):.4f}
(mean squared z-score plus {training["configuration"]["spike_weight"]:g} x cross-entropy of the spikes).
`dendrotwin evaluate` measures its error on trials that it has not seen.

Compartments: {twin.tree.n}. Inputs: {twin.tree.n_inputs}. Threshold for output spikes: {twin.threshold:.4g}.
Made on {training["date"]} with {training["versions"]}.
"""
