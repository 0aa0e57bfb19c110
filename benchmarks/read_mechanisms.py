"""Which mechanisms can be read: every density mechanism of some folders, each alone in a cell of one compartment.

    python benchmarks/read_mechanisms.py OUT [FOLDER or FILE ...]

All are compiled together once; an ion whose inside concentration a mechanism reads gets a pool (the first, where it
reads several). Each is read in a child process that may crash. Writes OUT/mechanisms.md and OUT/mechanisms.csv, and
says where tests/mechanisms/README.md expects something else.
"""

from __future__ import annotations

import csv
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from dendrotwin.errors import CellError, DendrotwinError
from dendrotwin.neuron.compile import build_mechanisms, load_mechanisms
from dendrotwin.neuron.nmodl import mechanism_names

HERE = Path(__file__).parent.parent
ZOO = HERE / "tests" / "mechanisms"
FOLDERS = [ZOO, HERE / "benchmarks" / "cells", HERE / "src" / "dendrotwin" / "cells" / "mechanisms"]
COLUMNS = ("mechanism", "construct", "states", "read as", "terms", "pool", "error", "seconds", "refused", "expected")
POOL = """: A pool of {ion} for the benchmark.
NEURON {{
    SUFFIX BenchmarkPool_{ion}
    USEION {ion} READ i{ion}, {ion}i WRITE {ion}i VALENCE {charge}
}}
PARAMETER {{ tau = 50 }}
ASSIGNED {{ i{ion} rest }}
STATE {{ {ion}i }}
INITIAL {{ rest = {ion}i }}
BREAKPOINT {{ SOLVE change METHOD cnexp }}
DERIVATIVE change {{ {ion}i' = -i{ion} * 0.05 * (1 + rest) + (rest - {ion}i) / tau }}
"""
SIZE = 1e-3  # of densities and permeabilities that are 0 by default
CHARGES = {"ca": 2, "mg": 2, "cl": -1}
LIMIT_S = 240.0
WORKERS = 2


@dataclass(frozen=True)
class Job:
    """One mechanism.

    Attributes:
        file: of it.
        name: its SUFFIX.
        construct: first line of its comment.
        ions: name and charge of one whose inside concentration it reads and does not write, which gets a pool.
        tables: names of its FUNCTION_TABLEs.
    """

    file: Path
    name: str
    construct: str
    ions: dict[str, int]
    tables: tuple[str, ...]


def job(file: Path) -> Job:
    """What its NMODL says of its ions."""
    source = file.read_text(errors="replace")
    text = re.sub(r"[:?].*", "", re.sub(r"COMMENT.*?ENDCOMMENT", "", source, flags=re.DOTALL))
    ions = {}
    for ion, rest in re.findall(r"USEION\s+(\w+)([^\n}]*)", text):
        reads, _, writes = rest.partition("WRITE")
        charge = re.search(r"VALENCE\s+([-+]?\d+)", rest)
        if re.search(rf"\b{ion}i\b", reads) and not re.search(rf"\b{ion}i\b", writes):
            ions[ion] = int(charge[1]) if charge else CHARGES.get(ion, 1)
    ions = dict(sorted(ions.items())[:1])  # a current may depend on one concentration that changes
    comment = re.search(r"^(?::|\?|COMMENT|TITLE)\s*(\S.*)$", source, re.MULTILINE)
    construct = comment[1].split(" Kinetics:")[0].strip() if comment else ""
    return Job(file, mechanism_names([file])[0], construct, ions, tuple(re.findall(r"FUNCTION_TABLE\s+(\w+)", text)))


def build(jobs: list[Job], out: Path) -> tuple[list[Path], dict[str, str]]:
    """The files that compile together, pools with them, and why the others do not."""
    folder = out / "pools"
    folder.mkdir(parents=True, exist_ok=True)
    pools = []
    for ion, charge in sorted({ion: charge for one in jobs for ion, charge in one.ions.items()}.items()):
        path = folder / f"BenchmarkPool_{ion}.mod"
        path.write_text(POOL.format(ion=ion, charge=charge))
        pools.append(path)
    left, failed = {one.file.stem: one for one in jobs}, {}
    while True:
        try:
            build_mechanisms([*(one.file for one in left.values()), *pools])
            return [*(one.file for one in left.values()), *pools], failed
        except CellError as error:
            log = re.search(r"log is (\S+)$", str(error))
            words = Path(log[1]).read_text() if log else ""
            guilty = set(re.findall(r"[Ee]rror[^\n]*?\b(\w+)\.(?:mod|c|cpp|o)\b", words))
            guilty |= set(re.findall(r"\b(\w+)\.(?:mod|c|cpp):[^\n]*error", words))
            guilty &= {*left}
            if not guilty:
                raise
            for stem in guilty:
                failed[left.pop(stem).name] = "it does not compile"


