"""The cable twin: the cell's own tree, synapses and membrane, as they were read from NEURON (`neuron.reading`).

Nothing is learned. `solver` takes as many steps a millisecond as the channels ask for; how exact that is has three
names, or is a tolerance of the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from dendrotwin.cell.membrane import V_GRID_MV, Membrane
from dendrotwin.cell.membrane_checks import check_membrane
from dendrotwin.cell.spikes import spike_logits
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.errors import InputError, MissingPackageError, TwinError
from dendrotwin.models.base import CHUNK_MS, Architecture, Model, State
from dendrotwin.solver.accuracy import Accuracy, CableConfig
from dendrotwin.solver.stepper import Stepper

if TYPE_CHECKING:
    from dendrotwin.solver.gpu import GPUStepper

PIECE_MS = 60_000  # of a trial at once on the CPU: memory for its result alone grows with the trial
GPU_POTENTIALS = 2**28  # that a GPU keeps at once: 1 GiB


def make_gpu_stepper(device: torch.device, tree: Tree, membrane: Membrane, accuracy: Accuracy) -> GPUStepper:
    """A cell on a GPU.

    Args:
        device: the GPU.
        tree: the cell.
        membrane: its channels and pools.
        accuracy: how exact the steps are.

    Raises:
        MissingPackageError: there is no Triton.
    """
    try:
        from dendrotwin.solver.gpu import GPUStepper
    except ImportError as error:
        raise MissingPackageError(
            f"a cable twin needs Triton on {device} ({error}); install triton, or let it compute on the CPU: "
            'twin.model.to("cpu")'
        ) from error
    return GPUStepper(tree, membrane, accuracy, device)


class Cable(Model):
    """The cable twin; see the module.

    Attributes:
        tree: the cell.
        membrane: its channels and pools, as they were read.
        config: how exact the steps are.
    """

    def __init__(self, tree: Tree, membrane: Membrane, config: CableConfig) -> None:
        super().__init__()
        self.tree, self.membrane, self.config = tree, membrane, config
        # `model.to("cuda")` moves this buffer, which is all that says where to compute.
        self.register_buffer("device_marker", torch.zeros(()), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        assert isinstance(self.device_marker, torch.Tensor)
        return self.device_marker.device

    @cached_property
    def gpu_stepper(self) -> GPUStepper:
        """The cell on the GPU that the model was moved to."""
        return make_gpu_stepper(self.device, self.tree, self.membrane, self.config.steps)

    def _apply(self, fn: Any, recurse: bool = True) -> Cable:
        """On another device the tables of the GPU are made anew."""
        self.__dict__.pop("gpu_stepper", None)
        super()._apply(fn, recurse)
        return self

    @cached_property
    def stepper(self) -> Stepper:
        """The cell on the CPU."""
        return Stepper(self.tree, self.membrane, self.config.steps)

    def __getstate__(self) -> dict[str, Any]:
        """Tables are made anew, not copied."""
        made = ("stepper", "gpu_stepper")
        return {name: value for name, value in super().__getstate__().items() if name not in made}

    def state(self) -> State:
        """See `Model`: the membrane."""
        values, arrays = self.membrane.to_arrays()
        return values, {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}

    @classmethod
    def restore(cls, tree: Tree, config: Any, autoregressive: bool, state: State) -> Cable:
        """See `Model`."""
        values, tensors = state
        if autoregressive:
            raise TwinError("the cable looks at no past potential")
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        membrane = Membrane.from_arrays(dict(values), arrays)
        check_membrane(membrane, tree.n)
        return cls(tree, membrane, config)

    def predict(
        self,
        events: Sequence[Events],
        duration_ms: int,
        true_mV: NDArray[np.floating] | None = None,
        injections: Sequence[Injection | None] | None = None,
        chunk_ms: int = CHUNK_MS,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Model`: one trial on each thread; on a GPU all at once."""
        v = np.empty((len(events), duration_ms, self.tree.n), np.float32)
        logit = np.empty((len(events), duration_ms), np.float32)
        if self.device.type == "cuda":
            peaks = simulate_on_gpu(self.gpu_stepper, events, v, injections)
            refuse_outside_tables(v)
            return v, spike_logits(v[..., self.tree.soma], peaks)
        stepper = self.stepper
        _ = stepper.layout, stepper.tables  # once, not in every thread

        def one(k: int) -> None:
            state, injection = stepper.start(), None if injections is None else injections[k]
            peaks = np.empty(duration_ms)
            for begin in range(0, duration_ms, PIECE_MS):
                end = min(begin + PIECE_MS, duration_ms)
                events_now, injection_now = cut(events[k], injection, begin, end)
                v[k, begin:end], peak, _ = stepper.advance(state, events_now, end - begin, injection_now)
                refuse_outside_tables(v[k, begin:end], begin)
                peaks[begin:end] = peak[:, 0]
            logit[k] = spike_logits(v[k, :, self.tree.soma], peaks)

        if len(events) == 1:
            one(0)
        else:
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                list(pool.map(one, range(len(events))))
        return v, logit


