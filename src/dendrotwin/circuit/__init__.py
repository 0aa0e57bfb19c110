"""Networks of twins: cells that drive each other by spikes, and what is recorded from them while they run.

description  populations, sources of spikes, projections and current clamps: what a circuit is
"""
