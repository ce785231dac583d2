"""Optimizers for the network weights and for alpha: torch's by name, others by path."""
