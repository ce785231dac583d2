"""Hypergradients on problems whose answer is known, and what they leave alone.

Beside prolearner/hypertorch, 6241dfa, on the weights of a supernet of two channels after an epoch
under SGD with momentum, in double precision, relative to the gradient: `fixed_point` and `neumann`
7.3e-16, `reverse` and `k_step` 2.0e-15, `CG` and `conjugate_gradient` 2.8e-16 (at a weight decay of
50: where curvature is negative ours ends and published code goes on).

Symbols: x all network weights joined, a alpha as a vector, lr, mu, wd those of SGD.
Shapes: E edges, O operations.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from tiny import normal, train_batch, valid_batch
from torch import Tensor
from torch.testing import assert_close

from optnas.algorithms.base import Progress
from optnas.algorithms.bilevel import Bilevel, LossValue
from optnas.algorithms.milenas import mixed_level
from optnas.algorithms.parts import hypergradients
from optnas.algorithms.parts.hypergradients import first_order, frozen, hypergradient, unrolled
from optnas.algorithms.parts.implicit import conjugate_gradient, neumann
from optnas.algorithms.parts.several_steps import k_step, value_function
from optnas.algorithms.parts.zeroth_order import zeroth_order
from optnas.algorithms.progress import Draw
from optnas.algorithms.unrolled_optdarts import unrolled_optdarts
from optnas.base.errors import UserError
from optnas.base.seeds import named_generator
from optnas.optimizers.virtual import coupled_decay, virtual_step, virtual_steps
from optnas.search.settings.layers import Layer, resolve
from optnas.search.state import SearchState, build_state
from optnas.search.steps import batch_loss, weight_step

EDGES, OPERATIONS = 2, 3
SHAPES = {"first": (4,), "second": (3, 1)}
X, A = 7, EDGES * OPERATIONS
NOW = Progress(2, 4)
# What most hypergradients here do not ask for.
UNUSED: dict[str, Any] = {
    "weight_decay": dict,
    "more_train_batches": lambda count: [],
    "weight_lr": lambda: LR,
    "virtual_steps": lambda gradients_at: {},
}
LR, MU, WD = 0.2, 0.9, 0.1
OPTIMIZERS = [
    ("SGD", {"momentum": MU, "weight_decay": WD}),
    ("Adam", {"weight_decay": WD, "eps": 1e-2}),
    ("AdamW", {"weight_decay": WD, "eps": 1e-2}),
    ("RMSprop", {"momentum": MU, "centered": True, "eps": 1e-2}),
]
derivatives = pytest.mark.parametrize("derivative", ["exact", "finite-difference"])
LossOf = Callable[[Tensor, Tensor], Tensor]


def symmetric(size: int, seed: int) -> Tensor:
    square = normal(size, size, seed=seed)
    return square @ square.T / size


# L_tr = x'Hx/2 + x'Ba and L_val = |x - c|^2/2 + x'Ca + a'Qa/2 + d'a
H, B, C = symmetric(X, 1), normal(X, A, seed=2), normal(X, A, seed=3)
Q, c, d = symmetric(A, 4), normal(X, seed=5), normal(A, seed=6)


def quadratic_train(x: Tensor, a: Tensor) -> Tensor:
    return x @ H @ x / 2 + x @ B @ a


def quadratic_valid(x: Tensor, a: Tensor) -> Tensor:
    return (x - c).square().sum() / 2 + x @ C @ a + a @ Q @ a / 2 + d @ a


def curved_train(x: Tensor, a: Tensor) -> Tensor:
    return (
        torch.nn.functional.softplus(H @ x + B @ a.tanh()).sum() + (x.cos() * (B @ a).sin()).sum()
    )


def curved_valid(x: Tensor, a: Tensor) -> Tensor:
    return (x - c + 0.3 * C @ a).cosh().log().sum() + (Q @ a).sin().sum()


def alpha() -> Tensor:
    return normal(EDGES, OPERATIONS, seed=7).requires_grad_()


def joined(weights: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([weights[name].reshape(-1) for name in SHAPES])


def identity(alpha_EO: Tensor) -> Tensor:
    return alpha_EO


def softmax(alpha_EO: Tensor) -> Tensor:
    return alpha_EO.softmax(-1)


def problem(
    train: LossOf,
    valid: LossOf,
    name: str = "SGD",
    options: Mapping[str, Any] | None = None,
    *,
    lr: float = LR,
    age: int = 2,
) -> tuple[Bilevel, torch.optim.Optimizer]:
    """A bilevel problem by hand, its weight optimizer some steps old."""
    weights = {
        n: normal(*s, seed=8 + i).requires_grad_() for i, (n, s) in enumerate(SHAPES.items())
    }
    chosen = {"momentum": MU, "weight_decay": WD} if options is None else options
    optimizer = getattr(torch.optim, name)(list(weights.values()), lr=lr, **chosen)
    for _ in range(age):
        optimizer.zero_grad()
        train(joined(weights), alpha().detach().reshape(-1)).backward()
        optimizer.step()
    optimizer.zero_grad()

    def loss(of: LossOf) -> Any:
        def call(
            op_weights: Tensor, at: Mapping[str, Tensor], *, update: bool = False
        ) -> LossValue:
            return LossValue(of(joined(at), op_weights.reshape(-1)), None)

        return call

    bilevel = Bilevel(
        weights=weights,
        train_loss=loss(train),
        valid_loss=loss(valid),
        virtual_step=virtual_step(optimizer, weights),
        update=False,
        progress=NOW,
        weight_decay=lambda: coupled_decay(optimizer, weights),
        more_train_batches=lambda count: [loss(later(train, k)) for k in range(count)],
        weight_lr=lambda: LR,
        virtual_steps=virtual_steps(optimizer, weights),
    )
    return bilevel, optimizer


def later(train: LossOf, k: int) -> LossOf:
    """The train loss of a further batch."""
    return lambda x, a: train(x, a) + 0.3 * (x * normal(X, seed=20 + k)).sum() * a.sum()


# --- closed forms -----------------------------------------------------------------------------


def test_first_order_is_the_partial_derivative() -> None:
    bilevel, _ = problem(quadratic_train, quadratic_valid)
    a, x = alpha().detach().reshape(-1), joined(bilevel.weights).detach()
    found = first_order(bilevel, alpha(), identity).gradient_EO
    assert_close(found.reshape(-1), C.T @ x + Q @ a + d)


@derivatives
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("age", [0, 2])
def test_unrolled_sgd_has_its_closed_form(derivative: Any, nesterov: bool, age: int) -> None:
    """Exact for finite differences too, as the train loss is bilinear in x and a."""
    options = {"momentum": MU, "weight_decay": WD, "nesterov": nesterov}
    bilevel, optimizer = problem(quadratic_train, quadratic_valid, options=options, age=age)
    a, x = alpha().detach().reshape(-1), joined(bilevel.weights).detach()
    state = [optimizer.state[w] for w in bilevel.weights.values()]
    past = torch.cat([s["momentum_buffer"].reshape(-1) for s in state]) if age else torch.zeros(X)
    gradient = H @ x + B @ a + WD * x
    buffer = MU * past + gradient
    reached = x - LR * (gradient + MU * buffer if nesterov else buffer)
    v = reached - c + C @ a
    factor = 1 + MU if nesterov else 1
    expected = C.T @ reached + Q @ a + d - LR * factor * B.T @ v
    found = unrolled(derivative)(bilevel, alpha(), identity).gradient_EO
    assert_close(found.reshape(-1), expected, rtol=1e-8, atol=1e-8)


def test_both_levels_mixed_have_their_closed_forms() -> None:
    """To first order, and unrolled: the same w' for both losses."""
    bilevel, optimizer = problem(quadratic_train, quadratic_valid)
    a, x = alpha().detach().reshape(-1), joined(bilevel.weights).detach()
    state = [optimizer.state[w] for w in bilevel.weights.values()]
    past = torch.cat([s["momentum_buffer"].reshape(-1) for s in state])
    reached = x - LR * (MU * past + H @ x + B @ a + WD * x)

    def of_train(x: Tensor, rate: float) -> Tensor:
        return B.T @ x - rate * B.T @ (H @ x + B @ a)

    def of_valid(x: Tensor, rate: float) -> Tensor:
        return C.T @ x + Q @ a + d - rate * B.T @ (x - c + C @ a)

    for part, at, rate in (
        (first_order, x, 0.0),
        (unrolled("exact"), reached, LR),
        (unrolled("finite-difference"), reached, LR),
    ):
        found = mixed_level(0.3, 2.0, part)(bilevel, alpha(), identity)
        expected = 0.3 * of_train(at, rate) + 2 * of_valid(at, rate)
        assert found.gradient_EO is not None
        assert_close(found.gradient_EO.reshape(-1), expected, rtol=1e-8, atol=1e-8)
        assert_close(found.loss, 0.3 * quadratic_train(at, a) + 2 * quadratic_valid(at, a))


