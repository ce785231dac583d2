"""Stopping rules against slow twins and by hand; the command, its output and its refusals."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import command
from tiny import TINY

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.measures.stopping import (
    Decision,
    Evaluations,
    Trajectory,
    choose,
    local_means,
    replay,
)
from optnas.measures.stopping import summary as summarised
from optnas.measures.stopping.replay import trajectory
from optnas.measures.stopping.rules import eigenvalue, fixed, oracle, patience, skips
from optnas.search import api

LISTS = ("epochs", "valid_loss", "skips", "cells", "accuracy")


def run_of(**more: Any) -> Trajectory:
    content = {
        "epochs": [0, 1, 2, 3, 4],
        "valid_loss": [2.3, 2.0, 1.5, 1.6, 1.7],
        "skips": [3, 1, 1, 2, 4],
        "cells": list("abcde"),
        "accuracy": [80.0, 90.0, 93.0, 93.0, 70.0],
        "curvature": Evaluations([], []),
    }
    return Trajectory(**content | more)  # type: ignore[arg-type]


def curved(epochs: list[int], values: list[float]) -> Trajectory:
    return run_of(curvature=Evaluations(epochs, values))


def slow_eigenvalue(
    values: dict[int, float], step: int, window: int, ratio: float, start: int, delta: int
) -> tuple[int | None, int | None]:
    """As published, in epochs: at each epoch ask the mean of the window that ends there."""
    seen: list[float] = []
    mean_at: dict[int, float] = {}  # by the epoch a mean is attributed to
    for epoch in sorted(values):
        seen.append(values[epoch])
        if len(seen) < window // 2 + 1:
            continue
        attributed = epoch - step * (window // 2)
        mean_at[attributed] = sum(seen[-window:]) / len(seen[-window:])
        earlier = attributed - step * delta
        asked = earlier >= start and epoch % step == 0
        if asked and mean_at[attributed] > ratio * mean_at[earlier]:
            return epoch, earlier
    return None, None


@pytest.mark.parametrize("seed", range(40))
def test_the_eigenvalue_rule_is_its_slow_twin(seed: int) -> None:
    draw = random.Random(seed)
    step, window, delta = draw.choice([1, 2, 5]), draw.choice([1, 3, 5, 7]), draw.randint(1, 5)
    start, ratio = draw.choice([0, 5, 10]), draw.choice([1.05, 1.3, 2.0])
    epochs = list(range(0, 50, step))
    if step > 1 and draw.random() < 0.5:
        epochs.append(epochs[-1] + 1)  # the extra evaluation of the last epoch
    values, now = [], 0.2
    for _ in epochs:
        now *= draw.uniform(0.9, 1.2)
        values.append(now)
    decision = eigenvalue(curved(epochs, values), window, ratio, start, delta)
    slow = slow_eigenvalue(
        dict(zip(epochs, values, strict=True)), step, window, ratio, start, delta
    )
    assert decision[:2] == slow


def test_the_worked_example_of_the_document() -> None:
    """A step from 1 to 2 at epoch 20, evaluated every 2 epochs."""
    epochs = list(range(0, 50, 2))
    values = [1.0 if epoch < 20 else 2.0 for epoch in epochs]
    # At 22 the mean over 14..22 is 1.4, that over 6..14 is 1.
    assert eigenvalue(curved(epochs, values)) == Decision(22, 10, 1)
    # Asked from epoch 22 on: 22 - 4 - 8 = 10.
    values[11:] = [1.0] * 14
    assert eigenvalue(curved(epochs, values)) == Decision(None, None, 14)
    # 1.3 is not more than 1.3.
    assert eigenvalue(curved([0, 1], [1.0, 1.25]), 1, 1.25, 0, 1).stop_epoch is None
    assert eigenvalue(curved([0, 1], [1.0, 1.26]), 1, 1.25, 0, 1).stop_epoch == 1


def test_only_every_so_many_epochs_counts() -> None:
    values = [1.0 if epoch < 20 else 2.0 for epoch in range(50)]
    run = curved(list(range(50)), values)
    assert eigenvalue(run, every=2) == Decision(22, 10, 1)
    assert eigenvalue(run) == Decision(21, 15, 6)  # windows of 5 epochs, means 4 epochs apart
    assert run.curvature.every(20) == Evaluations([0, 20, 40], [1.0, 2.0, 2.0])


def test_growth_from_zero_and_of_negative_values() -> None:
    def stops(before: float, now: float) -> bool:
        return eigenvalue(curved([0, 1], [before, now]), 1, 1.3, 0, 1).stop_epoch is not None

    assert stops(0.0, 0.1)
    assert not stops(0.0, 0.0)
    assert not stops(-1.0, 3.0)  # a negative ratio, as in the published code
    assert stops(-1.0, -2.0)


def test_local_means_are_those_of_a_loop() -> None:
    values = np.random.default_rng(0).normal(size=11).tolist()
    for window in (1, 3, 5, 15):
        for j, mean in enumerate(local_means(values, window)):
            near = [v for i, v in enumerate(values) if abs(i - j) <= (window - 1) / 2]
            assert mean == pytest.approx(sum(near) / len(near))


def test_the_other_rules_by_hand() -> None:
    run = run_of()
    assert skips(run) == Decision(3, 3, 3)  # epoch 0 is chance, and is not asked
    assert skips(run, 5) == Decision(None, None, 4)
    assert patience(run, 2) == Decision(4, 2, 4)
    assert patience(run, 3) == Decision(None, None, 4)
    assert patience(run_of(valid_loss=[2.0, None, None, None, 1.0]), 2) == Decision(3, 1, 3)
    assert fixed(run) == Decision(2, 2, 1)
    assert fixed(run, 4) == Decision(4, 4, 1)
    assert fixed(run, 9) == Decision(None, None, 0)
    assert oracle(run) == Decision(2, 2, 1)
    assert oracle(run_of(accuracy=[None] * 5)) == Decision(None, None, 0)


def test_epoch_0_is_no_epoch_of_the_search() -> None:
    """Nothing is trained there: it is returned only if a setting names it."""
    run = run_of(valid_loss=[1.0, 2.0, 1.5, 1.6, 1.7], accuracy=[99.0, 90.0, 93.0, 93.0, 70.0])
    assert oracle(run) == Decision(2, 2, 1)
    assert patience(run, 1) == Decision(3, 2, 3)
    found = {each.rule: each for each in replay(run, choose(given={"fixed.epoch": 1}))}
    assert {name: each.regret for name, each in found.items()} == {
        **{"eigenvalue": 23.0, "skips": 0.0, "patience": 23.0, "fixed": 3.0, "oracle": 0.0}
    }
    # The middle of epochs 1 to 4, of 1, and of none.
    begun = run_of(**{name: getattr(run, name)[:1] for name in LISTS})
    short = run_of(**{name: getattr(run, name)[:2] for name in LISTS})
    assert [fixed(each).return_epoch for each in (run, short, begun)] == [2, 1, None]
    assert fixed(run, 0) == Decision(0, 0, 1)
    assert patience(begun) == skips(begun) == oracle(begun) == Decision(None, None, 0)
    (nothing,) = replay(begun, choose(["oracle"]))
    assert (nothing.cell_epoch, nothing.regret) == (0, None)


def test_regret_is_against_the_best_cell_and_the_last() -> None:
    rules = choose(given={"patience": 2, "fixed.epoch": 1})
    found = {each.rule: each for each in replay(run_of(), rules)}
    assert list(found) == registry.names("stopping")
    told = {
        name: (r.cell_epoch, r.cell, r.accuracy, r.regret, r.over_final)
        for name, r in found.items()
    }
    assert told == {
        "eigenvalue": (4, "e", 70.0, 23.0, 0.0),  # never stops: the last cell
        "skips": (3, "d", 93.0, 0.0, 23.0),
        "patience": (2, "c", 93.0, 0.0, 23.0),
        "fixed": (1, "b", 90.0, 3.0, 20.0),
        "oracle": (2, "c", 93.0, 0.0, 23.0),
    }
    two = [*replay(run_of(), rules), *replay(run_of(accuracy=[0.0, 50.0, 60.0, 70.0, 80.0]), rules)]
    means = {each["rule"]: each for each in summarised(two)}
    assert means["fixed"] == {
        **{"rule": "fixed", "runs": 2, "stopped": 2},
        **{"accuracy": 70.0, "regret": 16.5, "over_final": -5.0},
    }
    nothing = summarised(replay(run_of(accuracy=[None] * 5), rules))
    assert {each["regret"] for each in nothing} == {None}


# --- the command ------------------------------------------------------------------------------


def lines_of(*matrices: Any, epochs: list[int] | None = None) -> str:
    numbered = zip(epochs or range(len(matrices)), matrices, strict=True)
    return "".join(json.dumps({"epoch": e, "H": H}) + "\n" for e, H in numbered)


def told(capfd: pytest.CaptureFixture[str], *words: str, verb: str = "stopping") -> Any:
    assert command(verb, *words, "--json") == 0
    return json.loads(capfd.readouterr().out)


def test_stored_hessians(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "H.jsonl"
    draw = np.random.default_rng(1)
    epochs = [*range(0, 50, 2), 49]
    matrices = [draw.normal(size=(4, 4)) + (3.0 if e > 30 else 0) * np.eye(4) for e in epochs]
    # A further key, an empty line, and no line feed at the end are no offence.
    text = lines_of(*(m.tolist() for m in matrices), epochs=epochs)
    file.write_text(text.replace('{"epoch": 4', '\n{"g": [1], "epoch": 4').rstrip("\n"))
    found = told(capfd, str(file), "eigenvalue")
    tops = [max(np.linalg.eigvals((m + m.T) / 2).real) for m in matrices]
    assert found["epochs"] == epochs
    assert found["values"] == pytest.approx(tops)
    assert found["local_means"] == pytest.approx(local_means(tops, 5))
    stop = slow_eigenvalue(dict(zip(epochs, tops, strict=True)), 2, 5, 1.3, 10, 4)
    assert (found["stop_epoch"], found["return_epoch"]) == stop
    assert list(found) == ["epochs", "values", "local_means", "stop_epoch", "return_epoch"]
    assert told(capfd, str(file), "--rule", "eigenvalue", verb="stop") == found
    never = told(capfd, str(file), "ratio=100", "window=3")
    assert never["stop_epoch"] is never["return_epoch"] is None
    assert never["local_means"] == pytest.approx(local_means(tops, 3))
    assert told(capfd, str(file), "--ratio=100", "--window", "3", verb="stop") == never
    assert command("stopping", str(file), "ratio=100") == 0
    assert "never stops (asked 14 times)" in capfd.readouterr().out
    assert told(capfd, str(file), "every=10")["epochs"] == [0, 10, 20, 30, 40]


BAD = {
    "not JSON": "{epoch: 0}\n",
    "not a JSON object": "[1]\n",
    "H: is missing": '{"epoch": 0}\n',
    "epoch: is missing": '{"H": [[1]]}\n',
    "is no epoch": '{"epoch": 1.5, "H": [[1]]}\n',
    "is not square (2 rows of length 1, 2)": lines_of([[1, 2], [3]]),
    "is not square (1 rows of length 2)": lines_of([[1, 2]]),
    "is not square (0 rows": lines_of([]),
    "is no list of rows": lines_of([1, 2]),
    "is no number": lines_of([["a"]]),
    "NaN is not a finite number": '{"epoch": 0, "H": [[NaN]]}\n',
    "inf is not a finite number": '{"epoch": 0, "H": [[1, 1e999], [1, 1]]}\n',
    "H: is not finite": '{"epoch": 0, "H": [[1e308, 1e308], [1e308, 1e308]]}\n',
    "does not come after epoch 2": lines_of([[1]], [[1]], epochs=[2, 2]),
    "holds no Hessian": "\n",
    "line 2: not JSON": lines_of([[1]]) + '{"epoch": 1, "H": [[',
}
REFUSED = {
    "stopping H.jsonl patience": "a file of Hessians tells eigenvalues only",
    "stopping H.jsonl --dataset cifar10": "a file of Hessians tells eigenvalues only",
    "stopping H.jsonl H.jsonl": "a file of Hessians stands alone",
    "stopping H.jsonl window=4": "eigenvalue.window = 4: an even number has no middle",
    "stopping H.jsonl window=0": "eigenvalue.window = 0: ",
    "stopping H.jsonl ratio=nan": "eigenvalue.ratio = nan: is no positive number",
    "stopping H.jsonl eigenvalu": "is neither a folder nor a file nor a rule",
    "stopping a skips window=3": "window = 3: is a setting of no rule that is asked for (skips)",
    "stopping a patience patiense=3": "did you mean patience?",
    "stopping a skips patience=3": "patience = 3: is a setting of no rule",
    "stopping a eigenvalue.windw=3": "did you mean window?",
    "stopping a skips=two": "skips.skips = 'two': ",
    "stopping a --dataset cifar": "did you mean cifar10?",
    "stopping a b": "different benchmark tables (analog-nasbench cifar10, none None)",
    "stopping nowhere": "is neither a folder nor a file",
    "stopping empty": "there is no run in or below it",
    "stopping young": "the run has no records yet",
    "stopping skips": "names no run folder",
    "stopping": "Missing argument",
    "stop H.jsonl --rule patience": "a file of Hessians tells eigenvalues only",
    "stop H.jsonl --rule eigenvalu": "did you mean eigenvalue?",
    "stop a --rule skips --window 3": "is a setting of no rule that is asked for (skips)",
    "stop a --windw 3": "did you mean window?",
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_file_is_one_line(
    reason: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "H.jsonl"
    file.write_text(BAD[reason])
    assert command("stopping", str(file), "--json") == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert reason in err


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stop")
    api.run(TINY | {"measures.sharpness.every": 1, "search.epochs": 4}, out=folder / "a")
    api.run(TINY | {"benchmark.table": "none", "search.epochs": 1}, out=folder / "b")
    (folder / "empty").mkdir()
    shutil.copytree(folder / "a", folder / "young")
    (folder / "young/epochs.jsonl").unlink()
    (folder / "young/result.json").unlink()
    (folder / "H.jsonl").write_text(lines_of([[1]]))
    return folder


@pytest.mark.parametrize("words", REFUSED)
def test_a_bad_command_is_one_line(
    words: str, runs: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    assert command(*words.split()) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1), err
    assert REFUSED[words] in err


def test_run_folders(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wide = ("window=1", "eigenvalue.delta=1", "start=0")
    found = told(capfd, str(runs / "a"), *wide)
    records = RunFolder(runs / "a").read_epochs()
    assert (found["table"], found["dataset"]) == ("analog-nasbench", "cifar10")
    by_rule = {each["rule"]: each for each in found["runs"]}
    assert list(by_rule) == registry.names("stopping")
    seen = trajectory(RunFolder(runs / "a"))
    assert seen.curvature.values == [r["alpha_hessian_max"] for r in records]
    decision = eigenvalue(seen, 1, 1.3, 0, 1)
    assert by_rule["eigenvalue"]["stop_epoch"] == decision.stop_epoch
    best = max(r["benchmark"]["accuracy"]["cifar10"] for r in records)
    for each in by_rule.values():
        of = records[each["cell_epoch"]]
        assert each["cell"] == of["architecture"]
        assert each["accuracy"] == of["benchmark"]["accuracy"]["cifar10"]
        assert each["regret"] == pytest.approx(best - each["accuracy"])
    assert {each["runs"] for each in found["rules"]} == {1}
    assert command("stopping", str(runs / "a"), "fixed", "oracle", "epoch=3") == 0
    out = capfd.readouterr().out
    assert "table analog-nasbench, cifar10; the oracle is no rule" in out
    assert len(out.splitlines()) == 8


def test_the_old_name_answers(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`optnas stop` of 0.1.0: its options, and its JSON in its order."""
    words = ("--window", "1", "--delta=1", "--start", "0", "--epoch", "3")
    old = told(capfd, str(runs / "a"), *words, verb="stop")
    rules = ["eigenvalue", "skips", "patience", "fixed", "oracle"]
    assert [each["rule"] for each in old["runs"]] == rules
    assert [each["rule"] for each in old["rules"]] == rules
    new = told(capfd, str(runs / "a"), *rules, "window=1", "delta=1", "start=0", "epoch=3")
    assert {each["rule"]: each for each in new["runs"]} == {e["rule"]: e for e in old["runs"]}
    assert command("stop", str(runs / "a"), "--rule", "fixed,oracle", "--epoch", "3") == 0
    assert len(capfd.readouterr().out.splitlines()) == 8
    assert command("--help") == 0
    help_ = capfd.readouterr().out
    assert " stopping " in help_
    assert " stop " not in help_


