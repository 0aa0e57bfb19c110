"""A data set to a twin."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional

from dendrotwin.dataset import Scaling, Windows, event_counts, measure_scaling, split_trials
from dendrotwin.errors import TwinError
from dendrotwin.files import refuse_existing, whole_file
from dendrotwin.measures import SETTLE_MS, best_threshold
from dendrotwin.models import build_network
from dendrotwin.progress import progress
from dendrotwin.recording import RecordingFile, TrialIndex, provenance, spike_train
from dendrotwin.tree import Tree
from dendrotwin.twin import Twin


class Training(BaseModel):
    """How a twin is trained.

    Attributes:
        architecture: name in `models.ARCHITECTURES`.
        options: of the network; what is not said has its default.
        steps: optimiser steps, 500 for a demo to 100000.
        batch: windows in a step.
        window_ms: length of a window [ms].
        learning_rate: highest learning rate of AdamW; warm-up over 5 % of the steps, then a cosine to zero.
        weight_decay: of AdamW.
        spike_share: share of the windows placed around an output spike (Verhellen et al. 2024 balance theirs too).
        spike_weight: weight of the spikes' cross-entropy beside the mean squared z-score.
        round_steps: steps between two looks at the validation split, and two checkpoints.
        validation, test: share of the trials.
        seed: of weights and windows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    architecture: str = "hard-sharing"
    options: dict[str, Any] = {}
    steps: int = Field(default=4000, ge=1)
    batch: int = Field(default=8, ge=1)
    window_ms: int = Field(default=400, ge=10)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    spike_share: float = Field(default=0.2, ge=0, le=1)
    spike_weight: float = Field(default=2.0, ge=0)
    round_steps: int = Field(default=100, ge=1)
    validation: float = Field(default=0.1, gt=0, lt=1)
    test: float = Field(default=0.2, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)


def train(data: Path, out: Path, training: Training, *, overwrite: bool = False) -> Twin:
    """Train a network on a data set and save the twin with the best validation loss.

    A killed run goes on from its last round when it is called again with the same arguments; on a CPU the result is the
    same to the last bit.

    Args:
        data: the data set.
        out: folder of the twin.
        training: how.
        overwrite: replace a twin that is there.

    Returns:
        The twin.

    Raises:
        TwinError: the loss is no longer finite.
        FileError, InputError: `out` exists, the data set is not one, is too small, or an option is wrong.
    """
    out = Path(out)
    refuse_existing(out, "config.json", overwrite=overwrite)
    tree, split = split_trials(data, training.validation, training.test)
    torch.manual_seed(training.seed)
    options, network = build_network(training.architecture, training.options, tree)
    history = int(network.history)  # type: ignore[arg-type]
    scaling = measure_scaling(split.train)
    windows = Windows(tree, split.train, scaling, history, training.window_ms, training.spike_share)

    # One process; on a GPU in bf16, on a CPU in float32.
    fabric = Fabric(accelerator="auto", devices=1, precision="bf16-mixed" if torch.cuda.is_available() else "32-true")
    optimiser = torch.optim.AdamW(network.parameters(), training.learning_rate, weight_decay=training.weight_decay)
    model, optimiser = fabric.setup(network, optimiser)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, training.learning_rate, total_steps=training.steps + 1, pct_start=0.05, cycle_momentum=False
    )
    state: dict[str, Any] = {"step": 0, "best": None, "curve": []}
    checkpoint = out.parent / f".{out.name}.checkpoint"
    identity = json.dumps([training.model_dump(mode="json"), [t.trial_id for t in split.train + split.validation]])
    _resume(checkpoint, identity, state, model, optimiser, schedule)

    began = time.monotonic()
    with progress(f"training {training.architecture} into {out}", training.steps, "steps", state["step"]) as advance:
        while state["step"] < training.steps:
            first, last = state["step"], min(state["step"] + training.round_steps, training.steps)
            torch.manual_seed(int(np.random.SeedSequence([training.seed, first]).generate_state(1)[0]))
            model.train()
            losses = []
            for step in range(first, last):
                batch = windows.draw(training.batch, np.random.default_rng([training.seed, step]))
                z, logit = model(fabric.to_device(batch.events))
                loss = _loss(z, logit, batch.z, batch.spikes, training.spike_weight)
                if not torch.isfinite(loss):
                    raise TwinError(
                        f"the loss is no longer finite at step {step} with a learning rate of "
                        f"{schedule.get_last_lr()[0]:.2g}; use a lower --learning-rate"
                    )
                optimiser.zero_grad()
                fabric.backward(loss)
                fabric.clip_gradients(model, optimiser, max_norm=1.0)
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
                advance(1)
            validation, scores = _validate(
                model, fabric, tree, split.validation, scaling, history, training.spike_weight
            )
            state["step"] = last
            state["curve"].append({"step": last, "training": sum(losses) / len(losses), "validation": validation})
            if state["best"] is None or validation < state["best"]["validation"]:
                weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
                state["best"] = {"validation": validation, "step": last, "weights": weights, "scores": scores}
            advance(0, f"validation loss {validation:.4f}, best {state['best']['validation']:.4f}")
            with whole_file(checkpoint) as temporary:
                parts = {"model": model, "optimiser": optimiser, "schedule": schedule}
                torch.save(
                    {"identity": identity, "state": state, **{k: p.state_dict() for k, p in parts.items()}}, temporary
                )

    true_spikes = []
    for trial in split.validation:
        with RecordingFile(trial.path) as file:
            true_spikes.append(file.spikes_ms(trial.number))
    network.cpu()
    network.load_state_dict(state["best"]["weights"])
    twin = Twin(
        training.architecture,
        options.model_dump(mode="json"),
        tree,
        scaling,
        network,
        threshold=best_threshold(true_spikes, [score.numpy() for score in state["best"]["scores"]]),
        training={
            "configuration": training.model_dump(mode="json"),
            "simulation": _simulation_of(split.train[0]),
            "train_trials": [trial.trial_id for trial in split.train],
            "validation_trials": [trial.trial_id for trial in split.validation],
            "train_s": sum(trial.steps for trial in split.train) / 1000.0,
            "best_step": state["best"]["step"],
            "curve": state["curve"],
            "minutes": (time.monotonic() - began) / 60.0,
            "date": datetime.now(UTC).date().isoformat(),
            **provenance(),
        },
    )
    twin.save(out, _readme(twin), overwrite=overwrite)
    checkpoint.unlink(missing_ok=True)
    return twin


