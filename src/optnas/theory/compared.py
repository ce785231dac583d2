"""SGD and Adam supernets compared by noise and flatness, at equal train loss, within seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

from optnas.analysis.curves import at_loss, common_loss
from optnas.base.columns import TOP_EIGENVALUE
from optnas.base.errors import UserError
from optnas.base.measurements import Line
from optnas.base.records import RunFolder
from optnas.base.toml import flat
from optnas.measures.drawing import ALIKE, APART
from optnas.measures.lines import measured
from optnas.theory.judged import estimate, over_seeds

Found = dict[str, Any]
FIRST, SECOND = "SGD", "Adam"
# Compared; whether the theory has SGD below or above Adam, "" where it says nothing.
QUANTITIES: Mapping[str, Literal["< 0", "> 0", ""]] = {
    **dict.fromkeys(("pooled", "standardised", "by_coordinate"), "< 0"),
    **dict.fromkeys(("pooled_surrogate", "standardised_surrogate", "by_coordinate_surrogate"), ""),
    **dict.fromkeys(("kurtosis", "hill", "noise", "weight_norm"), ""),
    # Raw curvature compares norms of w as much as basins: told, and not judged.
    **dict.fromkeys(("lambda_max", "trace", "sam"), ""),
    **dict.fromkeys(("lambda_max_scaled", "trace_scaled", "asam", "filter"), "< 0"),
}
FEWEST = 6  # runs that a correlation needs
LEVEL, DRAWS = 0.95, 2000


class Run(NamedTuple):
    """A run, its settings, its records and the lines of the measure, in order of epochs."""

    folder: RunFolder
    config: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]
    lines: Sequence[Line]

    @property
    def losses(self) -> list[float]:
        """Train loss by epoch, from epoch 1."""
        return [record["train_loss"] for record in self.records if record["epoch"] > 0]

    def at_level(self, quantity: str, level: float) -> float:
        """A number of the measure where the train loss first falls to a level; NaN if it is not."""
        rows = [line for line in self.lines if line["epoch"] > 0]
        by_epoch = {record["epoch"]: record["train_loss"] for record in self.records}
        losses = [by_epoch[line["epoch"]] for line in rows]
        return at_loss(losses, [line["values"][quantity] for line in rows], level)

    def at_end(self, quantity: str) -> float:
        """A number of the measure at the last epoch that has one."""
        return float(self.lines[-1]["values"][quantity])


def compared(folders: Sequence[RunFolder], **chosen: Any) -> Found:
    """Pairs of runs that differ in the weight optimizer, and the chain from noise to the gap.

    Args:
        folders: runs with lines of the measure ``noise``, of SGD and of Adam on w.
        **chosen: settings of the measure, where lines of several settings are there.

    Returns:
        The runs, estimates of SGD minus Adam at equal train loss and at the end, verdicts, links.

    Raises:
        UserError: there is no run, none was measured, or there is no pair.
    """
    lines = measured("noise", folders, **chosen)
    runs = [
        Run(folder, folder.read_config(), folder.read_epochs(), each)
        for folder, each in zip(folders, lines, strict=True)
    ]
    pairs = _pairs(runs)
    differences = {
        "at equal train loss": {q: [_at_equal_loss(*p, q) for p in pairs] for q in QUANTITIES},
        "at the last epoch": {
            q: [one.at_end(q) - other.at_end(q) for one, other in pairs] for q in QUANTITIES
        },
    }
    known = {
        moment: {
            quantity: [value for value in values if math.isfinite(value)]
            for quantity, values in of.items()
        }
        for moment, of in differences.items()
    }
    return {
        "runs": [
            {
                "name": run.folder.path.name,
                "hash": run.config["identity"]["hash"],
                "seed": run.config["search"]["seed"],
                "weight_optimizer": run.config["weight_optimizer"]["name"],
                "edge of stability": _edge(run),
                "values": {quantity: run.at_end(quantity) for quantity in QUANTITIES},
            }
            for run in runs
        ],
        "settings": lines[0][0]["settings"],
        "pairs": len(pairs),
        "differences": known,
        "estimates": {
            moment: {quantity: estimate(values) for quantity, values in of.items() if values}
            for moment, of in known.items()
        },
        "verdicts": _verdicts(known["at equal train loss"]),
        "links": {name: _link(runs, *ends) for name, ends in _LINKS.items()},
    }


def _pairs(runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    """SGD and Adam, alike in every setting that counts but the weight optimizer's, by seed."""
    apart = {*APART, "weight_optimizer"}
    alike = set(ALIKE) - {"search.seed"}
    by_arm: dict[tuple[Any, ...], Run] = {}
    for run in runs:
        counts = sorted(
            (setting, repr(value))
            for setting, value in flat(run.config).items()
            if setting.partition(".")[0] not in apart and setting not in alike
        )
        key = (*counts, run.config["weight_optimizer"]["name"])
        if key in by_arm:
            raise UserError(
                f"another run is of this seed and these optimizers: {by_arm[key].folder.path}",
                where=run.folder.path,
                remedy="give the runs of one experiment",
            )
        by_arm[key] = run
    pairs = [
        (run, by_arm[(*key[:-1], SECOND)])
        for key, run in by_arm.items()
        if key[-1] == FIRST and (*key[:-1], SECOND) in by_arm
    ]
    if not pairs:
        raise UserError(
            f"there is no pair of runs of one seed with {FIRST} and with {SECOND} on w",
            key="DIR...",
            value=f"{len(runs)} runs",
            remedy="run both: weight_optimizer.name=SGD and weight_optimizer.name=Adam",
        )
    return pairs


