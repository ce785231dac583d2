"""Mass, share and phi against loops, torch's derivatives, finite differences and known answers."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import tiny_settings
from torch import Tensor

from optnas.base import registry
from optnas.measures.operations.measure import operations
from optnas.measures.operations.phi import READINGS, holds, rate
from optnas.search.observe import snapshot_of
from optnas.search.state import build_state
from optnas.spaces import NAS_BENCH_201
from optnas.spaces.base import Space

READ = pytest.mark.parametrize("reading", READINGS)


def complete(nodes: int) -> Space:
    """A cell with every edge, of zero, skip and two convolutions."""
    edges = tuple((s, t) for t in range(1, nodes) for s in range(t))
    return Space("complete", nodes, edges, ("none", "skip", "a", "b"), 0, 1, (2, 3))


def slow_phi(space: Space, reading: str, a2_E: Tensor, conv_EO: Tensor) -> Tensor:
    """Straight from the formulae; the path sum goes through every path one by one."""
    a2 = {edge: a2_E[i] for i, edge in enumerate(space.edges)}
    total = torch.zeros((), dtype=torch.float64)
    for s in range(space.nodes - 1):
        if reading == "deck":
            reach = torch.stack([torch.ones_like(total), *(a2[t, s] ** 2 for t in range(s))]).prod()
        elif reading == "chain":
            chain = [a2[t, t + 1] ** 2 for t in range(s)]
            reach = torch.stack([torch.ones_like(total), *chain]).prod()
        else:
            reach = torch.zeros_like(total)
            for count in range(s):
                for between in itertools.combinations(range(1, s), count):
                    stops = [0, *between, s]
                    path = [a2[u, v] ** 2 for u, v in itertools.pairwise(stops)]
                    reach = reach + torch.stack(path).prod()
            if s == 0:
                reach = torch.ones_like(total)
        last = space.edges.index((s, space.nodes - 1))
        total = total + (conv_EO[last] ** 2).sum() * reach
    return total


@READ
@pytest.mark.parametrize("nodes", [2, 3, 4, 6])
def test_phi_and_elasticities_are_those_of_torch(reading: str, nodes: int) -> None:
    space = complete(nodes)
    generator = torch.Generator().manual_seed(nodes)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    skip_E, auxiliary_E, conv_EO = draw(len(space.edges)), draw(1), draw(len(space.edges), 2)
    auxiliary_E = auxiliary_E.expand_as(skip_E)
    skip_E.requires_grad_()
    conv_EO.requires_grad_()
    phi = slow_phi(space, reading, skip_E + auxiliary_E, conv_EO)
    by_skip, by_conv = torch.autograd.grad(phi, (skip_E, conv_EO), allow_unused=True)
    by_skip = torch.zeros_like(skip_E) if by_skip is None else by_skip
    phi, skip_E, conv_EO = phi.detach(), skip_E.detach(), conv_EO.detach()
    found = rate(space, reading, skip_E.tolist(), conv_EO.tolist(), auxiliary_E.tolist())
    assert found.phi == pytest.approx(float(phi))
    assert found.skip_elasticity == pytest.approx(float((skip_E * by_skip).sum() / phi))
    assert found.conv_elasticity == pytest.approx(float((conv_EO * by_conv).sum() / phi))
    assert found.conv_elasticity == pytest.approx(2)

    def log_phi(scale: float) -> float:
        moved = [scale * skip for skip in skip_E.tolist()]
        there = rate(space, reading, moved, conv_EO.tolist(), auxiliary_E.tolist())
        return float(np.log(there.phi))

    step = 1e-5
    slope = (log_phi(1 + step) - log_phi(1 - step)) / (2 * step)
    assert found.skip_elasticity == pytest.approx(slope, rel=1e-5, abs=1e-8)


def uniform(nodes: int, skip: float, auxiliary: float, reading: str = "deck") -> float:
    space = complete(nodes)
    count = len(space.edges)
    found = rate(space, reading, [skip] * count, [[0.2]] * count, [auxiliary] * count)
    assert found.skip_elasticity is not None
    return found.skip_elasticity


@pytest.mark.parametrize("reading", ["deck", "chain"])
@pytest.mark.parametrize(
    ("nodes", "auxiliary", "expected"),
    [(4, 0, 0.083), (4, 1, 0.41), (6, 1, 0.90), (17, 1, 4.26), (17, 0.3, 0.27)],
)
def test_known_elasticities_at_a_fifth(
    reading: str, nodes: int, auxiliary: float, expected: float
) -> None:
    assert uniform(nodes, 0.2, auxiliary, reading) == pytest.approx(expected, abs=0.006)


def test_skip_leads_only_where_skips_are_large() -> None:
    assert uniform(4, 1.0, 0) == pytest.approx(2)  # the limit: never more than convolution
    assert uniform(5, 0.80, 0) < 2 < uniform(5, 0.82, 0)
    # At a fifth, 96 % of phi is the term that no skip enters.
    space = complete(4)
    whole = rate(space, "deck", [0.2] * 6, [[0.2]] * 6, [0.0] * 6).phi
    assert 0.2**2 / whole == pytest.approx(0.96, abs=0.001)


def test_without_convolutions_there_is_no_elasticity() -> None:
    found = rate(complete(3), "path", [0.5] * 3, [[0.0]] * 3, [0.0] * 3)
    assert found == (0.0, None, None)


def test_phi_is_of_cells_with_skip_and_the_same_candidates_on_every_edge() -> None:
    space = complete(3)
    assert holds(space)
    assert holds(replace(space, columns=3 * ((1, 2),)))
    assert not holds(replace(space, columns=3 * ((0, 2),)))  # no skip
    assert not holds(replace(space, columns=((1, 2), (0, 1), (1, 2))))
    assert not holds(replace(space, skip=None))


RELAXED = {
    **{name: {"algorithm__name": name} for name in registry.names("algorithm")},
    **{
        name: {"algorithm__name": "composed", "algorithm__relaxation__name": name}
        for name in registry.names("relaxation")
    },
}


@pytest.mark.parametrize("name", RELAXED)
def test_the_measure_is_a_loop_over_edges(name: str) -> None:
    """Masses are of A as it is; of DARTS-, and of its part, of the softmax beside its skip."""
    state = build_state(tiny_settings(**RELAXED[name]))
    state.epoch = 1
    with torch.no_grad():
        state.alpha_EO.normal_(generator=torch.Generator().manual_seed(3))
    snapshot = snapshot_of(state, "operations")
    found, A_EO = operations().measure(snapshot), snapshot.op_weights_EO.double()
    with_skip = name in ("darts-minus", "softmax-with-skip")
    own_EO = state.alpha_EO.detach().softmax(-1) if with_skip else A_EO
    beta = 1.0 if with_skip else 0.0  # in the first epoch
    space, numbers = NAS_BENCH_201, found.numbers
    assert numbers["auxiliary"] == pytest.approx(beta, abs=0 if beta == 0 else 1e-6)
    for o, operation in enumerate(space.operations):
        weights = [float(own_EO[e, o]) for e in range(6)]
        chosen = [snapshot.choice[e] == o for e in range(6)]
        assert numbers["mass"][operation] == pytest.approx(sum(weights) / 6)
        assert numbers["share"][operation] == pytest.approx(sum(chosen) / 6)
        for depth, edges in {"1": [0, 2, 5], "2": [1, 4], "3": [3]}.items():
            at = [weights[e] for e in edges]
            assert numbers["mass_by_depth"][operation][depth] == pytest.approx(sum(at) / len(at))
            part = sum(chosen[e] for e in edges) / len(edges)
            assert numbers["share_by_depth"][operation][depth] == pytest.approx(part)
    skip_E, conv_EO = own_EO[:, 1], own_EO[:, 2:4]
    for reading in READINGS:
        if not snapshot.algorithm.usual_cell:
            assert numbers["phi"][reading] is numbers["phi_without_auxiliary"][reading] is None
            continue
        whole = float(slow_phi(space, reading, skip_E + beta, conv_EO))
        without = float(slow_phi(space, reading, skip_E, conv_EO))
        assert numbers["phi"][reading] == pytest.approx(whole)
        assert numbers["phi_without_auxiliary"][reading] == pytest.approx(without)
    assert found.arrays["op_weights"].shape == found.arrays["chosen"].shape == (6, 5)
