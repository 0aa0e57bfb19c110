"""A process draws only what ends in its own cells, and several are together what one is."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dendrotwin.cells import EXCITATORY
from dendrotwin.circuit import Circuit, Given, InDegree, Probability, TsodyksMarkram, circuit, identity
from dendrotwin.circuit.description import Description
from dendrotwin.circuit.engine import Engine, Sampling, Settings
from dendrotwin.circuit.identity import digest_of_run
from dendrotwin.circuit.wiring import own_nodes, places_within
from dendrotwin.twin import Twin


class Pretended:
    """One of several processes, of which there are no others."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def together(self) -> Any:
        return nullcontext()


def as_one_of(monkeypatch: pytest.MonkeyPatch, rank: int, size: int) -> None:
    for module in (circuit, identity):
        monkeypatch.setattr(module, "exchange", lambda: Pretended(rank, size))


def build(twin: Twin) -> Circuit:
    """Two populations that share a twin, with all that there is."""
    random, other = np.random.default_rng(0), dataclasses.replace(twin)
    made = Circuit(seed=5)
    made.add("e", [twin, other], 11, random.uniform(-100.0, 100.0, (11, 3)))
    made.add("i", twin, 6, random.uniform(-100.0, 100.0, (6, 3)))
    made.trains("input", [0, 1, 0], [2.0, 3.0, 40.0], count=2)
    for target, count in (("e", 11), ("i", 6)):
        near = Probability(lambda um: np.exp(-um / 150.0))
        made.connect(
            "e", target, near, "excitatory", delay_ms=lambda random, um: 0.75 + um / 300.0,
            weight=lambda random, um: random.lognormal(0.0, 1.0, len(um)), plasticity=TsodyksMarkram(0.5, 100.0),
        )  # fmt: skip
        made.connect("i", target, InDegree(3, synapses=2), "inhibitory", "soma", delay_ms=1.5)
        many, to = random.integers(0, 2, 30), random.integers(0, count, 30)
        places, weight, delay = random.integers(0, 37, 30), random.random(30), random.random(30)
        made.connect("input", target, Given(many, to, places), EXCITATORY, weight=8.0 * weight, delay_ms=delay)
        made.connect("input", target, Given(many, to, input=random.integers(0, 70, 30)), weight=8.0 * weight)
        made.poisson(target, np.linspace(10.0, 40.0, count), "excitatory", places=30)
    made.clamp("e", random.random(8), 5.0, 20.0, nodes=[10, 3, 3, 0, 7, 1, 10, 5])
    return made


def rows(parts: list[Description], kind: str, k: int, by: str) -> dict[str, Any]:
    """The columns of the k-th part of a kind of several descriptions, by target."""
    each = [getattr(part, kind)[k] for part in parts]
    order = np.argsort(np.concatenate([getattr(one, by) for one in each]), kind="stable")
    names = [f.name for f in dataclasses.fields(each[0]) if isinstance(getattr(each[0], f.name), np.ndarray)]
    return {name: np.concatenate([getattr(one, name) for one in each])[order].tolist() for name in names}


KINDS = (("projections", 8, "target_node"), ("backgrounds", 2, "node"), ("clamps", 1, "node"))


