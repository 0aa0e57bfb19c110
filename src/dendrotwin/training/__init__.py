"""A data set to a trained network."""
