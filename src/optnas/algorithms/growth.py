"""Where an eigenvalue has grown too much: the rule of `robust-darts`, and of stopping rules.

Reference: Zela et al., *Understanding and Robustifying Differentiable Architecture Search*, ICLR
2020, section 4.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from optnas.base.errors import UserError


class Growth(NamedTuple):
    """Where a rule's local mean has grown too much.

    Attributes:
        at: the place of the value at which that is seen; None where it never is.
        since: the place of the mean it has grown from, None likewise.
        asked: how many places had enough before them to decide.
    """

    at: int | None
    since: int | None
    asked: int


def local_means(values: Sequence[float], window: int) -> list[float]:
    """Moving averages, a window centred at each value and cut off at both ends.

        m_j = mean of v_i over max(0, j - h) <= i <= min(n - 1, j + h),    h = (window - 1) / 2

    Args:
        values: the values v_0 .. v_{n-1}.
        window: an odd number of values.

    Returns:
        As many means.

    Example:
        >>> local_means([1.0, 2.0, 6.0, 3.0], 3)
        [1.5, 3.0, 3.6666666666666665, 4.5]
    """
    half = window // 2
    return [fmean(values[max(0, j - half) : j + half + 1]) for j in range(len(values))]


def check_rule(window: int, ratio: float) -> None:
    """Refuse what `growth` cannot use.

    Args:
        window: values in a local mean.
        ratio: growth of it.

    Raises:
        UserError: the window is even, or the ratio no positive number.
    """
    if window % 2 == 0:
        raise UserError(
            "an even number has no middle", key="window", value=window, remedy="use an odd one"
        )
    if not (math.isfinite(ratio) and ratio > 0):
        raise UserError("is no positive number", key="ratio", value=ratio, remedy="such as 1.3")


def growth(
    epochs: Sequence[int],
    values: Sequence[float],
    *,
    window: int,
    ratio: float,
    start: int,
    delta: int,
    unasked: int = 0,
) -> Growth:
    """The first place i at which m_(i-h) / m_b > ratio, b = i - h - delta, epoch of b >= start.

    With h = (window - 1) / 2 and m of `local_means`, m_(i-h) is the mean of the last ``window``
    values.

    Args:
        epochs: ascending.
        values: one per epoch.
        window: as `check_rule` lets it pass.
        ratio: likewise.
        start: the earliest epoch that may be returned.
        delta: values between the two means.
        unasked: values at the end that enter the means but are not asked.
    """
    means, half, asked = local_means(values, window), window // 2, 0
    for i in range(half + delta, len(epochs) - unasked):
        before = i - half - delta
        if epochs[before] < start:
            continue
        asked += 1
        if _grows(means[before], means[i - half], ratio):
            return Growth(i, before, asked)
    return Growth(None, None, asked)


def _grows(before: float, now: float, ratio: float) -> bool:
    """Whether now / before > ratio, also where before is 0."""
    return now / before > ratio if before else now > 0
