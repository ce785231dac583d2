"""Algorithms put together in the settings: the named ones bit for bit, and parts of others."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from cases import interrupted_run, timeless, write_files
from tiny import TINY, tiny_settings

from optnas import UserError
from optnas.algorithms import parts
from optnas.search import api
from optnas.search.exam.searches import searched, traced
from optnas.search.state import build_state

SMOOTH = {"radius_start": 0.05, "radius_end": 0.4, "projection": "exact"}
# a named algorithm's settings and those of its composition
SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "darts": ({"name": "darts"}, {}),
    "darts-unrolled": (
        {"name": "darts", "hypergradient": "unrolled", "derivative": "finite-difference"},
        {"hypergradient": {"name": "unrolled", "derivative": "finite-difference"}},
    ),
    "sdarts-rs": ({"name": "sdarts-rs"}, {"perturbation": "uniform"}),
    "sdarts-adv": (
        {"name": "sdarts-adv", "steps": 2, **SMOOTH},
        {"perturbation": {"name": "attack", "steps": 2, **SMOOTH}},
    ),
    "darts-minus": (
        {"name": "darts-minus", "beta": 0.7},
        {
            "relaxation": {"name": "softmax-with-skip", "beta": 0.7},
            "also_validate": {"without_skip": "softmax"},
        },
    ),
    "random": ({"name": "random"}, {"hypergradient": "frozen"}),
}
MINE = '''
"""Parts of one's own, registered and not."""
import torch
from optnas import UserError, register

@register("relaxation", "tempered-softmax")
def tempered(temperature: float = 0.5):
    """A = softmax(alpha / T)."""
    if temperature <= 0:
        raise UserError("must be positive", key="temperature", value=temperature, remedy="raise it")
    return lambda alpha_EO, progress: (alpha_EO / temperature).softmax(-1)

def to_the_skip(share: float = 0.1, *, space):
    """Moves a share of each row to the skip."""
    def perturb(op_weights_EO, train_loss, progress, generator):
        one_hot_EO = torch.zeros_like(op_weights_EO)
        one_hot_EO[:, space.skip] = share
        return (1 - share) * op_weights_EO + one_hot_EO
    return perturb

@register("algorithm", "whole")
def whole():
    """No part."""

def unread(scale: "Nowhere" = 1.0):
    """Its annotation names nothing."""
