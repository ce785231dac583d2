"""Which settings are the same run: hashes of the numbers version, and the rule behind them.

tests/golden/identity.json holds configurations as runs of this version wrote them, with their
hashes. ``python tests/test_identity.py`` adds what it lacks and leaves the rest: a run of this
version keeps its hash for as long as the version lasts.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from tiny import tiny_settings

from optnas.algorithms import darts
from optnas.algorithms.base import Algorithm
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.schema import Part
from optnas.base.toml import flat, read_toml
from optnas.measures.drawing import run_labels
from optnas.optimizers import introduced
from optnas.search import api
from optnas.search.exam.searches import TINY
from optnas.search.settings.layers import reread
from optnas.search.settings.model import (
    NUMBERS_VERSION,
    ClippingSection,
    SearchSection,
    Section,
    Settings,
)
from optnas.study.declare import describe_settings

STORED = Path(__file__).parent / "golden" / "identity.json"
RECORDS = Path(__file__).parents[1] / "results"
SAM: dict[str, Any] = {"weight_optimizer__name": "sam", "weight_optimizer__lr": 0.1}
COMPOSED: dict[str, Any] = {"algorithm__name": "composed"}
CASES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "another seed": {"search__seed": 3},
    "defaults spelled out": {"search__seed": 0, "clipping__max_norm": 5.0},
    "more epochs": {"search__epochs": 40},
    "weights first": {"search__step_order": "weights-first"},
    "independent images": {"search__valid_order": "independent-images"},
    "wider": {"supernet__channels": 16, "supernet__cells": 2},
    "batch statistics": {
        "supernet__batch_norm": "batch",
        "supernet__arch_step_updates_statistics": False,
    },
    "single precision": {"supernet__dtype": "float32"},
    "no clipping": {"clipping__max_norm": 0},
    "cutout": {"augmentation__cutout": 4, "augmentation__validation": False},
    "random halves": {"data__split": "random-halves", "data__train_size": 48},
    "another resolution": {"data__resolution": 12},
    "evaluation": {"evaluation__batch_size": 64},
    "Adam, SGD": {"weight_optimizer__name": "Adam", "arch_optimizer__name": "SGD"},
    "AdamW": {"weight_optimizer__name": "AdamW", "weight_optimizer__betas": [0.5, 0.99]},
    "RMSprop": {"weight_optimizer__name": "RMSprop", "weight_optimizer__lr": 1},
    "momentum": {"weight_optimizer__momentum": 0.5, "weight_optimizer__nesterov": True},
    "linear schedule": {"arch_optimizer__schedule": "linear"},
    "warm-up": {"weight_optimizer__schedule__warmup_epochs": 1},
    "sam": {**SAM, "weight_optimizer__base": {"name": "SGD", "momentum": 0.9}},
    "sam over Adam": {**SAM, "weight_optimizer__base": {"name": "Adam"}},
    "asam": {**SAM, "weight_optimizer__name": "asam", "weight_optimizer__base": {"name": "SGD"}},
    "lookahead": {
        "weight_optimizer__name": "lookahead",
        "weight_optimizer__lr": 0.1,
        "weight_optimizer__base": {"name": "Adam"},
    },
    "muon": {
        "weight_optimizer__name": "muon",
        "weight_optimizer__lr": 0.1,
        "weight_optimizer__rest": {"name": "AdamW", "lr": 0.1},
    },
    "exponentiated-gradient": {
        "arch_optimizer__name": "exponentiated-gradient",
        "arch_optimizer__lr": 0.1,
    },
    **{
        name: {"weight_optimizer__name": name, "weight_optimizer__lr": 0.1}
        for name in ("adabelief", "lion", "schedule-free-adamw", "schedule-free-sgd", "soap")
    },
    "unrolled": {"algorithm__hypergradient": "unrolled"},
    "unrolled exactly": {
        "algorithm__hypergradient": {"name": "unrolled", "derivative": "exact"},
    },
    **{
        name: {"algorithm__name": name}
        for name in registry.names("algorithm")
        if name != "darts"  # that is "tiny"
    },
    "composed, perturbed": {**COMPOSED, "algorithm__perturbation": "uniform"},
    **{
        f"space {name}": {"space__name": name, "benchmark__table": "none"}
        for name in registry.names("space")
        if name not in ("nas-bench-201", "toy")  # "tiny", and with its table
    },
    "toy": {"space__name": "toy", "benchmark__table": "toy"},
    "protocol nas-bench-201": {"protocol": "nas-bench-201", "supernet__cells": 1},
    "protocol nats-bench": {"protocol": "nats-bench", "supernet__cells": 1},
}


def described(changes: dict[str, Any]) -> dict[str, Any]:
    """A run's config.toml without what lies elsewhere on another machine."""
    document = tiny_settings(**changes).document()
    document["data"].pop("folder", None)
    return document


