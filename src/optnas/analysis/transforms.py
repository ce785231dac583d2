"""From the epochs of a run to one number: what `optnas.analysis.claims.declare.TRANSFORMS` names.

Shapes: E epochs of a run, from epoch 1: `Epochs.searched` leaves out epoch 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats

from optnas.analysis.curves import at_loss, searched
from optnas.analysis.estimates import Floats
from optnas.analysis.proportions import COLLAPSE_SKIPS


class Epochs(NamedTuple):
    """One run's epochs as a transform sees them.

    ``values_E``, ``other_E`` and ``epoch_E`` are in order of epochs, NaN where not recorded;
    ``extra_E`` holds what only some transforms read, ``train loss`` and ``skips``. ``level`` is the
    loss to compare at, ``random_cell`` the mean accuracy of all cells.
    """

    epoch_E: Floats
    values_E: Floats
    other_E: Floats
    extra_E: Mapping[str, Floats]
    level: float
    random_cell: float

    def searched(self) -> Epochs:
        """Only the epochs of the search, see `optnas.analysis.curves.searched`."""
        use = searched(self.epoch_E)
        return self._replace(
            epoch_E=self.epoch_E[use],
            values_E=self.values_E[use],
            other_E=self.other_E[use],
            extra_E={name: values_E[use] for name, values_E in self.extra_E.items()},
        )


def _final(run: Epochs) -> float:
    return float(run.values_E[-1]) if len(run.values_E) else math.nan


def _log_final(run: Epochs) -> float:
    final = _final(run)
    return math.log(final) if final > 0 else math.nan


def _recorded(run: Epochs) -> Floats:
    return run.values_E[~np.isnan(run.values_E)]


def _max(run: Epochs) -> float:
    recorded = _recorded(run)
    return float(recorded.max()) if len(recorded) else math.nan


def _mean(run: Epochs) -> float:
    recorded = _recorded(run)
    return float(recorded.mean()) if len(recorded) else math.nan


def _slope(run: Epochs) -> float:
    use = ~np.isnan(run.values_E)
    if use.sum() < 2:
        return math.nan
    return float(np.polyfit(run.epoch_E[use], run.values_E[use], 1)[0])


def _quarter(run: Epochs) -> int:
    return max(1, len(run.values_E) // 4)


def _early(run: Epochs) -> float:
    return _mean(run._replace(values_E=run.values_E[: _quarter(run)]))


def _early_late(run: Epochs) -> float:
    return _early(run) - _mean(run._replace(values_E=run.values_E[-_quarter(run) :]))


def _ranks(run: Epochs) -> list[Floats]:
    """Ranks of value, other value and epoch over the epochs that have both."""
    use = ~np.isnan(run.values_E) & ~np.isnan(run.other_E)
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
    return at_loss(run.extra_E["train loss"], run.values_E, run.level)


def _collapse(run: Epochs) -> float:
    skips = run.extra_E["skips"][-1:]
    if not len(skips) or math.isnan(skips[0]) or math.isnan(_final(run)):
        return math.nan
    return float(skips[0] >= COLLAPSE_SKIPS or _final(run) < run.random_cell)


def _difference(run: Epochs) -> float:
    return float(run.values_E[-1] - run.other_E[-1]) if len(run.values_E) else math.nan


def _ratio(run: Epochs) -> float:
    if not len(run.values_E) or run.other_E[-1] == 0:
        return math.nan
    return float(run.values_E[-1] / run.other_E[-1])


def respond(transform: str, run: Epochs) -> float:
    """What a transform makes of a run's epochs from epoch 1; NaN where it cannot.

    Args:
        transform: a key of `optnas.analysis.claims.declare.TRANSFORMS`.
        run: all recorded epochs.
    """
    return FUNCTIONS[transform](run.searched())


FUNCTIONS: dict[str, Callable[[Epochs], float]] = {
    "final": _final,
    "log-final": _log_final,
    "max": _max,
    "drop": lambda run: _max(run) - _final(run),
    "auc": _mean,
    "slope": _slope,
    "early": _early,
    "early-late": _early_late,
    "difference": _difference,
    "ratio": _ratio,
    "rank-correlation": _rank_correlation,
    "partial-rank-correlation": _partial_rank_correlation,
    "at-equal-train-loss": _at_equal_train_loss,
    "collapse": _collapse,
}
