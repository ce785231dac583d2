"""The supernet: every candidate operation at once, weighted by operation weights handed in."""

from optnas.spaces.network.build import build_fixed, build_network
from optnas.spaces.network.fixed import Network
from optnas.spaces.network.network import Supernet
from optnas.spaces.network.protocol import FixedNetwork, Output, SearchNetwork
from optnas.spaces.network.statistics import Statistics

__all__ = [
    "FixedNetwork",
    "Network",
    "Output",
    "SearchNetwork",
    "Statistics",
    "Supernet",
    "build_fixed",
    "build_network",
]