def cut(events: Events, injection: Injection | None, begin: int, end: int) -> tuple[Events, Injection | None]:
    """The input of a piece of a trial; its times count from the start of the piece, which is exact.

    Args:
        events: of the trial.
        injection: current in the trial.
        begin, end: of the piece [ms].
    """
    first, last = np.searchsorted(events.time_ms, (begin, end))
    part = Events(events.input[first:last], events.time_ms[first:last] - begin)
    current = None if injection is None else Injection(injection.compartment, injection.current_nA[begin:end])
    return part, current


def refuse_outside_tables(v_mV: NDArray[np.float32], begin_ms: int = 0) -> None:
    """See that potentials lie where the tables of the membrane are, which are level beyond.

    Args:
        v_mV: (..., steps, n) at the end of each millisecond [mV].
        begin_ms: when the first of them began [ms].

    Raises:
        InputError: one does not, or is no number.
    """
    low, high = V_GRID_MV[0], V_GRID_MV[-1]
    if not v_mV.size or (v_mV.min() >= low and v_mV.max() <= high):  # false of NaN
        return
    *trial, step, compartment = np.argwhere(~((v_mV >= low) & (v_mV <= high)))[0]
    raise InputError(
        f"the potential of compartment {compartment} is {v_mV[(*trial, step, compartment)]:.3g} mV at "
        f"{begin_ms + step + 1} ms, outside of {low:.0f} to {high:.0f} mV, where its channels are known; inject less "
        "current, or restore the twin if none is injected"
    )


def simulate_on_gpu(
    stepper: GPUStepper, events: Sequence[Events], v: NDArray[np.float32],
    injections: Sequence[Injection | None] | None = None, at_once: int = GPU_POTENTIALS,
) -> NDArray[np.float32]:  # fmt: skip
    """Simulate trials from rest on a GPU, all at once, in pieces of time that fit its memory.

    Args:
        stepper: the cell there.
        events: of each trial.
        v: (trials, steps, n) gets V [mV].
        injections: current injected in each.
        at_once: potentials that the GPU keeps.

    Returns:
        (trials, steps) the highest local maximum of the soma's potential that ended in each millisecond [mV].
    """
    trials, steps, n = v.shape
    peaks = np.empty((trials, steps), np.float32)
    if not trials:
        return peaks
    state, length = stepper.start(trials), max(at_once // (trials * n), 1)
    for begin in range(0, steps, length):
        end = min(begin + length, steps)
        events_now, injections_now = [], []
        for k, trial in enumerate(events):
            part, current = cut(trial, None if injections is None else injections[k], begin, end)
            events_now.append(part)
            injections_now.append(current)
        v_now, peak_now = stepper.advance(state, events_now, end - begin, injections_now)
        v[:, begin:end], peaks[:, begin:end] = v_now.cpu().numpy(), peak_now[..., 0].cpu().numpy()
    return peaks


ARCHITECTURE = Architecture("cable", CableConfig, Cable)
