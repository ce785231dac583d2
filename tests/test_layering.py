"""Settings laid over each other: what naming a component drops, and what it keeps."""

from __future__ import annotations

import re
from typing import Any

import pytest

from optnas import UserError
from optnas.search.api import nest, settings_of
from optnas.search.settings.layers import Layer, resolve
from optnas.search.settings.model import Settings

DIGITS = {"data": {"name": "digits"}}
FILE = {"weight_optimizer": {"name": "Adam", "lr": 0.5, "schedule": {"name": "constant"}}}


def over(file: dict[str, Any], command_line: dict[str, Any]) -> Settings:
    return resolve([Layer("c.toml", DIGITS | file), Layer("command line", nest(command_line))])


def test_the_same_name_again_keeps_the_section() -> None:
    once = over(FILE, {})
    assert over(FILE, {"weight_optimizer.name": "Adam"}) == once
    assert once.weight_optimizer.settings["lr"] == 0.5
    more = over(FILE, {"weight_optimizer.name": "Adam", "weight_optimizer.eps": 1e-3})
    assert more.weight_optimizer.settings["lr"] == 0.5
    assert more.weight_optimizer.settings["eps"] == 1e-3


def test_the_protocols_name_keeps_what_a_file_says_about_it() -> None:
    file = {"weight_optimizer": {"lr": 0.5}}
    found = over(file, {"weight_optimizer.name": "SGD"}).weight_optimizer.settings
    assert (found["lr"], found["momentum"]) == (0.5, 0.9)


def test_another_name_starts_afresh() -> None:
    found = over(FILE, {"weight_optimizer.name": "SGD"}).weight_optimizer
    assert (found.settings["lr"], found.schedule.name) == (0.025, "cosine")
    assert over(FILE, {"weight_optimizer.name": "NAdam"}).weight_optimizer.settings["lr"] == 2e-3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("cosine", {"final_lr": 0.001, "warmup_epochs": 0, "final_share": 0.0}),
        (
            {"name": "cosine", "warmup_epochs": 2},
            {"final_lr": 0.001, "warmup_epochs": 2, "final_share": 0.0},
        ),
        ({"warmup_epochs": 2}, {"final_lr": 0.001, "warmup_epochs": 2, "final_share": 0.0}),
        ("linear", {"final_lr": 0.0, "warmup_epochs": 0, "final_share": 0.0}),
        (
            {"name": "linear", "warmup_epochs": 2},
            {"final_lr": 0.0, "warmup_epochs": 2, "final_share": 0.0},
        ),
    ],
)
def test_a_schedule_follows_the_rule_of_its_section(given: Any, expected: dict[str, Any]) -> None:
    found = over({}, {"weight_optimizer.schedule": given}).weight_optimizer.schedule
    assert found.settings == expected


def test_a_bare_name_takes_settings_from_a_later_layer() -> None:
    file = {"arch_optimizer": {"schedule": "cosine"}}
    found = over(file, {"arch_optimizer.schedule.final_lr": 1e-6}).arch_optimizer.schedule
    assert (found.name, found.settings["final_lr"]) == ("cosine", 1e-6)


@pytest.mark.parametrize(
    "dotted",
    [
        {"search": 5, "search.epochs": 3},
        {"search.epochs": 3, "search": 5},
        {"search": {"epochs": 1}, "search.epochs": 3},
    ],
)
def test_a_section_is_given_one_way(dotted: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"^settings: search.* = \d: is given twice, or as a who"):
        settings_of(dotted)


@pytest.mark.parametrize(
    ("file", "command", "place"),
    [
        ({"measures": {"gap": {"batches": 0}}}, {"measures.gap.batch_size": 4}, "c.toml"),
        ({"measures": {"gap": {"batch_size": 4}}}, {"measures.gap.batches": 0}, "command line"),
        (FILE | {"arch_optimizer": {"schedule": "cosin"}}, {}, "c.toml"),
        ({"arch_optimizer": {"schedule": "constant"}}, {"arch_optimizer.schedule": "c"}, "command"),
        ({"weight_optimizer": {"momentum": "x"}}, {"weight_optimizer.momentum": "y"}, "command"),
        ({"supernet": {"batch_norm": "batch"}}, {}, "protocol cpu"),
        ({"search": {"epochs": 0}}, {}, "c.toml"),
        ({"weight_optimizer": {"name": "sam", "lr": 1.0}}, {}, "nobody"),
    ],
)
def test_an_error_names_who_wrote_its_key(
    file: dict[str, Any], command: dict[str, Any], place: str
) -> None:
    layers = [Layer("c.toml", DIGITS | file), Layer("command line", nest(command))]
    with pytest.raises(UserError) as caught:
        resolve(layers, default="nobody")
    assert str(caught.value.where).startswith(place), caught.value


def test_a_number_is_one_number_however_it_is_written() -> None:
    def run(**settings: Any) -> str:
        dotted = {key.replace("__", "."): value for key, value in settings.items()}
        return over({}, {"weight_optimizer.name": "RMSprop", **dotted}).hash

    assert run() == run(weight_optimizer__momentum=0) == run(weight_optimizer__momentum=0.0)
    assert run(weight_optimizer__weight_decay=1) == run(weight_optimizer__weight_decay=1.0)
    betas = [run(arch_optimizer__betas=[first, 0.999]) for first in (0, 0.0)]
    assert betas[0] == betas[1] != run()
    radii = [
        over({}, {"algorithm.name": "sdarts-rs", "algorithm.radius_start": r}).hash
        for r in (0, 0.0)
    ]
    assert radii[0] == radii[1]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"weight_optimizer.lr": 1e-4},
            "weight_optimizer.schedule.final_lr = 0.001: the learning rate would rise to it from "
            "weight_optimizer.lr = 0.0001; set weight_optimizer.schedule.final_lr to at most "
            "0.0001; or to 0 and weight_optimizer.schedule.final_share to a share of the rate",
        ),
        ({"weight_optimizer.lr": 0.0}, "weight_optimizer.schedule.final_lr = 0.001: "),
        (
            {"arch_optimizer.schedule": {"name": "linear", "final_lr": 1}},
            "arch_optimizer.schedule.final_lr = 1.0: ",
        ),
        (
            {"weight_optimizer.schedule.final_share": 0.1},
            "weight_optimizer.schedule.final_share = 0.1: the end is written already, as "
            "schedule.final_lr = 0.001; set schedule.final_lr=0 beside it",
        ),
        (
            {"arch_optimizer.schedule": {"name": "cosine", "final_share": 2}},
            "arch_optimizer.schedule.final_share = 2.0: must be a share of the rate",
        ),
    ],
)
def test_a_schedule_that_would_rise_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=re.escape(told)):
        over({}, given)
    level = {"weight_optimizer.lr": 0.001, "arch_optimizer.schedule": {"name": "constant"}}
    assert over({}, level).weight_optimizer.settings["lr"] == 0.001  # does not rise
