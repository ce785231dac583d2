"""The diagrams of the method."""

from optnas.base.registry import register
from optnas.report.slides import FIGURES

for _name, _draw in FIGURES.items():
    register("figure", _name)(_draw)
