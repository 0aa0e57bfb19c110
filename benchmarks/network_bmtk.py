"""A recurrent circuit of the five cell types of SONATA's examples, built with BMTK, run by BMTK and by twins.

    python benchmarks/network_bmtk.py SONATA OUT [--cells 300] [--seconds 1] [--ecp]

SONATA is the folder `examples` of the format's repository (data files: 5_cells_iclamp, shared_components). Four of five
cells are excitatory, in a column of 150 um radius; the probability of a connection falls with distance, delays are 0.5
to 3 ms, and each cell has Poisson input of its own. BMTK runs at the steps --dt; what its first step gives is what all
else is compared with, its own other steps too, for what they differ by says what agreement can be asked for: the
circuit is chaotic. Prints tables, writes OUT/rows.json and OUT/network-bmtk.png. With --ecp there are runs of the first
--ecp-seconds with the extracellular potential too, of BMTK at its first two steps. Weights were chosen with seed 1,
for a few spikes per second in each population. The results are in docs/measurements/networks.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import h5py
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.signal import butter, sosfiltfilt, welch

import sonata_runs as runs
from dendrotwin.plot import save
from dendrotwin.plot.style import STYLE, TRUE, TWIN, series_colours

COLUMN, BACKGROUND, LFP = "column", "background", "ecp"  # populations and report
RADIUS_UM, TOP_UM, BOTTOM_UM = 150.0, -200.0, -500.0  # of the somata's column; y is depth
SOURCES, RATE_HZ = 10, 20.0  # of the background of each cell
REACH_UM = 150.0  # P = PEAK exp(-(distance / REACH)^2)
PEAK = {"ee": 0.15, "ei": 0.35, "ie": 0.35, "ii": 0.3}  # from the first to the second
SPEED_UM_PER_MS, DELAY_MS = 150.0, (0.5, 3.0)
# Conductances [uS]: background by model, recurrent by the kinds of the two cells.
BACKGROUND_US = {"Scnn1a": 2.0e-3, "Rorb": 2.0e-3, "Nr5a1": 2.0e-3, "PV1": 4.5e-3, "PV2": 3.0e-3}
RECURRENT_US = {"ee": 1.0e-3, "ei": 1.2e-3, "ie": 2.0e-3, "ii": 2.0e-3}
SYNAPSES = {"e": {"tau1": 0.5, "tau2": 3.0, "erev": 0.0}, "i": {"tau1": 0.5, "tau2": 8.0, "erev": -75.0}}
# Where synapses end, in um of path from the soma.
PLACES = {"e": (("basal", "apical"), (20.0, 200.0)), "i": (("soma", "basal", "apical"), (0.0, 60.0))}
CONTACTS = 16
EARLY_MS = 200.0  # within which trajectories have not parted yet
SHOWN_MS = 1000.0  # of spikes and rates, in the figure
SETTLED_MS = 20.0  # the relaxation from v_init, the same in all runs, would count as explained
BANDS_HZ = ((2, 4), (4, 8), (8, 13), (13, 30), (30, 100))


class Builder:
    """The circuit's files.

    Args:
        sonata: working copy of the examples.
        folder: of the circuit.
        seed: of all that is drawn.
    """

    def __init__(self, sonata: Path, folder: Path, seed: int) -> None:
        self.sonata, self.folder, self.rng = sonata, folder, np.random.default_rng(seed)
        self.parts: dict[tuple[str, str], tuple[runs.Floats, runs.Floats, runs.Floats]] = {}
        self.types = runs.node_types(sonata / "5_cells_iclamp" / "network" / "biophysical_node_types.csv")

    def build(self, cells: int, duration_ms: float, step_ms: float, ecp_ms: float) -> Path:
        """Write the circuit, its input and configs, one without an electrode and one with; returns the folder."""
        from bmtk.builder.networks import NetworkBuilder

        (self.folder / "synapses").mkdir(parents=True, exist_ok=True)
        for kind, values in SYNAPSES.items():
            (self.folder / "synapses" / f"{kind}.json").write_text(json.dumps(values))
        column, background = NetworkBuilder(COLUMN), NetworkBuilder(BACKGROUND)
        of_ei = {ei: [row for row in self.types if row["ei"] == ei] for ei in "ei"}
        many = {"e": cells - cells // 5, "i": cells // 5}
        for ei, rows in of_ei.items():
            for k, row in enumerate(rows):
                self.add_cells(column, row, many[ei] // len(rows) + (k < many[ei] % len(rows)))
        background.add_nodes(N=cells * SOURCES, model_type="virtual", ei="e")
        for pair, peak in PEAK.items():
            edges = column.add_edges(
                source={"ei": pair[0]}, target={"ei": pair[1]}, iterator="all_to_one",
                connection_rule=self.connect, connection_params={"peak": peak}, syn_weight=RECURRENT_US[pair],
                **self.synapse(pair[0]),
            )  # fmt: skip
            self.add_places(edges, pair[0])
        for row in self.types:
            edges = column.add_edges(
                source=background.nodes(), target={"model_name": row["model_name"]}, iterator="all_to_one",
                connection_rule=own_sources, syn_weight=BACKGROUND_US[row["model_name"]], **self.synapse("e"),
            )  # fmt: skip
            self.add_places(edges, "e")
        for network in (column, background):
            network.build()
            network.save(output_dir=str(self.folder / "network"))
        self.write_input(cells * SOURCES, duration_ms)
        self.write_electrode()
        for kind, lasts_ms in (("spikes", duration_ms), (LFP, ecp_ms)):
            config = self.config(lasts_ms, step_ms, electrode=kind == LFP)
            (self.folder / f"{kind}.json").write_text(json.dumps(config, indent=1))
        return self.folder

    def add_cells(self, network: object, row: dict[str, str], many: int) -> None:
        radius, angle = RADIUS_UM * np.sqrt(self.rng.random(many)), 2 * np.pi * self.rng.random(many)
        kept = ("ei", "model_processing", "morphology", "model_template", "model_type", "model_name")
        network.add_nodes(
            N=many,
            x=radius * np.cos(angle),
            y=self.rng.uniform(BOTTOM_UM, TOP_UM, many),
            z=radius * np.sin(angle),
            rotation_angle_yaxis=2 * np.pi * self.rng.random(many),
            **{key: row[key] for key in kept},
        )

    @staticmethod
    def synapse(kind: str) -> dict[str, str]:
        return {"model_template": "Exp2Syn", "dynamics_params": f"{kind}.json"}

    def connect(self, sources: list, target: object, peak: float) -> list[int]:
        """How many synapses each source makes on the target: 1 or 0."""
        distance = np.array([apart(source, target) for source in sources])
        chance = peak * np.exp(-((distance / REACH_UM) ** 2))
        other = np.array([source.node_id != target.node_id for source in sources])
        return ((self.rng.random(len(sources)) < chance) & other).astype(int).tolist()

    def add_places(self, edges: object, kind: str) -> None:
        """Draw a section, a place in it and a delay for each synapse."""

        def place(source: object, target: object) -> tuple[int, float, float]:
            section, x, chance = self.parts_of(target["morphology"], kind)
            k = self.rng.choice(len(section), p=chance)
            far = apart(source, target) if source["model_type"] != "virtual" else 0.0
            return int(section[k]), float(x[k]), float(np.clip(DELAY_MS[0] + far / SPEED_UM_PER_MS, *DELAY_MS))

        edges.add_properties(
            ["afferent_section_id", "afferent_section_pos", "delay"], rule=place, dtypes=[int, float, float]
        )

    def parts_of(self, morphology: str, kind: str) -> tuple[runs.Floats, runs.Floats, runs.Floats]:
        """Where a kind of synapse may end on a cell: section ids, relative positions, and with which probability."""
        if (morphology, kind) not in self.parts:
            from bmtk.builder.bionet import SWCReader

            cell = SWCReader(str(self.sonata / "shared_components" / "morphologies" / f"{morphology}.swc"))
            cell.set_segment_dl(20.0)
            cell.fix_axon()
            names = [name for name in PLACES[kind][0] if name != "apical" or len(list(cell.hobj.apical))]
            at, chance = cell.find_sections(names, PLACES[kind][1])
            self.parts[morphology, kind] = cell.seg_props.sec_id[at], cell.seg_props.x[at], chance
        return self.parts[morphology, kind]

    def write_input(self, sources: int, duration_ms: float) -> None:
        many = self.rng.poisson(RATE_HZ * duration_ms / 1000.0, sources)
        node, time_ms = np.repeat(np.arange(sources), many), self.rng.uniform(0.0, duration_ms, many.sum())
        order = np.argsort(time_ms)
        with h5py.File(self.folder / "input.h5", "w") as file:
            group = file.create_group(f"spikes/{BACKGROUND}")
            group.attrs["sorting"] = "by_time"
            group.create_dataset("timestamps", data=time_ms[order]).attrs["units"] = "ms"
            group.create_dataset("node_ids", data=node[order].astype(np.uint64))

    def write_electrode(self) -> None:
        y_um = np.linspace(BOTTOM_UM - 50.0, TOP_UM + 250.0, CONTACTS)
        rows = [f"{k} 0.0 {y:.1f} 0.0" for k, y in enumerate(y_um)]
        (self.folder / "electrode.csv").write_text("\n".join(["channel x_pos y_pos z_pos", *rows]) + "\n")

    def config(self, duration_ms: float, step_ms: float, *, electrode: bool) -> dict:
        components, network = self.sonata.resolve() / "shared_components", self.folder.resolve() / "network"
        report = {
            "module": "extracellular", "cells": COLUMN, "variable_name": "v", "minimum_distance": "auto",
            "electrode_positions": str(self.folder.resolve() / "electrode.csv"), "electrode_channels": "all",
        }  # fmt: skip
        edges = [f"{source}_{COLUMN}" for source in (COLUMN, BACKGROUND)]
        return {
            "run": {"tstop": duration_ms, "dt": step_ms, "dL": 20.0, "spike_threshold": -15.0, "nsteps_block": 4000},
            "target_simulator": "NEURON",
            "conditions": {"celsius": 34.0, "v_init": -80.0},
            "node_sets": {COLUMN: {"population": COLUMN}, BACKGROUND: {"population": BACKGROUND}},
            "components": {
                "morphologies_dir": str(components / "morphologies"),
                "mechanisms_dir": str(components / "mechanisms"),
                "synaptic_models_dir": str(self.folder.resolve() / "synapses"),
                "biophysical_neuron_models_dir": str(components / "biophysical_neuron_templates" / "nml"),
            },
            "networks": {
                "nodes": [named(network, name, "node") for name in (COLUMN, BACKGROUND)],
                "edges": [named(network, name, "edge") for name in edges],
            },
            "inputs": {
                BACKGROUND: {
                    "input_type": "spikes", "module": "h5", "node_set": BACKGROUND,
                    "input_file": str(self.folder.resolve() / "input.h5"),
                }
            },
            "output": {"output_dir": "output", "spikes_file": "spikes.h5", "log_file": "log.txt"},
            "reports": {LFP: report} if electrode else {},
        }  # fmt: skip


def named(folder: Path, name: str, kind: str) -> dict[str, str]:
    return {
        f"{kind}s_file": str(folder / f"{name}_{kind}s.h5"),
        f"{kind}_types_file": str(folder / f"{name}_{kind}_types.csv"),
    }


def apart(source: object, target: object) -> float:
    return float(np.sqrt(sum((source[axis] - target[axis]) ** 2 for axis in "xyz")))


def own_sources(sources: list, target: object) -> list[int]:
    """Each cell has SOURCES of the background to itself."""
    return (np.array([source.node_id for source in sources]) // SOURCES == target.node_id).astype(int).tolist()


def spectrum(spikes: list[runs.Floats], duration_ms: float) -> tuple[runs.Floats, runs.Floats]:
    """Power of the rate of all cells in bins of 1 ms, 2 to 100 Hz [(1/s)^2/Hz]."""
    counts = np.histogram(np.concatenate(spikes), np.arange(0.0, duration_ms + 0.5))[0]
    hz, power = welch(1000.0 * counts / len(spikes), fs=1000.0, nperseg=min(500, len(counts)))
    kept = (hz >= BANDS_HZ[0][0]) & (hz <= BANDS_HZ[-1][1])
    return hz[kept], power[kept]


def read_field(path: Path, duration_ms: float) -> tuple[runs.Floats, runs.Floats]:
    """Times (samples,) [ms] and the potential (samples, contacts) below 300 Hz [uV], settled and early."""
    with h5py.File(path) as file:
        values, step_ms = np.asarray(file["ecp/data"][()], np.float64), float(file["ecp/time"][2])
    time_ms = step_ms * (1 + np.arange(len(values)))
    low = sosfiltfilt(butter(4, 300.0, fs=1000.0 / step_ms, output="sos"), values, axis=0)
    kept = (time_ms > SETTLED_MS) & (time_ms <= min(EARLY_MS, duration_ms))
    return time_ms[kept], 1000.0 * low[kept]


def on_grid(field: tuple[runs.Floats, runs.Floats], time_ms: runs.Floats) -> runs.Floats:
    return np.stack([np.interp(time_ms, field[0], of) for of in field[1].T], axis=1)


class Run:
    """A run's results.

    Args:
        out: its folder.
        cells: how many.
        cost: what it took.
        duration_ms: of the run.
    """

    def __init__(self, out: Path, cells: int, cost: runs.Cost, duration_ms: float) -> None:
        self.cost, self.duration_ms, self.shown_ms = cost, duration_ms, min(duration_ms, SHOWN_MS)
        self.spikes = runs.read_spikes(out / "spikes.h5", COLUMN, cells)
        path = out / f"{LFP}.h5"
        self.field = read_field(path, duration_ms) if path.exists() else None

    def rates(self, models: list[str]) -> dict[str, float]:
        """Spikes per second and cell of all and of each model."""
        many = np.array([len(of) for of in self.spikes])
        is_model = {name: np.array([model == name for model in models]) for name in dict.fromkeys(models)}
        per_s = 1000.0 / self.duration_ms
        return {"all": per_s * many.mean()} | {name: per_s * many[of].mean() for name, of in is_model.items()}

    def against(self, reference: Run, models: list[str]) -> dict[str, float]:
        """How far it is from another."""
        early = [[of[of <= EARLY_MS] for of in run.spikes] for run in (reference, self)]
        row = {"F1 early": runs.f1(*early), "F1": runs.f1(reference.spikes, self.spikes)}
        for name, rate in self.rates(models).items():
            row[f"rate {name}"] = rate
            row[f"rate {name}, %"] = 100.0 * (rate / reference.rates(models)[name] - 1.0)
        hz, power = spectrum(self.spikes, self.duration_ms)
        true = spectrum(reference.spikes, self.duration_ms)[1]
        dB = 10.0 * np.log10(power / true)
        row |= {"dB median": float(np.median(np.abs(dB))), "dB largest": float(np.abs(dB).max())}
        for low, high in BANDS_HZ:
            of = (hz >= low) & (hz < high)
            row[f"dB {low}-{high} Hz"] = float(10.0 * np.log10(power[of].mean() / true[of].mean()))
        if self.field is not None and reference.field is not None:
            ve = runs.explained_variance(reference.field[1], on_grid(self.field, reference.field[0]))
            row |= {"VE worst": float(ve.min()), "VE median": float(np.median(ve))}
        return row


def run_all(arguments: argparse.Namespace, folder: Path, kind: str) -> dict[str, Run]:
    """All runs of one config, by name, BMTK's first."""
    config, duration_ms = folder / f"{kind}.json", 1000.0 * arguments.seconds
    steps = arguments.dt
    if kind == LFP:
        duration_ms, steps = 1000.0 * arguments.ecp_seconds, steps[:2]
    found: dict[str, Run] = {}
    for dt in steps:
        to = arguments.out / f"bmtk-{dt:g}-{kind}"
        found[f"BMTK, {dt:g} ms"] = Run(to, arguments.cells, runs.bmtk(config, to, dt), duration_ms)
    for accuracy in arguments.accuracy:
        to = arguments.out / f"twins-{accuracy}-{kind}"
        found[f"twins, {accuracy}"] = Run(to, arguments.cells, runs.twins(config, to, accuracy), duration_ms)
    return found


