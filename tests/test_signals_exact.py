"""Signals against independent solutions: nothing that is summed, sampled or cut off shows in a result."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import norm

from dendrotwin import signals
from dendrotwin.cell.tree import Events, Floats, Injection, Tree
from dendrotwin.errors import InputError, InputWarning
from dendrotwin.recording import Recording, write_recordings
from dendrotwin.signals.extracellular import lfp_matrix
from dendrotwin.signals.head import potential_in_spheres
from dendrotwin.signals.optical import Dye
from dendrotwin.signals.placing import rotate, translate, upright
from dendrotwin.signals.probes import MOST_RINGS, ring_weights
from test_recording import tree_with_inputs

FAR = signals.point_electrodes([[3000.0, 30.0, -140.0], [1000.0, 30.0, 0.0], [90.0, 80.0, -140.0], [90.0, 80.0, 300.0]])


@pytest.fixture
def tree() -> Tree:
    return upright(tree_with_inputs())


def stored(path: Path, tree: Tree, v_mV: Floats, injection: Injection | None = None, record_dt_ms: float = 1.0) -> Path:
    none = np.zeros(0, dtype=np.int32)
    made = Recording(
        tree, v_mV.astype(np.float32), Events(none, none), np.zeros(0), "x", injection, record_dt_ms=record_dt_ms
    )
    write_recordings(path, [made], {})
    return path


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    """A recording of some ms in which little happens."""
    tree = tree_with_inputs()
    return stored(tmp_path / "quiet.h5", tree, -70.0 + 0.01 * np.arange(10 * tree.n).reshape(10, tree.n))


# ------------------------------------------------------------------------------------------ layers of a CSD


def clipped_shares(tree: Tree, z_edges_um: Floats) -> Floats:
    """(layers, n) share of each compartment's height in each layer; of a level one, all in one layer."""
    z0, z1 = tree.ends_um[:, 0, 2], tree.ends_um[:, 1, 2]
    low, high = np.minimum(z0, z1), np.maximum(z0, z1)
    inside = np.minimum(high, z_edges_um[1:, None]) - np.maximum(low, z_edges_um[:-1, None])
    with np.errstate(invalid="ignore"):
        shares = np.maximum(inside, 0.0) / (high - low)
    level = high == low
    shares[:, level] = (low[level] >= z_edges_um[:-1, None]) & (low[level] < z_edges_um[1:, None])
    return shares


@pytest.mark.parametrize("turn", [None, 0, 1, 2])
def test_a_layer_has_the_share_of_a_compartment_that_lies_in_it(tree: Tree, turn: int | None) -> None:
    edges = np.linspace(-500.0, 500.0, 41)
    if turn is not None:
        angles = np.eye(3)[turn] * 0.7
        c, s = np.cos(angles), np.sin(angles)
        about_x = np.array([[1, 0, 0], [0, c[0], -s[0]], [0, s[0], c[0]]])
        about_y = np.array([[c[1], 0, s[1]], [0, 1, 0], [-s[1], 0, c[1]]])
        tree = rotate(tree, about_x @ about_y)
    across = np.array([-500.0, 500.0])
    matrix = signals.csd_matrix(tree, across, across, edges) * 1e6 * 25.0
    assert np.abs(matrix - clipped_shares(tree, edges)).max() < 1e-12


def test_a_soma_about_a_border_is_half_in_each_layer() -> None:
    tree = tree_with_inputs()
    ends = tree.ends_um.copy()
    ends[0] = [[0.0, 0.0, -9.3], [0.0, 0.0, 9.3]]
    wide = np.array([-500.0, 500.0])
    matrix = signals.csd_matrix(dataclasses.replace(tree, ends_um=ends), wide, wide, np.array([-500.0, 0.0, 500.0]))
    assert np.allclose(matrix[:, 0] * 5e8, 0.5, rtol=1e-12)


