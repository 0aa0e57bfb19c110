"""Networks that learn a cell: one file for each architecture, and the parts that they share."""
