"""Which mechanisms can be read: every .mod file of some folders, each alone in a cell of one compartment.

    python benchmarks/read_mechanisms.py OUT [FOLDER ...]

Ions whose inside concentration a mechanism reads get a pool. Writes OUT/mechanisms.md and OUT/mechanisms.csv.
"""

from __future__ import annotations

import csv
import os
import re
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from dendrotwin.errors import DendrotwinError

HERE = Path(__file__).parent.parent
FOLDERS = [HERE / "tests" / "mechanisms", HERE / "src" / "dendrotwin" / "cells" / "mechanisms" / "l5pc"]
COLUMNS = ("mechanism", "states", "read as", "terms", "pool", "error", "seconds", "refused")
POOL = """NEURON {{
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


def read(file: Path) -> dict[str, str]:
    """One file, in this process."""
    from dendrotwin.cells.compile import load_mechanisms, mechanism_names

    text = re.sub(r"COMMENT.*?ENDCOMMENT", "", file.read_text(errors="replace"), flags=re.DOTALL)
    text = re.sub(r"[:?].*", "", text)
    (name,) = mechanism_names([file])
    ions = re.findall(
        r"USEION\s+(\w+)\s+(?:READ\s+([\w, \t]+?))?(?=\s*(?:WRITE|VALENCE|\n|\}))(?:\s*WRITE\s+([\w, \t]+))?", text
    )
    valences = dict(re.findall(r"USEION\s+(\w+)[^\n]*VALENCE\s+([-+]?\d+)", text))
    with tempfile.TemporaryDirectory() as folder:
        pools = []
        for ion, reads, writes in ions:
            if f"{ion}i" in reads and f"{ion}i" not in writes:
                path = Path(folder) / f"pool_{ion}.mod"
                path.write_text(POOL.format(ion=ion, charge=valences.get(ion, CHARGES.get(ion, 1))))
                pools.append((f"BenchmarkPool_{ion}", path))
        load_mechanisms([file, *(path for _, path in pools)])
    from neuron import h

    from dendrotwin.reading.bench import elements
    from dendrotwin.reading.cell import read_all

    section = h.Section(name="one")
    section.L = section.diam = 20.0
    for mechanism in (name, *(pool for pool, _ in pools)):
        section.insert(mechanism)
    for parameter in elements(name, 1):
        if "[" not in parameter and parameter[0].lower() in "gp" and getattr(section(0.5), parameter) == 0:
            setattr(section, parameter, SIZE)
    row = {"mechanism": name, "states": " ".join(x.removesuffix(f"_{name}") for x in elements(name, 3))}
    import time

    began = time.perf_counter()
    try:
        membrane, errors = read_all([section(0.5)], name, -65.0, 34.0, [file])
    except DendrotwinError as error:
        reason = re.search(rf"{name}: (.*)\. Replace", str(error))
        return {**row, "refused": reason[1] if reason else str(error)}
    row["seconds"] = f"{time.perf_counter() - began:.1f}"
    own = [m for m in membrane.mechanisms if m.name == name]
    parts, terms = [], []
    for m in own:
        parts += [f"{gate.name} over {gate.over.replace('c', gate.ion + 'i ').strip()}" for gate in m.gates]
        parts += [f"scheme of {len(s.names)} over {s.ion + 'i' if s.ion else 'v'}" for s in m.schemes]
        for t in m.terms:
            powers = " ".join(f"{s}^{p:g}" for s, p in zip(m.states, t.powers, strict=True) if p) or "1"
            drive = (
                ("Nernst" if t.moves else "ohmic") if t.table is None else "table " + "x".join(map(str, t.table.shape))
            )
            terms.append(f"i{t.ion or ' of none'}: {powers}, {drive}")
    pool = "".join(
        f"{p.ion}{', inward only' if not p.gain_out.any() else ''}" for p in membrane.pools if p.name == name
    )
    error = f"{errors[name]:.1e}" if name in errors else ""
    return {**row, "read as": "; ".join(parts), "terms": "; ".join(terms), "pool": pool, "error": error}


def read_apart(file: Path) -> dict[str, str]:
    """One file, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(read, file).result()
        except BrokenProcessPool:
            return {"mechanism": file.stem, "refused": "NEURON crashes; a POINTER is not set, most likely"}
        except Exception as error:
            return {"mechanism": file.stem, "refused": f"{type(error).__name__}: {error}"}


def main() -> None:
    """Read all, and write the table."""
    out = Path(sys.argv[1])
    folders = [Path(x) for x in sys.argv[2:]] or FOLDERS
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    files = [
        f for folder in folders for f in sorted(folder.rglob("*.mod")) if "SUFFIX" in f.read_text(errors="replace")
    ]
    rows = []
    for file in files:
        rows.append(read_apart(file))
        print("  ".join(f"{rows[-1].get(c, '')}" for c in COLUMNS), flush=True)
    held = sum(1 for row in rows if not row.get("refused"))
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    lines += [
        "| " + " | ".join(row.get(c, "").replace("|", "/").replace("\n", " ") for c in COLUMNS) + " |" for row in rows
    ]
    total = f"{held} of {len(rows)} mechanisms are read, {len(rows) - held} refused."
    (out / "mechanisms.md").write_text("\n".join([*lines, "", total, ""]))
    with open(out / "mechanisms.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    print(total)


if __name__ == "__main__":
    main()
