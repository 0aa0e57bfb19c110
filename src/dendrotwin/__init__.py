"""dendrotwin: twins of biophysically detailed neuron models."""

__version__ = "0.1.0"
