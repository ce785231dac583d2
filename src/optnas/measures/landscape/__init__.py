"""Validation loss and accuracy around the architecture."""
