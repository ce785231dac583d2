"""PR-DARTS beside a twin in plain numbers: gates, their derivative, the penalty.

Beside salesforce/PR-DARTS, 732bf43: 1.7e-16. Ten steps of its search loop on its network (two
channels, three layers, both kinds of cell) in double precision, handed the same numbers and the
same order of ties, with and without dropout of gates, and with the penalty 100 times as heavy: the
largest difference of alpha and w. Gradients were not clipped: published code counts alpha's.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from test_published import NONE
from torch import Tensor
from torch.testing import assert_close

from optnas.algorithms.base import Draw, Progress
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.pr_darts import hard_concrete, pr_darts
from optnas.base.errors import UserError
from optnas.spaces import build_space
from optnas.spaces.base import Space, Wiring

EDGES = ((0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
KINDS = (Wiring("normal", 4, EDGES, inputs=2), Wiring("reduce", 4, EDGES, inputs=2))
OPERATIONS = ("none", "pool", "skip", "conv", "wide", "mean")
TWO = Space.of_wirings("two", KINDS, OPERATIONS, none=0, skip=2, weighted=(3, 4))
ONE = build_space({"name": "nas-bench-201"})
spaces = pytest.mark.parametrize("space", [ONE, TWO], ids=["one kind", "two kinds"])
readings = pytest.mark.parametrize("reading", ["published", "paper"])
SEED, DROPOUT, NOW = 4, 0.3, Progress(2, 3, Draw(4))
TAU = 1 + (0.1 - 1) / 2


def alpha(space: Space) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (space.edge_count, space.operation_count)
    return 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)


def gates_by_hand(row: list[float], u: list[float]) -> list[tuple[float, float] | None]:
    """Of each operation its gate and the gate's derivative, None if it is not drawn."""
    gates, ranks = [], []
    for a, number in zip(row, u, strict=True):
        s = 1 / (1 + math.exp(-(a + math.log(number / (1 - number))) / TAU))
        stretched = 1.2 * s - 0.1
        cut = not 0 < stretched < 1
        gates.append((min(1.0, max(0.0, stretched)), 0.0 if cut else 1.2 * s * (1 - s) / TAU))
        dropped = number * 2**20 % 1 < DROPOUT
        ranks.append((gates[-1][0] - dropped, number * 2**36 % 1))
    best = sorted(range(len(row)), key=lambda o: ranks[o], reverse=True)[:2]
    return [gates[o] if o in best else None for o in range(len(row))]


@spaces
@readings
def test_gates_and_their_derivative(space: Space, reading: Any) -> None:
    alpha_EO = alpha(space).requires_grad_()
    u_EO = torch.rand(
        alpha_EO.shape, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64
    )
    found_EO = hard_concrete(1.0, 0.1, 2, DROPOUT, reading, space=space)(alpha_EO, NOW)
    (slope_EO,) = torch.autograd.grad(found_EO.sum(), alpha_EO)
    saturated = 0
    for row, u, weights, slopes in zip(
        alpha_EO.tolist(), u_EO.tolist(), found_EO.tolist(), slope_EO.tolist(), strict=True
    ):
        drawn = gates_by_hand(row, u)
        saturated += sum(each is not None and each[1] == 0 for each in drawn)
        values = [0.0 if g is None else 1.0 if reading == "published" else g[0] for g in drawn]
        assert weights == pytest.approx(values, abs=1e-12)
        assert slopes == pytest.approx([0.0 if g is None else g[1] for g in drawn], abs=1e-12)
    assert 0 < saturated < 2 * space.edge_count


def test_a_dropped_gate_is_drawn_before_an_open_one_only_where_they_tie() -> None:
    """At a low temperature, where gates are cut: a dropped 1 ties with an open 0, as published."""
    relax, ties = hard_concrete(0.1, 0.1, 2, 0.4, space=ONE), 0
    alpha_EO = torch.zeros(6, 5, dtype=torch.float64)
    for seed in range(300):
        drawn_EO = relax(alpha_EO, Progress(1, 2, Draw(seed))) > 0
        u_EO = Draw(seed).uniform(alpha_EO)
        gate_EO = (-0.1 + 1.2 * ((u_EO.log() - (1 - u_EO).log()) / 0.1).sigmoid()).clamp(0, 1)
        dropped_EO = (u_EO * 2**20).frac() < 0.4
        for gates, dropped, drawn in zip(gate_EO, dropped_EO, drawn_EO, strict=True):
            before = [float(g) for g in gates[drawn & dropped]]
            behind = [float(g) for g in gates[~drawn & ~dropped]]
            if before and behind:
                ties += 1
                assert set(before) == {1.0}
                assert set(behind) == {0.0}
    assert ties > 50  # of 1,800 edges