def print_spikes(rows: dict[str, dict[str, float]], models: list[str]) -> None:
    first, *others = rows
    print(f"\nRates, spikes per second and cell, and how far from {first}\n")
    populations = ["all", *dict.fromkeys(models)]
    print(f"| | {' | '.join(populations)} |\n| --- |{' --- |' * len(populations)}")
    for name, of in rows.items():
        row = [f"{of[f'rate {p}']:.2f} ({of[f'rate {p}, %']:+.1f} %)" for p in populations]
        print(f"| {name} | {' | '.join(row)} |")
    keys = ["F1 early", "F1", *[key for key in rows[first] if key.startswith("dB")]]
    print(f"\nAgainst {first}; early: to {EARLY_MS:g} ms; dB: power of the rate of all cells\n")
    print(f"| | {' | '.join(keys)} |\n| --- |{' --- |' * len(keys)}")
    for name in others:
        print(f"| {name} | {' | '.join(f'{rows[name][key]:.3f}' for key in keys)} |")


def print_field(rows: dict[str, dict[str, float]]) -> None:
    first, *others = rows
    print(f"\nPotential below 300 Hz at {CONTACTS} contacts, {SETTLED_MS:g} to {EARLY_MS:g} ms, against {first}\n")
    print("| | VE, worst contact | VE, median | F1 |\n| --- | --- | --- | --- |")
    for name in others:
        print(f"| {name} | {rows[name]['VE worst']:.4f} | {rows[name]['VE median']:.4f} | {rows[name]['F1']:.3f} |")