def _loss(
    z: torch.Tensor, logit: torch.Tensor, true_z: torch.Tensor, spikes: torch.Tensor, spike_weight: float
) -> torch.Tensor:
    """Mean squared error of the z-scores, plus weighted cross-entropy of the spikes."""
    regression = functional.mse_loss(z, true_z.to(z.device))
    return regression + spike_weight * functional.binary_cross_entropy_with_logits(logit, spikes.to(z.device))


@torch.no_grad()
def _validate(
    model: Any,
    fabric: Fabric,
    tree: Tree,
    trials: list[TrialIndex],
    scaling: Scaling,
    history: int,
    spike_weight: float,
) -> tuple[float, list[torch.Tensor]]:
    """The training loss over whole validation trials, evaluated densely, second by second.

    Returns:
        The loss, and the probability of an output spike in each step of each trial (steps,), 0 before SETTLE_MS.
    """
    model.eval()
    total, count = 0.0, 0
    scores = []
    for trial in trials:
        score = torch.zeros(trial.steps)
        with RecordingFile(trial.path) as file:
            events = file.events(trial.number)
            spikes = torch.from_numpy(spike_train(file.spikes_ms(trial.number), trial.steps).astype(np.float32))
            for start in range(min(SETTLE_MS, trial.steps - 1), trial.steps, 1000):
                stop = min(start + 1000, trial.steps)
                counts = torch.from_numpy(event_counts(events, tree.n_inputs, start - history, stop))[None]
                z, logit = model(fabric.to_device(counts))
                true = scaling.normalise(torch.from_numpy(file.v(trial.number, start, stop)))[None]
                loss = _loss(z, logit, true, spikes[None, start:stop], spike_weight)
                total, count = total + loss.item() * (stop - start), count + stop - start
                score[start:stop] = torch.sigmoid(logit[0]).float().cpu()
        scores.append(score)
    return total / count, scores


def _resume(checkpoint: Path, identity: str, state: dict[str, Any], *parts: Any) -> None:
    """Go on where a killed run of the same training was; another training's checkpoint is not used."""
    if not checkpoint.is_file():
        return
    try:
        saved = torch.load(checkpoint, weights_only=True)
        if saved["identity"] != identity:
            return
        for name, part in zip(("model", "optimiser", "schedule"), parts, strict=True):
            part.load_state_dict(saved[name])
        state.update(saved["state"])
    except Exception as error:
        raise TwinError(f"the checkpoint {checkpoint} is damaged ({error}); delete it and train again") from error


def _simulation_of(trial: TrialIndex) -> dict[str, Any]:
    """The configuration that made a trial, {} for recordings that `simulate` did not make."""
    with RecordingFile(trial.path) as file:
        return dict(json.loads(file.attributes.get("simulation", "{}")))


def _readme(twin: Twin) -> str:
    training = twin.training
    simulation = training["simulation"]
    return f"""# A twin of {simulation.get("cell", "a cell")}

Network: {twin.architecture}, {json.dumps(twin.options)}.
Trained on {len(training["train_trials"])} trials ({training["train_s"]:.0f} s of simulated time) of
`{json.dumps(simulation)}`,
best at step {training["best_step"]} of {training["configuration"]["steps"]} by the loss on
{len(training["validation_trials"])} validation trials, {min(point["validation"] for point in training["curve"]):.4f}
(mean squared z-score plus {training["configuration"]["spike_weight"]:g} x cross-entropy of the spikes).
`dendrotwin evaluate` measures its error on trials that it has not seen.

Compartments: {twin.tree.n}. Inputs: {twin.tree.n_inputs}. Threshold for output spikes: {twin.threshold:.4g}.
Made on {training["date"]} with {training["versions"]}.
"""
