<<<<<<< HEAD
"""Perturbations by name, for `algorithm.name=composed`; a new one is one file in this folder."""
=======
"""Perturbations for `algorithm.name=composed`; a new one is a new file in this folder."""
>>>>>>> ext
