"""Steps of a cell whose membrane is data: its arrays, the integrator on the CPU, and the same on a GPU.

stepper        a cell that can be stepped, and how exact its steps are: begin here
layout, rows   from a tree and its membrane to arrays
cell_arrays    what is in these arrays
step_tables    what a step does to gates and schemes, as tables
integrator     a step, part by part: gates, currents, synapses, the implicit step, ...
compiled       how loops are compiled

gpu            many trials at once on a GPU; gpu_... are the parts of its kernel, named as those of the integrator

axial          the axial network of a cell, and orders in which it is eliminated
conductances   mean synaptic conductances of each millisecond
coarse         the coarse cable, a baseline: passive, with Ih, one step per millisecond
"""
