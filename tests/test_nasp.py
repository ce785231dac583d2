"""One-hot cells with the gradient at the discrete point: by plain loops, and in searches.

Shapes: E edges, O operations.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_derived_cells import built, drawn_alpha
from test_published import IDLE
from tiny import normal, tiny_settings, train_batch, valid_batch
from torch import Tensor
from torch.testing import assert_close

from optnas.algorithms.base import Progress
from optnas.algorithms.bilevel import Hypergradient
from optnas.algorithms.nasp import cell_of, complexity, sizes_of, straight_through
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.measures.snapshot import derived
from optnas.search.session import Session
from optnas.search.state import build_state
from optnas.search.steps import arch_step, weight_step
from optnas.spaces import build_space
from optnas.spaces.base import Space

SPACES = registry.names("space")
NOW = Progress(1, 4)


def plain_cell(alpha_EO: Tensor, space: Space, with_none: bool = False) -> list[list[float]]:
    """The published `proximal_step`: one 1 per row, two rows into each node where edges are left.

    Of equals the first, as numpy's argmax and Python's stable sort have it.
    """
    rows, largest = [], []
    for e, row in enumerate(alpha_EO.tolist()):
        columns = space.columns_at(e)
        some = [o for o in range(len(row)) if with_none or columns[o] != space.none]
        best = some[0]
        for o in some:
            best = o if row[o] > row[best] else best
        rows.append([float(o == best) for o in range(len(row))])
        largest.append(row[best])
    for kind, _, into in space.joints:
        ranked = sorted(into, key=largest.__getitem__, reverse=True)
        for e in ranked[kind.kept :] if kind.kept else ():
            rows[e] = [0.0] * len(rows[e])
    return rows


# --- the relaxation ------------------------------------------------------------------------------


@pytest.mark.parametrize("space_name", SPACES)
def test_operation_weights_are_the_published_cell_with_the_gradient_in_them(
    space_name: str,
) -> None:
    """Beside xujinfan/NASP-codes, 3bfb706, `codes/model_search.py` and `codes/architect.py`: 0.

    Ten steps of its architect and of its training loop, on its network (3 cells, a second edition
    of three weightless operations in the reduction cell so that both kinds have eight), in double
    precision, three seeds, rates of alpha 0.0003, 0.03 and 0.2, gradients of w clipped at 5 and at
    0.5, `l2` 0 and 1: alpha and w equal in every bit, the same cell in each step (9 or 10 different
    ones in 10), the same genotype at the end. For today's torch its copies to the CPU are copies on
    a CPU too, and gradients are set to 0, not to None, as in PyTorch 0.3.
    """
    space = build_space({"name": space_name})
    along_EO = normal(space.edge_count, space.operation_count, seed=9)
    alphas = [normal(*along_EO.shape, seed=seed) for seed in range(5)]
    for alpha_EO in (*alphas, *((each * 2).round().clamp(0, 1) for each in alphas)):  # with ties
        leaf_EO = alpha_EO.clone().requires_grad_()
        found_EO = cell_of(space, none=False)(leaf_EO, NOW)
        assert found_EO.tolist() == plain_cell(alpha_EO, space)
        (gradient_EO,) = torch.autograd.grad((found_EO * along_EO).sum(), leaf_EO)
        assert torch.equal(gradient_EO, along_EO)
        found_EO = straight_through(space=space)(alpha_EO, NOW)
        assert found_EO.tolist() == plain_cell(alpha_EO, space, not space.keeps_some)
        assert torch.equal(leaf_EO, alpha_EO)


def test_a_search_starts_at_the_first_operation_of_the_first_edges() -> None:
    space = build_space({"name": "darts"})
    algorithm = built("nasp", space)
    assert algorithm.initial is not None
    alpha_EO = algorithm.initial(space, torch.Generator())
    assert alpha_EO.tolist() == [[0.5] * 8] * 28
    rows = algorithm.relax(alpha_EO, NOW).tolist()
    kept = [True, True, True, True, False, True, True, False, False, True, True, *3 * [False]]
    assert rows == [[0.0, float(each), *6 * [0.0]] for each in 2 * kept]
    space = build_space({"name": "nas-bench-201"})
    assert built("nasp", space).cell(torch.full((6, 5), 0.5), NOW) == 6 * [space.skip]


def test_with_none_and_equal_alphas_no_entry_would_ever_have_a_gradient() -> None:
    """Why the algorithm has no `none`: its first cell would be all `none`, and remain so."""
    own = {"name": "composed", "relaxation": "straight-through"}
    for algorithm, moves in ((own, False), ({"name": "nasp"}, True)):
        state = build_state(tiny_settings(algorithm=algorithm, arch_optimizer__weight_decay=0.0))
        state.alpha_EO.detach().fill_(0.5)
        for step in range(2):
            train = train_batch(state, torch.arange(16) + step)
            arch_step(state, train, valid_batch(state), NOW)
            weight_step(state, train, NOW)
            assert state.alpha_EO.grad is not None
            assert bool(state.alpha_EO.grad.any()) == moves


# --- the cell ------------------------------------------------------------------------------------


@pytest.mark.parametrize("space_name", SPACES)
def test_the_trained_edges_are_those_of_the_operation_weights(space_name: str) -> None:
    space = build_space({"name": space_name})
    algorithm = built("nasp", space, edges="trained")
    for seed in range(5):
        alpha_EO = drawn_alpha(algorithm, space, seed).clamp(0, 1)
        cell = derived(algorithm, alpha_EO, NOW, space)
        assert space.one_hot(cell) == without(plain_cell(alpha_EO, space), cell, space)


def without(rows: list[list[float]], cell: list[int], space: Space) -> list[list[float]]:
    """Rows of edges that are left out as a derived cell writes them, with its `none`."""
    edges = enumerate(zip(rows, cell, strict=True))
    return [row if any(row) else space.one_hot(cell)[e] for e, (row, _) in edges]


def test_the_softmax_may_keep_another_edge_than_the_one_that_is_trained() -> None:
    """Into the first node with three edges: a row of 1s is certain of nothing."""
    space = build_space({"name": "darts-s3"})
    alpha_EO = torch.zeros(28, 3, dtype=torch.float64)
    alpha_EO[2:5] = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.9, 0.0], [0.0, 0.0, 0.8]])
    cells = {edges: built("nasp", space, edges=edges) for edges in ("published", "trained")}
    assert derived(cells["trained"], alpha_EO, NOW, space)[2:5] == [1, 1, 0]
    assert derived(cells["published"], alpha_EO, NOW, space)[2:5] == [0, 1, 2]
    trained_EO = cells["published"].relax(alpha_EO, NOW)
    assert trained_EO[2:5].sum(-1).tolist() == [1, 1, 0]


def test_no_edge_gets_none() -> None:
    for name in SPACES:
        space = build_space({"name": name})
        algorithm = built("nasp", space)
        for seed in range(3):
            alpha_EO = drawn_alpha(algorithm, space, seed)
            cell = derived(algorithm, alpha_EO, NOW, space)
            for e, row in enumerate(alpha_EO.tolist()):
                some = {
                    operation: value
                    for operation, value in zip(space.columns_at(e), row, strict=True)
                    if operation != space.none
                }
                assert cell[e] == max(some, key=some.__getitem__) or space.keeps_some
                assert cell[e] != space.none or space.keeps_some


def test_a_search_stays_between_0_and_1_and_is_judged_at_its_cell() -> None:
    own = {"arch_optimizer__lr": 0.2, "search__epochs": 3}
    session = Session(build_state(tiny_settings(algorithm__name="nasp", **own)))
    state = session.state
    session.train_epoch()  # the record before the first step
    for _ in range(3):
        session.train_epoch()
        alpha_EO = state.alpha_EO.detach()
        assert 0 <= alpha_EO.min() < alpha_EO.max() <= 1
        snapshot = session.snapshot
        assert snapshot.op_weights_EO.tolist() == plain_cell(alpha_EO, state.space)
        assert state.space.one_hot(snapshot.choice) == snapshot.op_weights_EO.tolist()
    assert bool((alpha_EO == 1).any() or (alpha_EO == 0).any())
    assert state.space.none not in snapshot.choice


# --- the penalty ---------------------------------------------------------------------------------


def test_sizes_are_those_of_the_published_table() -> None:
    """`PARAMS` of `codes/genotypes.py`: weights at 12 channels, batch norms not counted."""
    published = {"skip_connect": 0, "sep_conv_3x3": 504, "sep_conv_5x5": 888}
    published |= {"dil_conv_3x3": 252, "dil_conv_5x5": 444}
    space = build_space({"name": "darts"})
    found = dict(zip(space.operations, sizes_of(space), strict=True))
    assert sum(found.values()) == pytest.approx(1)
    for name, count in published.items():
        assert found[name] == pytest.approx(count / sum(published.values()))
    space = build_space({"name": "nas-bench-201"})  # 144 and 1296 there
    assert sizes_of(space) == pytest.approx([0, 0, 0.1, 0.9, 0])


@pytest.mark.parametrize("space_name", SPACES)
def test_the_penalty_is_eta_times_the_share_of_what_the_cell_has(space_name: str) -> None:
    """In the cell's own entries the gradient is twice that, elsewhere 0."""
    space = build_space({"name": space_name})
    given_EO = normal(space.edge_count, space.operation_count, seed=1)
    alpha_EO = normal(*given_EO.shape, seed=2)
    relax = cell_of(space, none=False)
    part = complexity(0.5, lambda *_: Hypergradient(given_EO), space=space)
    found = part(IDLE, alpha_EO, lambda leaf_EO: relax(leaf_EO, NOW))
    sizes, total, expected_EO = sizes_of(space), 0.0, given_EO.clone()
    for e, row in enumerate(plain_cell(alpha_EO, space)):
        for o, value in enumerate(row):
            size = sizes[space.columns_at(e)[o]] * value
            total += 0.5 * size
            expected_EO[e, o] += 2 * 0.5 * size
    assert found.penalty is not None
    assert_close(found.gradient_EO, expected_EO)
    assert float(found.penalty) == pytest.approx(total)
    idle = complexity(0.5, lambda *_: Hypergradient(None), space=space)
    assert idle(IDLE, alpha_EO, lambda leaf_EO: relax(leaf_EO, NOW)).gradient_EO is None


