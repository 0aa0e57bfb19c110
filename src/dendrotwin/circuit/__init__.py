"""Networks of twins: cells that drive each other by spikes, and what is recorded from them while they run.

description  populations, sources of spikes, projections, backgrounds and clamps: what a circuit is
wiring       the cells and connections of one process
engine       all of them in time, slice by slice
exchange     what processes say to each other
recorders    what is recorded, reduced while it runs
fields       signals of instruments, such as LFPs, recorded so
segments     checkpoints on disk
identity     by what a run is known again
run          from a description to a result
check        what a user can get wrong in a description
rules        who is connected to whom, and where
places       where cells are, and how they are turned
project      from a rule to the arrays of a projection
circuit      all of that step by step, in Python
measures     rates, their spectrum, irregularity, synchrony
figures      of a run: raster, fields, potentials
"""

from dendrotwin.circuit import figures
from dendrotwin.circuit.circuit import Circuit
from dendrotwin.circuit.description import Background, Clamps, Description, Population, Projection, SpikeTrains
from dendrotwin.circuit.engine import Settings
from dendrotwin.circuit.fields import Field
from dendrotwin.circuit.measures import cv_isi, mean_rates, population_rate, rate_spectrum, summary, synchrony
from dendrotwin.circuit.places import Column
from dendrotwin.circuit.project import TsodyksMarkram
from dendrotwin.circuit.recorders import Potentials
from dendrotwin.circuit.rules import Given, InDegree, Probability, Where
from dendrotwin.circuit.run import Result, Storage

__all__ = [
    "Background", "Circuit", "Clamps", "Column", "Description", "Field", "Given", "InDegree", "Population",
    "Potentials", "Probability", "Projection", "Result", "Settings", "SpikeTrains", "Storage", "TsodyksMarkram",
    "Where", "cv_isi", "figures", "mean_rates", "population_rate", "rate_spectrum", "summary", "synchrony",
]  # fmt: skip
