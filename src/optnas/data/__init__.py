"""Labelled images and what becomes of them: data sets, splits, batches on the device."""
