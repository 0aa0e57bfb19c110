"""Circuits and simulations in the SONATA format (Dai et al. 2020, doi:10.1371/journal.pcbi.1007696), as BMTK runs them.

config        what a simulation config and its circuit config ask for
sections      the sections of a config, as classes; what is refused, and what has no effect
rows          a population of nodes or edges in HDF5, with the table of its types
nodes         populations of nodes, and sets of nodes
cells         twins of node types, read once
compartments  from a section's id and a place in it to a compartment
placement     how cells are turned
synapses      the kinds of synapse that edges name
edges         edges as projections
inputs        spike trains and current clamps
reports       which places and times a report asks for
load          a circuit and the plan of its run
simulate      from a config to the files of its results
outputs       the files of spikes, reports and extracellular potentials
"""
