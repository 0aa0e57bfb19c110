"""What sampling potentials each ms does to the extracellular spike and to the LFP, against every 0.05 ms.

    python benchmarks/sampling.py OUT [--cells allen_l4 l5pc] [--seconds 6] [--trials 4] [--dt 0.025]

Simulates each cell with a sample every 0.05 ms into OUT (trials that are there are kept), and takes the potential at a
contact 30 um beside the soma and at one 30 um beside the middle of the tuft. From every 0.05 ms come what coarser
sampling gives (each k-th sample, which is what `simulate --record-dt` stores) and the mean over each ms. Printed, and
written into OUT with a figure, sampling.json and sampling.png:

- the spike near the soma: amplitude of its trough, and width at half of that, relative to every 0.05 ms. Medians and
  5th to 95th percentiles over all output spikes and all 20 ways in which the ms may fall on them;
- VE of the potential below 300 and below 100 Hz (Butterworth's gain of order four, forward and back, applied to the
  Fourier transform: zero phase, the same at all sampling rates), also without 20 ms on either side of output spikes;
- power between 100 and 300 Hz and between 300 and 500 Hz, relative to every 0.05 ms;
- ringing: what alternates from sample to sample, (2 x[k] - x[k - 1] - x[k + 1]) / 4, rms from 0.2 to 1.5 ms after the
  trough, over its depth. Crank-Nicolson with steps of 0.05 ms has some, which samples each ms do not show.

The results are in docs/measurements/sampling.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from dendrotwin import signals
from dendrotwin.cell.stimuli import Modulated
from dendrotwin.cell.tree import Tree
from dendrotwin.cells import NAMES, load_cell
from dendrotwin.neuron.compile import cannot_build
from dendrotwin.neuron.simulate import Simulation, simulate
from dendrotwin.plot import save
from dendrotwin.plot.style import STYLE
from dendrotwin.recording import RecordingFile

RECORD_DT_MS = 0.05
IN_MS = 20
COARSER_MS = (0.1, 0.2, 0.25, 0.5, 1.0)
MEAN = "mean over 1 ms"
SETTLE_MS, END_MS = 500, 100  # not looked at: the cell settles, and filtered traces end
BESIDE_UM = 30.0
BEFORE_MS, AFTER_MS, BASE_MS = 5, 6, 2  # of a spike; its baseline is the mean until BASE_MS before it
AROUND_MS = 20
RINGING_MS = (0.2, 1.5)  # after the trough
CORNERS_HZ = (300.0, 100.0)
BANDS_HZ = ((100.0, 300.0), (300.0, 500.0))
FINE, EACH, AVERAGE = "#000000", "#D55E00", "#0072B2"


def contacts(tree: Tree) -> signals.Probe:
    """One beside the soma's surface, one beside the middle of the tuft, of the upright cell."""
    tuft = tree.in_region("tuft")
    middle = np.average(tree.ends_um[tuft].mean(axis=1), axis=0, weights=tree.length_um[tuft])
    beside = np.array([0.0, BESIDE_UM, 0.0])
    soma = np.array([0.0, tree.diameter_um[tree.soma] / 2, 0.0])
    return signals.point_electrodes([soma + beside, middle + beside])


def mean_each_ms(values: np.ndarray) -> np.ndarray:
    """(samples, ...) every 0.05 ms to (steps, ...), which stand for the middle of each ms."""
    return values.reshape(-1, IN_MS, *values.shape[1:]).mean(axis=1)


def below(values: np.ndarray, sampling_hz: float, corner_hz: float) -> np.ndarray:
    """Low-passed without a shift in time, by the same gain whatever the rate."""
    hz = np.fft.rfftfreq(len(values), 1.0 / sampling_hz)
    gain = 1.0 / (1.0 + (hz / corner_hz) ** 8)
    return np.fft.irfft(np.fft.rfft(values, axis=0) * gain[:, None], n=len(values), axis=0)


