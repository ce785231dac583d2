"""The convergence theorem of PR-DARTS before measurements: what one seed's cells do.

Everything a seed finds is plain numbers; `optnas.theory.judged` makes estimates and verdicts of
several seeds. Samples, initial parameters and random cells belong to the seed; cells that are
compared share them.

Shapes: N samples.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from optnas.base.errors import UserError, did_you_mean
from optnas.base.seeds import named_generator
from optnas.theory import descent, formula, inputs, width
from optnas.theory.cell import (
    Cell,
    Gram,
    Parameters,
    Problem,
    edges_of,
    gram,
    least,
    mean_squared,
    separation,
    uniform,
)
from optnas.theory.descent import Start, centred, matched_rate, stable_rate, train

Found = dict[str, Any]
SMOOTH = ("softplus", "tanh")  # and no polynomials, as the theorem asks
AUXILIARIES = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
WEIGHTS = (0.2, 1 / 3, 0.6, 0.9)
SAMPLES = (4, 6, 8, 10, 12, 16, 24)
WIDTHS = (8, 16, 32, 64)
SHARES = (0.0, 0.375, 0.625)  # of operations turned into skips
SHARED_NODES = 6
BRANCHED_NODES = (4, 6)
AT_EQUAL_LOSS = ", at equal loss"
FEW = 10  # steps along the slowest direction: its rate is there at once
DECIDES = 72  # draws without a failure that put a rate below 0.05 with 95 % confidence


@dataclass(frozen=True)
class Settings:
    """What a test of the theorem is run with.

    Attributes:
        dataset: where the images come from.
        side: their height and width after shrinking, in pixels.
        nodes: h.
        channels: m.
        samples: n.
        activation: sigma, one of `SMOOTH`.
        weight: of skip and of convolution on every edge; a third is the softmax of three equal
            logits.
        steps: of training.
        cells: random cells whose rates are ranked.
        seeds: how many; six are the fewest that give an interval of 95 %.
    """

    dataset: str = "digits"
    side: int = 4
    nodes: int = 4
    channels: int = 16
    samples: int = 12
    activation: str = "softplus"
    weight: float = 1 / 3
    steps: int = 40
    cells: int = 24
    seeds: int = 6

    def check(self) -> None:
        """Refuse what cannot be run.

        Raises:
            UserError: a value is out of range or unknown.
        """
        inputs.check_least(self, side=2, nodes=3, channels=1, samples=2, steps=2, cells=4, seeds=1)
        if self.weight <= 0:
            raise UserError(
                "is a positive weight", key="--weight", value=self.weight, remedy="raise it"
            )
        if self.activation not in SMOOTH:
            raise UserError(
                "no such activation",
                key="--activation",
                value=self.activation,
                remedy=did_you_mean(self.activation, SMOOTH),
            )

    def cell(self, skip: float | None = None, conv: float | None = None) -> Cell:
        """The cell with equal weights on all edges."""
        chosen = [self.weight if each is None else each for each in (skip, conv)]
        return uniform(self.nodes, self.channels, self.activation, *chosen)


class Seed:
    """One seed's samples, and where its cells begin."""

    def __init__(self, settings: Settings, folder: Path | None, seed: int):
        self.settings = settings
        self.seed = seed
        self.dataset = inputs.opened(settings.dataset, folder)

    def start(self, samples: int | None = None, draw: int = 0) -> Start:
        """A problem of some samples, and initial parameters; further draws are independent."""
        count = self.settings.samples if samples is None else samples
        generator = named_generator(self.seed, f"theory-samples-{count}-{draw}")
        problem = inputs.problem(self.dataset, count, self.settings.side, generator)
        initial = named_generator(self.seed, f"theory-initial-{draw}").initial_seed()
        return Start(problem, initial)


