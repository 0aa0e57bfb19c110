"""Networks of twins: cells that drive each other by spikes, and what is recorded from them while they run.

description  populations, sources of spikes, projections, backgrounds and clamps: what a circuit is
wiring       the cells and connections of one process
engine       all of them in time, slice by slice
exchange     spikes between processes
recorders    what is recorded, reduced while it runs
segments     checkpoints on disk
run          from a description to a result
"""
