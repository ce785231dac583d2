"""Effects that do not depend on the scale of a response: who wins, how often.

Shapes: X and Y values of two arms.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optnas.analysis.estimates import Floats


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


def _share(x: Floats, y: Floats) -> Floats:
    differences = np.sign(x[..., :, None] - y[..., None, :])
    return np.asarray(0.5 + differences.mean(axis=(-2, -1)) / 2)