def penalty_by_hand(space: Space, reading: str, on: Any, drawn: Any) -> float:
    """With weights 3, 2 and 5 of skips, others and path, and a threshold of 0.6."""
    first, names, cells = 0, space.operations, []
    skip = space.skip
    pools = [o for o, name in enumerate(names) if "pool" in name or name == "mean"]
    convs = [o for o, name in enumerate(names) if "conv" in name or name == "wide"]
    for wiring in space.wirings:
        rows = range(first, first + len(wiring.edges))
        first = rows.stop

        def mean(operations: list[int], rows: Any = rows) -> float:
            found = [
                on[e][o] for e in rows for o in operations if reading == "paper" or drawn[e][o]
            ]
            return sum(found) / len(found) if found else 0.0

        factors = []
        for e, (source, target) in zip(rows, wiring.edges, strict=True):
            if target != source + 1:
                continue
            if reading == "paper":
                factors.append(sum(on[e][o] for o in convs))
            elif any(drawn[e][o] for o in convs):
                factors.append(mean(convs, [e]))
        depth = math.prod(factors) if factors else 0.0
        rest = [0, *convs]
        cells.append((mean([skip]), mean([*pools, *rest]), mean(pools), mean(rest), depth))
    skips, others, pooled, kept, depth = (sum(x) / len(cells) for x in zip(*cells, strict=True))
    if reading == "paper":
        return 3 * skips + 2 * others - 5 * depth
    over = [max(0.0, x - 0.6) for x in (skips, pooled, kept)]
    return 3 * over[0] + 2 * over[1] + 2 * over[2] - 5 * depth


@spaces
@readings
def test_the_penalty_and_its_gradient(space: Space, reading: Any) -> None:
    given = Hypergradient(torch.ones(space.edge_count, space.operation_count).double())
    algorithm = pr_darts(
        skip=3, others=2, path=5, threshold=0.6, reading=reading, dropout=DROPOUT, space=space,
        hypergradient=lambda *_: given,
    )  # fmt: skip
    alpha_EO = alpha(space)
    problem = Bilevel(**{**NONE, "weights": {}, "update": False, "progress": NOW})
    drawn = (algorithm.relax(alpha_EO, NOW) != 0).tolist()

    def value(alpha_EO: Tensor) -> float:
        on_EO = (alpha_EO - TAU * math.log(0.1 / 1.1)).sigmoid()
        return penalty_by_hand(space, reading, on_EO.tolist(), drawn)

    found = algorithm.hypergradient(problem, alpha_EO, lambda a: algorithm.relax(a, NOW))
    assert found.penalty is not None
    assert found.gradient_EO is not None
    assert float(found.penalty) == pytest.approx(value(alpha_EO), abs=1e-12)
    expected_EO, step = torch.ones_like(alpha_EO), 1e-6
    for e in range(space.edge_count):
        for o in range(space.operation_count):
            ends = []
            for sign in (1, -1):
                moved_EO = alpha_EO.clone()
                moved_EO[e, o] += sign * step
                ends.append(value(moved_EO))
            expected_EO[e, o] += (ends[0] - ends[1]) / (2 * step)
    assert_close(found.gradient_EO, expected_EO, rtol=1e-6, atol=1e-8)


def test_digits_of_a_draw_are_further_uniform_numbers() -> None:
    """An operation whose gate is always 1 beside four that are always 0, at a dropout of 0.4.

    Dropped, it is level with the n others that are not: it is one of the two drawn with
    probability min(1, 2 / (n + 1)), n binomial.
    """
    alpha_EO = torch.full((6, 5), -30.0, dtype=torch.float64)
    alpha_EO[:, 3] = 30.0
    relax, draws = hard_concrete(dropout=0.4, space=ONE), 3000
    counts_EO = sum((relax(alpha_EO, Progress(1, 3, Draw(k))) != 0).double() for k in range(draws))
    level = sum(math.comb(4, n) * 0.6**n * 0.4 ** (4 - n) * min(1, 2 / (n + 1)) for n in range(5))
    shares = (counts_EO.mean(0) / draws).tolist()  # type: ignore[union-attr]
    assert shares[3] == pytest.approx(0.6 + 0.4 * level, abs=0.01)
    others = [share for o, share in enumerate(shares) if o != 3]
    assert others == pytest.approx([(2 - shares[3]) / 4] * 4, abs=0.01)


def test_it_is_judged_without_a_draw() -> None:
    judged_EO = hard_concrete(active=3, space=TWO)(alpha(TWO), Progress(1, 3))
    on_EO = (alpha(TWO) - math.log(0.1 / 1.1)).sigmoid()
    assert_close(judged_EO, 3 * on_EO / on_EO.sum(-1, keepdim=True))
    with pytest.raises(UserError, match="an edge of two has 6 operations"):
        hard_concrete(active=7, space=TWO)
