"""Effects that do not depend on the scale of a response: who wins, how often.

Shapes: X and Y values of two arms.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optnas.analysis.estimates import DRAWS, Floats, Interval


def probability_of_improvement(x_X: npt.ArrayLike, y_Y: npt.ArrayLike) -> float:
    """P(X > Y) + P(X = Y) / 2 over all pairs of a run of one arm and a run of the other.

    Args:
        x_X: values of the arm that may be better.
        y_Y: values of the other.

    Returns:
        Between 0 and 1; 0.5 for arms that are alike.

    Reference: Agarwal et al., NeurIPS 2021 (the Mann-Whitney U over the number of pairs).

    Example:
        >>> probability_of_improvement([2.0, 3.0], [1.0, 2.0])
        0.875
    """
    return float(_share(np.asarray(x_X, float), np.asarray(y_Y, float)))


def cliffs_delta(x_X: npt.ArrayLike, y_Y: npt.ArrayLike) -> float:
    """P(X > Y) - P(X < Y), which is 2 `probability_of_improvement` - 1.

    Args:
        x_X: values of one arm.
        y_Y: values of the other.

    Returns:
        Between -1 and 1; 0 for arms that are alike.

    Reference: Cliff, Psychological Bulletin 1993.

    Example:
        >>> cliffs_delta([2.0, 3.0], [1.0, 2.0])
        0.75
    """
    return 2 * probability_of_improvement(x_X, y_Y) - 1


def improvement_interval(
    x_X: npt.ArrayLike,
    y_Y: npt.ArrayLike,
    *,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """`probability_of_improvement` with a percentile interval, both arms resampled.

    Args:
        x_X: values of the arm that may be better.
        y_Y: values of the other.
        level: coverage aimed at.
        draws: resamples.
        seed: of the resampling.

    Returns:
        The probability and the ends of its interval.
    """
    generator = np.random.default_rng(seed)
    x_X, y_Y = np.asarray(x_X, float), np.asarray(y_Y, float)
    x_DX = x_X[generator.integers(len(x_X), size=(draws, len(x_X)))]
    y_DY = y_Y[generator.integers(len(y_Y), size=(draws, len(y_Y)))]
    low, high = np.quantile(_share(x_DX, y_DY), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(_share(x_X, y_Y)), float(low), float(high))


def _share(x: Floats, y: Floats) -> Floats:
    differences = np.sign(x[..., :, None] - y[..., None, :])
    return np.asarray(0.5 + differences.mean(axis=(-2, -1)) / 2)
