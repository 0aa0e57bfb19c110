"""The end of a round: the validation loss, and the twin of the best weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from dendrotwin.cell.spikes import spike_probability
from dendrotwin.errors import FileError
from dendrotwin.evaluation.metrics import best_threshold
from dendrotwin.evaluation.split import split_trials
from dendrotwin.models.base import Batch
from dendrotwin.recording import SETTLE_MS, RecordingFile, provenance
from dendrotwin.recording.trials import made_by, read_trial
from dendrotwin.training.comparison import baseline_losses, best_loss, verdict
from dendrotwin.training.config import Training
from dendrotwin.training.run import Run, identity_of
from dendrotwin.training.windows import Windows
from dendrotwin.twin import Twin
from dendrotwin.twin_config import read_config

# Where no threshold separates spikes (it is infinite, which JSON cannot hold): a probability that no step reaches.
NO_SPIKES = float(np.nextafter(1.0, 2.0))
DIAGNOSED_MS = 500  # how much of a validation trial the model's own diagnosis sees: enough for the distances of experts


def end_round(run: Run) -> dict[str, Any]:
    """Measure the validation loss, and keep the weights if they are the best.

    Args:
        run: the training; what happened is added to its `state`.

    Returns:
        The round's line of the log: step, losses, learning rate, time [min], and the share of the time that training
        waited for data.
    """
    state, fabric = run.state, run.fabric
    tasks = state["tasks"] / state["in_round"]
    run.objective.balance.end_round(fabric.to_device(tasks))
    # One process validates, so that all go on, or stop, together.
    validation = {}
    if fabric.global_rank == 0:
        validation = _validate(run)
    validation = fabric.broadcast(validation)
    if state["best"] is None or validation["loss"] < state["best"]["validation"]:
        weights = {name: tensor.detach().cpu().clone() for name, tensor in run.model.state_dict().items()}
        state["best"] = {"validation": validation["loss"], "step": state["step"], "weights": weights}
        state["best"]["scores"] = validation["scores"]
    point = {
        "step": state["step"],
        # As the validation loss, whatever the balancing, so that trainings can be compared.
        "training": float(tasks[:-1].mean()) + run.training.spike_weight * float(tasks[-1]),
        "training_spikes": float(tasks[-1]),
        "validation": validation["loss"],
        "validation_regression": validation["regression"],
        "validation_spikes": validation["spikes"],
        "learning_rate": run.schedule.get_last_lr()[0],
        "minutes": state["seconds"] / 60.0,
        "reading_share": state["waited"] / max(state["seconds"], 1e-9),
    }
    diagnosis = run.model.diagnose(_validation_window(run))
    if diagnosis:
        state["diagnoses"].append({"step": state["step"], **diagnosis})
    state["curve"].append(point)
    state["in_round"], state["tasks"] = 0, None
    return point


def _validate(run: Run) -> dict[str, Any]:
    """Losses over whole validation trials after SETTLE_MS, all tasks equally weighted.

    The loss with equal weights is what weights and architectures are compared by, whatever the balancing. An
    autoregressive model sees the true potentials.

    Returns:
        "regression", "spikes" and their weighted sum "loss", and "scores": the probability of an output spike in each
        step of each trial (steps,), 0 before SETTLE_MS.
    """
    squares, cross_entropy, count = np.zeros(run.tree.n), 0.0, 0
    sd_mV = run.scaling.sd_mV.numpy()
    scores: list[torch.Tensor] = []
    for trial in run.split.validation:
        recording = read_trial(trial, run.tree)
        true_mV = recording.v_mV[None] if run.training.autoregressive else None
        v, logit = run.model.predict([recording.events], recording.duration_ms, true_mV)
        residual = (v[0, SETTLE_MS:] - recording.v_mV[SETTLE_MS:]) / sd_mV
        squares += np.square(residual, dtype=np.float64).sum(0)
        spikes = torch.from_numpy(recording.spike_train()[SETTLE_MS:].astype(np.float32))
        after = torch.from_numpy(logit[0, SETTLE_MS:])
        cross_entropy += float(functional.binary_cross_entropy_with_logits(after, spikes, reduction="sum"))
        count += len(residual)
        score = torch.from_numpy(spike_probability(logit[0]))
        score[:SETTLE_MS] = 0.0
        scores.append(score)
    regression, spike = float(squares.mean()) / count, cross_entropy / count
    loss = regression + run.training.spike_weight * spike
    return {"loss": loss, "regression": regression, "spikes": spike, "scores": scores}


def _validation_window(run: Run) -> Batch:
    """The start of the first validation trial after SETTLE_MS."""
    trial = run.split.validation[0]
    steps = min(DIAGNOSED_MS, trial.duration_ms - SETTLE_MS)
    windows = Windows(run.model, [trial], steps, 0.0)
    return windows.draw(1, np.random.default_rng(0)).map(run.fabric.to_device)


def save_best(run: Run, out: Path, *, overwrite: bool) -> Twin:
    """Save the twin of the best weights so far; its threshold is the best one on the validation trials.

    Args:
        run: the training, of at least one round.
        out: folder of the twin.
        overwrite: replace a twin that is there.

    Returns:
        The twin.

    Raises:
        FileError: the folder exists.
    """
    training, state, split = run.training, run.state, run.split
    true_spikes = []
    for trial in split.validation:
        with RecordingFile(trial.path) as file:
            true_spikes.append(file.spikes_ms(trial.number))
    run.model.cpu()
    run.model.load_state_dict(state["best"]["weights"])
    twin = Twin(
        training.architecture,
        run.options.model_dump(mode="json"),
        run.tree,
        run.model,
        threshold=min(best_threshold(true_spikes, [score.numpy() for score in state["best"]["scores"]]), NO_SPIKES),
        training={
            "configuration": training.model_dump(mode="json"),
            "identity": digest_of(run.identity()),
            "threads": torch.get_num_threads(),
            "simulation": made_by(split.train[0]),
            "train_trials": [trial.trial_id for trial in split.train],
            "validation_trials": [trial.trial_id for trial in split.validation],
            "test_trials": [trial.trial_id for trial in split.test],
            "train_s": sum(trial.duration_ms for trial in split.train) / 1000.0,
            "best_step": state["best"]["step"],
            "steps": state["step"],
            "windows": state["step"] * training.batch,
            "curve": state["curve"],
            "baselines": baseline_losses(run),
            "diversity": state["diagnoses"],
            "minutes": state["seconds"] / 60.0,
            "date": datetime.now(UTC).date().isoformat(),
            **provenance(),
        },
    )
    twin = replace(twin, readme=_readme(twin))
    twin.save(out, overwrite=overwrite)
    return twin


def digest_of(identity: str) -> str:
    """Hash by which a twin knows the training that made it.

    Args:
        identity: see `run.identity_of`.
    """
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def finished_twin(data: Path, out: Path, training: Training) -> Twin | None:
    """The twin that a training has made in a folder already; None where there is none.

    Args:
        data: the data set.
        out: folder of the twin.
        training: how to train.

    Raises:
        FileError: there is a twin of something else, or of a training that did not come to its end.
        InputError, TwinError: the data set is not one, or the twin is damaged.
    """
    if not (out / "config.json").is_file():
        return None
    facts = read_config(out).training.model_dump()
    _, split = split_trials(data, training.validation, training.test, training.train_trials)
    if facts.get("identity") != digest_of(identity_of(training, split)):
        there, here = facts.get("configuration", {}), training.model_dump(mode="json")
        differ = [name for name in here if name in there and there[name] != here[name]]
        other = ", ".join(differ) or ("trials or code of the network" if there else "kind, not trained")
        raise FileError(f"{out} exists and is of another {other}; name another folder, or use --overwrite")
    since_best = facts["curve"][-1]["step"] - facts["best_step"]
    stopped = training.patience is not None and since_best >= training.patience * training.round_steps
    if not stopped and facts["steps"] != training.steps:
        raise FileError(f"{out} exists, of a training that failed at step {facts['steps']}; use --overwrite")
    return Twin.load(out, training.architecture if training.architecture.endswith(".py") else None)


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
{len(training["validation_trials"])} validation trials, {best_loss(training):.4f}
(mean squared z-score plus {training["configuration"]["spike_weight"]:g} x cross-entropy of the spikes).
Beside baselines: {verdict(training)}.
`dendrotwin evaluate` measures its error on trials that it has not seen.

Compartments: {twin.tree.n}. Inputs: {twin.tree.n_inputs}. Threshold for output spikes: {twin.threshold:.4g}.
Made on {training["date"]} with {training["versions"]}.
"""
