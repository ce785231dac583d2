"""The study `indicator` has the arms that claims I1 to I6 ask for, and its pages what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tidy import Arm, study
from topics import script

from optnas.analysis.claims import find_claim
from optnas.analysis.claims.judge import judge
from optnas.base.records import RunFolder
from optnas.base.toml import dump_toml, flat
from optnas.study.declare import STUDIES, load_study

pytestmark = pytest.mark.thorough

CLAIMS = ["I1", "I2", "I3", "I4", "I5", "I6"]
SEEDS = len(STUDIES.load("indicator")[1]["study"]["seeds"])


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> list[Arm]:
    """The settings of the study's runs of one seed; images are counted, not read."""
    folder = tmp_path_factory.mktemp("study")
    images = folder / "data" / "cifar10"
    images.mkdir(parents=True)
    image = [{"bytes": b"", "path": ""}] * 50_000
    pq.write_table(pa.table({"img": image, "label": [0] * 50_000}), images / "train-0.parquet")
    document = STUDIES.load("indicator")[1]
    document["study"]["seeds"] = [32]
    path = folder / "indicator.toml"
    path.write_text(dump_toml(document))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTNAS_DATA", str(folder / "data"))
        runs = load_study(str(path)).runs.values()
    kept = []
    for run in runs:
        settings = flat(run.settings.document())
        plain = {k: v for k, v in settings.items() if isinstance(v, (str, bool, int, float))}
        kept.append({k: v for k, v in plain.items() if k not in ("search.seed", "search.epochs")})
    return kept


def regularized(arm: Arm) -> bool:
    plain = (arm["algorithm.name"], arm["arch_optimizer.name"]) == ("darts", "Adam")
    decays = arm["weight_optimizer.weight_decay"], arm.get("arch_optimizer.weight_decay")
    return not plain or arm["augmentation.cutout"] > 0 or decays != (3e-4, 1e-3)


def world(arms: list[Arm], level: float, gain: float, best: str = "") -> Any:
    """Regularizers add a gain to a level; one of them may rank cells."""

    def respond(arm: Arm, generator: np.random.Generator) -> dict[str, Any]:
        epochs = arm["search.epochs"]
        noise = 0.01 * generator.normal(size=epochs + 1)
        value = level + gain * regularized(arm) + noise
        told = 0.2 + noise if arm["algorithm.name"] == best else value
        rise = np.arange(epochs + 1)
        shuffled = rise if regularized(arm) == (gain > 0) else generator.permutation(rise)
        return {
            "measure.indicator.tau": value,
            "measure.indicator.tau_top": value,
            "measure.indicator.tau_minus_convolutions": told,
            **{
                f"measure.{label}.op_weights_{key}": -value
                for label in ("curvature", "curvature-train")
                for key in ("trace", "l1")
            },
            "valid_accuracy": 40.0 + rise,
            "benchmark.cifar10": 80.0 + shuffled,
        }

    return study(arms, respond, seeds=SEEDS)


def test_every_part_finds_its_arms_and_says_what_was_planted(arms: list[Arm]) -> None:
    found = {f.id: f for f in judge(world(arms, -0.3, 0.1), CLAIMS)}
    assert {name: f.verdict for name, f in found.items()} == dict.fromkeys(CLAIMS, "supported")
    for name in CLAIMS:
        assert len(found[name].parts) == len(find_claim(name).parts)
        assert all(part.n == SEEDS for part in found[name].parts)
    # One part per regularizer: an arm of the study that no claim asks for would be run for nothing.
    named = {part.name for part in find_claim("I2").parts}
    assert {part.name for part in find_claim("I1").parts} == named | {"none"}
    assert len(named) == sum(regularized(arm) for arm in arms) / 2


def test_one_regularizer_that_ranks_cells_is_found(arms: list[Arm]) -> None:
    (finding,) = judge(world(arms, -0.3, 0.1, best="beta-darts"), ["I1"])
    assert finding.verdict == "contradicted"
    against = [part.name for part in finding.parts if part.verdict == "contradicted"]
    assert against == ["beta decay"]
    (worse,) = judge(world(arms, -0.3, -0.1), ["I2"])
    assert worse.verdict == "contradicted"


def test_pages_quote_the_rebuilt_numbers() -> None:
    made = script("indicator")
    found = made.Found()
    for document in made.DOCUMENTS:
        text = document.read_text()
        assert "<!-- built:" in text
        assert made.built(text, made.PARTS, found) == text, f"{document.name}: make figures"


def test_the_page_says_what_the_alignment_of_cells_did_to_the_training() -> None:
    """Eight runs a side, of the seeds that were there when it was written."""
    docs = script("indicator").DOCS
    losses: dict[str, list[list[float]]] = {}
    for run in map(RunFolder, sorted((docs.parent / "results" / "indicator").iterdir())):
        config = run.read_config()
        name, plain = config["algorithm"]["name"], config["arch_optimizer"]["name"] == "Adam"
        usual = (config["weight_optimizer"]["weight_decay"], config["augmentation"]["cutout"])
        plain &= usual == (3e-4, 0) and config["arch_optimizer"].get("weight_decay") == 1e-3
        if name in ("lambda-darts", "darts") and plain and config["search"]["seed"] <= 35:
            found = [record["train_loss"] for record in run.read_epochs()]
            losses.setdefault(name, []).append([found[1], found[-1]])
    assert {name: len(each) for name, each in losses.items()} == {"lambda-darts": 8, "darts": 8}

    def span(name: str, place: int) -> str:
        values = [each[place] for each in losses[name]]
        return f"{min(values):.2f} to {max(values):.2f}"

    text = (docs / "indicator-found.md").read_text()
    assert f"the train loss ends at {span('lambda-darts', 1)}, in\n" in text
    assert f"those of DARTS at {span('darts', 1)}; both have {span('darts', 0)} after" in text
    assert span("lambda-darts", 0) == span("darts", 0)


def test_pages_without_a_run_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made = script("indicator")
    monkeypatch.setattr(made, "STUDY", made.Source("none-such", block=32, seeds=12))
    found = made.Found()
    assert "no block has finished" in made.status(found)
    assert {made.PARTS[name](found) for name in ("parts", "always", "why", "levels")} == {
        made.NOTHING
    }
