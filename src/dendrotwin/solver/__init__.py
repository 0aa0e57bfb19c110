"""Steps of a cell whose membrane is data: the layout of its arrays, and its steps on the CPU."""
