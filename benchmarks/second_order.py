"""The two second-order gradients of alpha, exact and as published, and what each predicts.

    python benchmarks/second_order.py [--epochs 1 4 10] [--seeds N] [--json FILE]

L(alpha) = L_val(w'(alpha), A(alpha)) with w' one step of the weight optimizer on a train batch. Its
gradient is a first term, the derivative in A with w' held, and a second, through w'. The exact
second term is the derivative of an expression in which ReLUs are flat but at their kinks; the
finite difference of the published code steps over kinks. At moments of searches of protocol
``cpu`` on CIFAR-10 (``OPTNAS_DATA`` names the data), on batches of 64, this asks

- *cosine*: between the two second terms;
- *share*: the norm of each second term over that of the first term;
- *error*: how well <gradient, d> predicts L(alpha + d) - L(alpha) for random d of length 0.01, as
  the root mean square of the error over that of the change; also for the first term alone.

The last line printed is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from optnas.algorithms.bilevel import Bilevel, Hypergradient
from optnas.algorithms.parts.hypergradients import unrolled
from optnas.data.batches import epoch_batches
from optnas.search.api import settings_of
from optnas.search.draws import StepDraws, train_draws, valid_draws
from optnas.search.environment import processor
from optnas.search.session import Session
from optnas.search.state import build_state
from optnas.search.steps import arch_step

LENGTH, DIRECTIONS = 0.01, 64
Relax = Callable[[Tensor], Tensor]


def objective(problem: Bilevel, alpha_EO: Tensor, relax: Relax) -> float:
    """L(alpha) of the batches at hand."""
    A_EO = relax(alpha_EO)
    live = list(problem.weights.values())
    gradients = torch.autograd.grad(problem.train_loss(A_EO, problem.weights).loss, live)
    stepped = problem.virtual_step([g.detach() for g in gradients])
    with torch.no_grad():
        return float(problem.valid_loss(A_EO, stepped).loss)


def first_term(problem: Bilevel, alpha_EO: Tensor, relax: Relax) -> Tensor:
    """The derivative of L in A, with w' held."""
    alpha = alpha_EO.detach().requires_grad_()
    live = list(problem.weights.values())
    inner = problem.train_loss(relax(alpha).detach(), problem.weights).loss
    stepped = problem.virtual_step([g.detach() for g in torch.autograd.grad(inner, live)])
    held = {name: weight.detach() for name, weight in stepped.items()}
    (gradient_EO,) = torch.autograd.grad(problem.valid_loss(relax(alpha), held).loss, alpha)
    return gradient_EO


def compared(problem: Bilevel, alpha_EO: Tensor, relax: Relax) -> dict[str, Any]:
    """What the module describes, at one moment."""
    first_EO = first_term(problem, alpha_EO, relax)
    gradients = {"first term": first_EO}
    for name in ("exact", "finite-difference"):
        found = unrolled(derivative=name)(problem, alpha_EO, relax).gradient_EO
        assert found is not None
        gradients[name] = found
    second = {name: g - first_EO for name, g in gradients.items() if name != "first term"}
    a_EO, b_EO = second.values()
    stream = torch.Generator().manual_seed(0)
    start = objective(problem, alpha_EO.detach(), relax)
    changes, foretold = [], {name: [] for name in gradients}
    for _ in range(DIRECTIONS):
        d_EO = torch.randn(alpha_EO.shape, generator=stream, dtype=torch.float64)
        d_EO = LENGTH * (d_EO / d_EO.norm()).to(alpha_EO.dtype)
        changes.append(objective(problem, alpha_EO.detach() + d_EO, relax) - start)
        for name, g in gradients.items():
            foretold[name].append(float((g * d_EO).sum()))
    true_D = torch.tensor(changes)
    return {
        "cosine": float(torch.cosine_similarity(a_EO.flatten(), b_EO.flatten(), dim=0)),
        "share": {name: float(g.norm() / first_EO.norm()) for name, g in second.items()},
        "error": {
            name: float((torch.tensor(values) - true_D).norm() / true_D.norm())
            for name, values in foretold.items()
        },
    }


def moments(optimizer: str, seed: int, epochs: list[int]) -> list[dict[str, Any]]:
    """The comparison after each of some epochs of one search."""
    settings = settings_of(
        {
            "data.name": "cifar10",
            "search.seed": seed,
            "search.epochs": 40,
            "weight_optimizer.name": optimizer,
        }
    ).model_copy(update={"measures": {}})
    session = Session(build_state(settings))
    state, rows = session.state, []
    while state.epoch < max(epochs):
        session.train_epoch()
        if state.epoch not in epochs:
            continue
        row: dict[str, Any] = {"weight_optimizer": optimizer, "seed": seed, "epoch": state.epoch}

        def probe(problem: Bilevel, alpha_EO: Tensor, relax: Relax) -> Hypergradient:
            row.update(compared(problem, alpha_EO, relax))  # noqa: B023 - called in this round
            return Hypergradient(None)

        (indices_B, *_) = epoch_batches(len(state.train), 64, torch.Generator().manual_seed(seed))
        asked = dataclasses.replace(
            state, algorithm=dataclasses.replace(state.algorithm, hypergradient=probe)
        )
        draws = StepDraws(train_draws(asked, indices_B), valid_draws(asked))
        arch_step(asked, *draws.batches(asked), session.progress)
        rows.append(row)
        print(told(row), flush=True)
    return rows


def told(row: dict[str, Any]) -> str:
    errors = ", ".join(f"{name} {value:.2f}" for name, value in row["error"].items())
    shares = ", ".join(f"{name} {value:.2f}" for name, value in row["share"].items())
    return (
        f"{row['weight_optimizer']:<5} seed {row['seed']} epoch {row['epoch']:>2}: cosine "
        f"{row['cosine']:.3f}; share of the first term: {shares}; error: {errors}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 4, 10])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for optimizer in ("SGD", "Adam"):
        for seed in range(given.seeds):
            rows += moments(optimizer, seed, given.epochs)
    found = {"length": LENGTH, "directions": DIRECTIONS, "rows": rows, "machine": processor()}
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
