"""Figures of `optnas theory`, of what was found and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from optnas.measures.drawing import COLOURS, MARKERS, pair_look
from optnas.measures.figures import Curve, Figure, Grid, Line, Panel, Row, Seed
from optnas.theory import formula
from optnas.theory.cell import Cell, uniform
from optnas.theory.convergence import AT_EQUAL_LOSS
from optnas.theory.judged import estimate, estimates

Found = dict[str, Any]
OPTIMIZERS = {"gd": "gradient descent", "momentum": "momentum", "adam": "Adam"}
READING = {"deck": "as printed", "chain": "chain", "path": "path sum"}
# What random cells are ranked by, and its tick.
PREDICTORS = {
    "phi, deck": "phi",
    "phi, chain": "chain",
    "phi, path": "paths",
    "last node (NNGP)": "NNGP",
    "last node, infinite width": "m = inf",
    "all nodes, infinite width": "all, inf",
    "last convolutions": "last",
    "lambda_min": "min G",
    "trace": "tr G",
    "mean skip": "skip",
    "mean convolution": "conv",
}
MAP_ENDS, MAP_POINTS = 3.0, 49
# Of the measure `noise`, and their ticks.
TAILS = {
    "pooled": "pooled",
    "pooled_surrogate": "Gaussian",
    "standardised": "standardised",
    "standardised_surrogate": "Gaussian",
    "by_coordinate": "by coordinate",
    "by_coordinate_surrogate": "Gaussian",
}
RISES = {"sam": "SAM", "asam": "ASAM", "filter": "filter"}
MOVES = {"escape": "along its own noise", "escape_random": "along white noise"}


def figures(found: Found) -> dict[str, Figure]:
    """Every figure by name.

    Args:
        found: as `optnas.theory.convergence.convergence` returns it.
    """
    return {
        "convergence-bound": _bound(found),
        "convergence-elasticity": _elasticity(found),
        "convergence-map": unequal_weights(found["settings"]["weight"]),
        "convergence-predictors": _predictors(found),
    }


def _curve(
    found: Found,
    label: str,
    x: Sequence[float],
    values: Sequence[Sequence[float]],
    at: int,
) -> Curve:
    """A curve of the seeds; ``values`` has a row for each."""
    rows = zip(found["seeds"], values, strict=True)
    seeds = [Seed(seed["seed"], str(seed["seed"]), list(row)) for seed, row in rows]
    look = COLOURS[at % len(COLOURS)], "solid", MARKERS[at % len(MARKERS)]
    return Curve(label, list(x), seeds, *look)


def _points(label: str, told: Sequence[Found], at: int, shift: float = 0.0) -> Curve:
    """Estimates without an order, with their own intervals, beside those of other curves."""
    ends = [[each[end] for each in told] for end in ("mean", "low", "high")]
    seeds = [Seed(0, "estimate", *ends)]
    return Curve(
        label, [k + shift for k in range(len(told))], seeds, COLOURS[at], "none", MARKERS[at]
    )


def _plain(label: str, x: Sequence[float], values: Sequence[float | None], at: int) -> Curve:
    """A formula: no seeds, dashed."""
    return Curve(label, list(x), [Seed(0, "formula", list(values))], COLOURS[at], "dash")


def _told(found: Found) -> str:
    s = found["settings"]
    return (
        f"Cell with h = {s['nodes']} nodes, m = {s['channels']} channels, n = {s['samples']} "
        f"images of {s['dataset']}, {s['activation']}, skip = convolution = {s['weight']:.3g} on "
        f"every edge unless the axis says otherwise; {s['steps']} steps, {s['seeds']} seeds."
    )


def _bound(found: Found) -> Figure:
    seeds = found["seeds"]
    samples = [row["samples"] for row in seeds[0]["bound"]]
    places = range(len(samples))
    panel = Panel(
        "least loss decrease in a step over eta lambda_min(G)",
        "(1 - F(k+1) / F(k)) / (eta lambda)",
        [
            _curve(found, words, places, [[r["margin"][t] for r in s["bound"]] for s in seeds], k)
            for k, (t, words) in enumerate(
                {"slowest": "slowest direction", "labels": "classes as targets"}.items()
            )
        ]
        + [_plain("bound with 1/n", places, [1 / (4 * n) for n in samples], 2)],
        lines=[Line("1/4: the printed bound", 0.25, "dot")],
        x="samples n",
        log=True,
        ticks=[str(n) for n in samples],
    )
    widths = [row["channels"] for row in seeds[0]["drift"]]
    moved = Panel(
        "largest ||G(k) - G(0)|| over lambda_min(G(0))",
        "drift / lambda_min",
        [
            _curve(
                found,
                words,
                range(len(widths)),
                [[row[q] for row in seed["drift"]] for seed in seeds],
                k,
            )
            for k, (q, words) in enumerate(OPTIMIZERS.items())
        ],
        lines=[Line("1/2: what the proof allows", 0.5, "dot")],
        x="channels m",
        log=True,
        ticks=[str(m) for m in widths],
    )
    return Figure(
        "One step against the bound",
        [Row("", [panel], "first residual"), Row("", [moved], "optimizer")],
        _told(found),
    )


def _elasticity(found: Found) -> Figure:
    seeds, settings = found["seeds"], found["settings"]
    cell = uniform(settings["nodes"], 1, "tanh", settings["weight"], settings["weight"])
    betas = [row["auxiliary"] for row in seeds[0]["auxiliary"]]
    weights = [row["skip weight"] for row in seeds[0]["weights"]]

    def measured(section: str, kind: str, name: str, label: str, at: int) -> Curve:
        places = range(len(seeds[0][section]))
        return _curve(
            found,
            label,
            places,
            [[row["elasticity"][kind][name] for row in seed[section]] for seed in seeds],
            at,
        )

    by_weight = [
        Panel(
            f"elasticity in {words}",
            "% per %",
            [
                measured("weights", kind, "gd", "measured rate, gradient descent", 0),
                measured("weights", kind, "lambda_min", "lambda_min(G(0))", 1),
                measured("weights", kind, "last convolutions", "the part the theorem keeps", 2),
                _plain(
                    "phi as printed",
                    range(len(weights)),
                    [
                        seeds[0]["weights"][k]["elasticity"][kind]["phi, deck"]
                        for k in range(len(weights))
                    ],
                    3,
                ),
            ],
            x="skip = convolution weight",
            scale="elasticity",
            ticks=[f"{b:.2g}" for b in weights],
        )
        for kind, words in (("skip", "skip"), ("conv", "convolution"))
    ]
    theory = [formula.phi(cell, beta) for beta in betas]
    by_auxiliary = Panel(
        "elasticity in skip, with an auxiliary skip",
        "% per %",
        [
            measured("auxiliary", "skip", "gd", "measured rate, gradient descent", 0),
            measured("auxiliary", "skip", "lambda_min", "lambda_min(G(0))", 1),
            *(
                _plain(
                    f"phi, {words}",
                    range(len(betas)),
                    [each[name].skip_elasticity for each in theory],
                    k,
                )
                for k, (name, words) in enumerate(READING.items(), start=3)
            ),
        ],
        x="auxiliary weight",
        ticks=[f"{beta:g}" for beta in betas],
    )
    measured_at = estimates(found)["auxiliary"][0]["elasticity"]["skip"]
    by_optimizer = Panel(
        "elasticity of the rate in skip",
        "% per %",
        [
            _points(
                words,
                [measured_at[f"{q}{suffix}"] for suffix in ("", AT_EQUAL_LOSS)],
                k,
                (k - 1) / 20,
            )
            for k, (q, words) in enumerate(OPTIMIZERS.items())
        ],
        x="compared at",
        ticks=["equal steps", "equal loss"],
    )
    return Figure(
        "What the rate depends on",
        [
            Row("Without an auxiliary skip", by_weight, ""),
            Row("With one (H13)", [by_auxiliary], ""),
            Row("By optimizer, equally fast in the first step (H9)", [by_optimizer], "optimizer"),
        ],
        _told(found),
    )


def unequal_weights(weight: float) -> Figure:
    """Where phi of a cell of four nodes depends more on skip than on convolution.

    Args:
        weight: of the convolution from node 0 to the last; it cancels.
    """
    axis = np.linspace(-MAP_ENDS, MAP_ENDS, MAP_POINTS)
    values = np.array([[_difference(2.0**x, 2.0**y, weight) for y in axis] for x in axis])
    panel = Panel(
        "elasticity of phi in skip minus in convolution, h = 4",
        "log2 skip weight",
        x="log2 (convolution 2->3 / convolution 0->3)",
        grid=Grid(axis.tolist(), values, "% per %", "RdBu"),
        remarks=["blue: phi depends more on skip, where ratio x skip^2 > 1"],
    )
    return Figure(
        "Unequal weights",
        [Row("", [panel])],
        "Skip weights are equal; the convolution from node 1 to the last is the geometric mean of "
        "the other two. At equal convolutions (x = 0) the sign changes at a skip weight of 1.",
    )


def _difference(ratio: float, skip: float, weight: float) -> float:
    base = uniform(4, 1, "tanh", skip, weight)
    last = {(0, 3): weight, (1, 3): weight * math.sqrt(ratio), (2, 3): weight * ratio}
    cell = Cell(1, "tanh", base.skip, {**base.conv, **last})
    found = formula.phi(cell)["deck"]
    assert found.skip_elasticity is not None
    assert found.conv_elasticity is not None
    return found.skip_elasticity - found.conv_elasticity


def _predictors(found: Found) -> Figure:
    settings = found["settings"]
    cells = estimates(found)["cells"]
    ranks = Panel(
        "Spearman's correlation with the measured rate",
        "1",
        [
            _points(
                f"{settings['cells']} random cells per seed, {settings['seeds']} seeds",
                [cells[name] for name in PREDICTORS],
                0,
            )
        ],
        x="predictor",
        ticks=list(PREDICTORS.values()),
    )
    steps = range(settings["steps"] + 1)
    panels = []
    for how in found["seeds"][0]["shares"]:
        losses = [seed["shares"][how] for seed in found["seeds"]]
        curves = []
        for k, share in enumerate(losses[0]):
            values = [[loss / of[share][0] for loss in of[share]] for of in losses]
            drawn = _curve(found, f"{100 * float(share):g} % skips", steps, values, k)
            curves.append(replace(drawn, marker=""))  # at every step they would hide the curve
        panels.append(Panel(f"train loss, {how}", "F / F(0)", curves, x="step"))
    return Figure(
        "What foretells the rate",
        [Row("", [ranks]), Row("Convolutions turned into skips, h = 6", panels, "share")],
        _told(found),
    )


def skips(found: Found) -> Figure:
    """Train loss by epoch of supernets with a part of their operations turned into skips.

    Args:
        found: as `optnas.theory.skips.skips` returns it.
    """
    s = found["settings"]
    epochs = range(1, s["epochs"] + 1)
    curves = [
        _curve(
            found,
            f"{100 * float(share):g} % skips",
            epochs,
            [seed["losses"][share] for seed in found["seeds"]],
            k,
        )
        for k, share in enumerate(found["estimates"])
    ]
    return Figure(
        "Operations turned into skips",
        [Row("", [Panel("train loss", "nats", curves, x="epoch")], "share")],
        f"Supernets of {3 * s['cells'] + 2} cells, {s['channels']} channels, eight edges of 3x3 "
        f"convolutions or skips; {s['images']} images of {s['dataset']}, SGD at {s['lr']:g}, "
        f"{s['seeds']} seeds.",
    )


def noise(found: Found) -> Figure:
    """Tail indices beside those of Gaussian surrogates, and rises of the loss, by weight optimizer.

    Args:
        found: as `optnas.theory.compared.compared` returns it.
    """
    panels = [
        _by_optimizer(found, "tail index of the gradient noise", "alpha", TAILS),
        _by_optimizer(found, "rise of the train loss around w", "nats", RISES),
    ]
    if all(run["values"][name] is not None for run in found["runs"] for name in MOVES):
        moved = "rise of the train loss, w moved by 5 % of its norm"
        panels.append(replace(_by_optimizer(found, moved, "nats", MOVES), log=True))
    return Figure(
        "Noise and flatness of w",
        [Row("", [panel], "optimizer of w") for panel in panels],
        f"{len(found['runs'])} runs at the last epoch that was measured; bars: exact 95 % "
        "intervals over seeds. Gaussian: noise of the same standard deviation on each coordinate.",
    )


def _by_optimizer(found: Found, title: str, unit: str, names: Mapping[str, str]) -> Panel:
    curves = []
    for k, optimizer in enumerate(sorted({run["weight_optimizer"] for run in found["runs"]})):
        of_one = [run for run in found["runs"] if run["weight_optimizer"] == optimizer]
        told = [estimate([run["values"][name] for run in of_one]) for name in names]
        colour = pair_look(f"{optimizer} + Adam")[0]
        curves.append(replace(_points(optimizer, told, k, (k - 0.5) / 10), colour=colour))
    return Panel(title, unit, curves, x="", ticks=list(names.values()))
