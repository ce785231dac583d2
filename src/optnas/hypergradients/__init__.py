"""Hypergradients for `algorithm.name=composed`; a new one is a new file in this folder."""