@pytest.mark.parametrize("size", [2, 3, 20])
def test_parts_are_together_the_whole(ball_and_stick: Twin, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = build(ball_and_stick).description, []
    for rank in range(size):
        as_one_of(monkeypatch, rank, size)
        made = build(ball_and_stick)
        parts.append(made.part)
        if rank == 1:  # of which the whole is drawn again where it is asked for
            assert digest_of_run(made.description, Settings(10), []) == digest_of_run(whole, Settings(10), [])
            assert repr(made).endswith("synapses in this process)")
    for kind, many, by in KINDS:
        for k in range(many):
            assert rows(parts, kind, k, by) == rows([whole], kind, k, by), (kind, k)
    # A process has every `size`-th cell of each model, and all that ends in them.
    engines = [Engine(part, Settings(200), Sampling(), rank, size, 0.75) for rank, part in enumerate(parts)]
    of_first = [[m.here.node.tolist() for m in e.models if m.here.twin is ball_and_stick] for e in engines]
    assert of_first[0] == [[0, 2, 4, 6, 8, 10, *range(11, 17)][::size]]
    assert sum(len(m.here.node) for e in engines for m in e.models) == 17
    for part, engine in zip(parts, engines, strict=True):
        there = sum(map(len, part.projections))
        assert sum(len(m.here.connections.cell) for m in engine.models) == there
        assert there < 0.8 * sum(map(len, whole.projections))


def test_a_run_is_known_by_any_number_of_processes(ball_and_stick: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build(ball_and_stick).description
    sums = []
    for size in (1, 2, 5):
        of_each = []
        for rank in range(size):
            as_one_of(monkeypatch, rank, size)
            made = build(ball_and_stick).part
            assert identity._own_rows(made) == identity._own_rows(whole)  # of the whole, its own rows count
            of_each.append(identity._own_rows(made))
        sums.append(sum(of_each) % 2**64)
    assert len(set(sums)) == 1


def test_any_change_makes_another_run(ball_and_stick: Twin) -> None:
    whole = build(ball_and_stick).description
    digests = {digest_of_run(whole, Settings(10), [1.0])}
    changes: list[Description] = []
    for kind, many, _ in KINDS:
        for k in range(many):
            part = getattr(whole, kind)[k]
            for field in dataclasses.fields(part):
                values = getattr(part, field.name)
                if not isinstance(values, np.ndarray):
                    continue
                other = values.copy()
                if field.name == "synapse" and len(part.synapses) == 1:
                    continue
                if field.name == "synapse" and len(set(part.synapses)) == 1:
                    continue
                other[len(other) // 2] = np.nextafter(other[len(other) // 2], 9.0) if other.dtype.kind == "f" else (
                    other[len(other) // 2] + 1) % 2  # fmt: skip
                if np.array_equal(other, values):
                    other[len(other) // 2] += 1
                each = list(getattr(whole, kind))
                each[k] = dataclasses.replace(part, **{field.name: other})
                changes.append(dataclasses.replace(whole, **{kind: tuple(each)}))
    # Two places of one cell that change places have other events.
    background = whole.backgrounds[0]
    swapped = background.compartment.copy()
    assert swapped[0] != swapped[1]
    swapped[:2] = swapped[1::-1]
    moved = dataclasses.replace(background, compartment=swapped)
    changes.append(dataclasses.replace(whole, backgrounds=(moved, whole.backgrounds[1])))
    changes.append(dataclasses.replace(whole, projections=whole.projections[:-1]))
    changes.append(dataclasses.replace(whole, populations=whole.populations[::-1]))
    for change in changes:
        digests.add(digest_of_run(change, Settings(10), [1.0]))
    assert len(changes) == 60
    assert len(digests) == 1 + len(changes)
    for settings in (Settings(11), Settings(10, seed=1), Settings(10, threshold_mV=0.0)):
        assert digest_of_run(whole, settings, [1.0]) not in digests
    assert digest_of_run(whole, Settings(10), [2.0]) not in digests
    assert digest_of_run(whole, Settings(10, threads=3), [1.0]) in digests  # threads change no result


def test_places_within_groups() -> None:
    assert places_within(np.array([4, 7, 4, 4, 7, 1])).tolist() == [0, 0, 1, 2, 1, 0]
    assert places_within(np.zeros(0, int)).tolist() == []
    first, second = own_nodes([np.array([1, 2, 1]), np.array([1, 1])], 1, 2)
    assert (first.tolist(), second.tolist()) == ([False, False, True], [False, True])


SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {tests!r})
import dendrotwin
from dendrotwin.circuit import Given, Potentials, Storage
from dendrotwin.circuit.exchange import exchange
from dendrotwin.errors import DendrotwinError
from test_circuit_parts import build
twin = dendrotwin.Twin.load(Path(sys.argv[1]))
made, said = build(twin), []
def wrong(act):
    try:
        act()
    except DendrotwinError as error:
        said.append(f"{{type(error).__name__}}: {{error}}")
for to in (0, 2):  # nodes of one model, of different processes
    wrong(lambda: made.connect("e", "e", Given([1, 1], [0, 2], [0, 0]), "excitatory", delay_ms=np.array([1.0, 1.0]) * (
        1 - 2 * (np.array([0, 2]) == to))))
made.connect("e", "e", Given([1, 1], [0, 2], [0, 0]), "excitatory", delay_ms=[0.5, 4.0])
record = [Potentials("e"), Potentials("i", compartments=[50] if len(sys.argv) > 3 else [5])]
wrong(lambda: made.run(10.0, record[:1] + [Potentials("i", [1], compartments=[37], name="none")],
      storage=Storage(Path(sys.argv[2]) / "wrong")))
result = made.run(60.0, record, storage=Storage(Path(sys.argv[2])))
if result is not None:
    said += [[array.tolist() for array in result.spikes()], result.recorded("v-i")["values"].tolist()]
print(json.dumps(said))
"""


def run_processes(arguments: list[str], script: str, size: int) -> list[Any]:
    """What each of several processes says last."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1"}
    each = [
        subprocess.Popen(
            [sys.executable, "-c", script, *arguments], env=os.environ | meeting | {"RANK": str(rank)},
            stdout=subprocess.PIPE, text=True,
        )
        for rank in range(size)
    ]  # fmt: skip
    said = [process.communicate(timeout=300)[0] for process in each]
    assert [process.returncode for process in each] == [0] * size
    return [json.loads(one.splitlines()[-1]) for one in said]


def test_what_one_process_finds_wrong_all_say(ball_and_stick: Twin, tmp_path: Path) -> None:
    """And then they go on, to the spikes of one process; the shortest delay is that of all of them."""
    ball_and_stick.save(tmp_path / "twin")
    script = SCRIPT.format(tests=str(Path(__file__).parent))
    (alone,) = run_processes([str(tmp_path / "twin"), str(tmp_path / "a")], script, 1)
    first, second = run_processes([str(tmp_path / "twin"), str(tmp_path / "b")], script, 2)
    negative = "InputError: connections e -> e: `delay_ms` is -1 at {}; it must be finite and 0 or more"
    assert [line.startswith(negative.format(at)) for line, at in zip(alone[:2], (0, 1), strict=True)] == [True, True]
    assert [line.startswith(negative.format(0)) for line in first[:2]] == [True, True]
    assert first[2].startswith("InputError: none names compartment 37, and a cell has 37")
    assert second == first[:3]
    assert first[2:] == alone[2:]
    assert len(alone[3][0]) > 10
