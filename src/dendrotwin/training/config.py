"""How a network is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from dendrotwin.support.options import Options

Balancing = Literal["equal", "uncertainty", "dwa"]


class Training(Options):
    """How a network is trained. The options of `dendrotwin train` are these fields."""

    architecture: str = "hard-sharing"
    """Architecture: hard-sharing, mmoe, mmoeex, elm, or a Python file that defines one."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the network; others have their default, or the value of the `preset` named there."""
    autoregressive: bool = False
    """Also see the true potentials up to 1 ms before (teacher forcing), and predict one step ahead."""
    steps: int = Field(default=4000, ge=1)
    """Optimiser steps, 500 for a demo to 100000."""
    batch: int = Field(default=4, ge=1)
    """Windows in a step, of all processes together."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Windows that a process evaluates at once, to save memory; the gradient is the same [all]."""
    window_ms: int = Field(default=400, ge=10)
    """Length of a window [ms]."""
    learning_rate: float = Field(default=2e-3, gt=0, allow_inf_nan=False)
    """Highest learning rate of AdamW; warm-up over the first steps, then a cosine to zero."""
    warm_up: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    start_rate: float = Field(default=0.2, ge=0, le=1)
    """Learning rate of what a training starts from, such as the linear paths, relative to that of the rest."""
    weight_decay: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    """Weight decay of AdamW."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    spike_share: float = Field(default=0.2, ge=0, le=1)
    """Share of the windows that are placed around an output spike (doi:10.1371/journal.pcbi.1011728 balances too)."""
    spike_weight: float = Field(default=2.0, ge=0, allow_inf_nan=False)
    """Weight of the spikes' cross-entropy beside the mean squared z-score."""
    current_weight: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of the error of membrane currents, such as 0.02; 0 leaves them out."""
    balance: Balancing = "equal"
    """How the tasks are weighed: equal, uncertainty or dwa (dynamic weight average)."""
    meta_rate: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Learning rate of the first step of the two-step update (arXiv:2012.11202); 0 leaves it out."""
    round_steps: int = Field(default=250, ge=1)
    """Steps of a round, after which the validation loss is measured."""
    patience: int | None = Field(default=None, ge=1)
    """Rounds without a better validation loss after which training stops [never]."""
    checkpoint_minutes: float = Field(default=2.0, ge=0)
    """Time between two checkpoints [min]."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """auto is float32 on a CPU, bf16 on a GPU, fp16 on a GPU without bf16; or 32-true, bf16-mixed, 16-mixed."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share of the trials for validation, where the data set has no `split.json`."""
    test: float = Field(default=0.2, gt=0, lt=1)
    """Share of the trials kept for the test, where the data set has no `split.json`."""
    train_trials: int | None = Field(default=None, ge=1)
    """Use only the first so many training trials [all]."""
    seed: int = Field(default=0, ge=0, lt=2**64)
    """Seed of weights and windows."""

    @field_validator("architecture")
    @classmethod
    def _absolute(cls, name: str) -> str:
        """A user's file must be found again from another folder, when the twin is opened."""
        return str(Path(name).resolve()) if name.endswith(".py") else name
