"""Which device a process of a network takes, and what is refused at the door."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dendrotwin.circuit import Circuit
from dendrotwin.circuit.device import batch_of, device_of, memory_of
from dendrotwin.errors import CircuitError, InputError, MissingPackageError
from dendrotwin.models.cable import Cable
from dendrotwin.solver.batch import Batch
from dendrotwin.twin import Twin
from test_cli import refused, run


def machine(monkeypatch: pytest.MonkeyPatch, cards: int, rank: int = 0, processes: int = 1) -> None:
    """One with so many cards, and this process of those that `torchrun` has started on it."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setenv("LOCAL_RANK", str(rank))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setattr("dendrotwin.circuit.device.gpu_stepper_class", lambda device: object)


@pytest.mark.parametrize(
    ("name", "cards", "rank", "processes", "found"),
    [
        ("cpu", 0, 3, 4, "cpu"),
        ("cuda", 1, 0, 1, "cuda:0"),
        ("cuda:1", 2, 0, 1, "cuda:1"),
        ("cuda", 4, 3, 4, "cuda:3"),
    ],
)
def test_each_process_takes_a_card(
    name: str, cards: int, rank: int, processes: int, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, cards, rank, processes)
    assert device_of(name) == torch.device(found)


@pytest.mark.parametrize(
    ("name", "cards", "processes", "message"),
    [
        ("cuda", 0, 1, "there is no CUDA card here that PyTorch can use; run on the device cpu"),
        ("cuda:2", 2, 1, "there is no card cuda:2; this machine has cuda:0 to cuda:1"),
        ("cuda", 2, 3, "3 processes on this machine, and 2 cards: each needs one of its own; start as many as"),
        ("cuda:1", 2, 2, "2 processes on this machine, and 2 cards: .* on the device cuda$"),
        ("tpu", 1, 1, "there is no device 'tpu'; give cpu, cuda, or cuda:1"),
        ("cuda:", 1, 1, "there is no device 'cuda:'"),
        (0, 1, 1, "there is no device 0"),
    ],
)
def test_a_device_that_is_not_there(
    name: Any, cards: int, processes: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, cards, 0, processes)
    with pytest.raises(InputError, match=message) as raised:
        device_of(name)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("without_triton")
def test_triton_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(MissingPackageError, match=r"needs Triton on cuda:0 .* or of a network the device cpu"):
        device_of("cuda")


def test_a_circuit_and_the_command_refuse_at_the_door(
    ball_and_stick: Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is read or run."""
    machine(monkeypatch, 0)
    circuit = Circuit()
    circuit.add("cells", ball_and_stick, 1)
    with pytest.raises(InputError, match="there is no CUDA card here"):
        circuit.run(10.0, device="cuda")
    found = run("network", tmp_path / "no.json", "--device", "cuda", CUDA_VISIBLE_DEVICES="")
    refused(found, "there is no CUDA card here that PyTorch can use; run on the device cpu")


def test_memory_that_is_not_enough_is_said_in_a_line() -> None:
    with (
        pytest.raises(CircuitError, match=r"do not fit into the memory of cuda:0; share them .* the device cpu$"),
        memory_of(torch.device("cuda:0")),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")


def test_without_a_card_no_triton_is_needed(ball_and_stick: Twin) -> None:
    model = ball_and_stick.model
    assert isinstance(model, Cable)
    assert isinstance(batch_of(model.stepper, 1, torch.device("cpu"), 1), Batch)
    code = "import sys, dendrotwin.circuit; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
