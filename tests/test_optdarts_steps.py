"""Ten steps of every algorithm under every pair equal a plain restatement of OptDARTS' steps.

The program itself (sodabori/OptDARTS at f5f0e59) was run beside optnas on the CPU in float64, with
``.cuda()`` doing nothing and optimizers behaving as in torch 1.11, which its README names:
``zero_grad`` fills with zeros, ``load_state_dict`` copies. Protocol optdarts, 4 channels, 1 cell
per stage, CIFAR-10, batches of 16, epoch 38 of 100, clipping at 0.5 so that it acts; same weights,
batches and perturbation draws. Over darts, darts-minus, sdarts-rs, sdarts-adv and darts with second
order, four pairs each, the largest difference in ten steps was 1.4e-16 in alpha and 6.0e-15 in the
weights, and that of the curvature number 7.3e-15 of it; the derived cells were equal. None of its
code is here.

Shapes: B images, E edges, O operations.
"""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from naive_supernet import NaiveSupernet
from tiny import train_batch, valid_batch
from torch import Tensor, nn
from torch.testing import assert_close

from optnas.base.seeds import named_generator
from optnas.measures.evaluation import Batch
from optnas.optimizers.adapter import set_learning_rate
from optnas.search.observe import snapshot_of, take
from optnas.search.settings.complete import complete_measure
from optnas.search.settings.layers import Layer, resolve
from optnas.search.settings.model import MeasureSection
from optnas.search.state import SearchState, build_state
from optnas.search.steps import arch_step, weight_step

BATCH, STEPS, MAX_NORM, SEED = 8, 10, 0.5, 5
EPOCH, EPOCHS = 38, 100  # epochs count from 1 here, from 0 in the program
SIZES: dict[str, int] = {"channels": 4, "cells": 1}
SECOND = {"name": "darts", "hypergradient": "unrolled-optdarts"}
ALGORITHMS: dict[str, dict[str, Any]] = {
    **{name: {"name": name} for name in ("darts", "darts-minus", "sdarts-rs", "sdarts-adv")},
    "second order": SECOND,
}
PAIRS = list(itertools.product(("SGD", "Adam"), repeat=2))
MIDDLE = (1 + torch.cos(torch.tensor(torch.pi * 37 / 100, dtype=torch.float64)).item()) / 2
RATES = {"SGD": 1e-3 + (0.025 - 1e-3) * MIDDLE, "Adam": 1e-4 + (1e-3 - 1e-4) * MIDDLE}


def searching(algorithm: str, pair: tuple[str, str]) -> SearchState:
    document = {
        "protocol": "optdarts",
        "search": {"batch_size": BATCH, "seed": SEED},
        "supernet": SIZES | {"dtype": "float64"},
        "data": {"name": "digits", "train_size": 96, "valid_size": 96},
        "algorithm": ALGORITHMS[algorithm],
        "weight_optimizer": {"name": pair[0]},
        "arch_optimizer": {"name": pair[1]},
        "clipping": {"max_norm": MAX_NORM},
        "run": {"device": "cpu"},
    }
    state = build_state(resolve([Layer("test", document)]))
    state.epoch = EPOCH
    set_learning_rate(state.weight_optimizer, state.learning_rates(EPOCH)["weight_optimizer"])
    return state