MINE = '''
from optnas import Decision, Trajectory, register


@register("stopping", "steady")
def steady(run: Trajectory, epochs: int = 2) -> Decision:
    """Stop when the cell has not changed for so many epochs."""
    for asked, epoch in enumerate(run.epochs[epochs:], 1):
        if len(set(run.cells[asked - 1 : asked + epochs])) == 1:
            return Decision(epoch, epoch, asked)
    return Decision(None, None, max(0, len(run.epochs) - epochs))
'''


def test_a_rule_of_ones_own_is_one_file(
    runs: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    Path("mine.py").write_text(MINE)
    (found,) = told(capfd, "a", "./mine.py:steady", "epochs=1")["runs"]
    cells = [r["architecture"] for r in RunFolder(Path("a")).read_epochs()]
    same = [e for e in range(1, len(cells)) if cells[e] == cells[e - 1]]
    assert (found["rule"], found["stop_epoch"]) == ("steady", (same or [None])[0])
    assert command("stopping", "a", "./mine.py:stedy") == 2
    assert "did you mean steady?" in capfd.readouterr().err


def test_a_run_without_a_benchmark(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = told(capfd, str(runs / "b"))
    assert (found["table"], found["dataset"]) == ("none", None)
    assert {each["accuracy"] for each in found["runs"]} == {None}
    assert command("stopping", str(runs / "b")) == 0
    assert "table none" in capfd.readouterr().out


def test_settings_go_to_the_rules_that_have_them() -> None:
    with pytest.raises(UserError, match="is a setting of no rule"):
        choose(["oracle"], {"window": 3})
    assert choose(["patience"], {"patience": 2})["patience"](run_of()).stop_epoch == 4
    chosen = choose(given={"eigenvalue.window": 3})
    assert chosen["eigenvalue"].settings == {
        **{"window": 3, "ratio": 1.3, "start": 10},
        **{"delta": 4, "every": 0},
    }
