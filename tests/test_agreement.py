"""Gradients of both halves against plain autograd through the naive supernet, and loops.

Shapes: E edges, O operations, N batches.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from test_gap import naive_of, pixels
from tiny import trained

from optnas.measures.agreement.maths import cosine, mean_cosine, sign_agreement
from optnas.measures.agreement.measure import agreement
from optnas.measures.intervals import mean_interval
from optnas.search.observe import snapshot_of
from optnas.search.state import SearchState
from optnas.spaces import NAS_BENCH_201

E, O, N, BATCH = 6, 5, 3, 8
OPERATIONS = NAS_BENCH_201.operations


def twin(state: SearchState, half: str, beta: float) -> tuple[list[Any], list[Any], list[float]]:
    """Each batch's gradient in A and in alpha, and its loss; statistics of the batch."""
    net, data = naive_of(state).train(), {"train": state.train, "valid": state.valid}[half]
    by_A, by_alpha, losses = [], [], []
    for n in range(N):
        at = [i % len(data) for i in range(n * BATCH, (n + 1) * BATCH)]
        alpha_EO = state.alpha_EO.detach().clone().requires_grad_()
        A_EO = alpha_EO.softmax(-1) + beta * (torch.arange(O) == NAS_BENCH_201.skip)
        A_EO.retain_grad()
        loss = F.cross_entropy(net(pixels(data)[at], A_EO), data.labels_N[at])
        loss.backward()
        for found, leaf in ((by_A, A_EO), (by_alpha, alpha_EO)):
            assert leaf.grad is not None
            found.append(leaf.grad.tolist())
        losses.append(loss.item())
    return by_A, by_alpha, losses


def slow_cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def flat(matrix: Any) -> list[float]:
    return [float(each) for row in matrix for each in row]


@pytest.mark.parametrize("algorithm", ["darts", "darts-minus"])
def test_the_measure_is_the_naive_twin(algorithm: str) -> None:
    state = trained({"algorithm__name": algorithm}, 1)
    state.epoch = 1
    found = agreement(N, BATCH).measure(snapshot_of(state, "agreement"))
    numbers = found.numbers
    beta = 1.0 if algorithm == "darts-minus" else 0.0  # in the first epoch
    by_A, by_alpha, losses = {}, {}, {}
    for half in ("train", "valid"):
        by_A[half], by_alpha[half], losses[half] = twin(state, half, beta)
        np.testing.assert_allclose(found.arrays[f"op_weights_{half}"], by_A[half], atol=1e-12)
        np.testing.assert_allclose(found.arrays[f"logits_{half}"], by_alpha[half], atol=1e-12)
        assert numbers[f"{half}_loss"] == pytest.approx(sum(losses[half]) / N)
    T, V = ([[sum(g[e][o] for g in by_A[h]) / N for o in range(O)] for e in range(E)] for h in by_A)
    assert numbers["cosine"] == pytest.approx(slow_cosine(flat(T), flat(V)))
    same = [[T[e][o] * V[e][o] > 0 for e in range(E)] for o in range(O)]
    for o, name in enumerate(OPERATIONS):
        if o == NAS_BENCH_201.none:  # the network never reads its weight
            assert numbers["cosine_by_operation"][name] is None
            assert numbers["sign_agreement_by_operation"][name] is None
            continue
        columns = [row[o] for row in T], [row[o] for row in V]
        assert numbers["cosine_by_operation"][name] == pytest.approx(slow_cosine(*columns))
        assert numbers["sign_agreement_by_operation"][name] == pytest.approx(sum(same[o]) / E)
    assert numbers["sign_agreement"] == pytest.approx(sum(map(sum, same)) / (E * (O - 1)))
    for key, one, other in (("", "train", "valid"), ("_train",) * 3, ("_valid",) * 3):
        one, other = one.strip("_"), other.strip("_")
        pairs = [(i, j) for i, j in itertools.product(range(N), repeat=2) if one != other or i != j]
        values = [slow_cosine(flat(by_A[one][i]), flat(by_A[other][j])) for i, j in pairs]
        assert numbers[f"batch_cosine{key}"] == pytest.approx(sum(values) / len(values))
    for half, (o, name) in itertools.product(by_alpha, enumerate(OPERATIONS)):
        batch_means = [sum(row[o] for row in g) / E for g in by_alpha[half]]
        mean = sum(batch_means) / N
        spread = math.sqrt(sum((each - mean) ** 2 for each in batch_means) / (N - 1))
        half_width = 4.302653 * spread / math.sqrt(N)  # t of 2 degrees of freedom, 97.5 %
        told = [numbers[f"alpha_gradient_{half}{end}"][name] for end in ("", "_low", "_high")]
        expected = [mean, mean - half_width, mean + half_width]
        assert told == pytest.approx(expected, rel=1e-5, abs=1e-12)


def test_known_cosines_and_signs() -> None:
    one, other = torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([[3.0, 1.0], [0.0, -4.0]])
    assert cosine(one, one) == pytest.approx(1)
    assert cosine(one, -one) == pytest.approx(-1)
    assert cosine(one, torch.zeros(2, 2)) is None
    assert sign_agreement(one, other) == 0.5
    assert sign_agreement(one, torch.zeros(2, 2)) is None
    both = torch.stack([one, -one])
    assert mean_cosine(both, both, distinct=True) == pytest.approx(-1)
    assert mean_cosine(both, both, distinct=False) == pytest.approx(0)
    assert mean_cosine(0 * both, both, distinct=False) is None
    assert mean_interval(torch.tensor([1.0, 1.0])) == (1, 1)
