<<<<<<< HEAD
"""Discretizations by name, for `algorithm.name=composed`; a new one is one file in this folder."""
=======
"""Discretizations for `algorithm.name=composed`; a new one is a new file in this folder."""
>>>>>>> ext
