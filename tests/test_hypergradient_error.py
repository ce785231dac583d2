"""Hypergradients against a long unroll, beside real steps of the run's own optimizer."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tiny import tiny_settings, trained
from torch import Tensor

from optnas.base.errors import UserError
from optnas.measures.evaluation import clean_batch
from optnas.measures.hypergradient_error import COMPARED, hypergradient_error
from optnas.search.observe import snapshot_of

UNROLL, SIZE, STEP = 5, 8, 1e-6
CHANGES: dict[str, Any] = {"supernet__alpha_scale": 1.0, "weight_optimizer__weight_decay": 1e-3}


@pytest.mark.thorough
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_the_reference_foretells_the_loss_after_real_steps(optimizer: str) -> None:
    """Along a random direction, for both draws; cosines and lengths are those of its arrays."""
    state = trained({**CHANGES, "weight_optimizer__name": optimizer}, epochs=1)
    found = hypergradient_error(UNROLL, 2, SIZE).measure(snapshot_of(state))
    gradients = torch.from_numpy(found.arrays["gradients"])
    direction_EO = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).double()

    def loss(draw: int, alpha_EO: Tensor) -> float:
        A_EO = alpha_EO.softmax(-1)
        supernet = copy.deepcopy(state.supernet)
        stepper = type(state.weight_optimizer)(list(supernet.weights.values()))
        stepper.load_state_dict(copy.deepcopy(state.weight_optimizer.state_dict()))
        for step in range(UNROLL):
            positions = torch.arange(SIZE) + SIZE * (draw * UNROLL + step)
            batch = clean_batch(state.train, positions % len(state.train), state.dtype)
            stepper.zero_grad()
            logits_BK = supernet(batch.images_BCHW, A_EO, statistics=None).logits_BK
            F.cross_entropy(logits_BK, batch.labels_B).backward()
            stepper.step()
        batch = clean_batch(state.valid, torch.arange(SIZE) + SIZE * draw, state.dtype)
        logits_BK = supernet(batch.images_BCHW, A_EO, statistics=None).logits_BK
        return float(F.cross_entropy(logits_BK, batch.labels_B).detach())

    alpha_EO = state.alpha_EO.detach()
    for draw in range(2):
        ends = [loss(draw, alpha_EO + sign * STEP * direction_EO) for sign in (1, -1)]
        foretold = float((gradients[draw, 0] * direction_EO).sum())
        assert foretold == pytest.approx((ends[0] - ends[1]) / (2 * STEP), rel=1e-4)
    for place, name in enumerate(COMPARED, 1):
        pairs = [(each[place].flatten(), each[0].flatten()) for each in gradients]
        cosines = [float(torch.cosine_similarity(g, r, dim=0)) for g, r in pairs]
        assert found.numbers[f"{name}_cosine"] == pytest.approx(sum(cosines) / 2)
        (one, first), (other, second) = pairs
        apart = [torch.cosine_similarity(*pair, dim=0) for pair in ((one, second), (other, first))]
        assert found.numbers[f"{name}_other_cosine"] == pytest.approx(float(sum(apart)) / 2)
        lengths = [float(g.norm() / r.norm()) for g, r in pairs]
        assert found.numbers[f"{name}_norm"] == pytest.approx(sum(lengths) / 2)
    one, other = gradients[:, 0].flatten(1)
    assert found.numbers["noise_cosine"] == pytest.approx(
        float(torch.cosine_similarity(one, other, dim=0))
    )
    passes = {name: found.numbers[f"{name}_passes"] for name in (*COMPARED, "reference")}
    assert passes == {
        "first_order": 1,
        "unrolled": 4,
        "unrolled_exact": 2,
        "two_steps": 3,
        "five_steps": 6,
        "value_function": 9,
        "neumann": 2,
        "conjugate_gradient": 2,
        "reference": UNROLL + 1,
    }


def test_an_optimizer_of_unknown_steps_is_refused_beforehand() -> None:
    asked = {"measures__hypergradient-error__at": ["end"], "weight_optimizer__name": "Adagrad"}
    with pytest.raises(UserError, match=r"measures\.hypergradient-error.*a virtual step is known"):
        tiny_settings(**asked)