def stored() -> dict[str, dict[str, Any]]:
    documents: dict[str, dict[str, Any]] = json.loads(STORED.read_text())
    return documents


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_frozen_configuration_keeps_its_hash(name: str) -> None:
    document = stored()[name]
    assert document["identity"]["numbers_version"] == NUMBERS_VERSION
    assert reread(document, "frozen", {}).hash == document["identity"]["hash"]
    assert Settings.recorded(document).hash == document["identity"]["hash"]


def test_there_are_thirty_and_they_differ() -> None:
    documents = stored()
    assert set(documents) == set(CASES)
    hashes = {name: document["identity"]["hash"] for name, document in documents.items()}
    assert hashes.pop("defaults spelled out") == hashes["tiny"]
    assert len(set(hashes.values())) == len(hashes) >= 30


def test_numbers_written_two_ways_are_one_run() -> None:
    ways: list[tuple[dict[str, Any], ...]] = [
        ({"weight_optimizer__lr": 1}, {"weight_optimizer__lr": 1.0}),
        ({"weight_optimizer__dampening": 0}, {"weight_optimizer__dampening": 0.0}),
        ({"clipping__max_norm": 3}, {"clipping__max_norm": 3.0}),
    ]
    for one, other in ways:
        assert tiny_settings(**one).hash == tiny_settings(**other).hash
    nesterov = tiny_settings(weight_optimizer__nesterov=True)
    assert introduced.plain(True) is True
    assert nesterov.hash != tiny_settings().hash


def test_what_observes_is_no_part() -> None:
    observed: dict[str, Any] = {
        "measures__sharpness__every": 1,
        "benchmark__table": "none",
        "measures__gap__every": 1,
        "checkpoints__keep": "all",
    }
    for key, value in observed.items():
        assert tiny_settings(**{key: value}).hash == tiny_settings().hash
    assert tiny_settings(evaluation__batch_size=20).hash != tiny_settings().hash


class LaterSearch(SearchSection):
    """The section with a setting that came later."""

    patience: int = 7


class LaterClipping(ClippingSection):
    """A section with another default than it was introduced with."""

    max_norm: float = 1.0


class Annealing(Section):
    """A whole section that came later."""

    start: float = 1.0


class Later(Settings):
    """All settings of a later version."""

    search: LaterSearch
    annealing: Annealing = Annealing()


class Changed(Settings):
    """All settings of a version that changed a default."""

    clipping: LaterClipping


def test_a_setting_added_to_a_section_leaves_every_hash() -> None:
    settings = tiny_settings()
    assert Later(**settings.model_dump()).hash == settings.hash
    other = settings.model_dump()
    other["search"]["patience"] = 8
    assert Later(**other).hash != settings.hash
    other = settings.model_dump()
    other["annealing"] = {"start": 0.5}
    assert Later(**other).hash != settings.hash


