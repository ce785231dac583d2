"""Labelled images, one file a dataset; a file dropped into this folder is found by its name."""
