"""The diagrams of the method."""

from optnas.diagrams import FIGURES
from optnas.registry import register

for _name, _draw in FIGURES.items():
    register("figure", _name)(_draw)