class Twin:
    """The steps restated; every number of the protocol stands here again."""

    def __init__(self, state: SearchState, algorithm: str, pair: tuple[str, str]):
        space = state.space
        self.algorithm = algorithm
        self.net = NaiveSupernet(
            space.edges, space.operations, **SIZES, classes=10, image_channels=1
        ).double()
        self.net.load(state.supernet.weights)
        self.alpha_EO = nn.Parameter(state.alpha_EO.detach().clone())
        self.rate = RATES[pair[0]]
        self.weights = self.optimizer(pair[0], self.net, self.rate)
        self.arch = {
            "SGD": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=3e-4),
            "Adam": lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.5, 0.999), weight_decay=3e-4),
        }[pair[1]]([self.alpha_EO])
        self.stream = named_generator(SEED, "perturbation")
        self.clipped: list[bool] = []

    @staticmethod
    def optimizer(name: str, net: nn.Module, rate: float) -> torch.optim.Optimizer:
        if name == "SGD":
            return torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=3e-4)
        return torch.optim.Adam(net.parameters(), lr=rate, betas=(0.5, 0.999), weight_decay=3e-4)

    def relaxed(self, alpha_EO: Tensor) -> Tensor:
        skip_O = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
        beta = (100 - 37) / 100 if self.algorithm == "darts-minus" else 0.0
        return alpha_EO.softmax(-1) + beta * skip_O

    def loss(self, batch: Batch, A_EO: Tensor, net: nn.Module | None = None) -> Tensor:
        logits = (self.net.train() if net is None else net)(batch.images_BCHW, A_EO)
        return F.cross_entropy(logits, batch.labels_B)

    def arch_step(self, train: Batch, valid: Batch) -> None:
        if self.algorithm == "second order":
            gradient_EO = self.second_order(train, valid)
        else:
            loss = self.loss(valid, self.relaxed(self.alpha_EO))
            (gradient_EO,) = torch.autograd.grad(loss, self.alpha_EO)
        self.alpha_EO.grad = gradient_EO
        self.arch.step()

    def second_order(self, train: Batch, valid: Batch) -> Tensor:
        """A copy of everything steps; then the network and alpha are displaced together."""
        ahead, name = copy.deepcopy(self.net).train(), type(self.weights).__name__
        stepping = self.optimizer(name, ahead, self.rate)
        stepping.load_state_dict(copy.deepcopy(self.weights.state_dict()))
        leaf_EO = self.alpha_EO.detach().clone().requires_grad_()
        self.loss(train, self.relaxed(leaf_EO), ahead).backward()
        stepping.step()
        stepping.zero_grad()  # of the weights alone
        self.loss(valid, self.relaxed(leaf_EO), ahead).backward()
        assert leaf_EO.grad is not None
        sum_EO, v = leaf_EO.grad, [p.grad for p in ahead.parameters() if p.grad is not None]
        R = 0.01 / torch.cat([sum_EO.flatten(), *(each.flatten() for each in v)]).norm()
        gradients = []
        for sign in (1.0, -1.0):
            there = copy.deepcopy(self.net).train()
            with torch.no_grad():
                for p, each in zip(there.parameters(), v, strict=True):
                    p.add_(each, alpha=sign * float(R))
            at_EO = (self.alpha_EO.detach() + sign * R * sum_EO).requires_grad_()
            loss = self.loss(train, self.relaxed(at_EO), there)
            gradients.append(torch.autograd.grad(loss, at_EO)[0])
        return sum_EO - self.rate * (gradients[0] - gradients[1]) / (2 * R)

    def weight_step(self, train: Batch) -> None:
        used_EO = self.perturbed(self.relaxed(self.alpha_EO.detach()), train).requires_grad_()
        self.weights.zero_grad()
        self.loss(train, used_EO).backward()
        norm = nn.utils.clip_grad_norm_([*self.net.parameters(), used_EO], MAX_NORM)
        self.clipped.append(bool(norm > MAX_NORM))
        self.weights.step()

    def perturbed(self, A_EO: Tensor, train: Batch) -> Tensor:
        if not self.algorithm.startswith("sdarts"):
            return A_EO
        radius = 0.03 + 0.27 * 37 / 100
        uniform = torch.rand(A_EO.shape, generator=self.stream, dtype=torch.float64)
        moved_EO = clipped(A_EO + radius * (2 * uniform - 1))
        if self.algorithm == "sdarts-rs":
            return moved_EO
        judge = self.net.eval()
        for _ in range(7):
            moved_EO.requires_grad_()
            (up_EO,) = torch.autograd.grad(self.loss(train, moved_EO, judge), moved_EO)
            there_EO = moved_EO.detach() + 2 * radius / 7 * up_EO.sign()
            moved_EO = clipped(A_EO + (there_EO - A_EO).clamp(-radius, radius))
        with torch.no_grad():
            worse = self.loss(train, moved_EO, judge) >= self.loss(train, A_EO, judge)
        return moved_EO if worse else A_EO

    def curvature(self, batch: Batch) -> float:
        """|largest eigenvalue| of the Hessian of the loss in alpha, 3e-4 on its diagonal."""
        net = copy.deepcopy(self.net).train()

        def loss(alpha_P: Tensor) -> Tensor:
            return self.loss(batch, self.relaxed(alpha_P.reshape(self.alpha_EO.shape)), net)

        flat_P = self.alpha_EO.detach().reshape(-1)
        hessian = torch.autograd.functional.hessian(loss, flat_P)
        hessian = (hessian + hessian.T) / 2 + 3e-4 * torch.eye(len(flat_P), dtype=torch.float64)
        return abs(float(torch.linalg.eigvalsh(hessian)[-1]))


def clipped(rows_EO: Tensor) -> Tensor:
    """Rows clamped to [0, 1] and divided by their sum; no row here is left with nothing."""
    clamped_EO = rows_EO.clamp(0, 1)
    return clamped_EO / clamped_EO.sum(-1, keepdim=True)


def tier(algorithm: str, pair: tuple[str, str]) -> list[pytest.MarkDecorator]:
    """Of the two that take half a second per step, half the pairs in the slow tier."""
    if algorithm in ("sdarts-adv", "second order") and pair[0] == pair[1]:
        return [pytest.mark.slow]
    return [pytest.mark.thorough] * (algorithm != "darts")


@pytest.mark.parametrize(
    ("algorithm", "pair"),
    [
        pytest.param(algorithm, pair, id="-".join([algorithm, *pair]), marks=tier(algorithm, pair))
        for algorithm in ALGORITHMS
        for pair in PAIRS
    ],
)
def test_ten_steps_are_those_of_the_program(algorithm: str, pair: tuple[str, str]) -> None:
    state = searching(algorithm, pair)
    twin, start_EO = Twin(state, algorithm, pair), state.alpha_EO.detach().clone()
    for first in range(0, STEPS * BATCH, BATCH):
        train, valid = train_batch(state, torch.arange(first, first + BATCH)), valid_batch(state)
        progress = state.progress(EPOCH)
        arch_step(state, train, valid, progress)
        weight_step(state, train, progress)
        twin.arch_step(train, valid)
        twin.weight_step(train)
    close = {"rtol": 0, "atol": 1e-11}
    assert_close(state.alpha_EO.detach(), twin.alpha_EO.detach(), **close)
    theirs = twin.net.named_weights()
    for name, weight in state.supernet.weights.items():
        assert_close(weight.detach(), theirs[name].detach(), **close)
    assert any(twin.clipped)
    assert float((state.alpha_EO.detach() - start_EO).norm()) > 1e-4
    cell = twin.alpha_EO.argmax(-1).tolist()
    assert state.algorithm.cell(state.alpha_EO.detach(), state.progress(EPOCH)) == cell

    section = MeasureSection(**complete_measure("curvature-optdarts", {"batch_size": BATCH}))
    snapshot = snapshot_of(state).seen_by("curvature-optdarts")
    generator = snapshot.generator()
    indices_B = torch.randperm(96, generator=generator)[:BATCH]
    batch = snapshot.augmented_batch("valid", indices_B, generator)
    found = take(snapshot, section).line["values"]["top_eigenvalue"]
    assert found == pytest.approx(twin.curvature(batch), rel=1e-9)
