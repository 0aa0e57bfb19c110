"""The room that works with NEURON: builds a cell there, compiles its mechanisms, simulates it, reads it."""