def test_a_changed_default_never_lends_its_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Introduced with 5, changed to 1: a run with 5 stays the run it was, one with 1 is another."""
    five, one = tiny_settings(), tiny_settings(clipping__max_norm=1.0)
    assert five.clipping.max_norm == 5
    monkeypatch.setitem(introduced.INTRODUCED, ("clipping", "", "max_norm"), 5.0)
    assert Changed(**five.model_dump()).hash == five.hash
    assert Changed(**one.model_dump()).hash == one.hash != five.hash


def first() -> Algorithm:
    return darts.darts()


def then(strength: float = 0.5, blur: Annotated[Any, Part("relaxation")] = "softmax") -> Algorithm:
    return darts.darts()


@pytest.mark.parametrize("where", ["algorithm", "relaxation"])
def test_a_setting_added_to_a_factory_leaves_every_hash(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(**settings: Any) -> Settings:
        if where == "algorithm":
            return tiny_settings(algorithm__name="made", **prefixed("algorithm", settings))
        return tiny_settings(
            algorithm__name="composed", algorithm__relaxation={"name": "made", **settings}
        )

    def prefixed(section: str, settings: dict[str, Any]) -> dict[str, Any]:
        return {f"{section}__{key}": value for key, value in settings.items()}

    def offer(factory: Callable[..., Any]) -> None:
        monkeypatch.setattr(factory, "__module__", "optnas.made")
        monkeypatch.setitem(registry._FACTORIES, (where, "made"), factory)

    offer(first)
    before = chosen().hash
    offer(then)
    assert chosen().algorithm.settings != {}
    assert chosen().hash == before
    assert chosen(strength=0.5).hash == before
    assert chosen(strength=1).hash == chosen(strength=1.0).hash != before
    assert chosen(blur="softmax-with-skip").hash != before


def test_a_run_from_before_a_setting_does_not_differ_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """In tables, whose contrasts hold what differs, and in the labels of curves."""
    now = tiny_settings(weight_optimizer__schedule="cosine").document()
    assert Settings.spelled_out(now) == now
    before = copy.deepcopy(now)
    del before["weight_optimizer"]["schedule"]["final_share"]
    assert run_labels([before, now]) == run_labels([now, now])
    del before["supernet"]["precision"]
    assert describe_settings(before) == describe_settings(now)
    used = copy.deepcopy(now)
    used["weight_optimizer"]["schedule"]["final_share"] = 0.5
    assert len(set(run_labels([now, used]))) == 2
    gone = before | {"algorithm": {"name": "./gone.py:x", "strength": 1}}
    assert Settings.spelled_out(gone)["algorithm"] == gone["algorithm"]


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*/*/config.toml"))[::40], ids=str)
def test_what_is_recorded_stays_as_it_is(path: Path) -> None:
    document = read_toml(path)
    told = flat(Settings.spelled_out(document))
    for key, value in flat(document).items():  # a component in one word is a table with that name
        assert told.get(key, told.get(f"{key}.name")) == value, key


def test_every_setting_of_another_package_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could tell that its next version has changed a default."""
    monkeypatch.setitem(registry._FACTORIES, ("algorithm", "made"), first)
    before = tiny_settings(algorithm__name="made").hash
    monkeypatch.setitem(registry._FACTORIES, ("algorithm", "made"), then)
    assert tiny_settings(algorithm__name="made").hash != before


def of_version_1() -> list[Path]:
    paths = sorted(RECORDS.glob("*/*/config.toml"))
    return [path for path in paths if read_toml(path)["identity"].get("numbers_version", 1) == 1]


def test_configurations_of_version_1_start_new_runs(tmp_path: Path) -> None:
    """Their data are not here: digits take their place. The rest is as the record says."""
    assert len(of_version_1()) == 48 + 12 + 2
    config = tmp_path / "config.toml"
    old = of_version_1()[0].read_text()
    assert "[curvature]" in old
    config.write_text(old)
    api.run(TINY | {"search.epochs": 1}, config=config, out=tmp_path / "run")
    document = read_toml(tmp_path / "run" / "config.toml")
    assert document["identity"]["numbers_version"] == NUMBERS_VERSION
    with pytest.raises(UserError, match="numbers version 2"):
        reread(read_toml(of_version_1()[0]), "config.toml", {})


def test_records_of_version_1_say_their_settings() -> None:
    """Each is one run under the present rule too, as it was under its own."""
    documents = [read_toml(path) for path in of_version_1()]
    old = {document["identity"]["hash"] for document in documents}
    assert len({Settings.recorded(document).hash for document in documents}) == len(old)


def main() -> None:
    stored = json.loads(STORED.read_text())
    lacking = {name: described(CASES[name]) for name in CASES.keys() - stored.keys()}
    documents = stored | lacking
    STORED.write_text(json.dumps(documents, indent=1, sort_keys=True) + "\n")
    print(f"{len(lacking)} configurations added", file=sys.stderr)


if __name__ == "__main__":
    main()
