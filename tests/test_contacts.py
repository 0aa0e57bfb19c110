"""Contacts in the forms in which people have them: where they are, how large, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dendrotwin import signals
from dendrotwin.errors import FileError, InputError
from dendrotwin.signals.parse import parse_probe
from dendrotwin.signals.probes import radius_of_area

HERE = [[50.0, 0.0, -100.0], [60.0, 5.0, 100.5]]


@pytest.mark.parametrize(
    "text",
    [
        "x,y,z\n50,0,-100\n60,5,100.5\n",
        "X, Y, Z\n50, 0, -100\n60, 5, 100.5\n",
        "name,z,y,x,weight\na,-100,0,50,2\nb,100.5,5,60,1\n",
        "channel x_pos y_pos z_pos\n0 50 0 -100\n1 60 5 100.5\n",
        "channel,x_pos,y_pos,z_pos\n0,50,0,-100\n1,60,5,100.5\n",
        "x_um\ty_um\tz_um\n50\t0\t-100\n60\t5\t100.5\n\n",
    ],
)
def test_tables(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    probe = signals.read_contacts(tmp_path / "p.csv")
    assert probe.positions_um.tolist() == HERE
    assert not np.any(probe.radius_um)
    moved = parse_probe(f"{tmp_path / 'p.csv'}:shift_um=1,0,2")
    assert moved.positions_um.tolist() == [[51.0, 0.0, -98.0], [61.0, 5.0, 102.5]]


def test_a_table_with_radii(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("x,y,z,radius\n50,0,0,5\n50,0,90,0\n")
    probe = signals.read_contacts(tmp_path / "p.csv")
    assert np.asarray(probe.radius_um).tolist() == [5.0, 0.0]
    points = probe.points_um()
    assert np.linalg.norm(points[0] - [50.0, 0.0, 0.0], axis=1).max() == pytest.approx(5.0, rel=0.04)
    assert np.array_equal(points[1], np.tile([50.0, 0.0, 90.0], (60, 1)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n", "its header has 0 columns of z"),
        ("x,y,z,x_pos\n1,2,3,1\n", "its header has 2 columns of x"),
        ("x,y,z\n1,2,soma\n", "could not convert string to float"),
        ("1,2,3\n", "its header has 0 columns of x"),
    ],
)
def test_tables_of_something_else(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(FileError, match=rf"p.csv is no table of contacts \({message}"):
        signals.read_contacts(tmp_path / "p.csv")


def probeinterface(path: Path, positions: list[list[float]], **more: Any) -> Path:
    """A file as probeinterface writes it."""
    probe = {"ndim": len(positions[0]), "si_units": "um", "contact_positions": positions, **more}
    path.write_text(json.dumps({"specification": "probeinterface", "version": "0.4.2", "probes": [probe]}))
    return path


def test_probeinterface_in_two_dimensions(tmp_path: Path) -> None:
    shapes = {
        "contact_shapes": ["circle", "square", "rect"],
        "contact_shape_params": [{"radius": 6}, {"width": 12}, {"width": 10, "height": 30}],
    }
    path = probeinterface(tmp_path / "p.json", [[0.0, 0.0], [16.0, 20.0], [0.0, 40.0]], **shapes)
    probe = signals.read_contacts(path)
    assert probe.positions_um.tolist() == [[0.0, 50.0, 0.0], [16.0, 50.0, 20.0], [0.0, 50.0, 40.0]]
    assert (np.pi * np.square(probe.radius_um)).tolist() == pytest.approx([np.pi * 36.0, 144.0, 300.0])
    assert np.ptp(probe.points_um()[:, :, 1]) == 0.0
    other = parse_probe(f"{path}:plane=yz:beside_um=-30")
    assert other.positions_um.tolist() == [[-30.0, 0.0, 0.0], [-30.0, 16.0, 20.0], [-30.0, 0.0, 40.0]]
    with pytest.raises(InputError, match="in the plane 'zx'; choose xy, xz, yz"):
        parse_probe(f"{path}:plane=zx")


def test_probeinterface_in_three_dimensions(tmp_path: Path) -> None:
    across_y = [[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]] * 2
    shapes = {"contact_shapes": ["square"] * 2, "contact_shape_params": [{"width": 0.012}] * 2}
    at = (np.array(HERE) / 1000.0).tolist()
    path = probeinterface(tmp_path / "p.json", at, si_units="mm", contact_plane_axes=across_y, **shapes)
    probe = signals.read_contacts(path)
    assert probe.positions_um == pytest.approx(np.array(HERE))
    assert np.asarray(probe.radius_um) == pytest.approx(12.0 / np.sqrt(np.pi))
    assert np.abs(np.asarray(probe.normal)).tolist() == [[0.0, 1.0, 0.0]] * 2
    with pytest.raises(InputError, match="contacts in three dimensions; leave plane and beside_um away"):
        signals.read_contacts(path, plane="xz")
    points = signals.read_contacts(probeinterface(tmp_path / "q.json", HERE))
    assert points.positions_um.tolist() == HERE
    assert not np.any(points.radius_um)


@pytest.mark.parametrize("text", ["{", "[]", '{"probes": []}', '{"probes": [{}]}', '{"probes": [{"si_units": "ft"}]}'])
def test_json_of_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(FileError, match=r"p.json (is no JSON|holds no probes|is no probe of probeinterface)"):
        signals.read_contacts(tmp_path / "p.json")


def test_shapes_that_are_none(tmp_path: Path) -> None:
    path = probeinterface(tmp_path / "p.json", HERE, contact_shapes=["star"] * 2, contact_shape_params=[{}] * 2)
    with pytest.raises(InputError, match="a contact of the shape 'star'"):
        signals.read_contacts(path)
    with pytest.raises(InputError, match="the shape circle is 0 um large"):
        radius_of_area("circle", [0])


def test_layouts_of_meautility(tmp_path: Path) -> None:
    layouts = pytest.importorskip("MEAutility")
    text = "dim: 4\npitch: 60\nsize: {}\nshape: '{}'\nplane: 'xy'\ntype: 'mea'\n"
    for size, shape, area in (("6.0", "square", 144.0), ("6.0", "circle", np.pi * 36.0), ("[3.0, 5.0]", "rect", 60.0)):
        (tmp_path / "mea.yaml").write_text(text.format(size, shape))
        probe = signals.read_contacts(tmp_path / "mea.yaml", shift_um=(0.0, 0.0, 90.0))
        assert (len(probe), set(probe.positions_um[:, 2])) == (16, {90.0})
        assert np.ptp(probe.positions_um[:, 0]) == 180.0
        assert np.pi * np.square(probe.radius_um) == pytest.approx(area)
        assert np.abs(np.asarray(probe.normal)[0]).tolist() == [0.0, 0.0, 1.0]
    for wrong in ("dim: 4\n", "- 1\n", "a: [\n", ""):
        (tmp_path / "mea.yaml").write_text(wrong)
        with pytest.raises(FileError, match=r"mea.yaml is no layout of MEAutility"):
            signals.read_contacts(tmp_path / "mea.yaml")
    circles = signals.read_contacts(layouts.return_mea("Neuronexus-32"))
    assert np.unique(circles.radius_um).tolist() == [7.5]
    assert signals.neuropixels("Neuronexus-32").radius_um == 7.5
    assert signals.LFP(layouts.return_mea("tetrode")).channels()["x_um"].shape == (4,)


def test_arrays_and_objects() -> None:
    assert signals.LFP(HERE).probe.positions_um.tolist() == HERE  # type: ignore[arg-type]
    flat = signals.read_contacts([[0.0, 10.0]], plane="xy", beside_um=7.0)
    assert flat.positions_um.tolist() == [[0.0, 10.0, 7.0]]
    x, y, z = np.array(HERE).T
    electrode = SimpleNamespace(x=x, y=y, z=z, r=5.0, n=10, N=np.tile([0.0, 1.0, 0.0], (2, 1)))
    probe = signals.read_contacts(electrode)
    assert (probe.positions_um.tolist(), probe.radius_um) == (HERE, 5.0)
    made = SimpleNamespace(contact_positions=None, to_dict=lambda array_as_list: {"contact_positions": HERE})
    assert signals.read_contacts(made).positions_um.tolist() == HERE
    assert signals.read_contacts(SimpleNamespace(probes=[made, made])).positions_um.tolist() == HERE * 2
    for wrong in ([[1.0, 2.0]], 3.0, object(), "none.json"):
        with pytest.raises((InputError, FileError)):
            signals.read_contacts(wrong)
