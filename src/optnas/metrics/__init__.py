"""What is observed of a search: observe, never touch.

A *measure* is one file here, registered as ``metric`` and importable without torch; the functions
of tensors it calls are `optnas.instruments`. `alpha` and `benchmark` describe each epoch's record.
"""
