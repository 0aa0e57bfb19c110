"""Architectures trained for the same time and compared, and the figures of the paper."""
