"""What is observed of a search: observe, never touch.

A *measure* is one file here, registered as ``measure`` and importable without torch; the functions
of tensors it calls are `optnas.measures`. `alpha` and `benchmark` describe each epoch's record.
"""
