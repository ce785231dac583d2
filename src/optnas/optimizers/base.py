"""How an optimizer says what it needs. Importable without torch.

Any ``torch.optim.Optimizer`` serves either level. What it needs beside gradients, it says by its
own signatures; the loop asks `optnas.optimizers.adapter` and knows no optimizer by name:

- ``step(closure)``, the parameter without a default: it evaluates the loss itself, as often as it
  likes. The closure fills the gradients at wherever the leaves are and returns the loss.
- ``train()`` and ``eval()``: the leaves stand at another point while they are trained (where
  gradients are taken) than when they are judged. An epoch trains; records, measures and
  checkpoints see the leaves after ``eval()``.
- ``count_on(former)``: it decides by a number of steps, and counts on from that of a former
  optimizer of the same settings where a search begins it anew, as a selection of cells does.
- a constructor parameter ``names``: the names of the leaves, supplied, to tell them apart by.
- a constructor parameter of type `BaseTable` or `RestTable`: another optimizer, as a table of its
  own in the settings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NewType

from optnas.base.schema import Part

if TYPE_CHECKING:
    from torch import Tensor

# The name and settings of an inner optimizer. A base steps at the rate of its section and has no
# lr of its own; a rest has its own lr, and the section's schedule moves both by the same factor.
BaseTable = NewType("BaseTable", Annotated[dict[str, Any], Part("optimizer", fixed=("lr",))])
RestTable = NewType("RestTable", Annotated[dict[str, Any], Part("optimizer")])

# Puts gradients into the leaves and returns the loss.
Evaluate = Callable[[], "Tensor"]
# Constructor parameters that the program supplies.
SUPPLIED = ("names",)
