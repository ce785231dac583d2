"""Many hypotheses, one level."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optnas.analysis.estimates import Floats


def holm(p: npt.ArrayLike) -> Floats:
    """Holm's step-down adjustment: the chance of any false rejection stays below the level.

    With the m p-values sorted, adjusted p_(i) = max over j <= i of min(1, (m - j + 1) p_(j)).
    Valid however the tests depend on each other.

    Args:
        p: p-values; NaN (not tested) is left out of the family.

    Returns:
        Adjusted p-values in the order given.

    Reference: Holm, Scandinavian Journal of Statistics 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, float)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    scaled = np.minimum(1.0, (len(order) - np.arange(len(order))) * p[order])
    adjusted[order] = np.maximum.accumulate(scaled)
    return adjusted
