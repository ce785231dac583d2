"""Perturbations by name, for `algorithm.name=composed`; a new one is one file in this folder."""