def describe(one: Job) -> dict[str, str]:
    """One mechanism, read in this process, which has all of them."""
    from neuron import h

    from dendrotwin.neuron.reading.cell import read_all
    from dendrotwin.neuron.variables import PARAMETERS, STATES, elements

    name = one.name
    section = h.Section(name="one")
    section.L = section.diam = 20.0
    for table in one.tables:
        steady = h.Vector([1 / (1 + 2.718281828 ** (-(v + 40) / 8)) for v in range(-150, 101)])
        getattr(h, f"table_{table}_{name}")(steady._ref_x[0], len(steady), -150.0, 100.0)
    for mechanism in (name, *(f"BenchmarkPool_{ion}" for ion in one.ions)):
        section.insert(mechanism)
    for parameter in elements(name, PARAMETERS):
        if "[" not in parameter and parameter[0].lower() in "gp" and getattr(section(0.5), parameter) == 0:
            setattr(section, parameter, SIZE)
    row = {"states": " ".join(x.removesuffix(f"_{name}") for x in elements(name, STATES))}
    began = time.perf_counter()
    try:
        membrane, errors = read_all([section(0.5)], name, -65.0, 34.0, [one.file])
    except DendrotwinError as error:
        reason = re.search(rf"{name}: (.*)\. Replace", str(error))
        return {**row, "refused": reason[1] if reason else str(error), "seconds": f"{time.perf_counter() - began:.1f}"}
    row["seconds"] = f"{time.perf_counter() - began:.1f}"
    parts, terms = [], []
    for m in (m for m in membrane.mechanisms if m.name == name):
        parts += [f"{gate.name} over {' and '.join(gate.over).replace('c', gate.ion + 'i')}" for gate in m.gates]
        parts += [f"scheme of {len(s.names)} over {' and '.join(s.over).replace('c', s.ion + 'i')}" for s in m.schemes]
        for t in m.terms:
            powers = " ".join(f"{s}^{p:.4g}" for s, p in zip(m.states, t.powers, strict=True) if p) or "1"
            shape = "" if t.table is None else "x".join(map(str, t.table.shape))
            drive = f"table {shape}" if shape else "Nernst" if t.moves else "ohmic"
            terms.append(f"i{t.ion or ' of none'}: {powers}, {drive}")
    pools = [p for p in membrane.pools if p.name == name]
    pool = "".join(f"{p.ion}{', inward only' if not p.gain_out.any() else ''}" for p in pools)
    error = f"{errors[name]:.1e}" if name in errors else ""
    return {**row, "read as": "; ".join(parts), "terms": "; ".join(terms), "pool": pool, "error": error}


def serve(link: Connection, files: list[Path]) -> None:
    """A child: reads what it is sent, until it is told to end."""
    load_mechanisms(files)
    while (one := link.recv()) is not None:
        try:
            row = describe(one)
        except Exception as error:
            row = {"refused": f"{type(error).__name__}: {error}"}
        link.send(row)


def work(jobs: SimpleQueue[Job | None], files: list[Path], rows: dict[str, dict[str, str]]) -> None:
    """Have a child read job after job; it starts anew where it crashed or took too long."""
    context, child, link = get_context("spawn"), None, None
    while (one := jobs.get()) is not None:
        if child is None:
            link, other = context.Pipe()
            child = context.Process(target=serve, args=(other, files))
            child.start()
            other.close()
        link.send(one)
        try:
            row = link.recv() if link.poll(LIMIT_S) else {"refused": f"WRONG: it takes longer than {LIMIT_S:.0f} s"}
            lost = "WRONG" in row.get("refused", "")
        except (EOFError, OSError):
            row, lost = {"refused": "WRONG: it makes NEURON crash"}, True
        if lost:
            child.kill()
            child = None
        rows[one.name] = {"mechanism": one.name, "construct": one.construct, **row}
        print("  ".join(rows[one.name].get(c, "") for c in COLUMNS if c != "construct"), flush=True)
    if child is not None:
        link.send(None)
        child.join()


def expectations() -> dict[str, str]:
    """What the README of the zoo expects of each of its mechanisms."""
    text = (ZOO / "README.md").read_text()
    return dict(re.findall(r"^\| `(z_\w+)` \|.*\| ((?:read|refused).*?) \|$", text, re.MULTILINE))


def judge(row: dict[str, str], expected: dict[str, str]) -> str:
    """What is expected of a row, and whether it is otherwise."""
    said, refused = expected.get(row["mechanism"], "read"), "refused" in row
    may = {said.startswith("refused")} | ({True} if "or refused" in said else set())
    return said if refused in may and "WRONG" not in row.get("refused", "") else f"WRONG: expected {said}"


def write(out: Path, rows: list[dict[str, str]]) -> None:
    """The table, as Markdown and CSV."""
    read = [row for row in rows if "refused" not in row]
    wrong = [row["mechanism"] for row in rows if row["expected"].startswith("WRONG")]
    worst = max((float(row["error"]), row["mechanism"]) for row in read if row["error"])
    total = (
        f"{len(rows)} mechanisms: {len(read)} are read, {len(rows) - len(read)} refused; "
        f"{len(wrong)} against what is expected ({', '.join(wrong) or 'none'}). "
        f"The largest error is {worst[0]:.1e}, of {worst[1]}."
    )
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for row in rows:
        lines.append("| " + " | ".join(row.get(c, "").replace("|", "/").replace("\n", " ") for c in COLUMNS) + " |")
    (out / "mechanisms.md").write_text("\n".join([total, "", *lines, ""]))
    with open(out / "mechanisms.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print(total)


def main() -> None:
    """Read all, and write the table."""
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    places = [Path(x) for x in sys.argv[2:]] or FOLDERS
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*.mod")))]
    jobs = [job(file) for file in files if re.search(r"^\s*SUFFIX\b|\{\s*SUFFIX\b", file.read_text(), re.MULTILINE)]
    together, failed = build(jobs, out)
    rows = {name: {"mechanism": name, "refused": f"WRONG: {reason}"} for name, reason in failed.items()}
    queue: SimpleQueue[Job | None] = SimpleQueue()
    for one in jobs:
        if one.name not in failed:
            queue.put(one)
    for _ in range(WORKERS):
        queue.put(None)
    with ThreadPoolExecutor(WORKERS) as threads:
        for thread in [threads.submit(work, queue, together, rows) for _ in range(WORKERS)]:
            thread.result()
    expected = expectations()
    write(out, [{**rows[one.name], "expected": judge(rows[one.name], expected)} for one in jobs])


if __name__ == "__main__":
    main()
