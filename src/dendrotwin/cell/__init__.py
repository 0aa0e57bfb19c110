"""What a cell is: its tree, its membrane, what reaches it. Arrays and files only: no NEURON, no torch."""
