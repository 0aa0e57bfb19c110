"""The kinds of synapse that edges name, with NEURON's equations: Exp2Syn and ExpSyn."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from dendrotwin.cell.synapse import Conductance, Synapse
from dendrotwin.circuit.sonata.config import read_json
from dendrotwin.errors import InputError

EXCITES_ABOVE_MV = -50.0  # [mV] a synapse whose reversal potential is above this excites
NEURONS_LARGEST_RATIO = 0.9999  # of tau1 to tau2: NEURON's Exp2Syn lowers a larger tau1 to it
TEMPLATES = {"exp2syn": ("tau1", "tau2", "erev"), "expsyn": ("tau", "erev")}
COMMENTS = ("level_of_detail", "model_template")


def read_synapse(template: str, file: Path | None, where: str, notes: list[str]) -> Synapse:
    """A kind of synapse; an event of weight w [uS] opens a conductance with the peak w.

    Exp2Syn: g(t) = w f (exp(-t/tau2) - exp(-t/tau1)), ExpSyn: g(t) = w exp(-t/tau), i = g (v - erev). A tau1 of tau2 or
    more is lowered to 0.9999 tau2, as NEURON's Exp2Syn does it. ExpSyn's tau may be called tau1, as BMTK has it.

    Args:
        template: `model_template` of the edges.
        file: `dynamics_params`, a JSON file.
        where: whose it is, for errors.
        notes: gets a line for what has no effect, or is changed.

    Raises:
        FileError: the file is missing or no JSON.
        InputError: there is no such template, or a parameter is missing or wrong.
    """
    names = TEMPLATES.get(template.lower())
    if names is None:
        raise InputError(
            f"{where}: synapses of the model_template {template!r} are not read; give Exp2Syn or ExpSyn, with the "
            "parameters that come nearest"
        )
    if file is None:
        raise InputError(f"{where} have no dynamics_params; name a JSON file with {', '.join(names)}")
    said = read_json(file, "file of a synapse's parameters")
    if template.lower() == "expsyn" and "tau" not in said and "tau1" in said:
        said["tau"] = said.pop("tau1")
    values = {name: _number(said, name, file) for name in names}
    further = sorted(said.keys() - {*names, *COMMENTS})
    if further:
        notes.append(f"{file}: {', '.join(further)} of a synapse {template} has no effect")
    if template.lower() == "expsyn":
        rise, decay = 0.0, values["tau"]
    else:
        rise, decay = values["tau1"], values["tau2"]
        if rise > NEURONS_LARGEST_RATIO * decay:
            notes.append(f"{file}: tau1 = {rise:g} ms is lowered to 0.9999 tau2, as NEURON's Exp2Syn does it")
            rise = NEURONS_LARGEST_RATIO * decay
    excitatory = values["erev"] > EXCITES_ABOVE_MV
    return Synapse(file.stem, excitatory, (Conductance(rise, decay, g_max_uS=1.0, e_mV=values["erev"]),))


def _number(said: dict[str, Any], name: str, file: Path) -> float:
    if name not in said:
        raise InputError(f"{file} lacks {name}; add it")
    value = said[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or (name != "erev" and value <= 0):
        raise InputError(
            f"{file}: {name} = {value!r} is no {'number' if name == 'erev' else 'positive number'}; correct it"
        )
    return float(value)