def print_costs(found: dict[str, Run], title: str) -> None:
    print(f"\n{title}\n\n| | {runs.COST_COLUMNS} |\n| --- | --- | --- | --- |")
    for name, run in found.items():
        print(f"| {name} | {run.cost} |", flush=True)


@matplotlib.rc_context(STYLE)
def draw(found: dict[str, Run], field: dict[str, Run], models: list[str]) -> Figure:
    """Rasters of BMTK and twins, rates with their power, and below them the potential at contacts."""
    figure = Figure(figsize=(11.0, 10.0 if field else 7.0), layout="constrained")
    grid = figure.add_gridspec(3 if field else 2, 2, height_ratios=[1.6, 1.0, 1.6][: 3 if field else 2])
    names = list(found)
    shown = {names[1]: ("#bdbdbd", 2.6), names[0]: (TRUE, 1.6), names[-1]: (TWIN, 0.9)}
    colours = series_colours(list(dict.fromkeys(models)))
    for k, name in enumerate((names[0], names[-1])):
        panel = figure.add_subplot(grid[0, k])
        draw_raster(panel, found[name], models, colours)
        panel.set_title(name, loc="left")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper right", ncols=5, handlelength=0.8)
    rate, power = figure.add_subplot(grid[1, 0]), figure.add_subplot(grid[1, 1])
    for name, (colour, width) in shown.items():
        run = found[name]
        counts = np.histogram(np.concatenate(run.spikes), np.arange(0.0, run.shown_ms + 5.0, 10.0))[0]
        at_ms = 5.0 + 10.0 * np.arange(len(counts))
        rate.plot(at_ms, 100.0 * counts / len(models), color=colour, linewidth=width, label=name)
        power.loglog(*spectrum(run.spikes, run.duration_ms), color=colour, linewidth=width, label=name)
    rate.set(xlabel="time (ms)", ylabel="rate of all cells\n(spikes/s)", xlim=(0.0, run.shown_ms))
    power.set(xlabel="frequency (Hz)", ylabel="power of the rate\n((spikes/s)²/Hz)")
    power.legend(fontsize=9)
    if field:
        draw_field(figure.add_subplot(grid[2, :]), {name: field[name] for name in shown if name in field}, shown)
    return figure


