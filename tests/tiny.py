"""Settings and states small enough to run in a blink; shared by the suite."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from optnas.algorithms.bilevel import Loss, LossValue, Weights
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.measures.evaluation import Batch, drawn_batch
from optnas.search.api import nest
from optnas.search.draws import train_draws, valid_draws
from optnas.search.exam.base import difference
from optnas.search.exam.searches import TINY
from optnas.search.session import Session
from optnas.search.settings.layers import Layer, resolve
from optnas.search.settings.model import Settings
from optnas.search.state import SearchState, build_state
from optnas.spaces import build_space
from optnas.spaces.tables import default_table


def tiny_settings(**changes: Any) -> Settings:
    """Complete settings; ``a__b`` stands for the dotted key ``a.b``."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    return resolve([Layer("test", nest(TINY | dotted))])


def every_space() -> list[tuple[str, dict[str, Any]]]:
    """Each registered space that has a table, with the one a user of it gets who names none."""
    spaces = []
    for name in registry.names("space"):
        with contextlib.suppress(UserError):  # no table holds its cells
            spaces.append(
                (
                    name,
                    {
                        "space__name": name,
                        "benchmark__table": default_table(None, build_space({"name": name})),
                    },
                )
            )
    return spaces


def every_variant() -> list[tuple[str, dict[str, Any]]]:
    """Each registered algorithm, once for each hypergradient it offers."""
    variants: list[tuple[str, dict[str, Any]]] = []
    for name in registry.names("algorithm"):
        settings = registry.complete_settings(
            registry.find("algorithm", name), {}, section="algorithm", skip=("space",)
        )
        variants.append((name, {"algorithm__name": name}))
        if "hypergradient" in settings:
            unrolled = {"algorithm__name": name, "algorithm__hypergradient": "unrolled"}
            variants.append((f"{name}-unrolled", unrolled))
    return variants


def is_rare(variant: str) -> bool:
    """Whether a variant is for the slow tier: the unrolled hypergradient, but that of DARTS."""
    return variant.endswith("-unrolled") and variant != "darts-unrolled"


def in_their_tier(variants: Iterable[str]) -> list[Any]:
    """Variants as parameters of a matrix, DARTS always in the default tier and rare ones never."""

    def mark(name: str) -> pytest.MarkDecorator:
        return pytest.mark.slow if is_rare(name) else pytest.mark.matrix

    return [pytest.param(name, marks=[mark(name)] * (name != "darts")) for name in variants]


def recordable(variants: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Those whose steps neither depend on their number in the epoch nor draw what they drop."""
    refused = {"step-number", "skip-dropout"}
    return {
        name: changes
        for name, changes in variants.items()
        if refused.isdisjoint(registry.facts("algorithm", changes["algorithm__name"])["needs"])
    }


def counted(loss: Loss, asked: dict[str, int], name: str) -> Loss:
    """A loss that also counts, under its name, how often it is asked."""

    def call(op_weights_EO: Tensor, weights: Weights, *, update: bool = False) -> LossValue:
        asked[name] += 1
        return loss(op_weights_EO, weights, update=update)

    return call


def normal(*shape: int, seed: int) -> Tensor:
    """Numbers from N(0, 1) in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def fingerprint(state: SearchState) -> dict[str, Any]:
    """Everything that later steps depend on."""
    statistics = state.statistics
    return copy.deepcopy(
        {
            "weights": {name: weight.detach() for name, weight in state.supernet.weights.items()},
            "alpha": state.alpha_EO.detach(),
            "path": state.path_lengths,
            "mean": None if statistics is None else statistics.mean_S,
            "variance": None if statistics is None else statistics.variance_S,
            "w": state.weight_optimizer.state_dict()["state"],
            "a": state.arch_optimizer.state_dict()["state"],
            "streams": {name: g.get_state() for name, g in state.generators.items()},
        }
    )


def assert_same(one: Any, other: Any) -> None:
    """Equal in type and in every bit."""
    assert difference(one, other) is None


def assert_alike(found: Any, expected: Any, *, rel: float, abs: float, at: str = "it") -> None:
    """Equal but for rounding of the numbers in tables and lists; what else there is, is equal."""
    if isinstance(expected, Mapping):
        assert found.keys() == expected.keys(), at
        for key in expected:
            assert_alike(found[key], expected[key], rel=rel, abs=abs, at=f"{at}.{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), at
        for place, pair in enumerate(zip(found, expected, strict=True)):
            assert_alike(*pair, rel=rel, abs=abs, at=f"{at}.{place}")
    elif isinstance(expected, (int, float)) and not isinstance(expected, bool):
        assert found == pytest.approx(expected, rel=rel, abs=abs, nan_ok=True), at
    else:
        assert found == expected, at


def train_batch(state: SearchState, indices_B: Tensor) -> Batch:
    """An augmented batch of the training half; its numbers are drawn here."""
    draws_KB = train_draws(state, indices_B)
    return drawn_batch(state.train, state.augmentation, draws_KB, state.dtype)


def valid_batch(state: SearchState) -> Batch:
    """The next batch of the validation half, as the protocol draws and augments it."""
    return drawn_batch(state.valid, state.valid_augmentation, valid_draws(state), state.dtype)


def trained(changes: dict[str, Any], epochs: int) -> SearchState:
    """A search after some epochs, of two."""
    session = Session(build_state(tiny_settings(**changes)))
    for _ in range(1 + epochs):  # nothing is trained in epoch 0
        session.train_epoch()
    return session.state
