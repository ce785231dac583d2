"""SGD and Adam supernets compared by noise and flatness, within seeds.

At equal train loss, at equal norm of w, and at the last epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

from optnas.analysis.curves import at_loss, common_loss
from optnas.base.columns import TOP_EIGENVALUE
from optnas.base.errors import UserError
from optnas.base.escapes import for_shell
from optnas.base.measurements import Line
from optnas.base.records import RunFolder
from optnas.base.toml import flat
from optnas.measures.drawing import ALIKE, APART
from optnas.measures.lines import measured
from optnas.measures.ways import difference, way_of
from optnas.search.own_way import one_way
from optnas.theory.judged import estimate, over_seeds

Found = dict[str, Any]
FIRST, SECOND = "SGD", "Adam"
# Compared; whether the theory has SGD below or above Adam, "" where it says nothing.
QUANTITIES: Mapping[str, Literal["< 0", "> 0", ""]] = {
    # What changes with the scale of a single filter compares norms as much as basins or tails: it
    # is told, and not judged. The pooled index does by scales of coordinates, `escape` by its step.
    "pooled": "",
    **dict.fromkeys(("standardised", "by_coordinate"), "< 0"),
    **dict.fromkeys(("pooled_surrogate", "standardised_surrogate", "by_coordinate_surrogate"), ""),
    **dict.fromkeys(("kurtosis", "hill", "noise", "weight_norm"), ""),
    **dict.fromkeys(("lambda_max", "trace", "sam", "lambda_max_scaled", "trace_scaled"), ""),
    **dict.fromkeys(("asam", "filter"), "< 0"),
    "largest_part": "",
    **dict.fromkeys(("edge", "escape_random", "stationary", "escape"), ""),
}
TOGETHER = "standardised_together"  # older lines have it as `standardised`: told, and not judged
FEWEST = 6  # runs that a correlation needs, and seeds that its interval needs
LEVEL, DRAWS = 0.95, 2000


class Run(NamedTuple):
    """A run, its settings, its records and the lines of the measure, in order of epochs."""

    folder: RunFolder
    config: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]
    lines: Sequence[Line]

    @property
    def trained(self) -> list[Line]:
        """The lines after epoch 0."""
        return [line for line in self.lines if line["epoch"] > 0]

    @property
    def losses(self) -> list[float]:
        """Train loss at the epochs of those: a minimum between them is at no measured place."""
        by_epoch = {record["epoch"]: record["train_loss"] for record in self.records}
        return [by_epoch[line["epoch"]] for line in self.trained]

    @property
    def shortness(self) -> list[float]:
        """Minus the norm of w of each line: it falls as the norm grows."""
        return [-value for value in self.values("weight_norm", self.lines)]

    def values(self, quantity: str, lines: Sequence[Line]) -> list[float]:
        """A number of the measure by line, NaN where there is none.

        Raises:
            UserError: the lines are of a version without it.
        """
        if any(quantity not in line["values"] for line in lines):
            raise UserError(
                f"the measure noise was taken without {quantity}, by an earlier version",
                where=self.folder.path,
                remedy="measure it once more: "
                f"optnas measure {for_shell(self.folder.path)} noise --again",
            )
        found = [line["values"][quantity] for line in lines]
        return [math.nan if value is None else float(value) for value in found]

    def at_level(self, quantity: str, level: float) -> float:
        """A number of the measure where the train loss first falls to a level, see `_between`."""
        return _between(self.losses, self.values(quantity, self.trained), level)

    def at_norm(self, quantity: str, shortness: float) -> float:
        """A number of the measure where the norm of w first grows to a level, as `at_level`."""
        return _between(self.shortness, self.values(quantity, self.lines), shortness)

    def at_end(self, quantity: str) -> float:
        """A number of the measure at the last epoch that has one."""
        return self.values(quantity, self.lines[-1:])[0]


Pair = tuple[Run, Run]


def compared(folders: Sequence[RunFolder], **chosen: Any) -> Found:
    """Pairs of runs that differ in the weight optimizer, and the chain from noise to the gap.

    Args:
        folders: runs with lines of the measure ``noise``, of SGD and of Adam on w.
        **chosen: settings of the measure, where lines of several settings are there.

    Returns:
        The runs, estimates of SGD minus Adam at equal train loss, at equal norm and at the end,
        verdicts, links, and how far they go.

    Raises:
        UserError: there is no run, none was measured, they were not measured alike, or there is no
            pair.
    """
    lines = measured("noise", folders, **chosen)
    everyone = [
        Run(folder, folder.read_config(), folder.read_epochs(), each)
        for folder, each in zip(folders, lines, strict=True)
    ]
    runs = _under_either(everyone)
    _check_alike(runs)
    pairs = _pairs(runs)
    differences = {
        "at equal train loss": _at_equal_loss,
        "at equal norm": _at_equal_norm,
        "at the last epoch": _at_end,
    }
    known = {
        moment: {q: _by_seed(pairs, difference, q) for q in QUANTITIES}
        for moment, difference in differences.items()
    }
    return {
        "runs": [
            {
                "name": run.folder.path.name,
                "hash": run.config["identity"]["hash"],
                "seed": run.config["search"]["seed"],
                "weight_optimizer": run.config["weight_optimizer"]["name"],
                "values": {quantity: _plain(run.at_end(quantity)) for quantity in QUANTITIES},
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
        "verdicts": _verdicts(known["at equal train loss"], shuffled=_shuffled(runs)),
        "links": {name: _link(runs, *ends) for name, ends in _LINKS.items()},
        "mediation": _mediation(pairs),
    }


def _under_either(runs: Iterable[Run]) -> list[Run]:
    """The runs of which one of the two optimizers, and nothing else, moves w."""
    return [run for run in runs if run.config["weight_optimizer"]["name"] in (FIRST, SECOND)]


def _pairs(runs: Sequence[Run]) -> list[Pair]:
    """SGD and Adam, alike in every setting that counts but the weight optimizer's, by seed.

    A seed has several pairs where runs of several arms are given.

    Raises:
        UserError: two runs are of one arm and seed, or there is no pair.
    """
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


def _by_seed(
    pairs: Sequence[Pair], difference: Callable[..., float | None], *of: Any
) -> list[float]:
    """A number of each seed: the mean over its pairs, which share data and order and are not apart.

    NaN and None are left out, and so is a seed that has nothing else.
    """
    found: dict[int, list[float]] = {}
    for one, other in pairs:
        value = difference(one, other, *of)
        if value is not None and math.isfinite(value):
            found.setdefault(one.config["search"]["seed"], []).append(value)
    return [sum(values) / len(values) for values in found.values()]


def _between(falling: Sequence[float], values: Sequence[float], level: float) -> float:
    """`at_loss`, but NaN where the first line is below the level: it was measured too late."""
    return math.nan if not falling or falling[0] < level else at_loss(falling, values, level)


def _at_equal_loss(one: Run, other: Run, quantity: str) -> float:
    level = common_loss([one.losses, other.losses])
    return one.at_level(quantity, level) - other.at_level(quantity, level)


def _at_equal_norm(one: Run, other: Run, quantity: str) -> float:
    level = common_loss([one.shortness, other.shortness])
    if level >= max(one.shortness[0], other.shortness[0]):
        return math.nan  # at the first line of both, where nothing has told them apart yet
    return one.at_norm(quantity, level) - other.at_norm(quantity, level)


def _at_end(one: Run, other: Run, quantity: str) -> float:
    return one.at_end(quantity) - other.at_end(quantity)


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _shuffled(runs: Sequence[Run]) -> bool:
    """Whether tail indices are of shuffled minibatches, which those of an earlier version are not.

    Raises:
        UserError: those of some are.
    """
    older = [run for run in runs if any(TOGETHER not in line["values"] for line in run.lines)]
    if older and any(TOGETHER in line["values"] for run in runs for line in run.lines):
        raise UserError(
            "the tail indices of the measure noise hold the correlation between coordinates, as an "
            "earlier version took them, and those of other lines do not",
            where=older[0].folder.path,
            remedy="measure it once more: "
            f"optnas measure {for_shell(older[0].folder.path)} noise --again",
        )
    return not older


def _verdicts(known: Mapping[str, Sequence[float]], *, shuffled: bool) -> list[Found]:
    words = {quantity: f"{quantity} of w at equal train loss" for quantity in QUANTITIES}
    return [
        asdict(over_seeds("H10", words[quantity], "SGD minus Adam", known[quantity], says))
        for quantity, says in QUANTITIES.items()
        if says and known[quantity] and (shuffled or quantity != "standardised")
    ]


# --- the chain, link by link ------------------------------------------------------------------

Value = Callable[[Run], float | None]
Statistic = Callable[[np.ndarray], float]


def _sharpness(run: Run) -> float | None:
    """Top eigenvalue of the alpha-Hessian, of the record of the same epoch or the last before."""
    known = [
        record[TOP_EIGENVALUE]
        for record in run.records
        if record.get(TOP_EIGENVALUE) is not None and record["epoch"] <= run.lines[-1]["epoch"]
    ]
    return None if not known else float(known[-1])


def _gap(run: Run) -> float | None:
    lines = [line for line in one_way(run.folder, "gap") if line["status"] == "ok"]
    return None if not lines else float(lines[-1]["values"]["gap"])


def _check_alike(runs: Sequence[Run]) -> None:
    """Refuse runs of which the links would mix gaps or eigenvalues taken in several ways."""
    for label in ("gap", "sharpness"):
        ways = [
            (run, way_of(run.config, label, line))
            for run in runs
            for line in one_way(run.folder, label)[-1:]
        ]
        for run, way in ways[1:]:
            told = difference([ways[0][1], way])
            if told is not None:
                key, one, other = told
                raise UserError(
                    f"{label} was measured with {key} = {one} in {ways[0][0].folder.path}, "
                    f"with {other} here",
                    where=run.folder.path,
                    remedy="measure all runs alike",
                )


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
    """Spearman's correlation over runs with a bootstrap interval over seeds; it shows no cause."""
    both = [((cause(run), effect(run)), run.config["search"]["seed"]) for run in runs]
    known = [(pair, seed) for pair, seed in both if None not in pair]
    rows = np.array([pair for pair, _ in known], float).reshape(-1, 2)
    told = _resampled(rows, np.array([seed for _, seed in known]), _spearman)
    return {"spearman": told.pop("value"), **told}