def test_voxels_share_a_compartment_that_crosses_them_aslant(tree: Tree) -> None:
    """In all three directions, against many points along each compartment."""
    corners = tree.ends_um.reshape(-1, 3)
    edges = [np.linspace(axis.min() - 5.0, axis.max() + 7.0, 6) for axis in corners.T]
    volume = np.prod([axis[1] - axis[0] for axis in edges])
    found = signals.csd_matrix(tree, *edges) * volume
    share = (np.arange(20_000) + 0.5) / 20_000
    for i in range(tree.n):
        points = tree.ends_um[i, 0] + share[:, None] * (tree.ends_um[i, 1] - tree.ends_um[i, 0])
        assert np.allclose(found[:, i], np.histogramdd(points, edges)[0].ravel() / 20_000, atol=2e-4)
    assert np.allclose(found.sum(axis=0), 1.0, rtol=1e-12)


def test_default_layers_hold_the_cell_and_do_not_cut_the_soma(tree: Tree) -> None:
    for place in ([0.0, 0.0, 0.0], [3.0, 2.0, 517.3]):
        there = translate(tree, np.array(place))
        for edges in (signals.layers_over([there]), signals.layers_over([there, tree], 12)):
            assert edges[0] <= there.ends_um[:, :, 2].min()
            assert edges[-1] >= there.ends_um[:, :, 2].max()
            z = there.ends_um[there.in_region("soma")][:, :, 2]
            assert not ((edges > z.min()) & (edges < z.max())).any()
        assert len(signals.layers_over([there, tree], 12)) == 13


def test_layers_that_miss_a_part_of_the_cell_are_refused(quiet: Path) -> None:
    with pytest.raises(
        InputError, match=r"quiet.h5, trial 0: the cell reaches from .* currents outside are lost; give"
    ):
        signals.csd(quiet, np.linspace(0.0, 20.0, 5))


# ------------------------------------------------------------------------------------------ images in a slab


def many_images(tree: Tree, points_um: Floats, slab: signals.Slab, pairs: int) -> Floats:
    """(points, n) the sum over so many images, of alternating ones the mean of the last two sums [mV/nA]."""
    middles, h = tree.ends_um.mean(axis=1), slab.thickness_um
    across = ((points_um[:, None, :2] - middles[:, :2]) ** 2).sum(axis=2)
    z, source = points_um[:, 2, None] - slab.bottom_um, middles[:, 2] - slab.bottom_um
    below, above = (
        (slab.tissue_S_per_m - other) / (slab.tissue_S_per_m + other)
        for other in (slab.below_S_per_m, slab.above_S_per_m)
    )

    def w(apart: Floats) -> Floats:
        return 1.0 / np.sqrt(across + apart**2)

    total, before = np.zeros_like(across), np.zeros_like(across)
    for n in range(pairs):
        before, d = total.copy(), 2.0 * n * h
        images = w(d + z - source) + below * w(d + z + source) + above * w(d + 2.0 * h - z - source)
        total += (below * above) ** n * (images + (w(d - z + source) if n else 0.0))
    mean = (total + before) / 2.0 if below * above < 0.0 else total
    return mean / (4.0 * np.pi * slab.tissue_S_per_m)


@pytest.mark.parametrize(
    ("below", "above"), [(0.0, 0.0), (0.0, 0.001), (0.0, 1.5), (0.15, 0.0), (1e6, 0.0), (1e6, 1.5), (0.3, 0.0)]
)
def test_images_in_a_slab_are_summed_to_the_end(tree: Tree, below: float, above: float) -> None:
    """Near and far, of currents that sum to zero: the sum is infinite by a constant where both surfaces insulate."""
    slab = signals.Slab(-140.0, 500.0, below, 0.3, above)
    currents = np.random.default_rng(0).normal(size=tree.n)
    currents -= currents.mean()
    found = lfp_matrix(tree, FAR, source="point", slab=slab)
    expected = many_images(tree, FAR.positions_um, slab, 4000)
    if below == 1e6:  # nothing is left of the potential on a metal, and rounding of what it is the difference of
        assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()
        assert np.abs(found[[0, 2]]).max() < 1e-5 * np.abs(found).max()
        return
    assert found @ currents == pytest.approx(expected @ currents, rel=2e-6)
    if above > 0.0 or below == 0.3:
        assert found == pytest.approx(expected, rel=1e-9)


