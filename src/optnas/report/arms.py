"""Which runs make a curve, and how it looks: a pair has its colour, an algorithm its own."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from optnas.analysis.claims.declare import NAMES, Cell
from optnas.analysis.runs import Selection
from optnas.measures.drawing import DASHES, pair_look
from optnas.optimizers.signatures import torch_signature

ALGORITHM, WEIGHT, ARCH = NAMES
TRADITIONAL = [{WEIGHT: w, ARCH: a} for w, a in itertools.product(("SGD", "Adam"), repeat=2)]
OTHER_COLOURS = ("#009E73", "#CC79A7", "#000000", "#8C6D31")
# In the order of legends and tables.
ALGORITHM_LOOKS = {
    "darts": ("#000000", "solid"),
    "darts-minus": ("#009E73", "dashdot"),
    "sdarts-rs": ("#CC79A7", "solid"),
    "sdarts-adv": ("#8E5AA8", "dash"),
    "random": ("#8C8C8C", "dot"),
}
# From dark to light along viridis, without its yellow end, which vanishes on paper.
VIRIDIS = ("#440154", "#3B528B", "#21918C", "#5EC962", "#B8A100")


@dataclass(frozen=True)
class Arm:
    """One curve: its name, its look, and the positions of its runs, one per seed."""

    label: str
    colour: str
    dash: str
    cell: Cell
    runs: tuple[int, ...]


@dataclass(frozen=True)
class Momentum:
    """A setting that is an optimizer's momentum: of SGD by name, of Adam its first beta."""

    optimizer: str
    section: str

    @property
    def column(self) -> str:
        """The setting's dotted key."""
        betas = "betas" in torch_signature(self.optimizer)
        return f"{self.section}.{'betas' if betas else 'momentum'}"

    def levels(self, value: object) -> list[float]:
        """The momentum behind a value of the setting, of Adam also its second beta."""
        found: Any = json.loads(value) if isinstance(value, str) else value
        return [float(each) for each in (found if isinstance(found, list) else [found])]


def pair_of(cell: Mapping[str, object]) -> str:
    """A pair in words: ``SGD + Adam`` is SGD on w and Adam on alpha."""
    return f"{cell[WEIGHT]} + {cell[ARCH]}"


def pairs_in(selection: Selection, where: Cell) -> list[Cell]:
    """The optimizer pairs among runs, the traditional four first."""
    settings = selection.runs.settings[selection.matching(where)]
    found = {(str(w), str(a)) for w, a in zip(settings[WEIGHT], settings[ARCH], strict=True)}
    ours = [(cell[WEIGHT], cell[ARCH]) for cell in TRADITIONAL]
    ordered = [pair for pair in ours if pair in found] + sorted(found - set(ours))
    return [{WEIGHT: w, ARCH: a} for w, a in ordered]


def runs_of(selection: Selection, cell: Cell, *more: str) -> tuple[int, ...]:
    """Positions of the comparable runs of a cell, one per seed, seeds ascending.

    Args:
        selection: which runs may be compared.
        cell: values by dotted setting.
        *more: settings that may differ beside those of the cell.
    """
    by_seed = selection.by_seed(selection.comparable(cell, {*cell, *NAMES, *more}))
    return tuple(by_seed[seed][0] for seed in sorted(by_seed))


def pair_arms(selection: Selection, algorithm: str) -> list[Arm]:
    """One arm per pair under an algorithm."""
    arms = []
    for pair in pairs_in(selection, {ALGORITHM: algorithm}):
        label = pair_of(pair)
        cell = {ALGORITHM: algorithm, **pair}
        arms.append(Arm(label, *pair_look(label), cell, runs_of(selection, cell)))
    return [arm for arm in arms if arm.runs]


def algorithm_arms(selection: Selection, pair: Cell) -> list[Arm]:
    """One arm per algorithm under a pair."""
    settings = selection.runs.settings[selection.matching(pair)]
    found = set(settings[ALGORITHM].astype(str))
    names = [n for n in ALGORITHM_LOOKS if n in found] + sorted(found - set(ALGORITHM_LOOKS))
    arms = []
    for place, name in enumerate(names):
        spare = (OTHER_COLOURS[place % len(OTHER_COLOURS)], DASHES[place % len(DASHES)])
        cell = {**pair, ALGORITHM: name}
        look = ALGORITHM_LOOKS.get(name, spare)
        arms.append(Arm(name, *look, cell, runs_of(selection, cell)))
    return [arm for arm in arms if arm.runs]


def momentum_arms(selection: Selection, where: Cell, momentum: Momentum) -> list[Arm]:
    """One arm per momentum, ascending, from dark to light.

    Args:
        selection: which runs may be compared.
        where: algorithm and pair.
        momentum: the setting.

    Returns:
        The arms; none if the runs have one momentum only.
    """
    if momentum.column not in selection.runs.settings:
        return []
    mask = selection.comparable(where, {*where, momentum.column})
    values = selection.runs.settings.loc[mask, momentum.column].dropna().unique()
    levels = sorted(values, key=momentum.levels)
    if len(levels) < 2:
        return []
    firsts = [momentum.levels(value)[0] for value in levels]
    shades = np.linspace(0, len(VIRIDIS) - 1, len(levels)).round().astype(int)
    arms = []
    for place, value in enumerate(levels):
        cell = {**where, momentum.column: value}
        look = (VIRIDIS[shades[place]], DASHES[place % len(DASHES)])
        # Two curves of one first beta differ in the second.
        told = momentum.levels(value)[: None if firsts.count(firsts[place]) > 1 else 1]
        label = ", ".join(f"{each:g}" for each in told)
        arms.append(Arm(label, *look, cell, runs_of(selection, cell)))
    return arms
