"""Search algorithms, one file each: a choice of four parts. Dropping a file here registers it."""

from optnas.algorithms.base import Algorithm, Progress

__all__ = ["Algorithm", "Progress"]
