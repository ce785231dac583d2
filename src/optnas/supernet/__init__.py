"""The supernet: every candidate operation at once, weighted by operation weights handed in."""

from optnas.supernet.network import Output, Supernet
from optnas.supernet.standalone import Network
from optnas.supernet.statistics import Statistics

__all__ = ["Network", "Output", "Statistics", "Supernet"]
