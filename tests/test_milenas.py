"""Alpha descends both losses: each with its weight, either alone, and what is put together with it.

Beside chaoyanghe/MiLeNAS, ce91b6b: 1.9e-15. Ten steps of the published `train` of
`train_milenas.py` on its network (two channels, five cells, a stem of one colour) in double
precision, lambda_train 0.3 and 1, alpha at rates 0.0003 and 0.03, nothing clipped: the largest
difference of alpha and w. Its lambda_valid_regularizer, 7 beside 1, changes nothing. With `train`
of `train_milenas_2nd.py`, whose copy moves alpha too and has no momentum, 3.1e-15 once alpha is
no parameter of its network.

The twin of the steps is in test_steps.py, closed forms are in test_hypergradients.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny import assert_same, fingerprint, tiny_settings, train_batch, valid_batch
from torch import Tensor
from torch.testing import assert_close

from optnas.algorithms.base import ComputeHypergradient, Progress
from optnas.algorithms.beta_darts import beta_decay
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.milenas import mixed_level
from optnas.algorithms.parts.hypergradients import first_order, frozen
from optnas.base.errors import UserError
from optnas.search.state import SearchState, build_state
from optnas.search.steps import arch_step, batch_loss, weight_step

NOW = Progress(2, 2)
LINE_SEARCH = {"name": "LBFGS", "line_search_fn": "strong_wolfe", "max_iter": 3, "lr": 1.0}
UNROLLED = {"algorithm__hypergradient": "unrolled"}


def mixed(train: float, valid: float, **more: Any) -> SearchState:
    own = {"algorithm__lambda_train": train, "algorithm__lambda_valid": valid}
    return build_state(tiny_settings(algorithm__name="milenas", **own, **more))


def plain(name: str, **more: Any) -> SearchState:
    return build_state(tiny_settings(algorithm__name=name, **more))


def stepped(state: SearchState) -> dict[str, Any]:
    for _ in range(2):
        train = train_batch(state, torch.arange(16))
        arch_step(state, train, valid_batch(state), NOW)
        weight_step(state, train, NOW)
    return fingerprint(state)


def problems(state: SearchState) -> list[Bilevel]:
    """What the algorithm's hypergradient is asked with, one each time."""
    seen: list[Bilevel] = []
    compute = state.algorithm.hypergradient

    def spied(problem: Bilevel, alpha_EO: Tensor, relax: Any) -> Hypergradient:
        seen.append(problem)
        return compute(problem, alpha_EO, relax)

    object.__setattr__(state.algorithm, "hypergradient", spied)
    return seen


@pytest.mark.parametrize(
    ("weights", "name", "more"),
    [((0, 1), "darts", {}), ((0, 1), "darts", UNROLLED), ((1, 0), "single-level", {})],
)
def test_one_loss_alone_is_another_algorithm_bit_for_bit(
    weights: tuple[float, float], name: str, more: dict[str, Any]
) -> None:
    assert_same(stepped(mixed(*weights, **more)), stepped(plain(name, **more)))


def test_a_line_search_compares_the_sum_that_alpha_descends() -> None:
    state = mixed(0.3, 2.0, arch_optimizer=LINE_SEARCH)
    compared: list[tuple[Tensor, Tensor]] = []
    step: Callable[[Callable[[], Tensor]], None] = state.arch_optimizer.step

    def watched(closure: Callable[[], Tensor]) -> None:
        def noted() -> Tensor:
            compared.append((state.alpha_EO.detach().clone(), loss := closure()))
            return loss

        step(noted)

    state.arch_optimizer.step = watched  # type: ignore[method-assign, assignment]
    train, valid = train_batch(state, torch.arange(16)), valid_batch(state)
    arch_step(state, train, valid, NOW)
    assert len(compared) > 1
    for alpha_EO, value in compared:
        of_train, of_valid = (
            batch_loss(state, batch)(alpha_EO.softmax(-1), state.supernet.weights).loss.detach()
            for batch in (train, valid)
        )
        assert_close(value, 0.3 * of_train + 2 * of_valid)


def test_running_statistics_move_with_the_validation_batch() -> None:
    both, alone = mixed(1, 1), plain("darts")
    for state in (both, alone):
        arch_step(state, train_batch(state, torch.arange(16)), valid_batch(state), NOW)
        assert state.statistics is not None
    assert_same(fingerprint(both)["mean"], fingerprint(alone)["mean"])
    assert_same(fingerprint(both)["variance"], fingerprint(alone)["variance"])


def test_a_penalty_counts_once_around_it_and_with_both_weights_inside() -> None:
    state = mixed(0.3, 2.0)
    seen = problems(state)
    arch_step(state, train_batch(state, torch.arange(16)), valid_batch(state), NOW)
    (problem,) = seen
    alpha_EO = state.alpha_EO.detach()

    def found(part: ComputeHypergradient) -> Hypergradient:
        return part(problem, alpha_EO, lambda alpha_EO: alpha_EO.softmax(-1))

    bare = found(mixed_level(0.3, 2.0, first_order))
    around = found(beta_decay(50.0, mixed_level(0.3, 2.0, first_order)))
    inside = found(mixed_level(0.3, 2.0, beta_decay(50.0, first_order)))
    assert bare.penalty is None
    assert bare.gradient_EO is not None
    penalty, slope_EO = 25 * alpha_EO.logsumexp(-1).mean(), 25 * alpha_EO.softmax(-1) / 6
    for part, times in ((around, 1), (inside, 2.3)):
        assert_close(part.loss, bare.loss)
        assert_close(part.penalty, times * penalty)
        assert_close(part.gradient_EO, bare.gradient_EO + times * slope_EO)


def test_what_alone_is_remembered_and_what_leaves_alpha_alone() -> None:
    """Of the two losses the validation loss is what the part may remember something of."""
    state = mixed(1, 1)
    seen = problems(state)
    arch_step(state, train_batch(state, torch.arange(16)), valid_batch(state), NOW)

    def remembers(problem: Bilevel, alpha_EO: Tensor, relax: Any) -> Hypergradient:
        found = first_order(problem, alpha_EO, relax)
        return found._replace(memory={"last_EO": found.gradient_EO})  # type: ignore[dict-item]

    alpha_EO = state.alpha_EO.detach()
    relax = torch.nn.Softmax(-1)
    found = mixed_level(1.0, 1.0, remembers)(seen[0], alpha_EO, relax)
    assert found.memory is not None
    assert_close(found.memory["last_EO"], first_order(seen[0], alpha_EO, relax).gradient_EO)
    assert mixed_level(1.0, 1.0, frozen)(seen[0], alpha_EO, relax).gradient_EO is None


def test_both_losses_see_one_draw() -> None:
    """Where operation weights are drawn; published code draws anew for the second loss."""
    state, drawn = plain("gdas", algorithm__hypergradient="mixed-level"), []
    relax = state.algorithm.relax

    def spied(alpha_EO: Tensor, progress: Progress) -> Tensor:
        drawn.append(progress.draw)
        return relax(alpha_EO, progress)

    object.__setattr__(state.algorithm, "relax", spied)
    arch_step(state, train_batch(state, torch.arange(16)), valid_batch(state), NOW)
    first, second = drawn
    assert first == second is not None


def test_alpha_descends_something() -> None:
    with pytest.raises(UserError, match=r"algorithm\.lambda_valid = 0\.0: lambda_train is 0 as"):
        mixed(0, 0)
    with pytest.raises(UserError, match=r"algorithm\.lambda_train = -1: .*use 0\.0 or more"):
        mixed(-1, 1)
