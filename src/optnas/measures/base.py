"""What a measure is, and when it is taken. Importable without torch, as every measure has to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optnas.base.columns import Quantity as Quantity
from optnas.base.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from optnas.measures.snapshot import Snapshot

    Arrays = Mapping[str, npt.NDArray[np.generic]]

Epoch = int | str  # a number, or "end"
# Sections of settings that are measures now, and the label of each; their old spelling is accepted.
FORMER_SECTIONS = {"curvature": "sharpness"}


def no_usual_cell(key: str, name: str) -> UserError:
    """Why a measure registered with ``needs=("usual-cell",)`` is refused where there is none.

    Args:
        key: the dotted section of the measure.
        name: of the measure.
    """
    return UserError(
        "takes one-hot operation weights for a cell, and under the mixed cell that the algorithm"
        " brings they are none: of an edge without an operation channels pass all the same",
        key=key,
        value=name,
        remedy="leave the measure out, or choose an algorithm without a mixed cell of its own"
        " (pc-darts has none at algorithm.k=1)",
    )


@dataclass(frozen=True)
class Values:
    """What a measure found.

    Attributes:
        numbers: JSON values by name of quantity: numbers, lists or tables of them, None where a
            quantity has no value.
        arrays: larger results; kept in a file beside the numbers.
    """

    numbers: Mapping[str, Any]
    arrays: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Cadence:
    """The epochs at which a measure is taken.

    Attributes:
        every: epochs 0, every, 2 every, ... and the last one; 0 for none of them.
        at: these epochs; ``end`` is the last one, also of a search that its algorithm ends before
            its time. An epoch beyond it never comes.
    """

    every: int = 0
    at: tuple[Epoch, ...] = ()

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether an epoch is one of them.

        Args:
            epoch: the epoch.
            epochs: how many the run has.

        Example:
            >>> [epoch for epoch in range(8) if Cadence(every=3, at=(1,)).due(epoch, 7)]
            [0, 1, 3, 6, 7]
        """
        last = epoch == epochs
        named = epoch in self.at or (last and "end" in self.at)
        return named or (self.every > 0 and (epoch % self.every == 0 or last))

    def count(self, epochs: int) -> int:
        """How many epochs of a run they are.

        Args:
            epochs: how many the run has.
        """
        return sum(self.due(epoch, epochs) for epoch in range(epochs + 1))


@dataclass(frozen=True)
class Measure:
    """A measure with its settings filled in; what a factory registered as ``measure`` returns.

    Attributes:
        measure: looks at a snapshot of a search and leaves no trace in it.
        quantities: every number it finds, by name.
        cost: what it costs, in words: passes over how many images, seconds of which order.
        cadence: when it is taken unless the settings say otherwise.
        quick: settings with which it takes a blink on a tiny search, for the exam.
        recorded: where its section is labelled by its own name, its numbers are columns of
            epochs.jsonl too, null in epochs at which it is not taken.
        images: how many images it needs of a half, ``train`` or ``valid``, if it needs a number.
        least_batch: images of the smallest validation batch that it normalises by the batch's own
            statistics, None for no such batch; from the size of the half, that of a batch of a
            pass, and whether the run tracks no statistics.
    """

    measure: Callable[[Snapshot], Values]
    quantities: Mapping[str, Quantity]
    cost: str
    cadence: Cadence = Cadence(at=("end",))
    quick: Mapping[str, Any] = field(default_factory=dict)
    recorded: bool = False
    images: Mapping[str, int] = field(default_factory=dict)
    least_batch: Callable[[int, int, bool], int | None] = lambda size, batch, untracked: None
