"""What electrodes say of a prediction: against the definitions, signals of files, and where LFPykit is missing."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from dendrotwin import signals
from dendrotwin.cell.tree import Events, Injection, Tree
from dendrotwin.errors import InputError
from dendrotwin.evaluation.lfp_metrics import NO_LFP, LFPComparison, upright_beside_shank
from dendrotwin.evaluation.metrics import BANDS_HZ, BandPower, SignalVariance, firing_mask
from dendrotwin.evaluation.predictors import evaluate_predictor
from dendrotwin.evaluation.report import print_report, write_measured_error, write_report
from dendrotwin.evaluation.split import Split, split_trials
from dendrotwin.models.baselines import cable_predictor
from dendrotwin.recording import SETTLE_MS, Recording, write_recordings
from dendrotwin.recording.trials import index_trials, read_trial
from dendrotwin.signals.extracellular import check_outside_compartments
from dendrotwin.signals.placing import translate, upright
from dendrotwin.signals.probes import default_probe
from test_plot import small_tree
from test_recording import tree_with_inputs

NAMED = {"twin": "it", "data": "here"}


@pytest.fixture(scope="module")
def tree_and_split(data: Path) -> tuple[Tree, Split]:
    return split_trials(data, 0.2, 0.2)


# ---------------------------------------------------------------------------------------------------- the measures


def test_a_sample_is_firing_near_an_output_spike() -> None:
    spikes = np.array([100.4, 190.0, 700.0])
    found = firing_mask(spikes, 1000)
    for step in range(1000):
        time_ms = step + 1.0  # a sample is the state at the end of its step
        assert found[step] == any(spike - 10.0 <= time_ms <= spike + 150.0 for spike in spikes), step
    assert not firing_mask(np.zeros(0), 50).any()


def test_explained_variance_of_periods_is_the_definition_over_all_trials(rng: np.random.Generator) -> None:
    lengths, spikes = (900, 1400), ([450.0, 800.0], [1000.0])  # 450: before anything counts, and fires until 600
    true = [1e-4 * rng.normal(3.0, 1.0, (length, 2)) for length in lengths]
    predicted = [x + 3e-5 * rng.normal(size=x.shape) for x in true]
    sums = SignalVariance(2)
    masks = []
    for t, p, times in zip(true, predicted, spikes, strict=True):
        sums.add(t, p, np.array(times))
        masks.append(firing_mask(np.array(times), len(t))[SETTLE_MS:])
    fires = np.concatenate(masks)
    assert fires[:100].all()
    assert not fires[100]
    t, p = (np.concatenate([x[SETTLE_MS:] for x in part]) for part in (true, predicted))
    for period, here in (("all", fires | ~fires), ("silent", ~fires), ("firing", fires)):
        x, y = t[here], p[here]
        ve = 1 - ((x - y) ** 2).sum(0) / ((x - x.mean(0)) ** 2).sum(0)
        assert sums.explained_variance()[period] == pytest.approx(ve)


def test_without_variance_or_period_there_is_no_explained_variance(rng: np.random.Generator) -> None:
    sums = SignalVariance(2)
    x = rng.normal(size=(800, 2))
    x[:, 1] = 1e-3
    sums.add(x, x, np.zeros(0))
    found = sums.explained_variance()
    assert found["all"][0] == found["silent"][0] == pytest.approx(1.0)
    assert np.isnan(found["all"][1])
    assert np.isnan(found["firing"]).all()


def test_power_of_the_right_band_is_wrong_by_what_the_amplitude_is() -> None:
    hz = {"delta": 2.0, "theta": 6.0, "alpha": 10.0, "beta": 20.0, "gamma": 50.0, "high gamma": 300.0}
    gain = {"delta": 1.0, "theta": 2.0, "alpha": 1.0, "beta": 0.1, "gamma": 1.0, "high gamma": 3.0}
    assert hz.keys() == BANDS_HZ.keys()
    power = BandPower(1)
    for steps in (3200, 2500, SETTLE_MS + 999):  # the last one is shorter than a window
        time_s = np.arange(steps) / 1000.0
        waves = {band: np.sin(2 * np.pi * frequency * time_s) for band, frequency in hz.items()}
        true, predicted = sum(waves.values()), sum(gain[band] * wave for band, wave in waves.items())
        true[:SETTLE_MS] = 1e3 * np.arange(SETTLE_MS)  # does not count
        power.add(true[:, None] + 7.0, predicted[:, None] - 40.0)
    for band, error in power.errors_dB().items():
        assert error == pytest.approx(20.0 * np.log10(gain[band]), abs=0.05), band


def test_a_longer_trial_weighs_more(rng: np.random.Generator) -> None:
    """Two trials of which one has twice as many windows; the power of white noise is known."""
    power = BandPower(1)
    for windows, sd in ((199, 1.0), (99, 2.0)):
        noise = rng.normal(size=(SETTLE_MS + 500 * (windows + 1), 1))
        power.add(noise, sd * noise)
    ratio = (199 * 1.0 + 99 * 4.0) / (199 + 99)
    assert power.errors_dB()["high gamma"] == pytest.approx(10.0 * np.log10(ratio), abs=0.02)


def test_no_power_has_no_error_in_decibels(rng: np.random.Generator) -> None:
    power = BandPower(2)
    x = rng.normal(size=(2000, 2))
    x[:, 1] = -0.3
    power.add(x, np.full_like(x, 0.1))
    assert all(np.isnan(error).all() for error in power.errors_dB().values())
    short = BandPower(2)
    short.add(x[:1400], x[:1400])
    assert all(np.isnan(error).all() for error in short.errors_dB().values())


# ---------------------------------------------------------------------------------------------------- the contacts


@pytest.mark.parametrize("regions", [(), ("soma",), ("basal",), ("soma", "trunk")], ids=str)
def test_contacts_are_beside_any_cell_over_all_of_its_height(regions: tuple[str, ...]) -> None:
    tree = upright(small_tree(*regions))
    probe = signals.shank_beside(tree)
    x, y, z = probe.positions_um.T
    assert len(probe) == 6
    assert np.ptp(x) == np.ptp(y) == 0.0
    lowest, highest = tree.ends_um[:, :, 2].min(), tree.ends_um[:, :, 2].max()
    beyond = 50.0 if highest - lowest < 50.0 else 0.0  # of a flat cell
    assert z == pytest.approx(np.linspace(lowest - beyond, highest + beyond, 6))
    assert np.hypot(x, y) % 10.0 == pytest.approx(0.0, abs=1e-6)
    assert _least_distance(tree, probe.positions_um) >= 10.0
    assert np.array_equal(signals.shank_beside(tree).positions_um, probe.positions_um)


def test_contacts_keep_clear_of_a_fat_cell_and_go_with_it() -> None:
    tree = upright(small_tree())
    fat = dataclasses.replace(tree, diameter_um=np.where(tree.in_region("soma"), 130.0, tree.diameter_um))
    distance = np.hypot(*signals.shank_beside(fat).positions_um[0, :2])
    assert distance > 70.0
    check_outside_compartments(fat, signals.shank_beside(fat).points_um())
    by = np.array([30.0, -200.0, 55.0])
    moved = signals.shank_beside(translate(fat, by)).positions_um - by
    assert moved == pytest.approx(signals.shank_beside(fat).positions_um, abs=1e-6)


def test_contacts_are_on_the_side_where_the_cell_is_farthest() -> None:
    tree = upright(small_tree())
    probe = signals.shank_beside(tree)
    x, y, z = probe.positions_um.T
    around = []
    for angle in np.arange(36) * np.pi / 18:
        turned = np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y, z], axis=1)
        around.append(_least_distance(tree, turned))
    assert np.ptp(around) > 10.0
    assert _least_distance(tree, probe.positions_um) >= max(around) - 0.1


def _least_distance(tree: Tree, points_um: np.ndarray) -> float:
    """From the membrane, along each compartment in many steps."""
    share = np.linspace(0.0, 1.0, 201)[:, None, None]
    along = tree.ends_um[:, 0] + share * (tree.ends_um[:, 1] - tree.ends_um[:, 0])
    distance = np.linalg.norm(along[:, :, None] - points_um, axis=3).min(axis=0)
    return float((distance - tree.diameter_um[:, None] / 2).min())


# -------------------------------------------------------------------------------------------------- whole trials


def _made(tree: Tree, v: np.ndarray, spikes_ms: np.ndarray, injection: Injection | None) -> Recording:
    none = np.zeros(0, dtype=np.int32)
    return Recording(tree, v.astype(np.float32), Events(none, none), spikes_ms, "x", injection)


def _read(path: Path, tree: Tree) -> Recording:
    return read_trial(index_trials(path)[1][0], tree)


def test_errors_are_those_of_the_signals_of_files(tmp_path: Path, rng: np.random.Generator) -> None:
    """Two trials, one with injected current, written to files; the LFP and dipole that `signals` reads there."""
    tree = tree_with_inputs()
    comparison = LFPComparison(tree)
    true, again = [], []
    for k, steps in enumerate((1600, 2100)):
        v = np.cumsum(rng.normal(size=(steps, tree.n)), axis=0).clip(-20, 40) - 70.0
        injection = Injection(np.array([2], dtype=np.int32), rng.normal(size=(steps, 1))) if k else None
        first = _made(tree, v, np.array([700.0, 1200.0]), injection)
        other = dataclasses.replace(first, v_mV=(v + rng.normal(size=v.shape)).astype(np.float32))
        paths = [tmp_path / f"{name}{k}.h5" for name in ("true", "again")]
        for path, recording in zip(paths, (first, other), strict=True):
            write_recordings(path, [recording], {})
        stored = [_read(path, tree) for path in paths]
        comparison.add(stored[0], stored[1].v_mV)
        seen = [
            [signals.lfp(path, upright_beside_shank(tree)[1]).values, signals.dipole(path).values] for path in paths
        ]
        for parts, of in zip((true, again), seen, strict=True):
            parts.append(np.concatenate(of, axis=1)[SETTLE_MS:])
    t, p = np.concatenate(true), np.concatenate(again)
    fires = np.concatenate([firing_mask(np.array([700.0, 1200.0]), steps)[SETTLE_MS:] for steps in (1600, 2100)])
    found = comparison.errors()
    for period, here in (("all", fires | ~fires), ("silent", ~fires), ("firing", fires)):
        ve = 1 - ((t - p)[here] ** 2).sum(0) / ((t[here] - t[here].mean(0)) ** 2).sum(0)
        assert [*found.lfp_ve[period], *found.dipole_ve[period]] == pytest.approx(ve.tolist(), rel=1e-6)
    row = found.summary()
    assert row["LFP VE silent worst"] == min(found.lfp_ve["silent"])
    assert row["LFP VE firing contact 3"] == found.lfp_ve["firing"][2]
    assert row["dipole VE all z"] == found.dipole_ve["all"][2]
    assert row["LFP dB gamma"] == pytest.approx(np.mean(np.abs(found.lfp_dB["gamma"])))


def test_a_shift_of_all_compartments_is_invisible(rng: np.random.Generator) -> None:
    tree = tree_with_inputs()
    v = np.cumsum(rng.normal(size=(1800, tree.n)), axis=0) - 70.0
    comparison = LFPComparison(tree)
    recording = _made(tree, v, np.zeros(0), None)
    comparison.add(recording, recording.v_mV + np.float32(8.0))
    assert min(comparison.errors().lfp_ve["all"]) == pytest.approx(1.0, abs=1e-6)


def test_evaluation_without_lfpykit_is_the_rest_of_it(
    tree_and_split: tuple[Tree, Split],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tree, split = tree_and_split
    arguments = ("cable", cable_predictor(), tree, split.test)
    whole = evaluate_predictor(*arguments, threshold=-50.0)
    monkeypatch.setitem(sys.modules, "lfpykit", None)
    rest = evaluate_predictor(*arguments, threshold=-50.0)
    assert rest.lfp is None
    seen = {key for key in whole.summary(tree) if key.startswith(("LFP", "dipole"))}
    assert len(seen) == 3 * (2 + 6) + 3 * 3 + 6 * (1 + 6)
    assert rest.summary(tree) == {key: value for key, value in whole.summary(tree).items() if key not in seen}
    write_report(tmp_path, tree, [rest], split.test, NAMED)
    text = (tmp_path / "report.md").read_text()
    assert text.endswith(f"\n{NO_LFP}\n")
    assert "LFP silent" not in text
    assert "contacts_um" not in (tmp_path / "report.json").read_text()
    print_report(tree, [rest], split.test, {})
    shown = capsys.readouterr().out
    assert shown.endswith(f"\n{NO_LFP}\n")
    assert "dipole z" not in shown
    write_report(tmp_path, tree, [whole], split.test, NAMED)  # what was measured can be drawn and written everywhere
    assert len(json.loads((tmp_path / "report.json").read_text())["contacts_um"]) == 6
    print_report(tree, [whole], split.test, {})
    shown = capsys.readouterr().out
    assert NO_LFP not in shown
    assert "dipole z firing" in shown
    (tmp_path / "README.md").write_text("# A twin\n")
    for evaluation, columns in ((whole, True), (rest, False)):
        write_measured_error(tmp_path, tree, [evaluation], split.test, tmp_path)
        assert ("dipole z firing" in (tmp_path / "README.md").read_text()) == columns


def test_the_truth_is_exact_and_the_mean_has_no_power(tree_and_split: tuple[Tree, Split]) -> None:
    tree, split = tree_and_split
    truth = evaluate_predictor("truth", lambda r: (r.v_mV, r.v_mV[:, 0]), tree, split.test, threshold=-50.0).summary(
        tree
    )
    assert truth["LFP VE all worst"] == truth["dipole VE firing z"] == 1.0
    assert truth["LFP dB delta"] == 0.0
    mean = evaluate_predictor(
        "mean", lambda r: (np.full_like(r.v_mV, -70.0), r.v_mV[:, 0]), tree, split.test, threshold=-50.0
    ).summary(tree)
    assert mean["LFP VE all median"] <= 0.0  # type: ignore[operator]
    assert mean["LFP dB delta"] is None


def test_the_default_probe_is_clear_of_any_cell() -> None:
    tree = upright(small_tree())
    linear = signals.linear_probe()
    assert np.array_equal(default_probe([tree]).positions_um, linear.positions_um)
    ends_um = tree.ends_um.copy()
    lying = tree.in_region("basal")
    along = np.linspace(10.0, 160.0, lying.sum() + 1)
    ends_um[lying, :, 1:] = 0.0
    ends_um[lying, 0, 0], ends_um[lying, 1, 0] = along[:-1], along[1:]  # through (50, 0, 0)
    in_the_way = dataclasses.replace(tree, ends_um=ends_um)
    with pytest.raises(InputError, match="lies inside"):
        check_outside_compartments(in_the_way, linear.points_um())
    for trees in ([in_the_way], [in_the_way, translate(in_the_way, np.array([0.0, 50.0, 0.0])), tree]):
        moved = default_probe(trees)
        assert np.array_equal(moved.positions_um[:, 2], linear.positions_um[:, 2])
        for one in trees:
            assert _least_distance(one, moved.positions_um) >= 10.0
            check_outside_compartments(one, moved.points_um())