def of_seed(settings: Settings, folder: Path | None, seed: int) -> Found:
    """All that one seed finds.

    Args:
        settings: the sizes.
        folder: the data folder.
        seed: of samples, initial parameters and random cells.

    Returns:
        Plain numbers by section.
    """
    torch.set_num_threads(1)
    one = Seed(settings, folder, seed)
    return {
        "seed": seed,
        "bound": [bound(one, count) for count in bound_samples(settings)],
        "draws": [
            bound(one, settings.samples, draw)
            for draw in range(math.ceil(DECIDES / settings.seeds))
        ],
        "blocks": blocks(one),
        "drift": [drift(one, channels) for channels in WIDTHS],
        "infinite width": {
            "head": least(width.heads(settings.cell(), one.start().problem.images_NCP)[-1])
        },
        "weights": [sensitivity(one, settings.cell(b, b), 0.0, ("gd",)) for b in WEIGHTS],
        "auxiliary": [
            sensitivity(
                one, settings.cell(), beta, tuple(descent.OPTIMIZERS) if beta == 0 else ("gd",)
            )
            for beta in AUXILIARIES
        ],
        "sizes": sizes(one),
        "cells": ranked(one),
        "shares": shares(one),
        "branches": [branches(one, nodes) for nodes in BRANCHED_NODES],
        "controls": controls(one),
    }


def bound_samples(settings: Settings) -> list[int]:
    """Numbers of samples at which the bound is tested."""
    return sorted({*SAMPLES, settings.samples})


# --- the bound --------------------------------------------------------------------------------


def bound(one: Seed, samples: int, draw: int = 0) -> Found:
    """`bound_of` at the chosen cell, for a number of samples."""
    return bound_of(one.settings.cell(), one.start(samples, draw), one.settings.steps)


def bound_of(cell: Cell, start: Start, steps: int) -> Found:
    """How much one step of gradient descent lowers the loss, over eta times a lambda.

    ``slowest`` begins with the residual along the eigenvector of lambda_min(G(0)), ``labels`` with
    the classes as targets. ``margin`` is the least of (1 - F(k+1) / F(k)) / (eta lambda_min(G(0)))
    over steps k >= 1: the printed factor 1 - eta lambda / 4 fails where it is below 1 / 4, the
    factor with 1 / n where n times it is. ``formula`` is lambda_min(K) phi over lambda_min(G(0)).

    Args:
        cell: sizes and weights.
        start: problem and initial parameters.
        steps: for ``labels``; with fewer than two there is no such margin.
    """
    samples = len(start.problem.targets_N)
    whole = gram(cell, start.parameters(cell), start.problem.images_NCP).whole
    values, vectors = torch.linalg.eigh(whole)
    smallest, rate = float(values[0]), 0.5 * samples / float(values[-1])
    apart = separation(start.problem.images_NCP)
    begins = {"slowest": (centred(cell, start, vectors[:, 0]), FEW), "labels": (start, steps)}
    return {
        "samples": samples,
        "lambda_min": smallest,
        "lambda_max": float(values[-1]),
        "separation": apart,
        "rate": rate,
        "formula": apart * formula.phi(cell)["deck"].phi / smallest,
        "margin": {
            name: _margin(train(cell, begin, "gd", rate, count).losses, rate * smallest)
            for name, (begin, count) in begins.items()
            if count > 1
        },
    }


def _margin(losses: Sequence[float], scale: float) -> float:
    later = losses[1:]
    return min(1 - after / before for before, after in itertools.pairwise(later)) / scale


def blocks(one: Seed) -> Found:
    """lambda_min of G and of its blocks before training and after it, by gradient descent."""
    settings, start, cell = one.settings, one.start(), one.settings.cell()
    trained = train(cell, start, "gd", stable_rate(cell, start), settings.steps)
    return {
        when: _eigenvalues(gram(cell, parameters, start.problem.images_NCP))
        for when, parameters in (
            ("before", start.parameters(cell)),
            ("after", trained.parameters),
        )
    }


def _eigenvalues(found: Gram) -> Found:
    named = {
        "G": found.whole,
        "stem": found.stems[0],
        "convolutions into the last node": found.last_convolutions,
        **{f"convolution {source}->{target}": g for (source, target), g in found.conv.items()},
        **{f"head {node}": g for node, g in enumerate(found.heads)},
    }
    return {name: least(each) for name, each in named.items()}


