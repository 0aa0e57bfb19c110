"""Commands to start with: demo, doctor, cells, download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dendrotwin.cli.base import app
from dendrotwin.cli.make import simulate, train, twin
from dendrotwin.cli.measure import evaluate
from dendrotwin.errors import InputError


@app.command()
def cells() -> None:
    """List the cells and which can be built here.

    With source, licence and number of compartments.
    """
    from dendrotwin.cells import NAMES, load_cell
    from dendrotwin.neuron.compile import cannot_build

    for name in NAMES:
        model = load_cell(name)
        here = cannot_build(model.missing()) or "can be built"
        print(f"{name}: {model.compartments or 'as many as its model has'} compartments")
        print(f"  source:  {model.source}\n  licence: {model.licence}\n  here:    {here}")


@app.command()
def download(
    cell: Annotated[str, typer.Argument(help="l5pc, the only cell that needs it.")],
    url: Annotated[str | None, typer.Option(help="Another address of the archive or of cell1.asc.")] = None,
) -> None:
    """Fetch what a cell needs and the package may not ship.

    Its hash is checked.
    """
    from dendrotwin.cells import l5pc

    if cell != "l5pc":
        raise InputError(f"there is nothing to download for {cell!r}; only l5pc needs it")
    print(f"the reconstruction is in {l5pc.download(url or l5pc.MODELDB_URL)}")


@app.command()
def doctor() -> None:
    """Say what this machine can do, and what to install if not."""
    from dendrotwin.cli.doctor import examine

    findings = examine()
    for finding in findings:
        print(f"{'yes' if finding.good else 'NO '}  {finding.what}: {finding.says}")
    if not all(finding.good for finding in findings if finding.needed):
        raise typer.Exit(2)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of everything the demo makes.")] = Path("demo"),
) -> None:
    """Read a real cell and set its twin beside NEURON.

    Then train a network of the paper on the same cell.
    """
    from dendrotwin.neuron.simulate import Simulation
    from dendrotwin.neuron.simulate import simulate as simulate_first
    from dendrotwin.recording.trials import HeldOut

    data = out / "recordings"
    print("1/5  reading a layer 4 cell of the Allen Cell Types Database from NEURON: its twin, without any training")
    twin("allen_l4", out / "cable", overwrite=True)
    print("2/5  the twin beside NEURON and NEURON's own default, on trials of 4 s")
    simulation = Simulation(cell="allen_l4", duration_ms=4000, seed=2, dt_ms=0.025)
    simulate_first(simulation, 7, data, held_out=HeldOut(test=7, validation=4))
    evaluate(out / "cable", data, out / "report-cable", neuron=True, speed=True, overwrite=True)
    print(
        f"     look at {out / 'report-cable' / 'traces.png'}: every compartment, true, predicted and their difference"
    )
    print("3/5  simulating 29 more trials, to train a network on")
    simulate("allen_l4", data, trials=36, duration=4.0, seed=2, dt_ms=0.025)
    print("4/5  training the network, by hard parameter sharing")
    train(data, out / "network", steps=1200, overwrite=True)
    print("5/5  measuring it on the same test trials")
    evaluate(out / "network", data, out / "report-network", overwrite=True)
    print(
        f"""
Look at {out / "report-network" / "traces.png"}: the same of the network.
Next:
  dendrotwin cells                                   which cells there are
  dendrotwin twin YOUR_CELL.py --out TWIN            a twin of your own NEURON cell (docs/tutorials/own-cell.md)
  dendrotwin train {data} --out TWIN --steps 20000     a better network, with more time"""
    )
