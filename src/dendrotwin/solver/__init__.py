"""Steps of a cell whose membrane is given as data: the tree's elimination, the layout of arrays, steps on CPU and GPU."""