def drift(one: Seed, channels: int) -> Found:
    """The largest ||G(k) - G(0)||_2 / lambda_min(G(0)) over training, by optimizer."""
    settings, start = one.settings, one.start()
    cell = replace(settings.cell(), channels=channels)
    at_start = gram(cell, start.parameters(cell), start.problem.images_NCP)
    rate, smallest = stable_rate(cell, start), least(at_start.whole)
    found: Found = {
        "channels": channels,
        "lambda_min": smallest,
        "head": least(at_start.heads[-1]),
    }
    every = max(1, settings.steps // 10)
    for name in descent.OPTIMIZERS:
        moved: list[float] = []

        def watch(step: int, parameters: Parameters, moved: list[float] = moved) -> None:
            if step % every == 0:
                now = gram(cell, parameters, start.problem.images_NCP).whole
                difference = torch.linalg.matrix_norm(now - at_start.whole, 2)
                moved.append(float(difference) / smallest)

        of_one = matched_rate(cell, start, name, rate)
        train(cell, start, name, of_one, settings.steps, watch)
        found[name] = max(moved)
    return found


# --- what the rate depends on -----------------------------------------------------------------


def sensitivity(
    one: Seed,
    cell: Cell,
    auxiliary: float,
    optimizers: Sequence[str],
    *,
    start: Start | None = None,
    steps: int | None = None,
) -> Found:
    """Elasticities in skip and convolution weights: of phi, lambda_min, and measured rates.

    Rates are decreases of log F per step, from residuals that are the labels; at equal loss they
    are 1 over the steps to the loss at which the slowest optimizer has done half its work. The
    learning rate is chosen at the cell itself and held while its weights move; that of Adam lowers
    the loss in its first step as much as gradient descent does.
    """
    begin = one.start() if start is None else start
    count = one.settings.steps if steps is None else steps
    here = cell.scaled(auxiliary=auxiliary)
    aim, rate = centred(here, begin), stable_rate(here, begin)
    rates = {name: matched_rate(here, aim, name, rate) for name in optimizers}
    work = min(train(here, aim, name, rates[name], count).decrease for name in optimizers)
    level = math.exp(-work * count / 2) * float(mean_squared(begin.problem.targets_N))

    def quantities(moved: Cell) -> Mapping[str, float]:
        found = gram(moved, begin.parameters(moved), begin.problem.images_NCP)
        aimed = centred(moved, begin)
        trained = {name: train(moved, aimed, name, rates[name], count) for name in rates}
        return {
            "lambda_min": least(found.whole),
            "last convolutions": least(found.last_convolutions),
            **{name: each.decrease for name, each in trained.items()},
            **{f"{name}{AT_EQUAL_LOSS}": each.speed(level) for name, each in trained.items()},
        }

    measured = descent.elasticities(quantities, cell, auxiliary)
    theory = formula.phi(cell, auxiliary)
    for reading, each in theory.items():
        assert each.skip_elasticity is not None
        assert each.conv_elasticity is not None
        measured["skip"][f"phi, {reading}"] = each.skip_elasticity
        measured["conv"][f"phi, {reading}"] = each.conv_elasticity
    return {
        "skip weight": next(iter(cell.skip.values())),
        "auxiliary": auxiliary,
        "rates": rates,
        "elasticity": measured,
        "update": descent.update_sensitivity(cell, begin, auxiliary),
    }


def varied(settings: Settings) -> dict[str, Settings]:
    """Other sizes, one changed at a time, by what is changed."""
    other = "tanh" if settings.activation == "softplus" else "softplus"
    return {
        **{f"h = {h}": replace(settings, nodes=h) for h in (3, 6) if h != settings.nodes},
        f"m = {2 * settings.channels}": replace(settings, channels=2 * settings.channels),
        **{f"n = {n}": replace(settings, samples=n) for n in (6, 24) if n != settings.samples},
        other: replace(settings, activation=other),
    }


def sizes(one: Seed) -> Found:
    """Elasticities at other sizes, after half of the steps."""
    found = {}
    for name, settings in varied(one.settings).items():
        start, steps = one.start(settings.samples), settings.steps // 2
        found[name] = [
            sensitivity(one, settings.cell(), beta, ("gd", "adam"), start=start, steps=steps)
            for beta in (0.0, 1.0)
        ]
    return found


# --- what foretells the rate ------------------------------------------------------------------


def ranked(one: Seed) -> Found:
    """Random cells: Spearman's correlation of predictors with the measured rate.

    The weights of every edge are drawn from the simplex of the three operations; all cells are
    trained with one learning rate, stable for all.
    """
    settings, start = one.settings, one.start()
    generator = named_generator(one.seed, "theory-cells")
    cells = [_random(settings, generator) for _ in range(settings.cells)]
    rate = min(stable_rate(cell, start) for cell in cells)
    rows = []
    for cell in cells:
        found = gram(cell, start.parameters(cell), start.problem.images_NCP)
        count = len(cell.skip)
        wide = width.heads(cell, start.problem.images_NCP)
        rows.append(
            {
                **{f"phi, {name}": each.phi for name, each in formula.phi(cell).items()},
                "lambda_min": least(found.whole),
                "last convolutions": least(found.last_convolutions),
                "last node (NNGP)": least(found.heads[-1]),
                "last node, infinite width": least(wide[-1]),
                "all nodes, infinite width": least(torch.stack(wide).sum(0)),
                "trace": float(found.whole.trace()),
                "mean skip": sum(cell.skip.values()) / count,
                "mean convolution": sum(cell.conv.values()) / count,
                "rate": train(cell, centred(cell, start), "gd", rate, settings.steps).decrease,
            }
        )
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    rates = columns.pop("rate")
    return {
        name: float(stats.spearmanr(column, rates).statistic) for name, column in columns.items()
    }


def _random(settings: Settings, generator: torch.Generator) -> Cell:
    edges = edges_of(settings.nodes)
    draws = torch.rand(len(edges), 3, generator=generator, dtype=torch.float64)
    exponential = -draws.log()  # normalised, they are uniform on the simplex
    weights = (exponential / exponential.sum(1, keepdim=True)).tolist()
    skip = {edge: row[1] for edge, row in zip(edges, weights, strict=True)}
    conv = {edge: row[2] for edge, row in zip(edges, weights, strict=True)}
    return Cell(settings.channels, settings.activation, skip, conv)


def shares(one: Seed) -> Found:
    """Loss by step of cells whose operations are convolutions, a part turned into skips.

    ``one rate`` is one learning rate for all, stable for each; ``own rates`` are each cell's own,
    half as large as a linear model would bear. The parts are nested.
    """
    settings, start = one.settings, one.start()
    edges = edges_of(SHARED_NODES)
    order = torch.randperm(len(edges), generator=named_generator(one.seed, "theory-shares"))
    cells = []
    for share in SHARES:
        turned = {edges[k] for k in order[: round(share * len(edges))].tolist()}
        skip = {edge: float(edge in turned) for edge in edges}
        conv = {edge: float(edge not in turned) for edge in edges}
        cells.append(Cell(settings.channels, settings.activation, skip, conv))
    own = [stable_rate(cell, start) for cell in cells]
    return {
        name: {
            f"{share:g}": train(cell, centred(cell, start), "gd", rate, settings.steps).losses
            for share, cell, rate in zip(SHARES, cells, rates, strict=True)
        }
        for name, rates in (("one rate", [min(own)] * len(own)), ("own rates", own))
    }


def branches(one: Seed, nodes: int) -> Found:
    """A cell of two branches against the deep cell of as many nodes: logarithms of ratios.

    ``shallow`` is `Cell.branched`, ``stem only`` the deep cell with the second stem and all edges.
    ``rate`` has one learning rate for all three, stable for each; ``own rate`` each cell's own.
    """
    settings, start = one.settings, one.start()
    deep = uniform(nodes, settings.channels, settings.activation, settings.weight, settings.weight)
    cells = {
        "deep": deep,
        "shallow": deep.branched(),
        "stem only": deep.branched(cut=False),
    }
    own = {name: stable_rate(cell, start) for name, cell in cells.items()}
    logs = {}
    for name, cell in cells.items():
        found = gram(cell, start.parameters(cell), start.problem.images_NCP)
        aimed = centred(cell, start)
        quantities = {
            "lambda_min": least(found.whole),
            "last convolutions": least(found.last_convolutions),
            "rate": train(cell, aimed, "gd", min(own.values()), settings.steps).decrease,
            "own rate": train(cell, aimed, "gd", own[name], settings.steps).decrease,
        }
        logs[name] = {key: math.log(value) for key, value in quantities.items()}
    first = logs.pop("deep")
    differences = {
        name: {key: value - first[key] for key, value in of.items()} for name, of in logs.items()
    }
    return {"nodes": nodes, **differences}


def controls(one: Seed) -> Found:
    """What should make lambda_min vanish, and what should not, over its value without."""
    settings, start, cell = one.settings, one.start(), one.settings.cell()

    def smallest(of: Cell, images_NCP: Tensor) -> float:
        begin = start._replace(problem=Problem(images_NCP, start.problem.targets_N))
        return least(gram(of, begin.parameters(of), images_NCP).whole)

    images_NCP = start.problem.images_NCP
    twice_NCP, opposite_NCP = images_NCP.clone(), images_NCP.clone()
    twice_NCP[1], opposite_NCP[1] = images_NCP[0], -images_NCP[0]
    many_NCP = one.start(images_NCP[0].numel() + 4).problem.images_NCP
    plain = smallest(cell, images_NCP)
    return {
        "lambda_min": plain,
        "a sample twice": smallest(cell, twice_NCP) / plain,
        "a sample and its negative": smallest(cell, opposite_NCP) / plain,
        "no skips": smallest(settings.cell(skip=0.0), images_NCP) / plain,
        "more samples than pixels, linear": smallest(replace(cell, activation="identity"), many_NCP)
        / plain,
        f"more samples than pixels, {settings.activation}": smallest(cell, many_NCP) / plain,
    }


# --- how long it takes ------------------------------------------------------------------------


def estimated_seconds(settings: Settings, folder: Path | None) -> float:
    """About how long one seed takes on one core: steps of every size are timed and counted."""
    one = Seed(settings, folder, 0)

    def step(chosen: Settings) -> float:
        start, cell = one.start(chosen.samples), chosen.cell()
        began = time.process_time()
        train(cell, start, "gd", 1e-6, 2)
        return (time.process_time() - began) / 3

    step(settings)  # the first steps of a process are slower
    full, here = settings.steps, step(settings)
    by_samples = [step(replace(settings, samples=n)) for n in bound_samples(settings)]
    by_width = [step(replace(settings, channels=m)) for m in WIDTHS]
    chosen = math.ceil(DECIDES / settings.seeds) * (full + FEW)
    chosen += 4 * full * (len(WEIGHTS) + len(AUXILIARIES) + 2) + settings.cells * full
    return (
        here * chosen
        + sum(by_samples) * (full + FEW)
        + sum(by_width) * 3 * (full + 30)
        + sum(step(other) for other in varied(settings).values()) * 2 * (4 * full + 30)
        + step(replace(settings, nodes=SHARED_NODES)) * 6 * full
        + sum(step(replace(settings, nodes=h)) for h in BRANCHED_NODES) * 6 * full
    )


def convergence(settings: Settings, folder: Path | None, jobs: int) -> Found:
    """Run every seed.

    Args:
        settings: the sizes.
        folder: the data folder; default: the variable OPTNAS_DATA.
        jobs: seeds side by side, each on one core.

    Returns:
        As `optnas.theory.inputs.run_seeds`.

    Raises:
        UserError: a setting is out of range.
    """
    return inputs.run_seeds(of_seed, settings, folder, jobs)
