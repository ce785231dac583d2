<<<<<<< HEAD
"""Relaxations by name, for `algorithm.name=composed`; a new one is one file in this folder."""
=======
"""Relaxations for `algorithm.name=composed`; a new one is a new file in this folder."""
>>>>>>> ext
