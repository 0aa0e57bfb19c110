"""Contacts in the forms in which people have them: tables, files of probes, objects of other packages, arrays.

Contacts that have a shape become discs of the same area, over which the potential is averaged as in LFPykit (Hagen et
al. 2018, doi:10.3389/fninf.2018.00092).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dendrotwin.cell.stimuli import rows_of_csv
from dendrotwin.cell.tree import Floats
from dendrotwin.errors import FileError, InputError
from dendrotwin.signals.extras import import_extra
from dendrotwin.signals.probes import Probe, radius_of_area, radius_of_mea_contact

AXES = {"xy": (0, 1), "xz": (0, 2), "yz": (1, 2)}  # which coordinates the two of a flat probe are
BESIDE_UM = 50.0  # a flat probe stands beside the soma at the origin, as a linear probe does
COLUMNS = tuple((axis, f"{axis}_um", f"{axis}_pos", f"pos_{axis}") for axis in "xyz")
RADII = ("radius", "radius_um")
UM = {"um": 1.0, "µm": 1.0, "mm": 1e3, "m": 1e6}
FORMS = "a CSV file of x,y,z in um with that header, a .json file of probeinterface, or a .yaml file of MEAutility"


def read_contacts(
    source: Probe | Path | str | ArrayLike | Any,
    plane: str | None = None,
    beside_um: float | None = None,
    shift_um: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Probe:
    """A probe, from whatever says where its contacts are.

    Contacts are circles, squares or rects: each is averaged over the disc of the same area; without a shape it is a
    point. Their order is that of the source.

    Args:
        source: a `Probe`; an array (contacts, 3) [um], or (contacts, 2) with a plane; an object of MEAutility,
            probeinterface (a probe or a group) or LFPykit (RecExtElectrode); or a file: CSV, with commas or spaces,
            whose header names x, y and z (also x_pos or x_um, as BMTK has it) among any other columns, of which
            `radius` alone is read [um]; JSON of probeinterface; yaml of MEAutility.
        plane: where a flat probe (two coordinates) lies: xz, yz or xy, its first coordinate along the first of these;
            without, the xz plane, so that its shank is along z.
        beside_um: the third coordinate of a flat probe [um]; without, 50 um.
        shift_um: (3,) by which all contacts are moved [um].

    Raises:
        FileError: a file is missing, or is none of these.
        InputError: contacts are no finite numbers, or have another shape; a plane for a probe that is not flat.
    """
    flat = _Flat(plane, beside_um)
    given: Any = source
    if isinstance(given, str | Path):
        probe = _read_file(Path(given), flat)
    elif hasattr(given, "contact_positions") or hasattr(given, "probes"):
        probes = given.probes if hasattr(given, "probes") else [given]
        probe = _of_probeinterface([each.to_dict(array_as_list=True) for each in probes], "the probe", flat)
    elif isinstance(given, Probe):
        probe = flat.unused(given)
    elif hasattr(given, "positions") and hasattr(given, "electrodes"):
        probe = flat.unused(_of_mea(given, "the probe"))
    elif all(hasattr(given, name) for name in "xyz"):
        probe = flat.unused(_of_lfpykit(given))
    else:
        probe = _of_array(given, flat)
    if tuple(shift_um) == (0.0, 0.0, 0.0):
        return probe
    moved = probe.positions_um + np.asarray(shift_um, np.float64)
    return Probe(moved, probe.radius_um, probe.normal, probe.name)


class _Flat(NamedTuple):
    """Where a flat probe stands, as far as the caller says it; see `read_contacts`."""

    plane: str | None
    beside_um: float | None

    def place(self, positions: Floats, name: str) -> tuple[Floats, Floats]:
        """Contacts (contacts, 2) in the tissue, (contacts, 3) [um], and their normal (3,)."""
        plane = "xz" if self.plane is None else self.plane
        if plane not in AXES:
            raise InputError(f"{name} in the plane {plane!r}; choose {', '.join(AXES)}")
        (third,) = {0, 1, 2} - set(AXES[plane])
        placed = np.empty((len(positions), 3))
        placed[:, list(AXES[plane])] = positions
        placed[:, third] = BESIDE_UM if self.beside_um is None else self.beside_um
        return placed, np.eye(3)[third]

    def unused(self, probe: Probe) -> Probe:
        """A probe that is not flat; InputError where the caller says how a flat one stands."""
        if self != (None, None):
            raise InputError(f"{probe.name} has contacts in three dimensions; leave plane and beside_um away")
        return probe


def _of_array(source: Any, flat: _Flat) -> Probe:
    try:
        positions = np.array(source, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"contacts cannot be made of a {type(source).__name__}; give an array (contacts, 3) in um, or {FORMS}"
        ) from error
    if positions.ndim == 2 and positions.shape[1] == 2 and flat.plane is not None:
        placed, normal = flat.place(positions, "the probe")
        return Probe(placed, normal=normal, name="the probe")
    return flat.unused(Probe(positions, name="the probe"))


def _read_file(path: Path, flat: _Flat) -> Probe:
    if not path.is_file():
        raise FileError(f"{path} does not exist; a probe is {FORMS}")
    if path.suffix == ".json":
        return _of_probeinterface(_probeinterface_json(path), path.name, flat)
    if path.suffix in (".yaml", ".yml"):
        return flat.unused(_read_mea(path))
    return flat.unused(_read_table(path))


def _read_table(path: Path) -> Probe:
    """The contacts of a CSV file, with commas, tabs or spaces between its columns."""
    try:
        header, *rows = rows_of_csv(path) or [[]]
        names = [name.strip().strip('"').lower() for name in header]
        where = [_column(names, choice) for choice in COLUMNS]
        sized = [names.index(name) for name in RADII if name in names]
        values = np.array([[float(row[k]) for k in [*where, *sized]] for row in rows]).reshape(-1, 3 + len(sized))
    except ValueError as error:
        raise FileError(
            f"{path} is no table of contacts ({error}); give a header with x,y,z and a line of numbers for each contact"
        ) from error
    return Probe(values[:, :3], values[:, 3] if sized else 0.0, name=path.name)


def _column(names: list[str], choice: tuple[str, ...]) -> int:
    found = [k for k, name in enumerate(names) if name in choice]
    if len(found) != 1:
        raise ValueError(f"its header has {len(found)} columns of {choice[0]}")
    return found[0]


def _probeinterface_json(path: Path) -> list[dict[str, Any]]:
    """The probes of a JSON file of probeinterface, as dictionaries."""
    try:
        read = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise FileError(f"{path} is no JSON; give a file that probeinterface wrote") from error
    probes = read.get("probes") if isinstance(read, dict) else None
    if not isinstance(probes, list) or not probes or not all(isinstance(each, dict) for each in probes):
        raise FileError(f"{path} holds no probes; give a file that probeinterface wrote")
    return probes


def _of_probeinterface(probes: list[dict[str, Any]], name: str, flat: _Flat) -> Probe:
    """All contacts of probes that are dictionaries as probeinterface writes them."""
    positions, radii, normals, any_flat = [], [], [], False
    for each in probes:
        try:
            scale = UM[each.get("si_units", "um")]
            at = np.array(each["contact_positions"], np.float64) * scale
            shapes, sizes = each.get("contact_shapes"), each.get("contact_shape_params")
            axes = None if each.get("contact_plane_axes") is None else np.array(each["contact_plane_axes"], np.float64)
            radius = [0.0] * len(at)
            if shapes is not None and sizes is not None:
                radius = [_radius(shape, size, scale) for shape, size in zip(shapes, sizes, strict=True)]
            if at.shape == (len(radius), 2):
                at, normal = flat.place(at, name)
                any_flat = True
            elif at.shape != (len(radius), 3):
                raise ValueError(f"contacts of shape {at.shape}")
            else:
                normal = np.eye(3)[0] if axes is None else np.cross(axes[:, 0], axes[:, 1])
            normals.append(np.broadcast_to(normal, at.shape))
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise FileError(
                f"{name} is no probe of probeinterface ({type(error).__name__}: {error}); write it with "
                "probeinterface.write_probeinterface"
            ) from error
        positions.append(at)
        radii += radius
    made = Probe(np.concatenate(positions), np.array(radii), np.concatenate(normals), name)
    return made if any_flat else flat.unused(made)


def _radius(shape: str, size: Mapping[str, float], scale: float) -> float:
    """Of the disc with the area of a contact of probeinterface [um]."""
    keys = {"circle": ("radius",), "square": ("width",), "rect": ("width", "height")}.get(shape, ())
    return radius_of_area(shape, [float(size[key]) * scale for key in keys])


def _read_mea(path: Path) -> Probe:
    layouts = import_extra("MEAutility", "signals")
    yaml = import_extra("yaml", "signals")

    try:
        layout = layouts.return_mea(info=yaml.safe_load(path.read_text(encoding="utf-8-sig")))
        if layout is None or layout.positions is None:
            raise ValueError("it gives neither pos nor dim and pitch")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError, yaml.YAMLError) as error:
        said = str(error).splitlines()
        raise FileError(
            f"{path} is no layout of MEAutility ({said[0] if said else type(error).__name__}); "
            "give dim and pitch, or pos, with plane, shape and size"
        ) from error
    return _of_mea(layout, path.name)


def _of_mea(layout: Any, name: str) -> Probe:
    """The contacts of a layout of MEAutility, where it has them."""
    radius = np.array([radius_of_mea_contact(electrode) for electrode in layout.electrodes])
    normal = np.array([np.asarray(electrode.normal, np.float64) for electrode in layout.electrodes])
    return Probe(np.array(layout.positions, np.float64), radius, normal, name)


def _of_lfpykit(electrode: Any) -> Probe:
    """The contacts of a RecExtElectrode of LFPykit."""
    positions = np.stack([np.ravel(np.asarray(getattr(electrode, axis), np.float64)) for axis in "xyz"], axis=1)
    radius, normal = getattr(electrode, "r", None), getattr(electrode, "N", None)
    if radius is None or normal is None or getattr(electrode, "n", None) is None:  # n: points for each contact
        return Probe(positions, name="the probe")
    if getattr(electrode, "contact_shape", "circle") != "circle":
        raise InputError("the contacts of the electrode are not circles; give its positions, or circles")
    return Probe(positions, float(radius), np.array(normal, np.float64), "the probe")
