"""The supernet: every candidate operation at once, weighted by operation weights handed in."""

from optnas.spaces.network.fixed import Network
from optnas.spaces.network.network import Output, Supernet
from optnas.spaces.network.statistics import Statistics

__all__ = ["Network", "Output", "Statistics", "Supernet"]
