"""Hypergradients by name, for `algorithm.name=composed`; a new one is one new file in this folder."""
