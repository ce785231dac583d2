"""What several seeds of `optnas.theory.convergence` say: estimates with intervals, and verdicts.

An interval is the exact one of the sign-flip test over seeds (`optnas.analysis.paired`), that of a
rate Clopper and Pearson's; both of 95 %. Every verdict names the reading of the deck that it took.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from optnas.analysis import paired, proportions
from optnas.analysis.claims.findings import Verdict, decide
from optnas.base.errors import UserError
from optnas.theory import formula
from optnas.theory.cell import uniform
from optnas.theory.convergence import AT_EQUAL_LOSS

Found = dict[str, Any]
RATE, SMALLEST = "measured rate of gradient descent", "lambda_min(G(0))"
SIGMA = 0.05  # the probability of failure that the printed statement is held to
ALPHA = 0.05
FEWEST = 6
GIVEN = ("nodes", "samples", "channels", "skip weight", "auxiliary")  # the same in every seed
READINGS = {
    "printed": "lambda is lambda_min(G(0)), the factor 1 - eta lambda / 4 as printed",
    "with 1/n": "lambda is lambda_min(G(0)), the factor 1 - eta lambda / (4 n): F is a mean",
    "formula": "lambda is lambda_min(K) phi with the free constant 3 c / 4 set to 1, as printed",
}


@dataclass(frozen=True)
class Judged:
    """A reading of a claim, what was found, and the verdict.

    Attributes:
        claim: its id.
        reading: how the deck was taken.
        quantity: what is estimated; the claim says that it is ``says``.
        says: such as ``> 0``.
        estimate: the mean over seeds, or a rate.
        low: lower end of its interval, None where it is infinite.
        high: upper end.
        n: seeds or draws; 0 for arithmetic.
        verdict: supported, contradicted or inconclusive.
        how: ``computed`` from a formula, or ``tested`` by measurement.
        size: what differs from the sizes that were chosen; empty for nothing.
    """

    claim: str
    reading: str
    quantity: str
    says: str
    estimate: float
    low: float | None
    high: float | None
    n: int
    verdict: Verdict
    how: Literal["computed", "tested"]
    size: str = ""


def estimate(values: Sequence[float]) -> Found:
    """Mean, n and the exact interval over seeds; infinite ends are None.

    Args:
        values: one per seed.

    Raises:
        UserError: training diverged, so that one is no number.
    """
    if not np.isfinite(np.asarray(values, float)).all():
        raise UserError(
            "a quantity of a seed is not finite, as training diverged",
            remedy="choose other sizes, weights or learning rates",
        )
    mean, low, high = paired.interval(values)
    return {"mean": mean, "low": _finite(low), "high": _finite(high), "n": len(values)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def violated(row: Found, target: str, reading: str) -> bool:
    """Whether a step k >= 1 lowered the loss by less than a reading of the bound says."""
    scale = {"printed": 1.0, "with 1/n": 1 / row["samples"], "formula": row["formula"]}[reading]
    return bool(row["margin"][target] < scale / 4)


def estimates(found: Found) -> Found:
    """Every estimate, in the sections and places in which the seeds have the values.

    Of the drift and at infinite width the mean is geometric, of the losses of cells with skips it
    is that of the decrease of log F; ``violations`` are rates over all draws.

    Args:
        found: as `optnas.theory.convergence.convergence` returns it.
    """
    seeds = found["seeds"]
    told = {
        section: _over([seed[section] for seed in seeds])
        for section in seeds[0]
        if section not in ("seed", "draws", "drift", "infinite width", "shares")
    }
    told["drift"] = [
        _geometric(rows) for rows in zip(*(seed["drift"] for seed in seeds), strict=True)
    ]
    told["infinite width"] = _geometric([seed["infinite width"] for seed in seeds])
    work = [
        {how: {share: _work(of[share]) for share in of} for how, of in seed["shares"].items()}
        for seed in seeds
    ]
    draws = [row for seed in seeds for row in seed["draws"]]
    rates = {
        target: {
            reading: _rate([violated(row, target, reading) for row in draws])
            for reading in READINGS
        }
        for target in ("slowest", "labels")
    }
    return {**told, "shares": _over(work), "violations": rates}


def _over(trees: Sequence[Any]) -> Any:
    """Estimates of each number in tables and lists that all seeds have alike."""
    first = trees[0]
    if isinstance(first, dict):
        return {
            key: first[key] if key in GIVEN else _over([tree[key] for tree in trees])
            for key in first
        }
    if isinstance(first, list):
        return [_over(list(rows)) for rows in zip(*trees, strict=True)]
    return estimate(trees)


def _geometric(rows: Sequence[Found]) -> Found:
    """Geometric means, with intervals, of the numbers that are not given."""
    logs = [
        {key: value if key in GIVEN else math.log(value) for key, value in row.items()}
        for row in rows
    ]
    return {
        key: value
        if key in GIVEN
        else {
            part: number if part == "n" or number is None else math.exp(number)
            for part, number in value.items()
        }
        for key, value in _over(logs).items()
    }


def _work(losses: Sequence[float]) -> float:
    """Decrease of log F over all steps."""
    return math.log(losses[0] / losses[-1])


def _rate(failures: Sequence[bool]) -> Found:
    told = proportions.rate(sum(failures), len(failures))
    return {"mean": told.estimate, "low": told.low, "high": told.high, "n": len(failures)}


def verdicts(found: Found) -> list[Found]:
    """H7, H8, H9 and H13 in each reading, and theorem 4 of PR-DARTS.

    Args:
        found: as `optnas.theory.convergence.convergence` returns it.
    """
    claims = (_h7, _h8, _h9, _h13, _theorem_4)
    return [asdict(judged) for claim in claims for judged in claim(found)]


def over_seeds(
    claim: str,
    reading: str,
    quantity: str,
    values: Sequence[float],
    says: Literal["> 0", "< 0"],
    size: str = "",
) -> Judged:
    """A reading that is tested by one number per seed.

    Args:
        claim: its id.
        reading: how the deck was taken.
        quantity: what is estimated.
        values: one per seed.
        says: the claim's direction.
        size: what differs from the chosen sizes.
    """
    told, test = estimate(values), paired.sign_flip(values)
    sides = (test.p_greater, test.p_less) if says == "> 0" else (test.p_less, test.p_greater)
    verdict = decide(*sides, len(values), FEWEST, ALPHA)
    ends = (told["low"], told["high"])
    return Judged(
        *(claim, reading, quantity, says, told["mean"], *ends, told["n"], verdict, "tested"), size
    )


def _computed(
    claim: str, reading: str, quantity: str, value: float, says: Literal["> 0", "< 0"]
) -> Judged:
    holds = value > 0 if says == "> 0" else value < 0
    verdict: Verdict = "supported" if holds else "contradicted"
    return Judged(claim, reading, quantity, says, value, None, None, 0, verdict, "computed")


def _h7(found: Found) -> list[Judged]:
    judged = []
    draws = [row for seed in found["seeds"] for row in seed["draws"]]
    starts = {
        "slowest": "targets that leave the residual along the slowest direction",
        "labels": "classes as targets",
    }
    for target, words in starts.items():
        for reading, meaning in READINGS.items():
            told = _rate([violated(row, target, reading) for row in draws])
            verdict: Verdict = "inconclusive"
            if told["high"] <= SIGMA:
                verdict = "supported"
            elif told["low"] > SIGMA:
                verdict = "contradicted"
            judged.append(
                Judged(
                    "H7",
                    f"{meaning}; {words}",
                    "draws in which a step violates the bound",
                    f"<= {SIGMA:g}",
                    told["mean"],
                    told["low"],
                    told["high"],
                    told["n"],
                    verdict,
                    "tested",
                )
            )
    return judged


def _elasticity(row: Found, kind: str, name: str) -> float:
    return float(row["elasticity"][kind][name])


def _sizes(found: Found) -> dict[str, list[tuple[Found, Found]]]:
    """By size, the chosen first: each seed without an auxiliary skip and with one of weight 1."""
    seeds = found["seeds"]
    one = [row["auxiliary"] for row in seeds[0]["auxiliary"]].index(1.0)
    return {
        "": [(seed["auxiliary"][0], seed["auxiliary"][one]) for seed in seeds],
        **{name: [tuple(s["sizes"][name]) for s in seeds] for name in seeds[0]["sizes"]},
    }


def _h8(found: Found) -> list[Judged]:
    settings = found["settings"]
    weight = settings["weight"]
    judged = []
    for nodes in sorted({settings["nodes"], 4, 6}):
        cell = uniform(nodes, 1, "tanh", weight, weight)
        for name, each in formula.phi(cell).items():
            assert each.skip_elasticity is not None
            assert each.conv_elasticity is not None
            difference = each.skip_elasticity - each.conv_elasticity
            judged.append(
                _computed(
                    "H8",
                    f"phi of the printed formula, {name} reading; h = {nodes}, equal weights",
                    "elasticity in skip minus in convolution",
                    difference,
                    "> 0",
                )
            )
    for size, pairs in _sizes(found).items():
        for name in ("gd", "lambda_min"):
            values = [
                _elasticity(without, "skip", name) - _elasticity(without, "conv", name)
                for without, _ in pairs
            ]
            what = RATE if name == "gd" else SMALLEST
            judged.append(
                over_seeds(
                    "H8",
                    f"{what} in the place of phi",
                    "elasticity in skip minus in convolution",
                    values,
                    "> 0",
                    size,
                )
            )
    return judged


def _h9(found: Found) -> list[Judged]:
    judged = []
    for size, pairs in _sizes(found).items():
        for words, suffix in (("equal steps", ""), ("equal train loss", AT_EQUAL_LOSS)):
            values = [
                _elasticity(without, "skip", f"adam{suffix}")
                - _elasticity(without, "skip", f"gd{suffix}")
                for without, _ in pairs
            ]
            judged.append(
                over_seeds(
                    "H9",
                    f"Adam and gradient descent, equally fast in the first step, at {words}",
                    "elasticity of the rate in skip, Adam minus gradient descent",
                    values,
                    "> 0",
                    size,
                )
            )
    return judged


def _h13(found: Found) -> list[Judged]:
    settings, seeds = found["settings"], found["seeds"]
    weight = settings["weight"]
    cell = uniform(settings["nodes"], 1, "tanh", weight, weight)
    at = [row["auxiliary"] for row in seeds[0]["auxiliary"]]
    judged = []
    for beta in (1.0, 10.0):
        for name in formula.READINGS:
            with_it = formula.phi(cell, beta)[name].skip_elasticity
            without = formula.phi(cell)[name].skip_elasticity
            assert with_it is not None
            assert without is not None
            judged.append(
                _computed(
                    "H13",
                    f"phi with (skip + {beta:g}) for skip, {name} reading",
                    "elasticity in skip, with the auxiliary minus without",
                    with_it - without,
                    "< 0",
                )
            )
    for size, pairs in _sizes(found).items():
        for name, what in (("gd", RATE), ("lambda_min", SMALLEST)):
            values = [
                _elasticity(with_it, "skip", name) - _elasticity(without, "skip", name)
                for without, with_it in pairs
            ]
            judged.append(
                over_seeds(
                    "H13",
                    f"{what}; an auxiliary skip of weight 1, as DARTS- begins",
                    "elasticity in skip, with the auxiliary minus without",
                    values,
                    "< 0",
                    size,
                )
            )
    for beta in (1.0, 10.0):
        rows = [(seed["auxiliary"][at.index(beta)], seed["auxiliary"][0]) for seed in seeds]
        updates = [with_it["update"] - without["update"] for with_it, without in rows]
        judged.append(
            over_seeds(
                "H13",
                f"the first gradient of w; an auxiliary skip of weight {beta:g}",
                "relative move of the gradient per log skip, with the auxiliary minus without",
                updates,
                "< 0",
            )
        )
    rates = [
        _elasticity(seed["auxiliary"][at.index(10.0)], "skip", "gd")
        - _elasticity(seed["auxiliary"][0], "skip", "gd")
        for seed in seeds
    ]
    judged.append(
        over_seeds(
            "H13",
            f"{RATE}; an auxiliary skip of weight 10",
            "elasticity in skip, with the auxiliary minus without",
            rates,
            "< 0",
        )
    )
    return judged


BRANCHES = "log of the ratio to the deep cell"


def _theorem_4(found: Found) -> list[Judged]:
    """A cell of two branches is faster than a deep one of as many nodes."""
    settings, seeds = found["settings"], found["seeds"]
    what = {
        "rate": f"{RATE}; one learning rate",
        "own rate": f"{RATE}; each cell's own learning rate",
        "lambda_min": SMALLEST,
        "last convolutions": "lambda_min of the part of G that the theorem keeps",
    }
    judged = []
    for place, nodes in enumerate(row["nodes"] for row in seeds[0]["branches"]):
        cell = uniform(nodes, 1, "tanh", settings["weight"], settings["weight"])
        deep, shallow = formula.phi(cell), formula.two_branches(cell)
        for reading, each in deep.items():
            ratio = math.log(shallow[reading] / each.phi)
            words = f"phi of the printed formula, {reading} reading; h = {nodes}, equal weights"
            judged.append(_computed("theorem 4", words, BRANCHES, ratio, "> 0"))
        for key, words in what.items():
            values = [seed["branches"][place]["shallow"][key] for seed in seeds]
            reading = f"{words}; h = {nodes}"
            judged.append(over_seeds("theorem 4", reading, BRANCHES, values, "> 0"))
    return judged
