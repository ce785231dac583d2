"""The exam every registered algorithm sits, in each of its variants, on every registered space."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import every_space, every_variant, tiny_settings

from optnas.algorithms.base import Progress
from optnas.search import _measure, _train_epoch
from optnas.state import SearchState, build_state, restore, save

VARIANTS = [
    pytest.param(changes | space, id=f"{name}-{space_name}")
    for space_name, space in every_space()
    for name, changes in every_variant()
]


def fingerprint(state: SearchState) -> dict[str, Any]:
    """Everything that later steps depend on."""
    statistics = state.statistics
    return copy.deepcopy(
        {
            "weights": {name: weight.detach() for name, weight in state.supernet.weights.items()},
            "alpha": state.alpha_EO.detach(),
            "path": state.path_length,
            "mean": None if statistics is None else statistics.mean_S,
            "variance": None if statistics is None else statistics.variance_S,
            "w": state.weight_optimizer.state_dict()["state"],
            "a": state.arch_optimizer.state_dict()["state"],
            "streams": {name: g.get_state() for name, g in state.generators.items()},
        }
    )


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    else:
        assert one == other


def trained(changes: dict[str, Any], epochs: int) -> SearchState:
    state = build_state(tiny_settings(**changes))
    for epoch in range(1, epochs + 1):
        _train_epoch(state, Progress(epoch, 2))
    return state


@pytest.mark.parametrize("changes", VARIANTS)
def test_same_seed_same_result_and_another_seed_another(changes: dict[str, Any]) -> None:
    once = fingerprint(trained(changes, 1))
    assert_same(once, fingerprint(trained(changes, 1)))
    other = fingerprint(trained(changes | {"search__seed": 1}, 1))
    assert not torch.equal(once["alpha"], other["alpha"])


@pytest.mark.parametrize("changes", VARIANTS)
def test_saved_and_restored_equals_uninterrupted(changes: dict[str, Any], tmp_path: Path) -> None:
    state = trained(changes, 1)
    save(state, tmp_path / "last.pt")
    again = build_state(tiny_settings(**changes))
    restore(again, tmp_path / "last.pt")
    assert_same(fingerprint(state), fingerprint(again))
    for each in (state, again):
        _train_epoch(each, Progress(2, 2))
    assert_same(fingerprint(state), fingerprint(again))


@pytest.mark.parametrize("changes", VARIANTS)
def test_measuring_touches_nothing(changes: dict[str, Any]) -> None:
    state = trained(changes | {"curvature__every": 1}, 1)
    before = fingerprint(state)
    record = _measure(state, Progress(2, 2))
    assert record["alpha_hessian_max"] is not None
    assert_same(before, fingerprint(state))


@pytest.mark.parametrize("changes", VARIANTS)
def test_the_global_generator_is_never_used(changes: dict[str, Any]) -> None:
    torch.manual_seed(1)
    once = trained(changes, 1)
    _measure(once, Progress(1, 2))
    untouched = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(untouched, torch.get_rng_state())
    torch.manual_seed(99)
    assert_same(fingerprint(once), fingerprint(trained(changes, 1)))


@pytest.mark.parametrize("changes", VARIANTS)
def test_pairs_of_one_seed_start_alike(changes: dict[str, Any]) -> None:
    records = []
    for w, a in (("SGD", "Adam"), ("RMSprop", "SGD")):
        pair = {"weight_optimizer__name": w, "arch_optimizer__name": a}
        records.append(_measure(build_state(tiny_settings(**changes, **pair)), Progress(0, 2)))
    assert records[0] == records[1]
