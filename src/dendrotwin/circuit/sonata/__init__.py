"""Circuits in the files of SONATA (Dai et al. 2020, doi:10.1371/journal.pcbi.1007696), meant as in BMTK 1.2.0."""
