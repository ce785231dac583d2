"""The gradient that the alignment of cells adds: exactly, and by a difference as published."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TINY, tiny_settings
from torch import Tensor

from optnas.algorithms.base import Progress, WeightGradients
from optnas.algorithms.lambda_darts import lambda_darts
from optnas.search import api
from optnas.search.draws import draw_epoch
from optnas.search.session import Session
from optnas.search.settings.model import Settings
from optnas.search.state import build_state
from optnas.search.steps import weight_step

# Wide enough that ReLUs change sign within the published displacement.
WIDE = {
    "supernet__channels": 8,
    "search__batch_size": 64,
    "data__train_size": 64,
    "data__valid_size": 64,
}


def added(settings: Settings, **given: Any) -> Tensor:
    """What lambda of the last epoch adds to the gradient of the first weight step."""
    state = build_state(settings)
    session = Session(state)
    session.train_epoch()
    session.begin_epoch()
    algorithm = lambda_darts(
        space=state.space, hypergradient=state.algorithm.hypergradient, **given
    )
    look, found = algorithm.on_weight_gradients, list[Tensor]()
    assert look is not None

    def seen(gradients: Mapping[str, Tensor], progress: Progress) -> WeightGradients:
        last = look(gradients, dataclasses.replace(progress, epoch=progress.epochs))
        found.extend(
            (each - gradients[name]).flatten().double()
            for name, each in last.gradients.items()
            if each is not None
        )
        return last

    state.algorithm = dataclasses.replace(state.algorithm, on_weight_gradients=seen)
    draws = draw_epoch(state)[0]
    train, _ = draws.batches(state)
    weight_step(state, train, draws.weight(session.progress))
    return torch.cat(found)


def cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


@pytest.mark.thorough
def test_a_difference_is_the_derivative_where_no_relu_changes_sign_and_else_it_is_warned_of() -> (
    None
):
    settings = tiny_settings(algorithm__name="lambda-darts", **WIDE)
    exact = added(settings, derivative="exact")
    near, published = (added(settings, displacement=each) for each in (1e-7, 1e-4))

    assert cosine(near, exact) > 0.99
    assert float(near.norm() / exact.norm()) == pytest.approx(1, abs=0.05)
    assert abs(cosine(published, exact)) < 0.5
    assert float(published.norm() / exact.norm()) > 10
    assert build_state(settings).algorithm.caveat


def test_a_run_is_warned_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for derivative, times in (("finite-difference", 1), ("exact", 0)):
        caplog.clear()
        chosen = {"algorithm.name": "lambda-darts", "algorithm.derivative": derivative}
        with caplog.at_level(logging.WARNING):
            api.run({**TINY, **chosen}, out=tmp_path / derivative)
        told = [each for each in caplog.messages if "algorithm.derivative=exact" in each]
        assert len(told) == times
        assert all(each.startswith("optnas: warning: lambda-darts: with alg") for each in told)
        assert all(each.count("\n") == 0 for each in told)