def draw_raster(panel: Axes, run: Run, models: list[str], colours: dict[str, str]) -> None:
    for model, colour in colours.items():
        cells = [k for k, of in enumerate(models) if of == model]
        number = np.repeat(cells, [len(run.spikes[k]) for k in cells])
        time_ms = np.concatenate([run.spikes[k] for k in cells])
        number, time_ms = number[time_ms <= run.shown_ms], time_ms[time_ms <= run.shown_ms]
        panel.plot(time_ms, number, "|", color=colour, markersize=3, markeredgewidth=0.9)
        panel.plot([], [], color=colour, linewidth=3, label=model)
    panel.set(xlabel="time (ms)", ylabel="cell", xlim=(0.0, run.shown_ms), ylim=(-1, len(models)))


def draw_field(panel: Axes, field: dict[str, Run], style: dict[str, tuple[str, float]]) -> None:
    """The potential at each third contact, each trace by its own largest value."""
    kept = range(1, CONTACTS, 3)
    largest: dict[int, float] = {}
    for name, run in sorted(field.items(), key=lambda each: "BMTK" not in each[0]):
        assert run.field is not None
        for row, k in enumerate(kept):
            trace = run.field[1][:, k] - run.field[1][:, k].mean()
            size = largest.setdefault(k, float(np.ptp(trace)))
            panel.plot(run.field[0], row + 0.9 * trace / size, color=style[name][0], linewidth=style[name][1])
    panel.set_yticks(range(len(kept)), [f"{k}: {largest[k]:.0f} µV" for k in kept])
    panel.set(xlabel="time (ms)", ylabel="contact: range below 300 Hz")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sonata", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cells", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument(
        "--dt", type=float, nargs="+", default=[0.025, 0.05, 0.0125], help="BMTK's steps [ms]; two or more"
    )
    parser.add_argument("--accuracy", nargs="+", default=["fast", "standard", "exact"])
    parser.add_argument("--ecp", action="store_true")
    parser.add_argument("--ecp-seconds", type=float, default=EARLY_MS / 1000.0)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    sonata = runs.working_copy(arguments.sonata, arguments.out, "5_cells_iclamp")
    folder = Builder(sonata, arguments.out / "circuit", arguments.seed).build(
        arguments.cells, 1000.0 * arguments.seconds, arguments.dt[0], 1000.0 * arguments.ecp_seconds
    )
    models = runs.models_of(folder / "network", COLUMN)
    with h5py.File(folder / "network" / f"{COLUMN}_{COLUMN}_edges.h5") as file:
        edges = len(file[f"edges/{COLUMN}_to_{COLUMN}/source_node_id"])
    print(f"{arguments.cells} cells, {edges} connections among them, {arguments.seconds:g} s", flush=True)
    found, field = run_all(arguments, folder, "spikes"), {}
    rows = {name: run.against(next(iter(found.values())), models) for name, run in found.items()}
    print_spikes(rows, models)
    print_costs(found, f"Spikes alone, {arguments.seconds:g} s")
    said = {"spikes": rows, "costs": {name: vars(run.cost) for name, run in found.items()}}
    if arguments.ecp:
        field = run_all(arguments, folder, LFP)
        said["ecp"] = {name: run.against(next(iter(field.values())), models) for name, run in field.items()}
        said["ecp costs"] = {name: vars(run.cost) for name, run in field.items()}
        print_field(said["ecp"])
        print_costs(field, f"With the extracellular potential, {arguments.ecp_seconds:g} s")
    (arguments.out / "rows.json").write_text(json.dumps(said, indent=1) + "\n")
    save(draw(found, field, models), arguments.out / "network-bmtk.png")


if __name__ == "__main__":
    main()
