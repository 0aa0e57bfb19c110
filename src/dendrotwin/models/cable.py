"""The cable twin: the cell's own tree, synapses and membrane, as they were read from NEURON (`neuron.reading`).

Nothing is learned. `solver` takes as many steps a millisecond as the channels ask for; how exact that is has three
names, or is a tolerance of the user's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from dendrotwin.models.base import CHUNK_MS, Architecture, Model, Piece, Potentials, State
from dendrotwin.solver.accuracy import CableConfig
from dendrotwin.solver.batch import first_outside_tables
from dendrotwin.solver.stepper import Stepper

if TYPE_CHECKING:
    from dendrotwin.solver.gpu import GPUStepper

PIECE_POTENTIALS = 2**23  # of a piece on the CPU, 32 MiB, but of many trials at least LEAST_MS each
LEAST_MS = 250
TABLES_MV = f"{V_GRID_MV[0]:.0f} to {V_GRID_MV[-1]:.0f} mV"  # where the tables of the membrane are
GPU_POTENTIALS = 2**28  # that a GPU keeps at once: 1 GiB
Input = tuple[Events, Injection | None]
Advance = Callable[[Sequence[Input], int], tuple[NDArray[np.float32], NDArray[np.floating]]]


def gpu_stepper_class(device: torch.device) -> type[GPUStepper]:
    """What computes cells on a GPU.

    Args:
        device: the GPU.

    Raises:
        MissingPackageError: there is no Triton.
    """
    try:
        from dendrotwin.solver.gpu import GPUStepper
    except ImportError as error:
        raise MissingPackageError(
            f"a cable twin needs Triton on {device} ({error}); install triton, or let it compute on the CPU: "
            'twin.model.to("cpu"), or of a network the device cpu'
        ) from error
    return GPUStepper


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
        return gpu_stepper_class(self.device)(self.stepper, self.device)

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

    def pieces(
        self,
        events: Sequence[Events],
        duration_ms: int,
        true_mV: Potentials | None = None,
        injections: Sequence[Injection | None] | None = None,
        chunk_ms: int = CHUNK_MS,
    ) -> Iterator[Piece]:
        """See `Model`: one trial on each thread, on a GPU all at once; pieces of as many steps as memory holds well."""
        if not events:
            return
        if self.device.type == "cuda":
            advance, most, least = on_gpu(self.gpu_stepper, len(events)), GPU_POTENTIALS, 1
        else:
            advance, most, least = on_cpu(self.stepper, len(events)), PIECE_POTENTIALS, LEAST_MS
        length = max(most // (len(events) * self.tree.n), least)
        for begin in range(0, duration_ms, length):
            end = min(begin + length, duration_ms)
            inputs = [
                cut(trial, None if injections is None else injections[k], begin, end) for k, trial in enumerate(events)
            ]
            v, peak = advance(inputs, end - begin)
            refuse_outside_tables(v, begin)
            yield v, spike_logits(v[..., self.tree.soma], peak)


def cut(events: Events, injection: Injection | None, begin: int, end: int) -> Input:
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
    outside = first_outside_tables(v_mV)
    if outside is None:
        return
    *trial, step, compartment = outside
    raise InputError(
        f"the potential of compartment {compartment} is {v_mV[(*trial, step, compartment)]:.3g} mV at "
        f"{begin_ms + step + 1} ms, outside of {TABLES_MV}, where its channels are known; inject less "
        "current, or restore the twin if none is injected"
    )


def on_cpu(stepper: Stepper, trials: int) -> Advance:
    """Trials from rest on the CPU, one on each thread.

    Args:
        stepper: the cell there.
        trials: how many.

    Returns:
        What goes on with them, from the input of each and a number of steps, to V (trials, steps, n) [mV] and the
        highest local maximum of the soma's potential that ended in each millisecond (trials, steps) [mV].
    """
    _ = stepper.layout, stepper.tables  # once, not in every thread
    states = [stepper.start() for _ in range(trials)]

    def advance(inputs: Sequence[Input], steps: int) -> tuple[NDArray[np.float32], NDArray[np.floating]]:
        v, peak = np.empty((trials, steps, stepper.tree.n), np.float32), np.empty((trials, steps))

        def one(k: int) -> None:
            v[k], peaks, _ = stepper.advance(states[k], inputs[k][0], steps, inputs[k][1])
            peak[k] = peaks[:, 0]

        if trials == 1:
            one(0)
        else:
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                list(pool.map(one, range(trials)))
        return v, peak

    return advance


def on_gpu(stepper: GPUStepper, trials: int) -> Advance:
    """`on_cpu` on a GPU, all trials at once.

    Args:
        stepper: the cell there.
        trials: how many.
    """
    state = stepper.start(trials)

    def advance(inputs: Sequence[Input], steps: int) -> tuple[NDArray[np.float32], NDArray[np.floating]]:
        v, peak = stepper.advance(state, [events for events, _ in inputs], steps, [current for _, current in inputs])
        return v.cpu().numpy(), peak[..., 0].cpu().numpy()

    return advance


ARCHITECTURE = Architecture("cable", CableConfig, Cable)
