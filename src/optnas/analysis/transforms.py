"""From the epochs of a run to one number: what `optnas.analysis.claims.declare.TRANSFORMS` names.

Shapes: E epochs of a run, epoch 0 first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats

from optnas.analysis.curves import at_loss
from optnas.analysis.estimates import Floats
from optnas.analysis.proportions import COLLAPSE_SKIPS


class Epochs(NamedTuple):
    """One run's epochs as a transform sees them.

    ``values_E``, ``other_E`` and ``epoch_E`` are in order of epochs, NaN where not recorded;
    ``extra`` holds what only some transforms read: ``train loss``, ``skips``, ``level``,
    ``random cell``.
    """

    epoch_E: Floats
    values_E: Floats
    other_E: Floats
    extra: Mapping[str, Floats | float]


def _final(run: Epochs) -> float:
    return float(run.values_E[-1]) if len(run.values_E) else math.nan


def _log_final(run: Epochs) -> float:
    final = _final(run)
    return math.log(final) if final > 0 else math.nan


def _trained(run: Epochs) -> Floats:
    """Values of epochs 1 to E that were recorded."""
    values_E = run.values_E[run.epoch_E >= 1]
    return values_E[~np.isnan(values_E)]


def _max(run: Epochs) -> float:
    recorded = run.values_E[~np.isnan(run.values_E)]
    return float(recorded.max()) if len(recorded) else math.nan


def _mean(run: Epochs) -> float:
    trained = _trained(run)
    return float(trained.mean()) if len(trained) else math.nan


def _slope(run: Epochs) -> float:
    use = (run.epoch_E >= 1) & ~np.isnan(run.values_E)
    if use.sum() < 2:
        return math.nan
    return float(np.polyfit(run.epoch_E[use], run.values_E[use], 1)[0])


def _quarter(run: Epochs) -> int:
    return max(1, len(_trained(run)) // 4)


def _early(run: Epochs) -> float:
    trained = _trained(run)
    return float(trained[: _quarter(run)].mean()) if len(trained) else math.nan


def _early_late(run: Epochs) -> float:
    trained = _trained(run)
    return _early(run) - float(trained[-_quarter(run) :].mean()) if len(trained) else math.nan


def _ranks(run: Epochs) -> list[Floats]:
    """Ranks of value, other value and epoch over the epochs that have both."""
    use = (run.epoch_E >= 1) & ~np.isnan(run.values_E) & ~np.isnan(run.other_E)
    return [stats.rankdata(x[use]) for x in (run.values_E, run.other_E, run.epoch_E)]


def _correlation(x: Floats, y: Floats) -> float:
    # Undefined where one of the two never changes.
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])


def _rank_correlation(run: Epochs) -> float:
    value, other, _ = _ranks(run)
    return _correlation(value, other)


def _partial_rank_correlation(run: Epochs) -> float:
    value, other, epoch = _ranks(run)
    xy, xe, ye = (_correlation(*pair) for pair in ((value, other), (value, epoch), (other, epoch)))
    rest = (1 - xe**2) * (1 - ye**2)
    # Where one of them is a function of the epoch alone, nothing is left to correlate.
    return (xy - xe * ye) / math.sqrt(rest) if rest > 1e-12 else math.nan


def _at_equal_train_loss(run: Epochs) -> float:
    use = run.epoch_E >= 1
    loss_E = np.asarray(run.extra["train loss"])[use]
    return at_loss(loss_E, run.values_E[use], float(run.extra["level"]))


def _collapse(run: Epochs) -> float:
    skips = np.asarray(run.extra["skips"])[-1]
    if math.isnan(skips) or math.isnan(_final(run)):
        return math.nan
    return float(skips >= COLLAPSE_SKIPS or _final(run) < run.extra["random cell"])


FUNCTIONS: dict[str, Callable[[Epochs], float]] = {
    "final": _final,
    "log-final": _log_final,
    "max": _max,
    "drop": lambda run: _max(run) - _final(run),
    "auc": _mean,
    "slope": _slope,
    "early": _early,
    "early-late": _early_late,
    "difference": lambda run: float(run.values_E[-1] - run.other_E[-1]),
    "rank-correlation": _rank_correlation,
    "partial-rank-correlation": _partial_rank_correlation,
    "at-equal-train-loss": _at_equal_train_loss,
    "collapse": _collapse,
}
