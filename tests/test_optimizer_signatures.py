"""Settings of torch's optimizers read from its source; every optimizer at work on both levels."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from optnas.base.errors import UserError
from optnas.base.schema import settings_of
from optnas.optimizers.adapter import build, set_learning_rate
from optnas.optimizers.signatures import (
    NOT_OFFERED,
    REFUSED,
    REFUSED_FOR_WEIGHTS,
    complete_settings,
    torch_optimizers,
    torch_signature,
)
from optnas.optimizers.stepping import take_step

SECTIONS = ("weight_optimizer", "arch_optimizer")
SHAPES = {
    "weight_optimizer": [(4, 3, 3, 3), (4,), (2, 4), (2,)],
    "arch_optimizer": [(6, 5)],
}
USABLE = [
    (section, name)
    for section in SECTIONS
    for name in torch_optimizers()
    if name not in REFUSED and not (section == "weight_optimizer" and name in REFUSED_FOR_WEIGHTS)
]
usable = pytest.mark.parametrize(("section", "name"), USABLE)


def classes() -> dict[str, type[torch.optim.Optimizer]]:
    return {
        name: found
        for name, found in vars(torch.optim).items()
        if inspect.isclass(found)
        and issubclass(found, torch.optim.Optimizer)
        and found is not torch.optim.Optimizer
    }


def complete(name: str, section: str = "weight_optimizer", **given: Any) -> dict[str, Any]:
    return complete_settings(name, given, section=section)


def test_every_optimizer_of_torch_is_known() -> None:
    assert torch_optimizers().keys() == classes().keys()


@pytest.mark.parametrize("name", torch_optimizers())
def test_signatures_are_those_python_inspects(name: str) -> None:
    inspected = {
        key: parameter.default
        for key, parameter in inspect.signature(classes()[name]).parameters.items()
        if key not in NOT_OFFERED
    }
    read = torch_signature(name)
    defaults = {key: setting.default for key, setting in read.items()}
    assert list(defaults.items()) == list(inspected.items())
    assert [type(value) for value in defaults.values()] == [type(v) for v in inspected.values()]
    # Types too, as far as a file can hold their values.
    factory, skip = classes()[name], ("params", *NOT_OFFERED)
    assert read == settings_of(factory, skip, foreign=True)


def test_reading_them_does_not_import_torch() -> None:
    program = (
        "import sys; from optnas.optimizers.signatures import complete_settings;"
        "complete_settings('Adam', {}, section='weight_optimizer');"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


# --- at work ----------------------------------------------------------------------------------


def leaves(section: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in SHAPES[section]
    ]


def toy_loss(parameters: list[Tensor]) -> Tensor:
    """A bowl around 2 of condition number 10, which all of them should descend."""
    joined = torch.cat([p.reshape(-1) for p in parameters])
    steepness = torch.linspace(0.1, 1.0, len(joined), dtype=torch.float64)
    return (steepness * (joined - 2).square()).mean()


def gradients(optimizer: torch.optim.Optimizer, parameters: list[Tensor]) -> Tensor:
    optimizer.zero_grad()
    loss = toy_loss(parameters)
    loss.backward()
    return loss.detach()


@usable
def test_every_optimizer_lowers_a_loss_with_its_defaults(section: str, name: str) -> None:
    parameters = leaves(section)
    optimizer = build(name, complete(name, section), parameters, section=section)
    start = toy_loss(parameters).item()
    for _ in range(50):
        take_step(optimizer, lambda: gradients(optimizer, parameters))
    assert toy_loss(parameters).item() < start


@usable
def test_settings_and_schedule_reach_the_optimizer(section: str, name: str) -> None:
    parameters = leaves(section)
    given = {"lr": 0.125, "weight_decay": 0.25}
    given = {key: value for key, value in given.items() if key in torch_signature(name)}
    optimizer = build(name, complete(name, section, **given), parameters, section=section)
    (group,) = optimizer.param_groups
    assert {key: group[key] for key in given} == given
    assert len(group["params"]) == len(parameters)
    assert all(a is b for a, b in zip(group["params"], parameters, strict=True))
    set_learning_rate(optimizer, 0.5)
    assert group["lr"] == 0.5


@usable
def test_a_parameter_without_gradient_stays(section: str, name: str) -> None:
    """What a frozen alpha relies on: no decay, no momentum."""
    parameters = leaves(section)
    optimizer = build(name, complete(name, section), parameters, section=section)
    take_step(optimizer, lambda: gradients(optimizer, parameters))
    before = [p.detach().clone() for p in parameters]
    for p in parameters:
        p.grad = None
    take_step(optimizer, lambda: torch.zeros(()))
    assert all(map(torch.equal, parameters, before))


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("section", SECTIONS)
def test_optimizers_of_no_use_are_refused_with_a_reason(section: str, name: str) -> None:
    with pytest.raises(UserError) as caught:
        complete(name, section)
    assert all(told in str(caught.value) for told in REFUSED[name])
    assert f"{section}.name" in str(caught.value)


@pytest.mark.parametrize("name", REFUSED_FOR_WEIGHTS)
def test_some_are_refused_for_network_weights_only(name: str) -> None:
    with pytest.raises(UserError, match=REFUSED_FOR_WEIGHTS[name][1]):
        complete(name, "weight_optimizer")
    assert "lr" in complete(name, "arch_optimizer")


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("Addam", {}, ["no optimizer of this name", "Adam?"]),
        ("Adam", {"betaas": [0.5, 0.9]}, ["no setting 'betaas'", "betas"]),
        ("Adam", {"betas": [0.5]}, ["a list of 2 numbers"]),
        ("Adam", {"betas": [0.5, "x"]}, ["a list of 2 numbers"]),
        ("SGD", {"lr": "0.1"}, ["must be a number"]),
        ("SGD", {"lr": True}, ["must be a number"]),
        ("SGD", {"nesterov": 1}, ["true or false"]),
        ("SGD", {"differentiable": True}, ["no setting 'differentiable'"]),
        ("Adam", {"capturable": True}, ["no setting 'capturable'"]),
        ("Adam", {"params": []}, ["no setting 'params'"]),
    ],
)
def test_wrong_settings_are_told(name: str, given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        complete(name, **given)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_value_the_optimizer_itself_refuses_is_told() -> None:
    given = complete("SGD", nesterov=True)
    with pytest.raises(UserError, match="Nesterov"):
        build("SGD", given, leaves("weight_optimizer"), section="weight_optimizer")


def test_defaults_are_spelt_out_and_none_left_out() -> None:
    assert complete("SGD", lr=0.1) == {
        "lr": 0.1,
        "momentum": 0,
        "dampening": 0,
        "weight_decay": 0,
        "nesterov": False,
        "maximize": False,
    }
    assert complete("Adam", betas=(0.5, 0.9))["betas"] == [0.5, 0.9]
    assert "eps" not in complete("Adafactor")  # (None, 0.001), and TOML has no None
    assert complete("Adafactor", eps=[1e-8, 1e-3])["eps"] == [1e-8, 1e-3]


# --- an optimizer of one's own ----------------------------------------------------------------

OWN = """
import torch

class Sign(torch.optim.Optimizer):
    def __init__(self, params, lr, decay=0.0):
        super().__init__(params, {"lr": lr, "decay": decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.mul_(1 - group["lr"] * group["decay"]).sub_(group["lr"] * p.grad.sign())
"""


@pytest.mark.parametrize("section", SECTIONS)
def test_an_optimizer_from_a_file_serves_both_levels(tmp_path: Path, section: str) -> None:
    path = tmp_path / "sign.py"
    path.write_text(OWN)
    name = f"{path}:Sign"
    with pytest.raises(UserError, match="needs this setting"):
        complete(name, section)
    given = complete(name, section, lr=0.1)
    assert given == {"lr": 0.1, "decay": 0.0}
    parameters = leaves(section)
    optimizer = build(name, given, parameters, section=section)
    start = toy_loss(parameters)
    start.backward()
    optimizer.step()
    assert toy_loss(parameters).item() < start.item()
