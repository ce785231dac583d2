"""Numbers that mean nothing are refused: every numeric setting of every part, asked below 0."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tiny import normal

from optnas.algorithms.base import Progress
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.schema import Setting, settings_of
from optnas.optimizers import signatures
from optnas.optimizers.adapter import build
from optnas.spaces import NAS_BENCH_201

KINDS = ("algorithm", "relaxation", "perturbation", "hypergradient", "measure", "schedule")
# Settings of which a negative number means something, and what.
MEANS = {
    "algorithm oles threshold": "of a mean cosine",
    "optimizer schedule-free-adamw r": "the power of a step in an average",
    "optimizer schedule-free-adamw weight_lr_power": "the power of a rate in an average",
    "optimizer schedule-free-sgd r": "the power of a step in an average",
    "optimizer schedule-free-sgd weight_lr_power": "the power of a rate in an average",
    "optimizer Adafactor beta2_decay": "the power of a step, below 0 by default",
}
SUPPLIED = ("space", "params")
BASE = {"base": {"name": "SGD"}}
# What an optimizer needs beside the setting that is asked.
BESIDE: dict[str, dict[str, Any]] = {
    **{name: {"lr": 0.1, **BASE} for name in ("sam", "asam", "lookahead")},
    "swap": {"lr": 0.1, "first": {"name": "SGD"}, "then": {"name": "SGD"}, "after": 1},
}


def is_number(setting: Setting) -> bool:
    if isinstance(setting.default, (bool, str, tuple, list)):
        return False
    hint = str(setting.hint)
    return "Literal" not in hint and ("float" in hint or "int" in hint)


def numbers() -> Iterator[tuple[str, str, str]]:
    for kind in KINDS:
        for name in registry.names(kind):
            for key, setting in settings_of(registry.find(kind, name), SUPPLIED).items():
                if is_number(setting):
                    yield kind, name, key
    there = [name for name in registry.names("optimizer") if _installed(name)]
    for name in [*there, *signatures.torch_optimizers()]:
        if name not in signatures.REFUSED:
            described = signatures.describe("optimizer", name, "arch_optimizer.name")
            for key, setting in described.settings.items():
                if is_number(setting):
                    yield "optimizer", name, key


def _installed(name: str) -> bool:
    package = registry.facts("optimizer", name).get("package")
    return package is None or importlib.util.find_spec(package) is not None


def made(kind: str, name: str, given: dict[str, Any]) -> Any:
    if kind == "optimizer":
        section, leaf = "arch_optimizer", torch.zeros(6, 5, requires_grad=True)
        settings = signatures.complete_settings(name, given, section=section)
        return build(name, settings, [leaf], section=section, names=["alpha"])
    factory = registry.find(kind, name)
    settings = registry.complete_settings(factory, given, section=kind, skip=SUPPLIED)
    return registry.supply(factory, settings, {"space": NAS_BENCH_201}, section=kind)


@pytest.mark.parametrize("case", list(numbers()), ids=" ".join)
def test_a_number_below_zero_is_refused_where_it_means_nothing(case: tuple[str, str, str]) -> None:
    kind, name, key = case
    given = BESIDE.get(name, {}) if kind == "optimizer" else {}
    if f"{kind} {name} {key}" in MEANS:
        made(kind, name, {**given, key: -1})
        return
    with pytest.raises(UserError) as refused:
        made(kind, name, {**given, key: -1})
    assert str(refused.value.key).rpartition(".")[2] == key
    assert refused.value.value == -1


# Settings of measures whose least value is above 0.
LEAST = {
    "agreement": {"batches": 2},
    "curvature": {"batches": 2, "recalibration": 1},
    "curvature-optdarts": {"batch_size": 2},
    "gap": {"batches": 1},
    "hypergradient-error": {"unroll": 5, "draws": 2},
    "indicator": dict.fromkeys(("uniform", "top", "images", "batch_size"), 2)
    | {"batches": 1, "resamples": 1},
    "landscape": {"points": 5, "batches": 1, "path_points": 2},
    "noise": {"batches": 16, "coordinates": 1, "images": 2, "eigenvalues": 1, "draws": 1},
    "proxies": dict.fromkeys(("uniform", "top", "images", "batch_size"), 2) | {"resamples": 1},
    "sharpness": {"batch_size": 2},
    "theory": {"channels": 1, "samples": 2, "draws": 1, "side": 2},
}
CASES = [(name, key, least) for name, of in LEAST.items() for key, least in of.items()]


@pytest.mark.parametrize(("name", "key", "least"), CASES)
def test_a_measure_takes_no_less_than_its_least(name: str, key: str, least: int) -> None:
    made("measure", name, {key: least})
    with pytest.raises(UserError) as refused:
        made("measure", name, {key: least - 1})
    assert (str(refused.value.key).rpartition(".")[2], refused.value.value) == (key, least - 1)


@pytest.mark.parametrize(("name", "key"), [("gap", "part"), ("theory", "delta")])
@pytest.mark.parametrize("end", [0, 1])
def test_a_share_lies_between_its_ends(name: str, key: str, end: int) -> None:
    with pytest.raises(UserError, match=f"measure.{key} = {end}: is out of range; use"):
        made("measure", name, {key: end})


@pytest.mark.parametrize(
    ("settings", "epoch", "reach"),
    [
        ({"radius_start": 0}, 1, 0.0),
        ({"radius_start": 0, "radius_end": 0.3}, 10, 0.27),
        ({"radius_start": 0.3, "radius_end": 0}, 10, 0.03),
    ],
)
@pytest.mark.parametrize("name", ["uniform", "attack"])
def test_a_radius_may_be_zero(
    name: str, settings: dict[str, float], epoch: int, reach: float
) -> None:
    perturb = made("perturbation", name, {**settings, "projection": "exact"})
    A_EO, slope_EO = normal(6, 5, seed=1).softmax(-1), normal(6, 5, seed=2)
    generator = torch.Generator().manual_seed(3)
    moved_EO = perturb(A_EO, lambda A: (A * slope_EO).sum(), Progress(epoch, 10), generator)
    furthest = float((moved_EO - A_EO).abs().max())
    assert 0.5 * reach <= furthest <= reach + 1e-12
