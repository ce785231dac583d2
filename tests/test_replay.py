"""A search under the operation weights of another: values by epoch, resumption, order, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import interrupted_run, refusal, refused, tiny_search
from studies import assert_each_completed_once, tiny_study
from test_study import run_study
from tiny import TINY, tiny_settings

from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.search import api
from optnas.search.checkpoints import read_content
from optnas.search.settings.layers import driver_of
from optnas.search.state import build_state
from optnas.study.declare import load_study
from optnas.study.states import state_of

EPOCHS = {"search__epochs": 3, "arch_optimizer__lr": 0.3}
FOLLOWS: dict[str, Any] = {
    "algorithm__name": "replay",
    "algorithm__driver": {"weight_optimizer": {"name": "SGD"}},
}
TWINS = """
[[grid]]
"weight_optimizer.name" = ["SGD", "Adam"]
algorithm = [
    { name = "replay", driver = { weight_optimizer.name = "SGD" }, label = "after SGD" },
    { name = "replay", driver = { weight_optimizer.name = "Adam" }, label = "after Adam" },
]
"""
DRIVERS = '[[grid]]\n"weight_optimizer.name" = ["SGD", "Adam"]\n'


def run(out: Path, **changes: Any) -> RunFolder:
    settings = TINY | {key.replace("__", "."): value for key, value in (EPOCHS | changes).items()}
    api.run(settings, out=out)
    return RunFolder(out)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search by SGD."""
    folder = tmp_path_factory.mktemp("runs")
    run(folder / "driver", weight_optimizer__name="SGD")
    return folder


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_the_operation_weights_of_each_epoch_are_the_drivers(runs: Path, optimizer: str) -> None:
    driver = RunFolder(runs / "driver").read_epochs()
    twin = run(runs / optimizer, weight_optimizer__name=optimizer, **FOLLOWS).read_epochs()
    assert len(twin) == len(driver) == 4
    for mine, other in zip(twin, driver, strict=True):
        torch.testing.assert_close(
            torch.tensor(mine["op_weights"]), torch.tensor(other["op_weights"])
        )
        assert mine["architecture"] == other["architecture"]
        assert not torch.tensor(mine["alpha"]).any()
    assert driver[0]["op_weights"] != driver[-1]["op_weights"]
    # The same network before the first step: every loss there is the driver's, to rounding.
    assert twin[0]["valid_loss"] == pytest.approx(driver[0]["valid_loss"], rel=1e-5)
    assert twin[-1]["train_loss"] != driver[-1]["train_loss"]


def test_without_a_driver_it_is_the_control(tmp_path: Path) -> None:
    control = run(tmp_path / "random", algorithm__name="random").read_epochs()
    found = run(tmp_path / "replay", algorithm__name="replay").read_epochs()
    for mine, other in zip(found, control, strict=True):
        assert mine | {"seconds": 0} == other | {"seconds": 0}


def test_it_goes_on_bit_for_bit_where_its_driver_is_gone(runs: Path) -> None:
    whole = run(runs / "whole", **FOLLOWS)
    begun = interrupted_run(runs / "begun", **EPOCHS, **FOLLOWS)
    moved = runs / "elsewhere" / "begun"
    moved.parent.mkdir()
    begun.rename(moved)
    api.resume(moved)
    one, other = (read_content(RunFolder(path).checkpoint) for path in (whole.path, moved))
    for name, weight in one["weights"].items():
        assert torch.equal(weight, other["weights"][name])
    assert torch.equal(one["memory"]["driver"], other["memory"]["driver"])


def test_the_driver_of_a_run_is_that_run() -> None:
    driver = tiny_settings(**EPOCHS, weight_optimizer__name="SGD")
    for optimizer in ("SGD", "Adam"):
        found = driver_of(tiny_settings(**EPOCHS, **FOLLOWS, weight_optimizer__name=optimizer))
        assert found is not None
        assert found.hash == driver.hash
    assert driver_of(driver) is None
    assert driver_of(tiny_settings(algorithm__name="replay")) is None


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("setting", "place", "remedy"),
    [
        ("search.epochs=7", "command line: algorithm.driver", "run it first"),
        ("weight_optimizr.name=SGD", "algorithm.driver: weight_optimizr.name", "weight_optimizer"),
    ],
)
def test_a_driver_that_is_not_there(setting: str, place: str, remedy: str, tmp_path: Path) -> None:
    words = tiny_search("algorithm.name=replay", f"algorithm.driver.{setting}")
    refused(refusal(words, tmp_path), place, remedy)