def trough(time_ms: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Depth below the baseline, and width at half of it, of a spike at time 0; straight lines between samples."""
    values = values - values[time_ms < -BASE_MS].mean()
    near = np.flatnonzero(np.abs(time_ms) <= BASE_MS)
    lowest = int(near[np.argmin(values[near])])
    above = values > values[lowest] / 2
    left = int(np.flatnonzero(above[:lowest])[-1])
    right = lowest + int(np.flatnonzero(above[lowest:])[0])

    def crossing(a: int, b: int) -> float:
        share = (values[lowest] / 2 - values[a]) / (values[b] - values[a])
        return float(time_ms[a] + share * (time_ms[b] - time_ms[a]))

    return -float(values[lowest]), crossing(right - 1, right) - crossing(left, left + 1)


def ringing(values: np.ndarray, spike_ms: float) -> float:
    """What alternates from sample to sample after the trough of a spike, over its depth."""
    at = round(spike_ms * IN_MS)
    lowest = at - IN_MS + int(np.argmin(values[at - IN_MS : at + IN_MS]))
    base = values[at - BEFORE_MS * IN_MS : at - BASE_MS * IN_MS].mean()
    after = slice(*(lowest + round(ms * IN_MS) for ms in RINGING_MS))
    alternating = (2.0 * values - np.roll(values, 1) - np.roll(values, -1)) / 4.0
    return float(np.sqrt((alternating[after] ** 2).mean()) / (base - values[lowest]))


def spike_shapes(values: np.ndarray, spikes_ms: np.ndarray) -> dict[str, np.ndarray]:
    """(spikes, phases, 2) depth and width at each sampling, from (samples,) every 0.05 ms."""
    found: dict[str, list] = {}
    average = np.convolve(values, np.full(IN_MS, 1.0 / IN_MS), mode="valid")  # [k]: over k to k + 19
    for spike in spikes_ms:
        at = round(spike * IN_MS)
        window = np.arange(at - BEFORE_MS * IN_MS, at + AFTER_MS * IN_MS)
        fine = [trough((window - at) / IN_MS, values[window])] * IN_MS
        found.setdefault(f"{RECORD_DT_MS:g} ms", []).append(fine)
        for interval in COARSER_MS:
            every = round(interval * IN_MS)
            phases = [window[phase % every :: every] for phase in range(IN_MS)]
            shapes = [trough((w - at) / IN_MS, values[w]) for w in phases]
            found.setdefault(f"{interval:g} ms", []).append(shapes)
        phases = [window[phase::IN_MS] for phase in range(IN_MS)]
        shapes = [trough((w - at) / IN_MS + 0.5, average[w]) for w in phases]
        found.setdefault(MEAN, []).append(shapes)
    return {name: np.array(shapes) for name, shapes in found.items()}


def explained(true: np.ndarray, found: np.ndarray, where: np.ndarray) -> list[float]:
    """VE at each contact."""
    true, found = true[where], found[where]
    return (1.0 - ((true - found) ** 2).sum(0) / ((true - true.mean(0)) ** 2).sum(0)).tolist()


def low_passed(values: np.ndarray, corner_hz: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """True and found low-passed potentials (steps, contacts) at the end of each ms, of the means in its middle."""
    true = below(values, 1000.0 * IN_MS, corner_hz)
    pairs = {}
    for interval in COARSER_MS:
        every = round(interval * IN_MS)
        coarse = below(values[every - 1 :: every], 1000.0 / interval, corner_hz)
        pairs[f"{interval:g} ms"] = (true[IN_MS - 1 :: IN_MS], coarse[IN_MS // every - 1 :: IN_MS // every])
    middle = (true[IN_MS // 2 - 1 :: IN_MS] + true[IN_MS // 2 :: IN_MS]) / 2
    pairs[MEAN] = (middle, below(mean_each_ms(values), 1000.0, corner_hz))
    return pairs


def measure(recordings: list[Path]) -> dict:
    """All of one cell."""
    shapes: dict[str, list] = {}
    pairs: dict[str, dict[str, list]] = {f"{corner:g}": {} for corner in CORNERS_HZ}
    spectra: dict[str, list] = {}
    kept, quiet, rings, shown = [], [], [], None
    for path in recordings:
        with RecordingFile(path) as file:
            tree, spikes = signals.upright(file.tree()), file.spikes_ms(0)
        lfp = signals.lfp(path, contacts(tree))
        values = lfp.values * 1e3  # uV
        steps = len(values) // IN_MS
        looked_at = spikes[(spikes > SETTLE_MS) & (spikes < steps - END_MS)]
        rings += [ringing(values[:, 0], spike) for spike in looked_at]
        for name, found in spike_shapes(values[:, 0], looked_at).items():
            shapes.setdefault(name, []).append(found)
        for corner in CORNERS_HZ:
            for name, pair in low_passed(values, corner).items():
                pairs[f"{corner:g}"].setdefault(name, []).append(pair)
        ms = np.arange(steps)
        kept.append((ms >= SETTLE_MS) & (ms < steps - END_MS))
        far = np.ones(steps, dtype=bool)
        for spike in spikes:
            far &= np.abs(ms + 1.0 - spike) > AROUND_MS
        quiet.append(kept[-1] & far)
        for name, series, rate in (
            ("0.05 ms", values, 1000.0 * IN_MS),
            ("1 ms", values[IN_MS - 1 :: IN_MS], 1000.0),
            (MEAN, mean_each_ms(values), 1000.0),
        ):
            rest = series[round(SETTLE_MS * rate / 1000.0) :]
            spectra.setdefault(name, []).append(
                signals.power_spectrum(dataclasses.replace(lfp, values=rest, sampling_hz=rate))
            )
        if shown is None and len(looked_at):
            at = round(looked_at[0] * IN_MS)
            window = np.arange(at - 4 * IN_MS, at + 6 * IN_MS)
            shown = {"sample": window - at, "uV": values[window, 0], "in_ms": window % IN_MS}
    relative = {name: np.concatenate(parts) for name, parts in shapes.items()}
    fine = relative["0.05 ms"]
    where, silent = np.concatenate(kept), np.concatenate(quiet)
    result: dict = {
        "trials": len(recordings),
        "spikes": len(fine),
        "trough_uV": float(np.median(fine[..., 0])),
        "width_ms": float(np.median(fine[..., 1])),
        "ringing": float(np.median(rings)),
        "at": {},
    }
    power = {name: np.mean([p for _, p in found], axis=0) for name, found in spectra.items()}
    hz = {name: found[0][0] for name, found in spectra.items()}
    for name in pairs["300"]:
        row = {
            key: np.percentile((relative[name] / fine)[..., column], [5, 50, 95]).tolist()
            for column, key in enumerate(("trough", "width"))
        }
        for corner, found in pairs.items():
            true, coarse = (np.concatenate(parts) for parts in zip(*found[name], strict=True))
            row[f"ve {corner} Hz"] = explained(true, coarse, where)
            row[f"ve {corner} Hz without spikes"] = explained(true, coarse, silent)
        result["at"][name] = row
    for name in ("1 ms", MEAN):
        for low, high in BANDS_HZ:
            band = {key: power[key][(hz[key] >= low) & (hz[key] < high)].sum(axis=0) for key in (name, "0.05 ms")}
            result["at"][name][f"power {low:g}-{high:g} Hz"] = (band[name] / band["0.05 ms"]).tolist()
    return {"measured": result, "hz": hz, "power": power, "shown": shown}


@matplotlib.rc_context(STYLE)
def draw(cells: dict[str, dict]) -> Figure:
    """For each cell a spike near the soma, and the power near soma and tuft with the VE of each ms."""
    figure = Figure(figsize=(11.5, 0.4 + 3.2 * len(cells)), layout="constrained")
    for axes, (name, found) in zip(figure.subplots(len(cells), 3, squeeze=False), cells.items(), strict=True):
        spike, measured = found["shown"], found["measured"]["at"]
        ms = spike["sample"] / IN_MS
        stored = spike["in_ms"] == IN_MS - 1
        starts = np.flatnonzero(spike["in_ms"] == 0)
        starts = starts[starts + IN_MS <= len(ms)]
        means = np.array([spike["uV"][start : start + IN_MS].mean() for start in starts])
        axes[0].plot(ms, spike["uV"], color=FINE, linewidth=1.6, label="every 0.05 ms")
        axes[0].plot(ms[stored], spike["uV"][stored], "o--", color=EACH, linewidth=1.2, label="each ms")
        axes[0].plot(ms[starts] + 0.475, means, "s:", color=AVERAGE, markersize=5, linewidth=1.4, label=MEAN)
        axes[0].set_title(f"{name}: a spike near the soma", loc="left")
        axes[0].set_xlabel("time from the soma's peak (ms)")
        axes[0].set_ylabel("potential (µV)")
        for contact, (panel, place) in enumerate(zip(axes[1:], ("soma", "tuft"), strict=True)):
            low, high = np.inf, 0.0
            for key, colour, style in (("0.05 ms", FINE, "-"), ("1 ms", EACH, "--"), (MEAN, AVERAGE, ":")):
                hz, power = found["hz"][key], found["power"][key][:, contact]
                shown = hz < 500.0
                low, high = min(low, power[shown].min()), max(high, power[shown].max())
                panel.semilogy(hz[shown], power[shown], style, color=colour, linewidth=1.8)
            ve = measured["1 ms"]["ve 300 Hz"][contact]
            panel.set_title(f"near the {place}: VE < 300 Hz {ve:.3f}", loc="left")
            panel.axvline(300.0, color="#bdbdbd", linewidth=1.0, zorder=0)
            panel.set_xlabel("frequency (Hz)")
            panel.set_ylabel("power (µV²/Hz)")
            panel.set_ylim(10 ** np.floor(np.log10(low)), 10 ** np.ceil(np.log10(high)))  # whole decades have labels
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def table(result: dict) -> str:
    """The figures of one cell, a row for each sampling."""
    lines = [
        "| | trough | width | VE below 300 Hz, soma, tuft | without spikes | VE below 100 Hz | without spikes |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in result["at"].items():
        shapes = [f"{m:.2f} ({low:.2f} to {high:.2f})" for low, m, high in (row["trough"], row["width"])]
        keys = [f"ve {corner:g} Hz{more}" for corner in CORNERS_HZ for more in ("", " without spikes")]
        explained = [", ".join(f"{value:.4f}" for value in row[key]) for key in keys]
        lines.append(f"| {name} | {' | '.join(shapes + explained)} |")
    for name in ("1 ms", MEAN):
        for low, high in BANDS_HZ:
            soma, tuft = result["at"][name][f"power {low:g}-{high:g} Hz"]
            lines.append(f"power {low:g} to {high:g} Hz, {name}: {soma:.2f} near the soma, {tuft:.2f} near the tuft")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cells", nargs="+", default=["allen_l4", "l5pc"], choices=NAMES)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--dt", type=float, default=0.025)
    arguments = parser.parse_args()
    cells = {}
    for name in arguments.cells:
        model = load_cell(name)
        missing = cannot_build(model.missing())
        if missing is not None:
            print(f"{name} is left out: {missing}")
            continue
        simulation = Simulation(
            cell=name,
            duration_ms=1000 * arguments.seconds,
            seed=arguments.seed,
            inputs=Modulated(rate_scale=model.rate_scale),
            dt_ms=arguments.dt,
            record_dt_ms=RECORD_DT_MS,
        )
        paths = simulate(simulation, arguments.trials, arguments.out / name, workers=1)
        cells[name] = measure(paths)
        result = cells[name]["measured"]
        size = paths[0].stat().st_size / arguments.seconds / 1e6
        print(
            f"\n{name}, dt {arguments.dt:g} ms: {result['trials']} trials of {arguments.seconds} s, {result['spikes']} "
            f"output spikes; trough {result['trough_uV']:.1f} uV, width {result['width_ms']:.2f} ms, ringing "
            f"{result['ringing']:.4f}; {size:.1f} MB for each second\n"
        )
        print(table(result), flush=True)
    (arguments.out / "sampling.json").write_text(
        json.dumps({name: found["measured"] for name, found in cells.items()}, indent=2) + "\n"
    )
    save(draw(cells), arguments.out / "sampling.png")


if __name__ == "__main__":
    main()
