"""The kinds of synapse that edges name, with NEURON's equations: Exp2Syn, ExpSyn and tmgsyn."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Any

from dendrotwin.cell.synapse import Conductance, Synapse
from dendrotwin.circuit.project import TsodyksMarkram
from dendrotwin.circuit.sonata.config import read_json
from dendrotwin.errors import InputError

EXCITES_ABOVE_MV = -50.0  # [mV] a synapse whose reversal potential is above this excites
NEURONS_LARGEST_RATIO = 0.9999  # of tau1 to tau2: NEURON's Exp2Syn lowers a larger tau1 to it
# What a parameter must be, and its limits; those of tmgsyn are NEURON's.
NUMBER, POSITIVE = ("number", -math.inf, math.inf), ("positive number", 5e-324, math.inf)
TIME, SHARE = ("number from 0", 0.0, math.inf), ("share, 0 to 1", 0.0, 1.0)
TEMPLATES = {
    "exp2syn": {"tau1": POSITIVE, "tau2": POSITIVE, "erev": NUMBER},
    "expsyn": {"tau": POSITIVE, "erev": NUMBER},
    "tmgsyn": {"tau_1": POSITIVE, "tau_rec": POSITIVE, "tau_facil": TIME, "U": SHARE, "u0": SHARE, "erev": NUMBER},
}
HENNIG = re.compile(r"stp\d\w*syn")  # models of the Allen Institute, by name
COMMENTS = ("level_of_detail", "model_template")


def read_synapse(
    template: str, file: Path | None, where: str, notes: list[str]
) -> tuple[Synapse, TsodyksMarkram | None]:  # fmt: skip
    """A kind of synapse, and its short-term plasticity; an event of weight w [uS] opens a conductance with the peak w.

    Exp2Syn: g(t) = w f (exp(-t/tau2) - exp(-t/tau1)), ExpSyn: g(t) = w exp(-t/tau), i = g (v - erev). A tau1 of tau2 or
    more is lowered to 0.9999 tau2, as NEURON's Exp2Syn does it. ExpSyn's tau may be called tau1, as BMTK has it.
    tmgsyn (Tsodyks, Uziel and Markram 2000, doi:10.1523/JNEUROSCI.20-01-j0003.2000) is an ExpSyn of tau_1 whose weight
    changes from event to event; see `TsodyksMarkram`.

    Args:
        template: `model_template` of the edges.
        file: `dynamics_params`, a JSON file.
        where: whose it is, for errors.
        notes: gets a line for what has no effect, or is changed.

    Returns:
        The kind, and the plasticity or None.

    Raises:
        FileError: the file is missing or no JSON.
        InputError: there is no such template, or a parameter is missing or wrong.
    """
    kind = template.lower()
    asked = TEMPLATES.get(kind)
    if asked is None:
        other = " (short-term plasticity of Hennig 2013, doi:10.3389/fncom.2013.00045)" if HENNIG.match(kind) else ""
        raise InputError(
            f"{where}: synapses of the model_template {template!r}{other} are not read; give Exp2Syn, ExpSyn or "
            "tmgsyn, with the parameters that come nearest"
        )
    if file is None:
        raise InputError(f"{where} have no dynamics_params; name a JSON file with {', '.join(asked)}")
    said = read_json(file, "file of a synapse's parameters")
    if kind == "expsyn" and "tau" not in said and "tau1" in said:
        said["tau"] = said.pop("tau1")
    values = {name: _number(said, name, file, *limits) for name, limits in asked.items()}
    further = sorted(said.keys() - {*asked, *COMMENTS})
    if further:
        notes.append(f"{file}: {', '.join(further)} of a synapse {template} has no effect")
    rise, decay, plasticity = 0.0, 0.0, None
    if kind == "exp2syn":
        rise, decay = values["tau1"], values["tau2"]
        if rise > NEURONS_LARGEST_RATIO * decay:
            notes.append(f"{file}: tau1 = {rise:g} ms is lowered to 0.9999 tau2, as NEURON's Exp2Syn does it")
            rise = NEURONS_LARGEST_RATIO * decay
    elif kind == "expsyn":
        decay = values["tau"]
    else:
        decay = values["tau_1"]
        plasticity = TsodyksMarkram(values["U"], values["tau_rec"], values["tau_facil"], decay, values["u0"])
    excitatory = values["erev"] > EXCITES_ABOVE_MV
    return Synapse(file.stem, excitatory, (Conductance(rise, decay, g_max_uS=1.0, e_mV=values["erev"]),)), plasticity


def _number(said: dict[str, Any], name: str, file: Path, what: str, least: float, most: float) -> float:
    if name not in said:
        raise InputError(f"{file} lacks {name}; add it")
    value = said[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and abs(value) <= sys.float_info.max and least <= value <= most):
        raise InputError(f"{file}: {name} = {value!r} is no {what}; correct it")
    return float(value)