'''


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path, {"mine.py": MINE})


def composed(**parts: Any) -> dict[str, Any]:
    return {"algorithm.name": "composed", **{f"algorithm.{k}": v for k, v in parts.items()}}


@pytest.mark.parametrize(
    "name", [n if n == "darts" else pytest.param(n, marks=pytest.mark.thorough) for n in SAME]
)
def test_a_composition_is_the_named_algorithm_bit_for_bit(name: str, tmp_path: Path) -> None:
    named, parts = SAME[name]
    api.run(TINY | {f"algorithm.{k}": v for k, v in named.items()}, out=tmp_path / "named")
    api.run(TINY | composed(**parts), out=tmp_path / "composed")
    assert timeless(tmp_path / "composed") == timeless(tmp_path / "named")


UNROLLED = {"name": "unrolled", "derivative": "finite-difference"}
# an algorithm as 0.1.0 wrote it, and as it is written today
RESPELLED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"name": "darts", "hypergradient": "unrolled"},
        {"name": "darts", "hypergradient": "unrolled"},
    ),
    (
        {"name": "darts", "hypergradient": "unrolled", "derivative": "finite-difference"},
        {"name": "darts", "hypergradient": UNROLLED},
    ),
    (
        {"name": "darts", "hypergradient": {"name": "unrolled"}, "derivative": "finite-difference"},
        {"name": "darts", "hypergradient": UNROLLED},
    ),
    (
        {"name": "sdarts-rs", "hypergradient": "first-order", "derivative": "exact", **SMOOTH},
        {"name": "sdarts-rs", **SMOOTH},
    ),
    (
        {"name": "darts-minus", "derivative": "exact", "beta": 0.5},
        {"name": "darts-minus", "beta": 0.5},
    ),
]


def dotted(section: dict[str, Any]) -> dict[str, Any]:
    return {f"algorithm.{key}": value for key, value in section.items()}


@pytest.mark.parametrize(("old", "new"), RESPELLED)
def test_the_spelling_of_0_1_0_is_the_same_run(old: dict[str, Any], new: dict[str, Any]) -> None:
    one, other = (api.settings_of(TINY | dotted(each)) for each in (old, new))
    assert one.document() == other.document()
    assert one.hash == other.hash


def test_a_run_spelled_as_in_0_1_0_is_bit_equal(tmp_path: Path) -> None:
    for name, spelled in zip(("old", "new"), RESPELLED[1], strict=True):
        api.run(TINY | dotted(spelled) | {"search.epochs": 1}, out=tmp_path / name)
    assert timeless(tmp_path / "old") == timeless(tmp_path / "new")


def test_configurations_of_0_1_0_load() -> None:
    """As `optnas search -c` reads them, of each algorithm and hypergradient; no images are read."""
    found = {}
    for path in sorted((Path(__file__).parents[1] / "results").rglob("config.toml")):
        document = tomllib.loads(path.read_text())
        if document["identity"].get("numbers_version", 1) > 1:
            continue
        section = document["algorithm"]
        found[(section["name"], section.get("hypergradient"))] = section
    assert len(found) >= 5
    for (name, hypergradient), section in found.items():
        settings = api.settings_of(TINY | dotted(section)).algorithm
        assert settings.name == name
        if hypergradient is not None:
            assert settings.settings["hypergradient"]["name"] == hypergradient


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"derivative": "finite-difference"}, "the hypergradient first-order has no such choice"),
        (
            {
                "hypergradient": UNROLLED | {"derivative": "exact"},
                "derivative": "finite-difference",
            },
            r"algorithm\.hypergradient\.derivative says exact",
        ),
        ({"name": "random", "derivative": "exact"}, "random has no setting 'derivative'"),
    ],
)
def test_an_old_setting_that_says_nothing_is_told(section: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=rf"algorithm\.derivative = .*{told}"):
        api.settings_of(TINY | dotted({"name": "darts"} | section))


def test_every_hypergradient_serves_every_algorithm() -> None:
    for name in ("darts", "darts-minus", "sdarts-rs", "sdarts-adv"):
        settings = tiny_settings(algorithm__name=name, algorithm__hypergradient="frozen")
        assert build_state(settings).algorithm.hypergradient is parts.frozen


def test_every_default_is_spelled_out() -> None:
    settings = tiny_settings(**{"algorithm__name": "composed", "algorithm__perturbation": "attack"})
    assert settings.document()["algorithm"] == {
        "name": "composed",
        "relaxation": {"name": "softmax"},
        "perturbation": {
            "name": "attack",
            "radius_start": 0.03,
            "radius_end": 0.3,
            "steps": 7,
            "projection": "published",
        },
        "hypergradient": {"name": "first-order"},
        "discretization": {"name": "argmax-per-edge"},
        "also_validate": {},
    }


@pytest.mark.usefixtures("mine")
def test_parts_of_a_file_by_registered_name_and_by_attribute() -> None:
    relaxation = {"name": "./mine.py:tempered-softmax", "temperature": 0.25}
    parts = composed(relaxation=relaxation, perturbation="./mine.py:to_the_skip")
    settings = api.settings_of(TINY | parts)
    chosen = settings.algorithm.settings
    assert chosen["relaxation"] == relaxation
    assert chosen["perturbation"] == {"name": "./mine.py:to_the_skip", "share": 0.1}
    assert set(settings.sources) == {"./mine.py"}
    assert settings.hash != api.settings_of(TINY | composed(relaxation=relaxation)).hash
    state = build_state(settings)
    again = build_state(api.settings_of(TINY | composed(relaxation="./mine.py:tempered")))
    alpha_EO = state.alpha_EO.detach()
    one, other = (s.algorithm.relax(alpha_EO, None) for s in (state, again))  # type: ignore
    assert one.allclose((4 * alpha_EO).softmax(-1))
    assert other.allclose((2 * alpha_EO).softmax(-1))
    moved_EO = state.algorithm.perturb(one, None, None, None)  # type: ignore
    assert moved_EO[:, 1].allclose(0.9 * one[:, 1] + 0.1)


@pytest.mark.usefixtures("mine")
def test_a_run_does_not_resume_with_an_edited_part(tmp_path: Path) -> None:
    parts = {"algorithm__name": "composed", "algorithm__relaxation": "./mine.py:tempered"}
    run = interrupted_run(tmp_path / "run", epochs=0, **parts)
    source = tmp_path / "mine.py"
    source.write_text(source.read_text().replace("0.5", "0.75"))
    with pytest.raises(UserError, match=r"\./mine\.py was edited after the run was started"):
        api.resume(run)
    source.write_text(MINE)
    assert api.resume(run)["status"] == "done"


# setting of the algorithm | its value | how the line goes on | a part of the rest
REFUSED: list[tuple[str, Any, str, str]] = [
    ("relaxation", "sofmax", "relaxation.name = 'sofmax'", "did you mean softmax?"),
    (
        "hypergradient",
        {"steps": 2},
        "hypergradient.steps = 2",
        "first-order has no setting 'steps'",
    ),
    ("relaxation", 5, "relaxation = 5", "must be a name or a table; write algorithm.relaxation="),
    ("relaxation", {"name": 5}, "relaxation.name = 5", "a name is a string"),
    ("relaxation", {"x": 5}, "relaxation.x = 5", "softmax has no setting 'x'"),
    (
        "perturbation",
        {"name": "attack", "stesp": 5},
        "perturbation.stesp = 5",
        "did you mean steps?",
    ),
    (
        "perturbation",
        {"name": "attack", "steps": 5.5},
        "perturbation.steps = 5.5",
        "a whole number",
    ),
    ("relaxatoin", "softmax", "relaxatoin = 'softmax'", "did you mean relaxation?"),
    ("also_validate", "softmax", "also_validate = 'softmax'", "must be a table"),
    (
        "also_validate",
        {"a": "b"},
        "also_validate.a.name = 'b'",
        "use one of: dirichlet, hard-concrete, hard-gumbel",
    ),
    ("relaxation", "./mine.py", "relaxation.name = './mine.py'", "write ./mine.py:NAME"),
    (
        "relaxation",
        "./mine.py:temperd",
        "relaxation.name = './mine.py:temperd'",
        "tempered-softmax?",
    ),
    (
        "relaxation",
        "./mine.py:whole",
        "relaxation.name = ",
        "is registered as algorithm, not as relax",
    ),
    (
        "relaxation",
        {"name": "./mine.py:tempered", "temperature": "x"},
        "relaxation.temperature",
        "nu",
    ),
]


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(("setting", "value", "told", "rest"), REFUSED)
def test_a_wrong_part_is_told(setting: str, value: Any, told: str, rest: str) -> None:
    with pytest.raises(UserError) as refused:
        api.settings_of(TINY | composed(**{setting: value}), where="command line")
    assert str(refused.value).startswith(f"command line: algorithm.{told}"), refused.value
    assert rest in str(refused.value), refused.value


@pytest.mark.usefixtures("mine")
def test_what_a_part_refuses_is_told_under_its_setting() -> None:
    part = {"name": "./mine.py:tempered", "temperature": -1.0}
    with pytest.raises(UserError, match=r"algorithm\.relaxation\.temperature = -1\.0: must be pos"):
        api.settings_of(TINY | composed(relaxation=part))
    with pytest.raises(UserError, match=r"annotations cannot be read \(NameError: name 'Nowhere'"):
        api.settings_of(TINY | composed(relaxation="./mine.py:unread"))


def test_an_unrolled_part_is_checked_against_the_weight_optimizer() -> None:
    own = composed(hypergradient="unrolled") | {"weight_optimizer.name": "Adadelta"}
    with pytest.raises(
        UserError, match=r"algorithm\.hypergradient = 'unrolled': .* not of Adadelt"
    ):
        api.settings_of(TINY | own)


def test_a_key_two_tables_down_leaves_the_others(tmp_path: Path) -> None:
    Path(tmp_path / "c.toml").write_text(
        "[algorithm]\nname = 'composed'\n"
        "also_validate = { hot = { name = 'softmax-with-skip', beta = 0.5 } }\n"
        "[weight_optimizer]\nname = 'sam'\nlr = 0.1\n"
        "base = { name = 'muon', momentum = 0.9, rest = { name = 'AdamW', lr = 0.1 } }\n"
    )
    below = {"algorithm.also_validate.hot.beta": 0.2, "weight_optimizer.base.rest.lr": 0.02}
    settings = api.settings_of({"data.name": "digits"} | below, config=tmp_path / "c.toml")
    hot = settings.algorithm.settings["also_validate"]["hot"]
    assert (hot["name"], hot["beta"]) == ("softmax-with-skip", 0.2)
    base = settings.weight_optimizer.settings["base"]
    assert (base["momentum"], base["rest"]["name"], base["rest"]["lr"]) == (0.9, "AdamW", 0.02)


def test_what_is_only_recorded_leaves_the_search_alone() -> None:
    """Rows of a sigmoid are no auxiliary skip because one is recorded beside it."""
    every = {"measures.operations.every": 1, "search.epochs": 1}
    plain = composed(relaxation="sigmoid")
    beside = composed(
        relaxation="sigmoid",
        also_validate={"skip": "softmax-with-skip", "drawn": {"name": "hard-gumbel"}},
    )
    traces = []
    for own in (plain, beside):
        with searched(api.settings_of(TINY | own | every)) as folder:
            lines = [line["values"] for line in folder.read_measures("operations")]
            traces.append((traced(folder)["records"], lines))
    (records, lines), (found, found_lines) = traces
    assert found_lines == lines
    for one, other in zip(records, found, strict=True):
        beside_it = [other.pop(f"valid_accuracy_{name}") for name in ("skip", "drawn")]
        assert None not in beside_it
        assert one == other


def test_an_auxiliary_skip_with_weights_of_its_own_is_not_recorded_untrained() -> None:
    macro = {"space.name": "nas-bench-macro", "benchmark.table": "none"}
    both = {"relaxation": "softmax-with-skip", "also_validate": {"x": "softmax-with-skip"}}
    api.settings_of(TINY | macro | composed(**both))
    with pytest.raises(UserError, match=r"also_validate\.x = 'softmax-with-skip': has an auxil"):
        api.settings_of(TINY | macro | composed(**both | {"relaxation": "softmax"}))