def test_operation_weights_that_are_no_mixture(tmp_path: Path) -> None:
    run(tmp_path / "fair", algorithm__name="fair-darts")
    with pytest.raises(UserError, match="do not add up to 1"):
        run(
            tmp_path / "twin",
            algorithm__name="replay",
            algorithm__driver={"algorithm": {"name": "fair-darts"}},
        )
    assert not (tmp_path / "twin").exists()


def test_a_search_without_a_folder_has_nothing_to_follow() -> None:
    state = build_state(tiny_settings(**FOLLOWS))
    with pytest.raises(UserError, match=r"this search has none; run it with --out"):
        state.algorithm.relax(state.alpha_EO, state.progress(0))


@pytest.mark.thorough
@pytest.mark.parametrize("grids", [TWINS + DRIVERS, DRIVERS + TWINS], ids=["last", "first"])
def test_a_study_runs_drivers_first(grids: str, tmp_path: Path) -> None:
    name, out = tiny_study(tmp_path, "[0, 1]", grids), tmp_path / "out"
    runs = load_study(name).runs
    assert sorted(bool(run.follows) for run in runs.values()) == [False] * 4 + [True] * 8
    assert run_study(name, out).whole
    assert_each_completed_once(name, out)


@pytest.mark.thorough
def test_what_follows_a_failed_run_is_left_out(tmp_path: Path) -> None:
    name, out = tiny_study(tmp_path, "[0]", DRIVERS + TWINS), tmp_path / "out"
    runs = load_study(name).runs
    failed = min(id for id, run in runs.items() if not run.follows)  # found first in the folder
    folder = RunFolder(out / failed)
    folder.path.mkdir(parents=True)
    folder.config.write_text("spoiled")
    assert not run_study(name, out).whole
    left = [id for id, run in runs.items() if run.follows == failed]
    assert left
    assert not any((out / id).exists() for id in left)
    others = [id for id, run in runs.items() if run.follows not in ("", failed)]
    assert [state_of(RunFolder(out / id)) for id in others] == ["done"] * 2


@pytest.mark.thorough
def test_what_follows_one_that_diverged_is_left_out(tmp_path: Path) -> None:
    name, out = tiny_study(tmp_path, "[0]", DRIVERS + TWINS), tmp_path / "out"
    assert run_study(name, out).whole
    runs = load_study(name).runs
    driver = RunFolder(out / next(id for id, run in runs.items() if not run.follows))
    result = driver.read_result()
    assert result is not None
    (driver.path / "result.json").write_text(
        json.dumps(result | {"status": "diverged", "reason": "as a test"})
    )
    done, begun = [
        RunFolder(out / id) for id, run in runs.items() if run.follows == driver.path.name
    ]
    shutil.rmtree(begun.path)
    assert not run_study(name, out).whole
    assert not begun.path.exists()  # nothing to follow
    assert state_of(done) == "done"  # which needs no driver any more


@pytest.mark.thorough
def test_the_words_for_a_driver_are_those_of_its_run(tmp_path: Path) -> None:
    settings = ("name=darts-minus", "decay_epochs=7")
    words = [f"algorithm.driver.algorithm.{each}" for each in settings]
    told = refusal(tiny_search("algorithm.name=replay", *words), tmp_path)
    assert "algorithm.name=darts-minus algorithm.decay_epochs=7 in place of" in told


def test_a_study_without_the_driver(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"follows is none of this study; add a grid that has it"):
        load_study(tiny_study(tmp_path, "[0]", TWINS))


def test_runs_that_follow_others_are_not_left_to_a_cluster(tmp_path: Path) -> None:
    name = tiny_study(tmp_path, "[0]", DRIVERS + TWINS)
    words = ["study", "run", name, "--out", "out", "--engine", "slurm", "--detach"]
    refused(refusal(words, tmp_path), f"{name}: --detach", "leave it out")