@pytest.mark.thorough
def test_a_penalty_holds_large_operations_back() -> None:
    def convolutions(weight: float) -> int:
        own: dict[str, Any] = {"arch_optimizer__lr": 0.05, "search__epochs": 8}
        own["algorithm__complexity_weight"] = weight
        session = Session(build_state(tiny_settings(algorithm__name="nasp", **own)))
        count = 0
        for epoch in range(9):
            session.train_epoch()
            count += session.snapshot.choice.count(3) if epoch > 2 else 0
        return count

    assert convolutions(1.0) < convolutions(0.0) / 2


def test_a_space_without_weights_has_no_penalty() -> None:
    space = Space("bare", 2, ((0, 1),), ("skip_connect", "avg_pool_3x3"), none=None, skip=0)
    with pytest.raises(UserError, match=r"space\.name = 'bare': .*choose another space") as told:
        built("nasp", space, complexity_weight=1.0)
    assert "\n" not in str(told.value)
    built("nasp", space)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"edges": "sigmoid"}, r"algorithm\.edges = 'sigmoid': .*use one of: published, trained"),
        ({"complexity_weight": -0.5}, r"algorithm\.complexity_weight = -0\.5: .*use 0\.0 or more"),
        ({"complexity": 1.0}, r"algorithm\.complexity = 1\.0: .*complexity_weight"),
    ],
)
def test_bad_settings_are_told(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as raised:
        tiny_settings(algorithm={"name": "nasp", **changes})
    assert "\n" not in str(raised.value)
