"""Tail indices of gradient noise, as published and without their trap.

The published estimator pools all coordinates of a network as if they were draws of one variable. On
Gaussian noise whose scale differs between coordinates it finds heavy tails, which are those of the
scales. So each estimate stands beside that of a Gaussian surrogate with the same scales. Its sums
also run over neighbouring coordinates of one minibatch, whose correlation looks like a tail:
Gaussian ones that correlate by 0.1 in blocks of 50 have an index of 1.6. So the minibatches of each
coordinate are shuffled first.

Shapes: N minibatches, J coordinates, K values.

Source: Simsekli et al., A Tail-Index Analysis of Stochastic Gradient Noise in Deep Neural Networks,
ICML 2019, with the estimator of Mohammadi et al., 2015. Standardising, shuffling, taking
coordinates one by one, and the surrogates are this project's.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from optnas.analysis.estimates import Floats

HEAVIEST = 0.05  # of the values, for Hill's estimator


def tail_index(values_K: npt.ArrayLike) -> Floats:
    """The index of a symmetric stable variable: 2 for Gaussian values, less for heavy tails.

    With K = K1 K2 and Y_i the sums of K1 consecutive values,

        1 / alpha = (mean_i log |Y_i| - mean_k log |X_k|) / log K1

    K1 is the root of K, rounded down; values beyond K1 K2 are left out of the sums, zeros of the
    means. Deviation: the published code takes the largest divisor of K up to the root.

    Args:
        values_K: the values, centred, along the last axis.

    Returns:
        The index over the last axis.

    Example:
        >>> round(float(tail_index(np.random.default_rng(0).normal(size=10_000))), 1)
        2.0
    """
    values_K = np.asarray(values_K, float)
    count = values_K.shape[-1]
    first = math.isqrt(count)
    whole = values_K[..., : count // first * first]
    sums = whole.reshape(*values_K.shape[:-1], -1, first).sum(-1)
    return np.asarray(math.log(first) / (_mean_log(sums) - _mean_log(values_K)))


def _mean_log(values: Floats) -> Floats:
    sizes = np.abs(values)
    return np.asarray(np.nanmean(np.log(np.where(sizes > 0, sizes, np.nan)), axis=-1))


def hill(values_K: npt.ArrayLike) -> float:
    """Hill's estimate of the exponent of the tail of |X|, from its heaviest 5 %.

    Finite exponents are estimated for any sample; of Gaussian values it is about 6.
    """
    sizes = np.sort(np.abs(np.asarray(values_K, float)))
    count = max(2, int(HEAVIEST * len(sizes)))
    return float(1 / np.log(sizes[-count:] / sizes[-count - 1]).mean())


def told(noise_NJ: Floats, seed: int) -> dict[str, float]:
    """Every estimate, and each on Gaussian noise of the same scales.

    Args:
        noise_NJ: gradient of each minibatch minus their mean, on coordinates that move.
        seed: of the surrogate and of the shuffling.

    Returns:
        By name; those of the surrogate end in ``_surrogate``. ``standardised_together`` is of
        minibatches that are not shuffled.
    """
    generator = np.random.default_rng(seed)
    scales_J = noise_NJ.std(0)
    drawn = generator.normal(size=noise_NJ.shape) * scales_J
    drawn -= drawn.mean(0)
    # Neighbours of one minibatch correlate; those of the surrogate do not.
    shuffled_NJ = generator.permuted(noise_NJ, axis=0)
    found = {"standardised_together": float(tail_index((noise_NJ / scales_J).ravel()))}
    for suffix, each_NJ, apart_NJ in (
        ("", noise_NJ, shuffled_NJ),
        ("_surrogate", drawn, drawn),
    ):
        standard_NJ = each_NJ / each_NJ.std(0)
        found |= {
            f"pooled{suffix}": float(tail_index(apart_NJ.ravel())),
            f"standardised{suffix}": float(tail_index((apart_NJ / apart_NJ.std(0)).ravel())),
            f"by_coordinate{suffix}": float(np.median(tail_index(standard_NJ.T))),
            f"kurtosis{suffix}": float(np.median((standard_NJ**4).mean(0))) - 3,
            f"hill{suffix}": hill(standard_NJ.ravel()),
        }
    return found