def _resampled(rows: np.ndarray, blocks: np.ndarray, statistic: Statistic) -> Found:
    """A statistic of rows with a bootstrap interval: whole blocks of rows are drawn.

    A seed is a block: its runs share data, order and initial values. Of fewer than six blocks there
    is no interval.
    """
    n = len(rows)
    if n < FEWEST or min(len(set(column)) for column in rows.T) < 2:
        return {"value": None, "low": None, "high": None, "n": n}
    names = np.unique(blocks)
    if len(names) < FEWEST:
        return {"value": _plain(statistic(rows)), "low": None, "high": None, "n": n}
    drawn = np.random.default_rng(0).choice(names, size=(DRAWS, len(names)))
    places = {name: np.flatnonzero(blocks == name) for name in names}
    resampled = [rows[np.concatenate([places[name] for name in each])] for each in drawn]
    values = [statistic(each) for each in resampled if np.ptp(each, axis=0).min() > 0]
    known = [value for value in values if math.isfinite(value)]
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"value": statistic(rows), "low": float(low), "high": float(high), "n": n}


def _spearman(rows: np.ndarray) -> float:
    return float(stats.spearmanr(*rows.T).statistic)


# --- mediation, as far as the design allows ---------------------------------------------------

NOT_IDENTIFIED = (
    "The design sets the weight optimizer and nothing else. So the difference between optimizers "
    "within seeds is its total effect on each quantity. Flatness of w and curvature in alpha are "
    "not set: what makes w flat may make the gap small by other ways, and the share of the effect "
    "that goes through flatness is not identified. A partial correlation is what is left after "
    "ranks are regressed on ranks, no effect."
)


