"""When alpha moves, along what, what that costs, and what is refused.

Beside MiaoZhang0525/iDARTS, 419a67b, `iDARTS_V2.ipynb`: 2.3e-13, mended as said here.

Its whole `search_func` and `backward_step_unrolled` on its TinyNetworkDartsV2 (two channels, two
cells per stage, a stem of one colour, batches of 16) in double precision, `.cuda()` a no-op and
signatures of `add_` and `sub_` that torch lost restated, beside `idarts` with the same batches,
that of the products being the next train batch: 40 steps of w (SGD, momentum 0.9, no decay, clipped
at 5) and ten of alpha (Adam 0.5, 0.999, decay 0.001). Three things are mended there: the four steps
of w are taken by the live optimizer, w is put back after the difference, and the difference is
replaced by the derivative it stands for. The largest difference over three seeds at 0.01 and 0.0003
(w, alpha): the gradient of alpha 1.2e-13, alpha 1.1e-16, w 4.6e-15; over two at 0.1 and 0.03
1.1e-13, 1.7e-14, 2.3e-13; SGD without momentum on both, 0.1 on alpha, 6.7e-15, 1.1e-15, 2.2e-16.
With the difference, its displacement 0.01 made 1e-6, 2.3e-9 of the gradient (four steps of alpha);
as published, 0.01, on the first step of five seeds, 0.56 to 1.3 of it, as ReLUs change sign
in between: with softplus in place of every ReLU 0.005 to 0.040 (ten steps), with 1e-4 5e-6.

As it stands the optimizer of the four steps is a deep copy, whose weights are copies too: w does
not move by any bit. It moves after the difference, which leaves it -R (p_1 + p_2) from where it
was, to 1.1e-15, with p_0 = v, p_(k+1) = (1 - lr H) p_k and R = 0.01 / |v|: 0.02 in length, 0.96 the
cosine with minus the validation gradient v, over three steps. In `architect_hess.py` of its
NAS-Bench-1Shot1, around the same network, w is trained; but v holds the clipped train gradient of
the last step of w (to 2.4e-16) and d L_val / d alpha the gradients of alpha of all five (to
1.8e-17), for nothing clears them: 0.78 and 2.2 times v and d L_val / d alpha are too much.

Twins by products with the Hessian are in test_steps.py; that here goes forwards through w.

Shapes: E edges, O operations.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from test_steps import (
    BATCH,
    NESTEROV,
    SIZE,
    WEIGHT_LR,
    Twin,
    assert_same,
    nesterov,
    settings,
    sgd,
)
from tiny import assert_same as assert_bits
from tiny import counted, every_space, fingerprint, tiny_settings, train_batch, valid_batch
from torch import Tensor

from optnas.algorithms.base import Progress
from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.base.errors import UserError
from optnas.search.draws import draw_epoch
from optnas.search.session import Session
from optnas.search.state import SearchState, build_state
from optnas.search.steppers import check_stepper
from optnas.search.steps import Batch, arch_step

NEUMANN = {"name": "neumann", "terms": 3}


def idarts(**more: Any) -> SearchState:
    return build_state(tiny_settings(**{"algorithm__name": "idarts", **more}))


def step_of_alpha(state: SearchState, number: int = 0) -> None:
    train, valid = train_batch(state, torch.arange(16)), valid_batch(state)
    arch_step(state, train, valid, Progress(1, 2, step=number))


# --- the search, restated ------------------------------------------------------------------------


class Forwards(Twin):
    """The Neumann series as K steps of w, linearised where w is, by one entry of alpha at a time.

    s_0 = 0 and s_(k+1) = (d step / d w) s_k + d step / d alpha[e, o]: the entry of the gradient is
    d L_val / d alpha[e, o] + <v, s_K>.
    """

    def implicit(self, train: Batch, valid: Batch, alpha_EO: Tensor) -> Tensor:
        w = list(self.net.parameters())
        logits = self.net.train()(valid.images_BCHW, alpha_EO.softmax(-1))
        loss = F.cross_entropy(logits, valid.labels_B)
        g_EO, *v = torch.autograd.grad(loss, [alpha_EO, *w])
        named = dict(self.net.named_parameters())
        inner = torch.autograd.grad(
            self.loss(train, alpha_EO.softmax(-1), named), [alpha_EO, *w], create_graph=True
        )
        (group,) = self.optimizer.param_groups
        xi, decay = self.xi(), group["weight_decay"]
        for e, o in ((e, o) for e in range(len(g_EO)) for o in range(len(g_EO[0]))):
            s = [torch.zeros_like(each) for each in w]
            for _ in range(self.terms):
                slope = inner[0][e, o] + sum(
                    (g * each).sum() for g, each in zip(inner[1:], s, strict=True)
                )
                turned = torch.autograd.grad(slope, w, retain_graph=True)
                s = [
                    each - xi * (more + decay * each) for each, more in zip(s, turned, strict=True)
                ]
            g_EO[e, o] += sum((a * b).sum() for a, b in zip(v, s, strict=True))
        return g_EO


@pytest.mark.parametrize(
    ("weights", "changes"),
    [(sgd, {}), pytest.param(nesterov, NESTEROV, marks=pytest.mark.thorough)],
)
def test_a_search_is_its_plain_loop(weights: Callable[..., Any], changes: dict[str, Any]) -> None:
    """Two epochs of three batches, of which the first and the third move alpha."""
    chosen = settings(
        {"space": {"name": "toy"}, "benchmark": {"table": "toy"}, "search": {"epochs": 2}},
        {"algorithm": {"name": "idarts", "every": 2}},
        changes,
    )
    state = build_state(chosen)
    twin = Forwards(state, terms=3, weights=weights, epochs=2)
    session, moved = Session(state), []
    session.train_epoch()
    for epoch in (1, 2):
        session.begin_epoch()
        twin.begin(epoch)
        rate = 0.001 + (WEIGHT_LR - 0.001) * (1 + math.cos(math.pi * (epoch - 1) / 2)) / 2
        twin.optimizer.param_groups[0]["lr"] = rate
        for number, draws in enumerate(draw_epoch(state)):
            train, valid = draws.batches(state)
            before_EO = state.alpha_EO.detach().clone()
            session.step(draws)
            moved.append(not torch.equal(before_EO, state.alpha_EO))
            if number in (0, 2):
                twin.arch_step(train, valid)
            twin.weight_step(train)
    assert moved == [True, False, True] * 2
    assert SIZE == 3 * BATCH
    assert_same(state, twin)


def test_the_defaults_are_those_published() -> None:
    """K = 2 products with the Hessian are three terms; four steps of w."""
    chosen = tiny_settings(algorithm__name="idarts").document()["algorithm"]
    assert chosen == {"name": "idarts", "every": 4, "hypergradient": NEUMANN}


def test_without_its_two_ideas_it_is_darts() -> None:
    ours = idarts(algorithm__every=1, algorithm__hypergradient="first-order")
    darts = build_state(tiny_settings())
    for state in (ours, darts):
        session = Session(state)
        for _ in range(3):
            session.train_epoch()
    assert_bits(fingerprint(ours), fingerprint(darts))


# --- when, and what it costs ----------------------------------------------------------------------


@pytest.mark.parametrize("order", ["arch-first", "weights-first"])
def test_alpha_stays_in_between_under_decay_and_moments_too(order: str) -> None:
    """Of three batches per epoch the first moves it, whatever ``every`` beyond them."""
    for every, expected in ((4, [True, False, False]), (2, [True, False, True])):
        state = idarts(
            algorithm__every=every,
            algorithm__hypergradient="first-order",
            search__step_order=order,
            arch_optimizer={"name": "AdamW", "weight_decay": 0.1},
        )
        session, moved = Session(state), []
        session.train_epoch()
        for _ in range(2):
            session.begin_epoch()
            for draws in draw_epoch(state):
                before_EO = state.alpha_EO.detach().clone()
                session.step(draws)
                moved.append(not torch.equal(state.alpha_EO, before_EO))
        assert moved == expected * 2


def test_a_step_of_alpha_asks_for_two_losses_and_the_others_for_none() -> None:
    state, asked = idarts(), {"train": 0, "valid": 0}
    compute = state.algorithm.hypergradient

    def counting(problem: Bilevel, alpha_EO: Tensor, relax: Any) -> Hypergradient:
        seen = dataclasses.replace(
            problem,
            valid_loss=counted(problem.valid_loss, asked, "valid"),
            train_loss=counted(problem.train_loss, asked, "train"),
        )
        return compute(seen, alpha_EO, relax)

    object.__setattr__(state.algorithm, "hypergradient", counting)
    for number in range(1, 4):
        step_of_alpha(state, number)
    assert asked == {"train": 0, "valid": 0}
    step_of_alpha(state, 4)
    assert asked == {"train": 1, "valid": 1}


@pytest.mark.parametrize("weights", ["SGD", "Adam", "AdamW", "RMSprop"])
@pytest.mark.parametrize("arch", ["Adam", "SGD", "sam", "LBFGS"])
def test_it_searches_under_every_optimizer_with_a_virtual_step(weights: str, arch: str) -> None:
    more = {"base": {"name": "Adam"}} if arch == "sam" else {}
    state = idarts(
        weight_optimizer={"name": weights, "lr": 0.01},
        arch_optimizer={"name": arch, "lr": 0.01, **more},
    )
    session = Session(state)
    for _ in range(2):
        session.train_epoch()
    assert state.alpha_EO.isfinite().all()
    assert not torch.equal(state.alpha_EO, state.alpha_start_EO)


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "changes"), every_space())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_searches_every_space(name: str, changes: dict[str, Any], dtype: str) -> None:
    state = idarts(**changes, supernet__dtype=dtype)
    step_of_alpha(state)
    assert state.alpha_EO.dtype == getattr(torch, dtype)
    assert state.alpha_EO.isfinite().all()
    assert not torch.equal(state.alpha_EO, state.alpha_start_EO)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("hypergradient", [NEUMANN, "first-order"])
def test_no_graph_records_a_step_that_is_not_like_the_next(hypergradient: Any) -> None:
    state = idarts(algorithm__hypergradient=hypergradient, run__stepper="graph")
    there: Any = SimpleNamespace(device=torch.device("cuda"))
    with pytest.raises(UserError, match=r"depends on its number .*; use run\.stepper=eager"):
        check_stepper(dataclasses.replace(state, alpha_EO=there))


SAM = {"name": "sam", "lr": 0.1, "base": {"name": "SGD", "momentum": 0.9}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm__every": 0}, r"algorithm\.every = 0: .*use 1 or more"),
        ({"algorithm__every": 2.5}, r"algorithm\.every = 2\.5: "),
        (
            {"algorithm__hypergradient": {**NEUMANN, "terms": 0}},
            r"algorithm\.hypergradient\.terms = 0: .*use 1 or more",
        ),
        (
            {"algorithm__hypergradient": "hessian"},
            r"algorithm\.hypergradient.* = 'hessian': there is no hypergradient of this name",
        ),
        ({"weight_optimizer": SAM}, r"algorithm\.hypergradient = 'neumann': a virtual step"),
        (
            {"weight_optimizer__name": "Adagrad"},
            r"algorithm\.hypergradient = 'neumann': a virtual step is known of .*first-order",
        ),
        (
            {"search__step_order": "weights-first"},
            r"search\.step_order = 'weights-first': .*neumann needs .*arch-first",
        ),
    ],
)
def test_what_is_refused_with_the_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        idarts(**changes)