def test_a_relaxation_enters_by_the_chain_rule() -> None:
    bilevel, _ = problem(quadratic_train, quadratic_valid)
    for part in (first_order, unrolled("exact"), unrolled("finite-difference")):
        at = softmax(alpha().detach())
        outer = part(bilevel, at, identity).gradient_EO
        (expected,) = torch.autograd.grad(softmax(leaf := alpha()), leaf, outer)
        found = part(bilevel, alpha(), softmax).gradient_EO
        assert_close(found, expected, rtol=1e-8, atol=1e-8)


# --- any smooth problem -----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
@pytest.mark.parametrize("age", [0, 3])
def test_unrolled_is_the_derivative_of_the_loss_after_a_real_step(
    name: str, options: dict[str, Any], age: int
) -> None:
    bilevel, optimizer = problem(curved_train, curved_valid, name, options, age=age)

    def after_step(alpha_EO: Tensor) -> Tensor:
        weights, stepper = copy.deepcopy((dict(bilevel.weights), optimizer))
        curved_train(joined(weights), softmax(alpha_EO).reshape(-1)).backward()
        stepper.step()
        return curved_valid(joined(weights).detach(), softmax(alpha_EO).reshape(-1))

    expected, start, e = torch.zeros(A, dtype=torch.float64), alpha().detach(), 1e-5
    for i, direction in enumerate(torch.eye(A, dtype=torch.float64).reshape(A, EDGES, OPERATIONS)):
        ends = after_step(start + e * direction), after_step(start - e * direction)
        expected[i] = (ends[0] - ends[1]) / (2 * e)
    found = unrolled("exact")(bilevel, alpha(), softmax).gradient_EO
    assert_close(found.reshape(-1), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_finite_differences_converge_at_second_order(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bilevel, _ = problem(curved_train, curved_valid, name, options)
    exact = unrolled("exact")(bilevel, alpha(), softmax).gradient_EO
    errors = []
    for displacement in (1.0, 0.1, 0.01):
        monkeypatch.setattr(hypergradients, "DISPLACEMENT", displacement)
        found = unrolled("finite-difference")(bilevel, alpha(), softmax).gradient_EO
        errors.append(float((found - exact).norm()))
    assert errors[2] < 1e-3 * float(exact.norm())
    assert errors[1] / errors[2] == pytest.approx(100, rel=0.05)


@derivatives
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_a_step_of_length_zero_is_first_order(derivative: Any, name: str) -> None:
    bilevel, _ = problem(curved_train, curved_valid, name, {}, lr=0.0)
    expected = first_order(bilevel, alpha(), softmax).gradient_EO
    assert_close(unrolled(derivative)(bilevel, alpha(), softmax).gradient_EO, expected)


# --- several steps ----------------------------------------------------------------------------


def really_stepped(
    bilevel: Bilevel,
    optimizer: torch.optim.Optimizer,
    a: Tensor,
    losses: list[LossOf],
    start: Tensor | None = None,
) -> Tensor:
    """The weights after real steps of a copy of the optimizer, begun elsewhere if told."""
    weights, stepper = copy.deepcopy((dict(bilevel.weights), optimizer))
    begun = joined(weights).detach() if start is None else start
    with torch.no_grad():
        for weight, there in zip(weights.values(), begun.split([4, 3]), strict=True):
            weight.copy_(there.reshape(weight.shape))
    for loss in losses:
        stepper.zero_grad()
        loss(joined(weights), a).backward()
        stepper.step()
    return joined(weights).detach()


def differences(function: Callable[[Tensor], Tensor], at: Tensor, e: float = 1e-5) -> Tensor:
    """Central differences of a function of a vector: one column per entry."""
    columns = [
        (function(at + e * i) - function(at - e * i)) / (2 * e) for i in torch.eye(len(at)).to(at)
    ]
    return torch.stack(columns, -1)


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
@pytest.mark.parametrize("age", [0, 3])
def test_k_step_is_the_derivative_of_the_loss_after_real_steps(
    name: str, options: dict[str, Any], age: int
) -> None:
    bilevel, optimizer = problem(curved_train, curved_valid, name, options, age=age)
    batches = [curved_train, later(curved_train, 0), later(curved_train, 1)]

    def after(count: int) -> Callable[[Tensor], Tensor]:
        def loss(a: Tensor) -> Tensor:
            return curved_valid(really_stepped(bilevel, optimizer, a, batches[:count]), a)

        return loss

    a = alpha().detach().reshape(-1)
    for count in (1, 3):
        found = k_step(count)(bilevel, alpha(), identity).gradient_EO
        assert_close(found.reshape(-1), differences(after(count), a), rtol=1e-6, atol=1e-8)
    one, exact = (each(bilevel, alpha(), softmax) for each in (k_step(1), unrolled("exact")))
    assert_close(one, exact, rtol=1e-12, atol=0)


# --- candidates -------------------------------------------------------------------------------


def drawn(bilevel: Bilevel, seed: int = 5) -> Bilevel:
    """In the same moment, with the randomness of a step."""
    return dataclasses.replace(bilevel, progress=dataclasses.replace(NOW, draw=Draw(seed)))


@pytest.mark.parametrize("proposal", ["mixture", "published"])
@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_zeroth_order_is_the_weighed_mean_of_candidates_after_real_steps(
    name: str, options: dict[str, Any], proposal: Any
) -> None:
    count, tau, share, floor = 5, 0.4, 0.4, 0.01
    bilevel, optimizer = problem(curved_train, curved_valid, name, options)
    bilevel, a = drawn(bilevel), alpha().detach()
    batches = [later(curved_train, 0), later(curved_train, 1)]
    g, s = first_order(bilevel, alpha(), softmax).gradient_EO, 0.3 * (1 + math.cos(math.pi / 4)) / 2
    assert g is not None
    numbers, weights, tried = named_generator(5, "candidates"), [], []
    for _ in range(count):
        z = torch.randn(a.shape, generator=numbers, dtype=torch.float64)
        if proposal == "mixture":
            guided = torch.rand((), generator=numbers, dtype=torch.float64) >= share
            D, width = s * z - guided * g, s**2
        else:
            other = torch.randn(a.shape, generator=numbers, dtype=torch.float64)
            D, width = (1 - share) * (s * z - g) + share * s * other, 1 / s**2
        A = softmax(a + D).reshape(-1)
        loss = curved_valid(really_stepped(bilevel, optimizer, A, batches), A)
        q = (1 - share) * torch.exp(-((D + g) ** 2).sum() / (2 * s**2))
        q = q + share * torch.exp(-(D**2).sum() / (2 * width))
        weights.append(torch.exp(-loss / tau) / (q + floor))
        tried.append(D)
    expected = -sum(c * D for c, D in zip(weights, tried, strict=True)) / sum(weights)
    part = zeroth_order(
        count, 2, 0.3, temperature=tau, unguided=share, floor=floor, proposal=proposal
    )
    found = part(bilevel, alpha(), softmax)
    assert_close(found.gradient_EO, expected, rtol=1e-9, atol=1e-9)
    assert_close(found.loss, curved_valid(joined(bilevel.weights), softmax(a).reshape(-1)).detach())


@pytest.mark.thorough
def test_many_candidates_have_the_mean_of_the_gibbs_distribution() -> None:
    """Of exp(-L / tau) around a quadratic's minimum, whatever they were drawn from."""
    steep, there = torch.linspace(0.6, 1.6, A, dtype=torch.float64), normal(A, seed=9)

    def bowl(x: Tensor, a: Tensor) -> Tensor:
        return (steep * (a - there) ** 2).sum() / 2

    bilevel = drawn(problem(quadratic_train, bowl)[0])
    options: dict[str, Any] = {"std": 1.4, "annealed": False, "temperature": 1.0}
    to_the_minimum = alpha().detach().reshape(-1) - there

    def off(share: float, floor: float) -> float:
        part = zeroth_order(3000, 0, unguided=share, floor=floor, **options)
        found = part(bilevel, alpha(), identity).gradient_EO
        assert found is not None
        return float((found.reshape(-1) - to_the_minimum).norm())

    assert max(off(0.0, 0.0), off(0.5, 0.0)) < 0.15
    assert off(1.0, 1e6) > 0.5  # where the density is not divided by


def test_a_candidate_without_a_loss_has_no_weight() -> None:
    def broken(first: float) -> LossOf:
        return lambda x, a: torch.where(a[0] > first, torch.nan, 1e4 * curved_valid(x, a))

    start, found = alpha().detach().reshape(-1)[0].item(), []
    for bound in (math.inf, start, -math.inf):
        bilevel = drawn(problem(curved_train, broken(bound))[0])
        part = zeroth_order(8, 1, 0.5, temperature=1e-6, unguided=1.0)
        gradient = part(bilevel, alpha(), identity).gradient_EO
        assert gradient is not None
        found.append(gradient)
    assert found[0].isfinite().all()
    assert found[1].isfinite().all()
    assert found[1].reshape(-1)[0] > 0  # only those that go down are left
    assert found[2].isnan().all()


def test_candidates_want_a_draw() -> None:
    bilevel, _ = problem(curved_train, curved_valid)
    with pytest.raises(UserError, match=r'draws candidates .* with needs=\("draw",\)'):
        zeroth_order()(bilevel, alpha(), softmax)


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_value_function_is_the_penalty_after_real_steps(name: str, options: dict[str, Any]) -> None:
    c = 50.0
    bilevel, optimizer = problem(curved_train, curved_valid, name, options)
    batches, a = [curved_train, later(curved_train, 0)], alpha().detach().reshape(-1)

    def penalized(loss: LossOf) -> LossOf:
        return lambda x, a: loss(x, a) + curved_valid(x, a) / c

    z = really_stepped(bilevel, optimizer, a, batches)
    y = really_stepped(bilevel, optimizer, a, [penalized(loss) for loss in batches])

    def penalty(a: Tensor) -> Tensor:
        return curved_valid(y, a) + c * (curved_train(y, a) - curved_train(z, a))

    found = value_function(2, c)(bilevel, alpha(), identity)
    assert_close(found.gradient_EO.reshape(-1), differences(penalty, a), rtol=1e-6, atol=1e-8)
    assert_close(found.loss, penalty(a))


# --- implicit ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_neumann_is_the_series_of_the_real_step(name: str, options: dict[str, Any]) -> None:
    """Its Jacobians by differences of real steps of a copy of the optimizer."""
    bilevel, optimizer = problem(curved_train, curved_valid, name, options)
    a, x = alpha().detach().reshape(-1), joined(bilevel.weights).detach()

    def step(x: Tensor, a: Tensor) -> Tensor:
        return really_stepped(bilevel, optimizer, a, [curved_train], start=x)

    by_w, by_a = differences(lambda x: step(x, a), x), differences(lambda a: step(x, a), a)
    v = differences(lambda x: curved_valid(x, a), x)
    direct = differences(lambda a: curved_valid(x, a), a)
    for terms in (1, 4):
        series = sum(torch.matrix_power(by_w.T, k) @ v for k in range(terms))
        found = neumann(terms)(bilevel, alpha(), identity).gradient_EO
        assert_close(found.reshape(-1), direct + by_a.T @ series, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS[:3])
def test_conjugate_gradients_solve_and_stop_at_no_curvature(
    name: str, options: dict[str, Any]
) -> None:
    bilevel, _ = problem(quadratic_train, quadratic_valid, name, options)
    a, x = alpha().detach().reshape(-1), joined(bilevel.weights).detach()
    shift = 0.05 + (0.0 if name == "AdamW" else WD)
    q = torch.linalg.solve(H + shift * torch.eye(X, dtype=H.dtype), x - c + C @ a)
    found = conjugate_gradient(X + 3, 0.05)(bilevel, alpha(), identity).gradient_EO
    assert_close(found.reshape(-1), C.T @ x + Q @ a + d - B.T @ q)
    bent, _ = problem(lambda x, a: x @ B @ a - 9 * x @ x, quadratic_valid, name, options)
    found = conjugate_gradient(3)(bent, alpha(), identity).gradient_EO
    assert_close(found, first_order(bent, alpha(), identity).gradient_EO)


# --- frozen, names ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "RMSprop", "Adagrad"])
def test_frozen_alpha_stays_under_weight_decay_and_momentum(name: str) -> None:
    bilevel, _ = problem(quadratic_train, quadratic_valid)
    leaf = alpha()
    optimizer = getattr(torch.optim, name)([leaf], lr=0.1, weight_decay=0.5)
    leaf.grad = torch.ones_like(leaf)
    optimizer.step()
    before = leaf.detach().clone()
    for _ in range(3):
        leaf.grad = frozen(bilevel, leaf, softmax).gradient_EO
        optimizer.step()
    assert leaf.grad is None
    assert torch.equal(leaf, before)


def test_algorithms_of_0_1_0_are_handed_their_hypergradient() -> None:
    """Their own call turned a name into the part; a setting of today is the part already."""
    assert hypergradient("first-order", "exact") is first_order
    assert hypergradient(first_order, "exact") is first_order
    found = hypergradient("unrolled", "finite-difference")
    assert inspect.getclosurevars(found).nonlocals["compute"] is hypergradients._unrolled_difference
    for chosen in ("first-order", first_order):
        with pytest.raises(UserError, match=r"set algorithm\.hypergradient\.derivative"):
            hypergradient(chosen, "finite-difference")


# --- on the supernet --------------------------------------------------------------------------


def searching(optimizer: str) -> SearchState:
    document = {
        "search": {"batch_size": 8},
        "supernet": {"channels": 2, "dtype": "float64", "alpha_scale": 1.0},
        "data": {"name": "digits", "train_size": 16, "valid_size": 16},
        "weight_optimizer": {"name": optimizer},
        "curvature": {"every": 0, "batch_size": 8},
    }
    state = build_state(resolve([Layer("test", document)]))
    for _ in range(2):
        weight_step(state, train_batch(state, torch.arange(8)), Progress(1, 2))
    return state


def everything(state: SearchState) -> dict[str, Any]:
    statistics = state.statistics
    assert statistics is not None
    return {
        "weights": {n: (w.detach(), w.grad) for n, w in state.supernet.weights.items()},
        "alpha": (state.alpha_EO.detach(), state.alpha_EO.grad),
        "statistics": (statistics.mean_S, statistics.variance_S),
        "optimizers": [o.state_dict() for o in (state.weight_optimizer, state.arch_optimizer)],
        "generators": [g.get_state() for g in state.generators.values()],
        "global": torch.get_rng_state(),
    }


@derivatives
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_unrolled_leaves_the_search_as_it_is(derivative: Any, optimizer: str) -> None:
    state = searching(optimizer)
    bilevel = Bilevel(
        weights=state.supernet.weights,
        train_loss=batch_loss(state, train_batch(state, torch.arange(8))),
        valid_loss=batch_loss(state, valid_batch(state)),
        virtual_step=virtual_step(state.weight_optimizer, state.supernet.weights),
        update=True,
        progress=NOW,
        **UNUSED,
    )
    before = copy.deepcopy(everything(state))
    found = unrolled(derivative)(bilevel, state.alpha_EO, softmax)
    assert found.statistics is None
    assert float(found.gradient_EO.norm()) > 0
    assert_close(everything(state), before, rtol=0, atol=0)


def test_first_order_hands_out_moved_statistics_only_when_told() -> None:
    state = searching("SGD")
    valid = batch_loss(state, valid_batch(state))
    before = copy.deepcopy(everything(state))
    for update in (True, False):
        bilevel = Bilevel(
            state.supernet.weights, valid, valid, lambda g, w=None: {}, update, NOW, **UNUSED
        )
        found = first_order(bilevel, state.alpha_EO, softmax)
        assert (found.statistics is not None) == update
    assert_close(everything(state), before, rtol=0, atol=0)


# --- as in OptDARTS -------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_the_second_order_of_optdarts_on_quadratics(name: str, options: dict[str, Any]) -> None:
    """Central differences of a quadratic are exact, so each published term stands in the open.

    With x' the step of the configured optimizer and v = d L_val / d x', G holds the train loss's
    own gradient of a, the displacement moves a along G, and the factor in front is the rate.
    """

    def train(x: Tensor, a: Tensor) -> Tensor:
        return quadratic_train(x, a) + a @ Q @ a / 2

    bilevel, _ = problem(train, quadratic_valid, name, options)
    leaf_EO = alpha()
    a, x = leaf_EO.detach().reshape(-1), joined(bilevel.weights).detach()
    (inner,) = torch.autograd.grad(train(y := x.clone().requires_grad_(), a), y)
    shaped = [g.reshape(s) for g, s in zip(inner.split([4, 3]), SHAPES.values(), strict=True)]
    reached = joined(bilevel.virtual_step(shaped)).detach()
    v = reached - c + C @ a
    G = (B.T @ x + Q @ a) + (C.T @ reached + Q @ a + d)
    expected = G - LR * (B.T @ v + Q @ G)
    found = unrolled_optdarts(bilevel, leaf_EO, identity)
    assert_close(found.gradient_EO.reshape(-1), expected, rtol=1e-8, atol=1e-10)
    assert found.statistics is None
    exact = unrolled("exact")(bilevel, leaf_EO, identity).gradient_EO
    assert not torch.allclose(found.gradient_EO, exact, rtol=0.01)
