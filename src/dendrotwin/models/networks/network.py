"""What all networks have in common: z-scores inside, losses, and whole trials chunk by chunk.

One millisecond after the other, for all compartments at once, as in Verhellen et al. 2024
(doi:10.1371/journal.pcbi.1011728).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.errors import InputError, TwinError
from dendrotwin.models.base import CHUNK_MS, Batch, BinnedEvents, Losses, Piece, Potentials, State, Trainable
from dendrotwin.models.scaling import Scaling
from dendrotwin.recording.trials import TrialIndex
from dendrotwin.support.memory import require_memory

# In closed loop, predictions are held within what a membrane can be at: a map with gain above 1 would explode.
CLOSED_LOOP_MV = (-150.0, 80.0)
BYTES_PER_WEIGHT = 16  # in single precision the weight, its gradient and two moments of it
MOST_WEIGHTS = 2**31  # 8 GiB in single precision: no cell needs that many, and mistakes have more


class Network(Trainable):
    """A network from event counts, and z-scored potentials where it is autoregressive, to z-scores and spike logits.

    An architecture is a subclass with `__init__(tree, config, autoregressive)`, which calls that of this class, and
    `forward`.

    Attributes:
        scaling: of the training trials.
    """

    def __init__(self, tree: Tree, autoregressive: bool, context: int) -> None:
        """Start without a scaling, which `prepare` or `restore` sets.

        Args:
            tree: the cell.
            autoregressive: whether past potentials are seen.
            context: steps of input before the first output of a call without a state.
        """
        super().__init__()
        self.tree, self.autoregressive, self.context = tree, autoregressive, context
        self.scaling = Scaling(torch.zeros(tree.n), torch.ones(tree.n))

    def forward(
        self, events: BinnedEvents, past: torch.Tensor | None = None, state: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Potentials and spike logits.

        Args:
            events: of `context` + time steps; of time steps alone where a state is given.
            past: (batch, n, of the same steps) z-scored potentials at the *start* of each step, that is at the end of
                the step before; only for an autoregressive network.
            state: what an earlier call returned, to go on after its last step.

        Returns:
            z-scored potentials (batch, time, n), spike logits (batch, time), and the state after the last step, None
            for a network that has none. Output t depends on inputs up to and including step t.
        """
        raise NotImplementedError

    @classmethod
    def untrained(cls, tree: Tree, config: Any, autoregressive: bool) -> Network:
        """See `Trainable`."""
        count = cls.count_weights(tree, config, autoregressive)
        if count > MOST_WEIGHTS:
            raise InputError(f"the network would have {count:.2g} weights, more than {MOST_WEIGHTS}; choose fewer")
        what = f"a network of {count:.3g} weights, their gradients and what the optimiser keeps of them"
        require_memory(BYTES_PER_WEIGHT * count, what, "choose fewer or smaller layers")
        return cls(tree, config, autoregressive)

    @classmethod
    def count_weights(cls, tree: Tree, config: Any, autoregressive: bool) -> int:
        """How many weights a network of some sizes has at least, before anything of it is made.

        Args:
            tree: the cell.
            config: the sizes.
            autoregressive: whether past potentials are seen.

        Returns:
            Their number; 0 where an architecture does not say.
        """
        return 0

    def prepare(self, trials: Sequence[TrialIndex], scaling: Scaling) -> list[nn.Parameter]:
        """See `Trainable`.

        Raises:
            InputError: `forward` does not return what it should, of a few silent steps.
        """
        self.scaling.load_state_dict(scaling.state_dict())
        self._check_forward()
        return []

    @torch.no_grad()
    def _check_forward(self, steps: int = 3) -> None:
        """An architecture of a user's own is told what is wrong with it before anything is trained."""
        self.eval()
        nothing = Events.sort(np.zeros(0), np.zeros(0))
        silence = BinnedEvents.from_windows([(nothing, 0)], self.tree.n_inputs, self.context + steps)
        past = torch.zeros(1, self.tree.n, self.context + steps) if self.autoregressive else None
        wanted = f"z-scores {(1, steps, self.tree.n)}, logits {(1, steps)} and a state or None"
        fault = f"{type(self).__name__}.forward must return {wanted} for {self.context} + {steps} steps"
        try:
            z, logit, _ = self(silence, past)
        except Exception as error:  # a user's own code
            raise InputError(f"{fault}; it failed: {type(error).__name__}: {error}") from error
        if (z.shape, logit.shape) != ((1, steps, self.tree.n), (1, steps)):
            raise InputError(f"{fault}; it returned {tuple(z.shape)} and {tuple(logit.shape)}: look at its context")
        self.train()

    def _windows(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """True z-scores (batch, window, n), and those at the start of each step (batch, n, context + window)."""
        z = self.scaling.normalise(batch.v_mV)
        if not self.autoregressive:
            return z, None
        return z[:, self.context + 1 :], z[:, :-1].transpose(1, 2)

    def loss(self, batch: Batch) -> Losses:
        """See `Trainable`."""
        true, past = self._windows(batch)
        z, logit, _ = self(batch.events, past)
        residual = z - true
        spikes = functional.binary_cross_entropy_with_logits(logit, batch.spikes)
        return Losses(torch.cat([residual.square().mean((0, 1)), spikes[None]]), residual)

    @torch.inference_mode()
    def pieces(
        self,
        events: Sequence[Events],
        duration_ms: int,
        true_mV: Potentials | None = None,
        injections: Sequence[Injection | None] | None = None,
        chunk_ms: int = CHUNK_MS,
    ) -> Iterator[Piece]:
        """See `Model`.

        A network without state gets the input before each chunk, one with state goes on from it. An autoregressive
        network gets the true potentials or, without them, its own (closed loop), millisecond by millisecond, held
        within CLOSED_LOOP_MV.
        """
        if any(injection is not None and np.any(injection.current_nA) for injection in injections or ()):
            raise InputError(
                "current is injected, which a network cannot take; a twin that is read can (`dendrotwin twin`), or "
                "predict trials without it"
            )
        self.eval()
        before = self._rest(len(events)) if self.autoregressive else None  # z-scores of the steps before a chunk
        length = 1 if self.autoregressive and true_mV is None else chunk_ms
        state = None
        for start in range(0, duration_ms, length):
            stop = min(start + length, duration_ms)
            first = start - self.context if state is None else start
            windows = [(trial, first) for trial in events]
            binned = BinnedEvents.from_windows(windows, self.tree.n_inputs, stop - first).map(self._to_device)
            past = z_true = None
            if before is not None:
                if true_mV is not None:
                    true = torch.from_numpy(np.array(true_mV[:, start:stop], np.float32))
                    z_true = self.scaling.normalise(self._to_device(true))
                newer = before[:, :0] if z_true is None else z_true[:, :-1]
                past = torch.cat([before, newer], 1)[:, first - stop :].transpose(1, 2)
            z, out, state = self(binned, past, state)
            if before is not None:
                if z_true is None:
                    z = self._clamp(z)
                before = torch.cat([before, z if z_true is None else z_true], 1)[:, -self.context - 1 :]
            yield self.scaling.denormalise(z).float().cpu().numpy(), out.float().cpu().numpy()

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.scaling.mean_mV.device)

    def _rest(self, trials: int) -> torch.Tensor:
        """(trials, context + 1, n) z-scores at the end of the steps before a trial."""
        rest = self.scaling.normalise(torch.full_like(self.scaling.mean_mV, self.tree.v_init_mV))
        return rest.expand(trials, self.context + 1, self.tree.n)

    def _clamp(self, z: torch.Tensor) -> torch.Tensor:
        """z-scores (..., n) within CLOSED_LOOP_MV."""
        low, high = (self.scaling.normalise(torch.full_like(self.scaling.mean_mV, mV)) for mV in CLOSED_LOOP_MV)
        return z.clamp(low, high)

    @classmethod
    def restore(cls, tree: Tree, config: Any, autoregressive: bool, state: State) -> Network:
        """See `Model`."""
        _, tensors = state
        count, held = cls.count_weights(tree, config, autoregressive), sum(t.numel() for t in tensors.values())
        if count > held:
            raise TwinError(f"the options are of a network of {count:.2g} weights, model.safetensors holds {held}")
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise TwinError(f"{name} holds a number that is not finite")
        network = cls.untrained(tree, config, autoregressive)
        expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        missing, unknown = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
        if missing or unknown:
            what = f"lacks {', '.join(missing)}" if missing else f"holds the unknown {', '.join(unknown)}"
            raise TwinError(f"model.safetensors {what}")
        for name, shape in expected.items():
            if tuple(tensors[name].shape) != shape:
                raise TwinError(f"{name} has shape {tuple(tensors[name].shape)}, not {shape}")
        if not (tensors["scaling.sd_mV"] > 0).all():
            raise TwinError("scaling.sd_mV is not positive everywhere")
        network.load_state_dict(dict(tensors))
        return network
