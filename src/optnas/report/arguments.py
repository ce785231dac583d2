"""How many runs a diagram takes."""

from __future__ import annotations

from collections.abc import Sequence

from optnas.base.errors import UserError
from optnas.base.records import RunFolder


def at_most(count: int, runs: Sequence[RunFolder], name: str) -> None:
    """Refuse more runs than a figure can draw.

    Args:
        count: 0 or 1.
        runs: what the user gave.
        name: the figure.

    Raises:
        UserError: there are more.
    """
    if len(runs) > count:
        raise UserError(
            f"the figure {name} takes {'one run' if count else 'no run'}",
            key="DIR...",
            value=" ".join(str(run.path) for run in runs),
            remedy="give one run folder or none" if count else "leave it out",
        )