def test_lines_in_a_slab_are_the_mean_of_points(tree: Tree) -> None:
    """On an insulating floor, near and far, below saline and below an insulating surface."""
    floor = signals.point_electrodes([[60.0, 20.0, -140.0], [900.0, 0.0, -140.0]])
    currents = np.random.default_rng(1).normal(size=tree.n)
    currents -= currents.mean()
    for above in (1.5, 0.0):
        slab = signals.Slab(-140.0, 500.0, 0.0, 0.3, above)
        found = lfp_matrix(tree, floor, source="line", slab=slab)
        nodes, weights = np.polynomial.legendre.leggauss(30)
        start, along = tree.ends_um[:, 0], tree.ends_um[:, 1] - tree.ends_um[:, 0]
        expected = np.zeros_like(found)
        for node, weight in zip(nodes, weights / 2.0, strict=True):
            at = start + (node + 1.0) / 2.0 * along
            expected += weight * lfp_matrix(
                dataclasses.replace(tree, ends_um=np.stack([at - 1e-3, at + 1e-3], axis=1)),
                floor, source="point", slab=slab,
            )  # fmt: skip
        assert found @ currents == pytest.approx(expected @ currents, rel=1e-6)


def test_current_into_a_slab_that_it_cannot_leave(tmp_path: Path) -> None:
    tree = tree_with_inputs()
    injection = Injection(np.array([0], np.int32), np.full((5, 1), 0.1))
    path = stored(tmp_path / "r.h5", tree, np.full((5, tree.n), -70.0), injection)
    with pytest.raises(InputError, match="it cannot leave and the potential is infinite; give one side"):
        signals.lfp(path, FAR, source="point", slab=signals.Slab(-400.0, 900.0, 0.0, 0.3, 0.0))


# ------------------------------------------------------------------------------------------ head, dye


@pytest.mark.parametrize(("blur_um", "most"), [(10.0, 1e-5), (2.0, 1e-5), (0.32, 1e-5)])
def test_pixels_have_their_share_of_a_compartment(tree: Tree, blur_um: float, most: float) -> None:
    """Against many points along each compartment, where a pixel is far larger than the blur, too."""
    camera = Dye(rows=4, columns=5, pixel_um=20.0, blur_um=blur_um, spread=0.0, centre_um=(5.0, 3.0))
    found = camera.matrix(tree) / tree.area_um2
    share = (np.arange(4000) + 0.5) / 4000
    points = tree.ends_um[:, 0] + share[:, None, None] * (tree.ends_um[:, 1] - tree.ends_um[:, 0])
    rows, columns = camera.edges_um()
    down, across = (
        np.diff(norm.cdf((edges[:, None, None] - points[:, :, axis]) / blur_um), axis=0)
        for edges, axis in ((rows, 1), (columns, 0))
    )
    depth = tree.ends_um[:, :, 2].max() - points[:, :, 2]
    expected = np.einsum("rpn,cpn,pn->rcn", down, across, np.exp(-depth / 200.0)) / 4000
    assert np.abs(found - expected.reshape(-1, tree.n)).max() < most


def test_a_camera_that_misses_the_cell(quiet: Path) -> None:
    with pytest.raises(InputError, match="no cell is in front of the camera of dye"):
        signals.dye(quiet, centre_um=(3000.0, 0.0))
    with pytest.warns(InputWarning, match=r"\d+ % of the membrane is outside the frame of dye"):
        signals.dye(quiet, rows=2, columns=2)


# ------------------------------------------------------------------------------------------ pipette


