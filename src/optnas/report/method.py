"""The search as a whole: its three parts, and the two steps it alternates between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optnas.base.records import RunFolder
from optnas.report.arguments import at_most
from optnas.report.canvas import (
    ARCH_COLOUR,
    DATA_COLOUR,
    INK,
    WEIGHT_COLOUR,
    arrow,
    box,
    canvas,
    route,
    say,
)
from optnas.search.settings.layers import default_space

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def nas_triangle(runs: Sequence[RunFolder]) -> Figure:
    """Search space, search strategy and performance estimation, and what passes between them.

    Args:
        runs: none.

    Returns:
        The figure.
    """
    at_most(0, runs, "nas-triangle")
    figure, ax = canvas(9.0, 4.3)
    there = f"which cells there are:\n{default_space().size:,} of them here"
    space, strategy, estimation = (1.95, 0.85), (4.5, 3.45), (7.05, 0.85)
    box(ax, space, 3.1, 1.15, "search space", there, INK)
    asked = "which cell to try next:\nDARTS and its kin move $\\alpha$ by gradients"
    box(ax, strategy, 4.1, 1.15, "search strategy", asked, ARCH_COLOUR)
    worth = "what a cell is worth:\nsupernet, or benchmark table"
    box(ax, estimation, 3.1, 1.15, "performance estimation", worth, WEIGHT_COLOUR)
    arrow(ax, (2.35, 1.5), (3.45, 2.8))
    arrow(ax, (5.25, 2.8), (6.35, 1.5))
    arrow(ax, (7.15, 1.5), (6.05, 2.8))
    arrow(ax, (3.58, 0.85), (5.42, 0.85), dashed=True)
    say(ax, (2.7, 2.15), "edges and\noperations", ha="right")
    say(ax, (5.62, 2.15), "operation\nweights $A$", ha="right")
    say(ax, (6.8, 2.15), "validation loss\nand its gradient", ha="left")
    say(ax, (4.5, 1.1), "every cell, tabulated")
    return figure


def alternation(runs: Sequence[RunFolder]) -> Figure:
    """One iteration: the architecture step, then the weight step.

    Args:
        runs: none.

    Returns:
        The figure.
    """
    at_most(0, runs, "alternation")
    figure, ax = canvas(12.3, 5.0)
    rows = (
        (
            3.75,
            ARCH_COLOUR,
            "outer problem: the alpha step, once an iteration",
            ("validation batch", "its own half\nof the images"),
            ("validation loss", "$L_{val}(w', A)$\n$A = relax(\\alpha)$"),
            ("hypergradient", "$dL_{val}\\,/\\,d\\alpha$, $w'$ is $w$\nor its unrolled step"),
            ("architecture optimizer", "moves $\\alpha$\npublished: Adam"),
        ),
        (
            1.35,
            WEIGHT_COLOUR,
            "inner problem: the weight step, once an iteration",
            ("train batch", "the other half\nof the images"),
            ("train loss", "$L_{train}(w, \\tilde A)$\n$\\tilde A = perturb(A)$"),
            ("gradient", "$\\partial L_{train}\\,/\\,\\partial w$\nclipped by its norm"),
            ("weight optimizer", "moves $w$\npublished: SGD"),
        ),
    )
    centres, width, height = (1.95, 4.85, 7.75, 10.65), 2.3, 1.15
    for y, colour, heading, *steps in rows:
        for place, (x, (title, body)) in enumerate(zip(centres, steps, strict=True)):
            box(ax, (x, y), width, height, title, body, colour if place else DATA_COLOUR)
            if place:
                left = centres[place - 1] + width / 2
                arrow(ax, (left + 0.06, y), (x - width / 2 - 0.06, y), colour=colour)
        say(ax, (0.8, y + height / 2 + 0.22), heading, ha="left", colour=colour, size=11)
    top, bottom = rows[0][0], rows[1][0]
    entry = centres[1] + 0.5
    between = (top + bottom) / 2 + 0.12
    down = [
        (centres[-1], top - height / 2 - 0.06),
        (centres[-1], between),
        (entry, between),
        (entry, bottom + height / 2 + 0.06),
    ]
    route(ax, down, ARCH_COLOUR)
    say(ax, ((entry + centres[-1]) / 2, between + 0.2), "the new $\\alpha$")
    low, far = bottom - height / 2, 0.4
    route(
        ax,
        [
            (centres[-1], low - 0.06),
            (centres[-1], low - 0.42),
            (far, low - 0.42),
            (far, top),
            (centres[0] - width / 2 - 0.06, top),
        ],
        WEIGHT_COLOUR,
    )
    say(ax, (6.3, low - 0.6), "the new $w$: next iteration, until the epochs are over")
    return figure
