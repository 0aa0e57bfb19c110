"""The steps of a cell on the CPU.

For every compartment i, with C the capacitance, and j its neighbours in the tree,

    C dV/dt = sum_k g_k x_k^p (E_k - V) + sum_s g_s(t) B_s(V) (E_s - V) + sum_j g_ij (V_j - V) + I

Gates and potentials are staggered in time (Hines 1984, doi:10.1016/0020-7101(84)90008-4): gates go from the middle of
one step to the middle of the next, exactly for the potential between them, and then the whole tree takes an implicit
step with these conductances.

    time_loop     milliseconds, steps in them, and the order of all that follows
    state         what a cell remembers between milliseconds
    workspace     arrays that a step needs for itself
    grid, lookup  where V and c lie on the grids of tables; interpolation
    gates         x' = (steady - x) / tau
    schemes       x' = rates x + inflow, of kinetic schemes
    currents      sums over all ionic currents
    synapses      conductances that events open
    implicit      the step of the potentials: SDIRK2, linearised
    hines         the linear solve on the tree
    pools         concentrations
    adaptive      how many steps a millisecond takes
"""