def _at_equal_loss(one: Run, other: Run, quantity: str) -> float:
    level = common_loss([one.losses, other.losses])
    return one.at_level(quantity, level) - other.at_level(quantity, level)


def _edge(run: Run) -> float | None:
    """The end's eta lambda_max / (2 (1 + momentum)): from 1 on heavy ball is unstable."""
    optimizer = run.config["weight_optimizer"]
    if optimizer["name"] != FIRST:
        return None
    rate = run.records[run.lines[-1]["epoch"]]["weight_lr"]
    return float(rate * run.at_end("lambda_max") / (2 * (1 + optimizer.get("momentum", 0.0))))


def _verdicts(known: Mapping[str, Sequence[float]]) -> list[Found]:
    words = {quantity: f"{quantity} of w at equal train loss" for quantity in QUANTITIES}
    return [
        asdict(over_seeds("H10", words[quantity], "SGD minus Adam", known[quantity], says))
        for quantity, says in QUANTITIES.items()
        if says and known[quantity]
    ]


# --- the chain, link by link ------------------------------------------------------------------

Value = Callable[[Run], float | None]


def _sharpness(run: Run) -> float | None:
    """Top eigenvalue of the alpha-Hessian, of the record of the same epoch or the last before."""
    known = [
        record[TOP_EIGENVALUE]
        for record in run.records
        if record.get(TOP_EIGENVALUE) is not None and record["epoch"] <= run.lines[-1]["epoch"]
    ]
    return None if not known else float(known[-1])


def _gap(run: Run) -> float | None:
    lines = [line for line in run.folder.read_measures("gap") if line["status"] == "ok"]
    return None if not lines else float(lines[-1]["values"]["gap"])


def _optimizer(run: Run) -> float:
    return float(run.config["weight_optimizer"]["name"] == SECOND)


def _flatness(run: Run) -> float:
    return run.at_end("asam")


_LINKS: dict[str, tuple[Value, Value]] = {
    "Adam on w -> rise under ASAM": (_optimizer, _flatness),
    "rise under ASAM -> top eigenvalue of the alpha-Hessian": (_flatness, _sharpness),
    "top eigenvalue of the alpha-Hessian -> discretization gap": (_sharpness, _gap),
    "Adam on w -> discretization gap": (_optimizer, _gap),
}


def _link(runs: Sequence[Run], cause: Value, effect: Value) -> Found:
    """Spearman's correlation over runs with a bootstrap interval; no cause is shown by it."""
    both = [(cause(run), effect(run)) for run in runs]
    known = np.array([pair for pair in both if None not in pair], float).reshape(-1, 2)
    n = len(known)
    if n < FEWEST or min(len(set(column)) for column in known.T) < 2:
        return {"spearman": None, "low": None, "high": None, "n": n}
    drawn = np.random.default_rng(0).integers(n, size=(DRAWS, n))
    resampled = [known[rows] for rows in drawn]
    values = [_spearman(rows) for rows in resampled if np.ptp(rows, axis=0).min() > 0]
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"spearman": _spearman(known), "low": float(low), "high": float(high), "n": n}


def _spearman(rows: np.ndarray) -> float:
    return float(stats.spearmanr(*rows.T).statistic)
