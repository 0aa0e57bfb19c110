"""What strangers' files do: twins and recordings, changed at random, opened and used in processes with limits.

    python benchmarks/fuzz.py [--count 2000] [--seed 0] [--only cable]

Bytes of each file, fields of the JSON, tensors and trees are changed, of a twin of each architecture and of a
recording; half of the changes are sealed again with right digests, as a stranger could. Allowed are: refused in one
line; unchanged; and, where it was sealed again, another result, which a valid value makes. Everything else is printed
with the seed that makes it again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from safetensors.torch import load_file, save_file

import dendrotwin
from dendrotwin.cell.tree import Events
from dendrotwin.errors import DendrotwinError
from dendrotwin.models import build_model
from dendrotwin.recording import Recording, write_recordings
from dendrotwin.recording.checks import CHECKSUMS, CHUNK_STEPS, checksums
from dendrotwin.recording.trials import index_trials, made_by, read_trial
from dendrotwin.twin import SEALED, Twin

NETWORKS = ("hard-sharing", "mmoe", "mmoeex", "elm")
SMALL = {"channels": "8,8", "features": 8, "synapse_ms": 30}
STEPS_MS = 5  # that each twin predicts
MEMORY_BYTES, LIMIT_S = 6 << 30, 20.0
ALLOWED = ("refused", "unchanged", "different, sealed again")
NUMBERS = (0, -1, 1, 2, 1e9, 1e12, 1e30, 1e300, -1e30, 2**31, 2**63, float("nan"), float("inf"), float("-inf"), 0.5)
THINGS = (*NUMBERS, None, True, "", "x", "../x.py", [], {}, [1], {"array": "x"}, [[]], "9" * 400)
Random = np.random.Generator


def make_bases(folder: Path) -> None:
    """A twin of each architecture, and a recording, to be changed.

    Args:
        folder: gets them.
    """
    cable = dendrotwin.load("l5pc")
    cable.save(folder / "cable")
    facts = {"simulation": {}, "train_trials": [], "validation_trials": [], "test_trials": []}
    for name in NETWORKS:
        for ahead in (False, True):
            torch.manual_seed(0)
            options = {"memory": 10} if name == "elm" else SMALL
            config, model = build_model(name, options, cable.tree, ahead)
            made = Twin(name, config.model_dump(mode="json"), cable.tree, model, 0.5, facts)
            made.save(folder / (f"{name}-ahead" if ahead else name))
    (folder / "recording").mkdir()
    shipped, trials = index_trials(dendrotwin.TWINS / "l5pc.recording.h5")
    whole = read_trial(trials[0], shipped)
    early = whole.events.time_ms < 300
    events = Events(whole.events.input[early], whole.events.time_ms[early])
    cut = Recording(shipped, whole.v_mV[:300], events, whole.spikes_ms[whole.spikes_ms < 300], "x")
    write_recordings(folder / "recording" / "r.h5", [cut, cut], {"simulation": json.dumps({"cell": "l5pc"})})


# ------------------------------------------------------------------------------------------------- changes


def change_bytes(path: Path, rng: Random) -> None:
    """Change some bytes of a file.

    Args:
        path: the file.
        rng: says where and how.
    """
    content = bytearray(path.read_bytes())
    at, size = int(rng.integers(len(content))), int(rng.integers(1, 64))
    how = rng.choice(["bit", "bytes", "zeros", "ones", "swap", "cut", "insert"])
    if how == "bit":
        content[at] ^= 1 << int(rng.integers(8))
    elif how == "bytes":
        for place in rng.integers(len(content), size=8):
            content[place] = int(rng.integers(256))
    elif how in ("zeros", "ones"):
        content[at : at + size] = bytes([0 if how == "zeros" else 255]) * len(content[at : at + size])
    elif how == "swap":
        other = int(rng.integers(len(content)))
        a, b = bytes(content[at : at + size]), bytes(content[other : other + size])
        content[at : at + size], content[other : other + size] = b, a
    elif how == "cut":
        del content[at : at + size]
    else:
        content[at:at] = bytes(rng.integers(256, size=size, dtype=np.uint8))
    path.write_bytes(bytes(content))


def change_json(value: Any, rng: Random) -> Any:
    """A JSON value with one part changed.

    Args:
        value: what JSON holds.
        rng: says where and how.
    """
    if isinstance(value, dict | list) and value and rng.random() < 0.9:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key: Any = keys[int(rng.integers(len(keys)))]
        if rng.random() < 0.1:
            del value[key]
        else:
            value[key] = change_json(value[key], rng)
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.3:
        return value * float(rng.choice([0.5, 2.0, -1.0, 1.001]))
    return THINGS[int(rng.integers(len(THINGS)))]


def change_array(values: np.ndarray, rng: Random) -> np.ndarray:
    """An array with some numbers, its type or its shape changed.

    Args:
        values: (...,) the array.
        rng: says where and how.
    """
    values = values.copy()
    how = rng.choice(["some", "some", "all", "shuffle", "type", "cut", "more", "flat"])
    number = NUMBERS[int(rng.integers(len(NUMBERS)))]
    with np.errstate(all="ignore"):
        if how == "some" and values.size:
            flat = values.reshape(-1)
            flat[rng.integers(values.size, size=int(rng.integers(1, 4)))] = np.float64(number).astype(values.dtype)
        elif how == "all":
            values[...] = np.float64(number).astype(values.dtype)
        elif how == "shuffle" and values.ndim:
            rng.shuffle(values)
        elif how == "type":
            values = values.astype(rng.choice(["f4", "f8", "i4", "i8", "u1", "?"]))
        elif how == "cut" and values.ndim:
            values = values[:-1]
        elif how == "more" and values.ndim:
            values = np.concatenate([values, values])
        elif how == "flat":
            values = values.reshape(-1)
    return values


def change_hdf5(path: Path, rng: Random, sealed: bool) -> None:
    """Change an array or an attribute of an HDF5 file, or where it lies.

    Args:
        path: the file.
        rng: says where and how.
        sealed: give the array its new checksums.
    """
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = str(rng.choice(names))
        place, how = file[name], rng.random()
        if how < 0.15 and len(place.attrs):
            key = str(rng.choice(list(place.attrs)))
            text = place.attrs[key]
            if isinstance(text, bytes) and text[:1] in b"[{":
                place.attrs[key] = np.bytes_(json.dumps(change_json(json.loads(text), rng)))
            else:
                thing = THINGS[int(rng.integers(len(NUMBERS)))]
                place.attrs[key] = np.float64(thing) if isinstance(thing, int | float) else str(thing)
        elif how < 0.25:
            del file[name]
            if how < 0.2:
                file[name] = h5py.ExternalLink("/etc/hostname", "/x") if how < 0.17 else h5py.SoftLink("/tree")
        elif isinstance(place, h5py.Dataset):
            attributes, rows = dict(place.attrs), CHUNK_STEPS if name.endswith("/v") else None
            values = change_array(place[()], rng)
            del file[name]
            if how < 0.3:
                file.create_dataset(name, (2**33,), "f8", chunks=(1 << 20,))
            else:
                file[name] = values
            if CHECKSUMS in attributes and sealed and how >= 0.3:
                attributes[CHECKSUMS] = checksums(values, rows)
            file[name].attrs.update(attributes)


def seal_again(folder: Path) -> None:
    """Give a twin right digests, as a stranger could.

    Args:
        folder: of the twin.
    """
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config.pop("seal", None)
    config["sha256"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in SEALED}
    seal = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({**config, "seal": seal}))


def change(folder: Path, rng: Random) -> bool:
    """Change one thing in a folder.

    Args:
        folder: of a twin, or of recordings.
        rng: says which, where and how.

    Returns:
        Whether it was sealed again.
    """
    files = sorted(folder.iterdir())
    sealed = bool(rng.random() < 0.5)
    how = rng.choice(["bytes", "fields", "fields"])
    if how == "bytes":
        chosen = files[int(rng.integers(len(files)))]
        # Bytes of a tree are not sealed again: that is another program's file, which libhdf5 reads as it can.
        change_bytes(chosen, rng)
        if sealed and len(files) > 1 and chosen.name == "model.safetensors":
            seal_again(folder)
            return True
        return False
    if len(files) == 1:
        change_hdf5(files[0], rng, sealed)
        return True  # what HDF5 itself has written is as good as sealed again, but for checksums, which are looked at
    which = rng.choice(["config", "tensors", "tree"])
    if which == "config":
        config = change_json(json.loads((folder / "config.json").read_text()), rng)
        (folder / "config.json").write_text(json.dumps(config))
    elif which == "tensors":
        tensors = load_file(folder / "model.safetensors")
        name = sorted(tensors)[int(rng.integers(len(tensors)))]
        tensors[name] = torch.from_numpy(np.ascontiguousarray(change_array(tensors[name].numpy(), rng)))
        save_file(tensors, folder / "model.safetensors")
    else:
        change_hdf5(folder / "tree.h5", rng, sealed)
    if sealed:
        try:
            seal_again(folder)
        except (TypeError, AttributeError):  # no dictionary any more
            return False
    return sealed


# ------------------------------------------------------------------------------------------------- use


def use(folder: Path) -> str:
    """Open a folder and use what is in it.

    Args:
        folder: of a twin, or of recordings.

    Returns:
        Digest of all that came out; "not finite" where that is no number.
    """
    arrays: list[Any] = []
    if (folder / "r.h5").exists():
        tree, trials = index_trials(folder)
        for trial in trials:
            one = read_trial(trial, tree)
            arrays += [one.v_mV, one.events.input, one.events.time_ms, one.spikes_ms, one.record_dt_ms, one.trial_id]
            made_by(trial)
    else:
        twin = dendrotwin.load(folder)
        events = Events.sort(np.arange(4) % max(twin.tree.n_inputs, 1), np.arange(4.0))
        made = twin.predict(events, STEPS_MS)
        arrays = [made.v_mV, made.spikes_ms, made.spike_probability]
    digest = hashlib.sha256()
    for array in arrays:
        if isinstance(array, np.ndarray) and not np.isfinite(array).all():
            return "not finite"
        digest.update(array.tobytes() if isinstance(array, np.ndarray) else repr(array).encode())
    return digest.hexdigest()


def outcome(base: Path, folder: Path, expected: str, seed: int) -> str:
    """Change a copy of a base, use it, and name what happened.

    Args:
        base: folder of what is changed.
        folder: gets the copy.
        expected: what `use` gives of the base.
        seed: of the change.
    """
    shutil.copytree(base, folder)
    try:
        try:
            sealed = change(folder, np.random.default_rng([seed, *base.name.encode()]))
        except Exception as error:
            return f"no change ({type(error).__name__})"
        found = use(folder)
    except DendrotwinError as error:
        return "refused" if "\n" not in str(error) else "refused in several lines"
    except MemoryError:
        return "out of memory"
    except Exception as error:
        return f"traceback: {type(error).__name__}: {' '.join(str(error).split())[:100]}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if found in (expected, "not finite"):
        return "unchanged" if found == expected else found
    return "different, sealed again" if sealed else "different without a word"


def work(connection: Connection, base: Path, expected: str) -> None:
    """Answer seeds with outcomes, in a process of little memory.

    Args:
        connection: to the parent.
        base: folder of what is changed.
        expected: what `use` gives of it.
    """
    torch.set_num_threads(1)
    use(base)  # compiles
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY_BYTES,) * 2)
    with tempfile.TemporaryDirectory() as temporary:
        for k, seed in enumerate(iter(connection.recv, None)):
            connection.send(outcome(base, Path(temporary) / f"{k}", expected, seed))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def run(base: Path, seeds: range, report: Callable[[int, str], None]) -> None:
    """All seeds of a base, one after the other; a process that dies or hangs is replaced.

    Args:
        base: folder of what is changed.
        seeds: of the changes.
        report: gets seeds and outcomes.
    """
    expected = use(base)
    context = multiprocessing.get_context("fork")
    process, ours = None, None
    for seed in seeds:
        if process is None:
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, base, expected), daemon=True)
            process.start()
            theirs.close()
        assert ours is not None
        ours.send(seed)
        if ours.poll(LIMIT_S + 60.0 * (process.exitcode is None and seed == seeds[0])):
            try:
                report(seed, ours.recv())
                continue
            except EOFError:
                process.join()
                report(seed, f"crash (exit code {process.exitcode})")
        else:
            report(seed, f"hang (over {LIMIT_S:g} s)")
            process.kill()
            process.join()
        process = None
    if process is not None and ours is not None:
        ours.send(None)
        process.join()


def main() -> None:
    """Print, for each base, how often each outcome came, and what must not be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="changes of each base")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of the name of a base")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        make_bases(Path(temporary))
        for base in sorted(Path(temporary).iterdir()):
            if arguments.only not in base.name:
                continue
            counts: Counter[str] = Counter()
            began = time.perf_counter()

            def report(seed: int, what: str, counts: Counter[str] = counts, name: str = base.name) -> None:
                counts[what.split(":")[0]] += 1
                if what not in ALLOWED and not what.startswith("no change"):
                    print(f"  {name} --seed {seed} --count 1: {what}", flush=True)

            run(base, range(arguments.seed, arguments.seed + arguments.count), report)
            wrong += sum(n for what, n in counts.items() if what not in ALLOWED and not what.startswith("no change"))
            listed = ", ".join(f"{n} {what}" for what, n in counts.most_common())
            print(f"{base.name}: {listed} ({time.perf_counter() - began:.0f} s)", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
