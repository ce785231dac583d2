"""Labelled images, one file per dataset; a file dropped into this folder is found by its name."""
