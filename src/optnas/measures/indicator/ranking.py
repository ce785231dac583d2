"""How well one number of cells ranks them by another. No torch.

Shapes: N cells, R bootstrap resamples, I images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

LEVEL = 0.95  # of every interval
BLOCK = 512  # rows of a pairwise matrix held at one time


class Interval(NamedTuple):
    """A value with its percentile bootstrap interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


def resample_counts(size: int, resamples: int, seed: int) -> Counts:
    """How often each cell is drawn in each bootstrap resample of all cells.

    Args:
        size: N.
        resamples: R.
        seed: of the draws.

    Returns:
        ``[R, N]``, each row summing to N.
    """
    generator = np.random.default_rng(seed)
    return generator.multinomial(size, np.full(size, 1 / size), resamples).astype(np.int64)


def kendall(x_N: Floats, y_N: Floats, counts_RN: Counts) -> Floats:
    """Kendall's tau-b of x and y in each of several weighted samples.

        tau_b = sum_{i<j} s(x_i - x_j) s(y_i - y_j) / sqrt(n_x n_y)

    with s the sign, n_x the pairs not tied in x, n_y those not tied in y, and every pair counted as
    often as the weights say. Equal to ``scipy.stats.kendalltau`` of the sample written out.

    Args:
        x_N: one number per cell.
        y_N: the other.
        counts_RN: how often a cell stands in a sample; a row of ones is the data themselves.

    Returns:
        ``[R]``; NaN where all pairs are tied.
    """
    counts_RN = counts_RN.astype(np.float64)
    both, in_x, in_y = (np.zeros(len(counts_RN)) for _ in range(3))
    for start in range(0, len(x_N), BLOCK):
        rows = slice(start, start + BLOCK)
        sx, sy = (np.sign(v[rows, None] - v[None, :]) for v in (x_N, y_N))
        for total, signs in ((both, sx * sy), (in_x, sx * sx), (in_y, sy * sy)):
            total += np.einsum("rn,rn->r", counts_RN[:, rows] @ signs, counts_RN)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(both / np.sqrt(in_x * in_y))


def spearman(x_N: Floats, y_N: Floats, counts_RN: Counts) -> Floats:
    """Spearman's rho, the correlation of mid-ranks, in each of several weighted samples.

    Args:
        x_N: one number per cell.
        y_N: the other.
        counts_RN: how often a cell stands in a sample.

    Returns:
        ``[R]``; NaN where all values are tied.
    """
    a_RN, b_RN = (_mid_ranks(v, counts_RN) for v in (x_N, y_N))
    size_R1 = counts_RN.sum(axis=1, keepdims=True)
    a_RN, b_RN = (v - (counts_RN * v).sum(axis=1, keepdims=True) / size_R1 for v in (a_RN, b_RN))
    ab, aa, bb = (
        (counts_RN * u * v).sum(axis=1) for u, v in ((a_RN, b_RN), (a_RN, a_RN), (b_RN, b_RN))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(ab / np.sqrt(aa * bb))


def _mid_ranks(x_N: Floats, counts_RN: npt.NDArray[Any]) -> Floats:
    _, group_N = np.unique(x_N, return_inverse=True)
    size_RG = np.zeros((len(counts_RN), int(group_N.max()) + 1))
    np.add.at(size_RG.T, group_N, counts_RN.T)
    rank_RG = size_RG.cumsum(axis=1) - (size_RG - 1) / 2
    return np.asarray(rank_RG[:, group_N])


def interval(statistic: Callable[[Counts], Floats], counts_RN: Counts) -> Interval:
    """A statistic of the data and its percentile interval over bootstrap resamples of the cells.

    Args:
        statistic: of several weighted samples, such as `kendall` of two numbers.
        counts_RN: the resamples; those without a value are left out.

    Returns:
        Value, low, high, at level `LEVEL`.
    """
    value = float(statistic(np.ones((1, counts_RN.shape[1]), dtype=np.int64))[0])
    if math.isnan(value):
        return Interval(None, None, None)
    low, high = np.nanquantile(statistic(counts_RN), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def reliability(correct_NI: npt.NDArray[np.bool_]) -> float | None:
    """The share of the variance of accuracies over cells that is not due to the choice of images.

        KR-20 = I / (I - 1) (1 - sum_i q_i (1 - q_i) / s^2)

    with q_i the share of cells that have image i right and s^2 the variance over cells of the
    number of images right. It is the mean over all ways to halve the images of the split-half
    reliability 2 (1 - (s_a^2 + s_b^2) / s^2), s_a^2 and s_b^2 those of the halves, which is
    Spearman and Brown's where these are equal. That all cells see the same images is used: what
    makes an image hard for all of them is no noise of a ranking.

    Args:
        correct_NI: which images a cell has right.

    Returns:
        At most 1, negative where cells differ by less than chance; None without two images, two
        cells or any variance.

    Source: Kuder and Richardson, Psychometrika 1937, formula 20; Cronbach, Psychometrika 1951.
    """
    cells, images = correct_NI.shape
    if min(cells, images) < 2:
        return None
    q_I = correct_NI.mean(axis=0)
    variance = float(correct_NI.sum(axis=1).var())
    if variance == 0:
        return None
    return float(images / (images - 1) * (1 - (q_I * (1 - q_I)).sum() / variance))


def without_attenuation(tau: float | None, share: float | None) -> float | None:
    """What tau would be with endlessly many images.

        r = sin(pi tau / 2),   r' = r / sqrt(reliability),   tau' = 2 / pi arcsin(r')

    Spearman's correction for attenuation, carried to tau by Greiner's relation, which is exact for
    a bivariate normal pair and a rough guide for anything else. The noise of the benchmark is left
    in.

    Args:
        tau: as observed.
        share: the `reliability` of what was ranked by.

    Returns:
        The estimate, cut off at -1 and 1; None without tau or a positive reliability.
    """
    if tau is None or share is None or share <= 0:
        return None
    corrected = math.sin(math.pi * tau / 2) / math.sqrt(share)
    return 2 / math.pi * math.asin(max(-1.0, min(1.0, corrected)))


def top_k(
    predicted_N: Floats, tie_break_N: Floats, true_N: Floats, sizes: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """How good the predicted best cells are.

        precision@k = |predicted top k that are truly among the top k| / k
        best rank@k = min over the predicted top k of the true rank, 1 for the best of the N cells

    A true rank is 1 + the number of truly better cells, so that equals share the better place. k
    cells drawn blindly have k/N and (N + 1) / (k + 1) in expectation if there are no ties.

    Args:
        predicted_N: higher is better.
        tie_break_N: decides among equally predicted cells, lower is better.
        true_N: higher is better.
        sizes: the k; those beyond N are left out.

    Returns:
        By k, as text: ``precision`` and ``best_rank``, and the same drawn blindly.

    Source: Ning et al., Evaluating Efficient Performance Estimators of Neural Architectures,
    NeurIPS 2021 (P@top, BR@K, there divided by N).
    """
    n = len(true_N)
    rank_N = stats.rankdata(-true_N, method="min")
    order_N = np.lexsort((np.arange(n), tie_break_N, -predicted_N))
    return {
        str(k): {
            "precision": float((rank_N[order_N[:k]] <= k).mean()),
            "best_rank": int(rank_N[order_N[:k]].min()),
            "precision_blind": k / n,
            "best_rank_blind": (n + 1) / (k + 1),
        }
        for k in sizes
        if k <= n
    }