@pytest.mark.parametrize(("tau_ms", "record_dt_ms"), [(0.05, 1.0), (0.5, 1.0), (2.0, 0.25), (20.0, 0.1)])
def test_a_pipette_holds_the_current_and_draws_lines_between_potentials(
    tau_ms: float, record_dt_ms: float, tmp_path: Path
) -> None:
    """Against an integration in steps a hundred times finer, of R I that jumps and V that does not."""
    rng, tree = np.random.default_rng(0), tree_with_inputs()
    every = round(1.0 / record_dt_ms)
    v = rng.uniform(-80.0, -40.0, (12 * every, tree.n)).astype(np.float32)
    current = rng.normal(size=(12, 1))
    path = stored(tmp_path / "r.h5", tree, v, Injection(np.array([0], np.int32), current), record_dt_ms)
    options = {"series_MOhm": 20.0, "capacitance_pF": tau_ms * 50.0, "noise_mV": 0.0, "compartment": 0}
    found = signals.patch(path, **options).values[:, 0]
    fine, at = 4000, []
    state = last = float(v[0, 0])
    for k, value in enumerate(v[:, 0].astype(float)):
        drop = 20.0 * current[k // every, 0]
        step = record_dt_ms / fine
        decay = np.exp(-step / tau_ms)
        x = last + (value - last) * (np.arange(fine) + 0.5) / fine + drop  # the middle of each fine step
        state = state * decay**fine + float(((1.0 - decay) * x * decay ** np.arange(fine - 1, -1, -1.0)).sum())
        last = value
        at.append(state)
    assert np.abs(found - at).max() < 0.005  # the file's int16 steps are 0.005 mV
    chunks = signals.record(path, [signals.Patch(**options)], chunk_samples=5)[0].values[:, 0]
    assert np.allclose(chunks, found, rtol=0, atol=1e-12)


# ------------------------------------------------------------------------------------------ a dipole in four spheres


def slow_spheres(depth: float, points: Floats, terms: int) -> tuple[list[float], list[float]]:
    """Radial and tangential potential, over sin of the angle, of points in the scalp or skull: all borders of each
    order n in one linear system, in 60 digits."""
    mp = pytest.importorskip("mpmath").mp.clone()
    mp.dps = 60
    radii = [mp.mpf(r) for r in (79_000, 80_000, 85_000, 90_000)]
    sigmas = [mp.mpf(s) for s in ("0.3", "1.5", "0.015", "0.3")]
    r = [mp.sqrt(sum(mp.mpf(float(v)) ** 2 for v in point)) for point in points]
    x = [mp.mpf(float(point[2])) / each for point, each in zip(points, r, strict=True)]
    radial, across = [mp.mpf(0)] * len(r), [mp.mpf(0)] * len(r)
    p = [(mp.mpf(1), each, mp.mpf(0), mp.mpf(1)) for each in x]  # P and P' of two orders
    for n in range(1, terms + 1):
        borders, source = mp.matrix(7, 7), mp.matrix(7, 1)  # unknown: a of the brain, a and b of the other shells
        for i, at in enumerate(radii):
            out, inn = (radii[0] / at) ** (n + 1), (at / radii[3]) ** n
            row = 2 * i
            if i == 0:
                borders[0, 0], source[0] = inn, -out
                borders[1, 0], source[1] = sigmas[0] * n * inn, sigmas[0] * (n + 1) * out
            else:
                k = 2 * i - 1
                if i < 3:
                    borders[row, k], borders[row, k + 1] = inn, out
                s = sigmas[i]
                borders[min(row + 1, 6), k], borders[min(row + 1, 6), k + 1] = s * n * inn, -s * (n + 1) * out
            if i < 3:
                s = sigmas[i + 1]
                borders[row, 2 * i + 1], borders[row, 2 * i + 2] = -inn, -out
                borders[row + 1, 2 * i + 1], borders[row + 1, 2 * i + 2] = -s * n * inn, s * (n + 1) * out
        solved = mp.lu_solve(borders, source)
        for j, at in enumerate(r):
            k = 5 if at > radii[2] else 3
            g = solved[k] * (at / radii[3]) ** n + solved[k + 1] * (radii[0] / at) ** (n + 1)
            g *= mp.mpf(depth) ** (n - 1) / radii[0] ** (n + 1)
            p0, p1, d0, d1 = p[j]
            radial[j] += n * g * p1
            across[j] += g * d1
            p[j] = (p1, ((2 * n + 1) * x[j] * p1 - n * p0) / (n + 1), d1, d0 + (2 * n + 1) * p1)
    scale = 4 * mp.pi * sigmas[0]
    return [float(v / scale) for v in radial], [float(v / scale) for v in across]


def test_the_sum_of_four_spheres_has_converged() -> None:
    """LFPykit's own sum is off by up to 6e-4 here, of a tangential dipole on the other side of the head."""
    angle = np.deg2rad([1e-3, 5.0, 45.0, 179.9])
    directions = np.stack([np.sin(angle), 0.0 * angle, np.cos(angle)], axis=1)
    for depth, radius, terms in ((78_970.0, 90_000.0, 400), (40_000.0, 84_000.0, 80)):
        points = radius * directions
        radial, across = slow_spheres(depth, points, terms)
        found = potential_in_spheres(np.array([0.0, 0.0, depth]), points, signals.FourSpheres())
        assert found[:, 2] == pytest.approx(radial, rel=1e-11)
        assert found[:, 0] == pytest.approx(np.array(across) * np.sin(angle), rel=1e-10)
        turn = Rotation.from_euler("xyz", [30.0, -50.0, 70.0], degrees=True).as_matrix()
        turned = potential_in_spheres(turn @ [0.0, 0.0, depth], points @ turn.T, signals.FourSpheres())
        assert np.allclose(turned @ turn, found, rtol=1e-9, atol=1e-12 * np.abs(found).max())


def test_an_electrode_just_above_the_dipole() -> None:
    """In one medium near the dipole the potential is that of the dipole alone, p / (4 pi sigma d^2)."""
    head = signals.FourSpheres()
    for gap_um in (20.0, 5.0):
        found = potential_in_spheres(np.array([0.0, 0.0, 40_000.0]), np.array([[0.0, 0.0, 40_000.0 + gap_um]]), head)
        assert found[0, 2] == pytest.approx(1.0 / (4.0 * np.pi * 0.3 * gap_um**2), rel=1e-6)


# ------------------------------------------------------------------------------------------ discs of contacts


@pytest.mark.parametrize("source", ["soma-point", "line", "point"])
def test_the_mean_over_a_disc_has_converged(tree: Tree, rng: np.random.Generator, source: str) -> None:
    """Discs of 1 to 30 um at random places, facing anywhere, beside a sum over 24 rings of 95 points."""
    middle = tree.ends_um.mean(axis=(0, 1))
    radius, normal = rng.uniform(1.0, 30.0, 20), rng.normal(0.0, 1.0, (20, 3))
    probe = signals.Probe(middle + rng.normal(0.0, 60.0, (20, 3)), radius, normal)
    rings = probe.rings_for(tree)
    assert len(np.unique(rings)) > 3
    found = lfp_matrix(tree, probe, source=source, inside="surface")
    points = probe.points_um(24)
    flat = signals.Probe(points.reshape(-1, 3))
    fine = lfp_matrix(tree, flat, source=source, inside="surface").reshape(20, -1, tree.n)
    expected = np.einsum("p,cpn->cn", ring_weights(24), fine)
    off = np.abs(found - expected).max(axis=1) / np.abs(expected).max(axis=1)
    assert off[rings < MOST_RINGS].max() < 1e-4
    assert off.max() < 3e-3  # of discs that touch the cell, whose potential has a bend where a compartment's surface is


def test_a_disc_beside_a_point_by_hand() -> None:
    """On the axis of a disc of radius a, at height h, the mean of 1 / distance is 2 (sqrt(h^2 + a^2) - h) / a^2."""
    disc = signals.Probe(np.zeros((1, 3)), 2.0, (0.0, 0.0, 1.0))
    for rings, height, most in ((2, 8.0, 1e-5), (4, 2.0, 1e-6), (8, 1.0, 1e-7), (16, 0.5, 1e-6)):
        distance = np.linalg.norm(disc.points_um(rings)[0] - [0.0, 0.0, height], axis=1)
        assert (1.0 / distance) @ ring_weights(rings) == pytest.approx((np.hypot(height, 2.0) - height) / 2.0, rel=most)
