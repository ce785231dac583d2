"""The table of the space ``toy``, inside the package: every cell, trained on digits.

Made by ``optnas benchmark train toy --out src/optnas/spaces/tables/toy.json``;
docs/spaces/tables.md has the protocol and the noise floor.
"""

from __future__ import annotations

from pathlib import Path

from optnas.base.registry import register
from optnas.spaces.tables.table import TableSource
from optnas.spaces.tables.trained import trained
from optnas.spaces.toy import TOY

NAME = "toy"
PATH = Path(__file__).with_name("toy.json")


@register("table", NAME)
def toy() -> TableSource:
    """Accuracies of all 64 cells of the toy space on digits, the mean over seeds."""
    return trained(NAME, PATH, TOY)