def _mediation(pairs: Sequence[Pair]) -> Found:
    """Total effects of the optimizer within seeds, and correlations with a third held."""
    ends = {"flatness of w": _flatness, "curvature in alpha": _sharpness, "gap": _gap}
    total = {}
    for name, of in ends.items():
        known = _by_seed(pairs, _minus, of)
        total[name] = estimate(known) if known else None
    rows, blocks = [], []
    for pair in pairs:
        for run in pair:
            row = (_optimizer(run), _flatness(run), _gap(run))
            if None not in row:
                rows.append(row)
                blocks.append(run.config["search"]["seed"])
    table, of_seeds = np.array(rows, float).reshape(-1, 3), np.array(blocks)
    return {
        "total effect, SGD minus Adam": total,
        "Adam on w and gap, flatness of w held": _resampled(
            table[:, [0, 2, 1]], of_seeds, _partial
        ),
        "flatness of w and gap, Adam on w held": _resampled(
            table[:, [1, 2, 0]], of_seeds, _partial
        ),
        "not identified": NOT_IDENTIFIED,
    }


def _minus(one: Run, other: Run, of: Value) -> float | None:
    first, second = of(one), of(other)
    return None if first is None or second is None else first - second


def _partial(rows: np.ndarray) -> float:
    """Correlation of the ranks of the first two columns, each without its regression on the third.

    NaN where the third leaves nothing of one of them.
    """
    x, y, held = (stats.rankdata(column) for column in rows.T)
    base = np.stack([np.ones_like(held), held], axis=1)
    left = [each - base @ np.linalg.lstsq(base, each, rcond=None)[0] for each in (x, y)]
    sizes = [float(np.linalg.norm(each)) for each in left]
    if min(sizes) < 1e-9 * len(rows):
        return math.nan
    return float(left[0] @ left[1] / (sizes[0] * sizes[1]))
