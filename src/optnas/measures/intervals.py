"""Where the mean is that values of batches are draws around."""

from __future__ import annotations

from torch import Tensor

CONFIDENCE = 0.95


def mean_interval(values_N: Tensor) -> tuple[float, float]:
    """Mean -+ t s / sqrt(N): where the expectation is, by Student's t.

    The mean over a few further values spreads around that too, and is more often outside.

    Args:
        values_N: a value of each batch, two at least.

    Returns:
        The two ends of the interval, with 95 % confidence if the values are normal.
    """
    from scipy.stats import t

    count = len(values_N)
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1) * values_N.std() / count**0.5)
    return float(values_N.mean()) - half, float(values_N.mean()) + half
