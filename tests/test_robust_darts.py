"""A search that watches itself: its end, its way back, and kills in the middle of either.

Beside automl/RobustDARTS, 3dec3fe: 4.5e-16, the largest relative difference of local means. Its
`EVLocalAvg` and the algorithm's watch were handed 2,000 random sequences of 25 eigenvalues: the
same 1,617 stop, at the same epoch, for the same epoch before. The rule's twin is in
`tests/test_stopping.py`.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assert_same, fingerprint, tiny_settings

from optnas.algorithms.base import Algorithm, Trial, Turn, Watch
from optnas.algorithms.growth import growth
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.search import observe, session, turns
from optnas.search import state as state_module
from optnas.search.api import measure
from optnas.search.checkpoints import restore
from optnas.search.exam.searches import trace, traced
from optnas.search.loop import run
from optnas.search.session import Session
from optnas.search.settings.model import Settings
from optnas.search.state import SearchState, build_state

# Two neighbouring eigenvalues are compared; with 50 on the diagonal they always grow half-fold.
WATCHED = {
    "algorithm__name": "robust-darts",
    "algorithm__every": 1,
    "algorithm__window": 1,
    "algorithm__delta": 1,
    "algorithm__start": 2,
    "algorithm__ratio": 0.5,
    "algorithm__diagonal": 50.0,
    "algorithm__batch_size": 8,
    "weight_optimizer__weight_decay": 3e-4,
    "search__epochs": 5,
}
ADAPTS = WATCHED | {"algorithm__reaction": "adapt"}
NEVER = WATCHED | {"algorithm__ratio": 1e9}


def settings_of(changes: dict[str, Any]) -> Settings:
    return tiny_settings(**changes)


def after(settings: Settings, folder: RunFolder) -> SearchState:
    state = build_state(settings)
    restore(state, folder.checkpoint)
    return state


def searched(settings: Settings, path: Path) -> RunFolder:
    folder = RunFolder(path)
    with folder.created(settings.document()):
        assert run(settings, folder)["status"] == "done"
    return folder


def lines_of(folder: RunFolder) -> list[dict[str, Any]]:
    """The ways back, without times."""
    found = [json.loads(line) for line in folder.turns.read_text().splitlines()]
    for record in itertools.chain.from_iterable(line["records"] for line in found):
        del record["seconds"]
    return found


def without_time(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


@pytest.mark.thorough
def test_it_ends_at_the_epoch_before_the_growth(tmp_path: Path) -> None:
    """The records are the first of a search that never turns; what came after is kept apart."""
    measured = {"measures__sharpness__every": 1}
    folder = searched(settings_of(WATCHED | measured), tmp_path / "ends")
    never = searched(settings_of(NEVER | measured), tmp_path / "never")
    records, result = without_time(folder.read_epochs()), folder.read_result()
    assert result is not None
    assert records == without_time(never.read_epochs())[:3]
    assert (result["epochs"], result["architecture"]) == (2, records[-1]["architecture"])
    assert (
        result["ended"] == "the top eigenvalue's local mean has grown more than 0.5-fold by epoch 3"
    )
    (line,) = lines_of(folder)
    assert (line["epoch"], line["back"], line["ends"]) == (3, 2, True)
    assert line["records"] == without_time(never.read_epochs())[3:4]
    assert folder.kept_epochs() == [0]  # that the settings keep
    assert [each["epoch"] for each in folder.read_measures("sharpness")] == [0, 1, 2]
    memory = after(settings_of(NEVER | measured), never).memory
    tops = [record["alpha_hessian_max"] for record in never.read_epochs()]
    # After the last epoch nobody looks.
    assert memory["looked"].tolist() == [1, 2, 3, 4]
    assert memory["eigenvalues"].tolist() == pytest.approx([50 + top for top in tops[1:5]])
    assert run(settings_of(WATCHED | measured), folder) == {
        **result,
        "seconds": pytest.approx(0, abs=1e3),
    }
    assert without_time(folder.read_epochs()) == records


MEASURED = {"measures__gap__batches": 2, "measures__sharpness__every": 3}


def found(folder: RunFolder, label: str) -> list[dict[str, Any]]:
    """The lines of a measure, without what they took."""
    return [{k: v for k, v in x.items() if k != "cost"} for x in folder.read_measures(label)]


@pytest.mark.thorough
def test_an_early_end_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`end` was the last epoch of the settings, which never came: comparisons lost the run."""
    stop = settings_of(WATCHED | MEASURED | {"measures__gap__at": ["end"]})
    ended = searched(stop, tmp_path / "stop")
    never = settings_of(NEVER | MEASURED | {"measures__gap__at": [2], "checkpoints__keep": "all"})
    never_ended = searched(never, tmp_path / "never")
    assert [line["epoch"] for line in found(ended, "gap")] == [2]
    assert found(ended, "gap") == found(never_ended, "gap")
    # Every third epoch, and the last: of the run that never turns, epoch 3 too.
    assert [line["epoch"] for line in found(ended, "sharpness")] == [0, 2]
    assert [line["epoch"] for line in found(never_ended, "sharpness")] == [0, 3, 5]
    records = without_time(ended.read_epochs())
    assert records == without_time(never_ended.read_epochs())[:3]
    # Afterwards.
    measure(tmp_path / "stop", {"gap": {"at": ["end"], "batches": 3}})
    measure(tmp_path / "never", {"gap": {"at": [2], "batches": 3}})
    assert found(ended, "gap") == found(never_ended, "gap")
    assert len(found(ended, "gap")) == 2
    # Killed when the search is back and nothing is measured yet, and between two measures.
    real = observe.put
    for kills in (0, 1):
        left = iter([False] * kills + [True])

        def killed(folder: RunFolder, label: str, taken: Any, left: Any = left) -> Any:
            if folder.turns.exists() and next(left, False):
                raise KeyboardInterrupt
            return real(folder, label, taken)

        monkeypatch.setattr(session, "put", killed)
        again = RunFolder(tmp_path / f"killed-{kills}")
        with again.created(stop.document()):
            with pytest.raises(KeyboardInterrupt):
                run(stop, again)
            lines = [*found(again, "sharpness"), *found(again, "gap")]
            assert [line["epoch"] for line in lines] == [0, *[2] * kills]
            assert run(stop, again)["status"] == "done"
        assert_same(traced(again), traced(ended))
        assert found(again, "gap") == found(ended, "gap")[:1]
        assert found(again, "sharpness") == found(ended, "sharpness")


@pytest.mark.thorough
def test_it_goes_on_from_there_with_more_decay(tmp_path: Path) -> None:
    """Beside a plain search whose decay is set by hand after epoch 2."""
    settings = settings_of(ADAPTS)
    folder = searched(settings, tmp_path / "run")
    decays = [line["reason"].rpartition(" ")[2] for line in lines_of(folder)]
    assert decays == ["0.003", "0.03"]
    by_hand = Session(build_state(settings_of(NEVER)))
    for epoch in range(6):
        by_hand.train_epoch()
        if epoch == 2:
            (group,) = by_hand.state.weight_optimizer.param_groups
            group["weight_decay"] = 3e-4 * 10 * (0.03 / 3e-3)
    assert_same(fingerprint(by_hand.state), fingerprint(after(settings, folder)))
    result = folder.read_result()
    assert result is not None
    assert (len(folder.read_epochs()), result["epochs"]) == (6, 5)
    assert "ended" not in result


@pytest.mark.thorough
def test_a_second_way_back_keeps_what_the_first_has_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leads to an epoch before the first one's, whose checkpoint has the decay of before."""
    script = {4: Turn(back=3, decay=10.0), 5: Turn(back=1, decay=2.0)}
    watch = Watch(lambda trial: script.pop(trial.progress.epoch, Turn()), every=1, back=4)
    with_(monkeypatch, watch=watch)
    settings = settings_of(NEVER | {"search__epochs": 6})
    state = after(settings, searched(settings, tmp_path / "run"))
    assert script == {}
    (group,) = state.weight_optimizer.param_groups
    assert group["weight_decay"] == pytest.approx(3e-4 * 10 * 2)


def with_(monkeypatch: pytest.MonkeyPatch, **other: Any) -> None:
    """Searches have the algorithm that is asked for, with other parts."""
    plain = state_module.algorithm_of

    def changed(*given: Any) -> Algorithm:
        return dataclasses.replace(plain(*given), **other)

    monkeypatch.setattr(state_module, "algorithm_of", changed)


def test_a_look_that_draws_from_a_global_generator_tells_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def look(trial: Trial) -> Turn:
        random.random()
        return Turn()

    with_(monkeypatch, watch=Watch(look, every=2, back=0))
    searched(settings_of(NEVER | {"search__epochs": 3}), tmp_path / "run")
    told = [line for line in caplog.messages if "global generator" in line]
    assert told == [
        "optnas: warning: the algorithm's watch drew from the global generator of python in epoch "
        "2: the same seed gives another search, and a resumed run goes another way; `optnas exam "
        "FILE` says whether it was a component of yours"
    ]


def test_a_first_memory_from_a_global_generator_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_(monkeypatch, start=lambda: {"own": torch.rand(2)})
    told = r"algorithm\.name = .*its first memory draws from torch's global generator"
    with pytest.raises(UserError, match=told):
        build_state(settings_of(NEVER))


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """A search that ends and one that adapts, never killed."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        "stop": searched(settings_of(WATCHED), folder / "stop"),
        "adapt": searched(settings_of(ADAPTS), folder / "adapt"),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "call"),
    [
        *((WATCHED, call) for call in ("save", "cut", "epoch")),
        *((ADAPTS, call) for call in ("restore", "save", "cut", "epoch")),
    ],
    ids=lambda value: value if isinstance(value, str) else value.get("algorithm__reaction", "stop"),
)
def test_a_kill_in_a_way_back_changes_nothing(
    changes: dict[str, Any],
    call: str,
    wholes: dict[str, RunFolder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed before the first of each of these, and after each epoch."""
    settings = settings_of(changes)
    whole = wholes[changes.get("algorithm__reaction", "stop")]
    expected = traced(whole)
    if call == "epoch":
        for stop in (2, 3):
            assert_same(trace(settings, stop), expected)
        return
    where = RunFolder if call == "cut" else turns
    real, left = getattr(where, call), iter([True])
    in_turn = itertools.chain([False] * {"save": 3}.get(call, 0), left, itertools.repeat(False))

    def killed(*args: Any, **named: Any) -> Any:
        started = call == "cut" and not (tmp_path / "run" / "turns.jsonl").exists()
        if not started and next(in_turn):
            raise KeyboardInterrupt
        return real(*args, **named)

    monkeypatch.setattr(where, call, killed)
    folder = RunFolder(tmp_path / "run")
    with folder.created(settings.document()):
        with pytest.raises(KeyboardInterrupt):
            run(settings, folder)
        assert run(settings, folder)["status"] == "done"
    assert_same(traced(folder), expected)
    assert lines_of(folder) == lines_of(whole)


def test_what_it_cannot_do_is_refused_beforehand() -> None:
    with pytest.raises(UserError, match=r"weight_optimizer\.name = 'SGD': robust-darts raises"):
        settings_of(ADAPTS | {"weight_optimizer__weight_decay": 0.0})
    # It would never do what it is asked for: the rule that stops is not the one that adapts.
    with pytest.raises(
        UserError, match=r"to 0\.03 at most, and the network weights begin with 0\.05"
    ):
        settings_of(ADAPTS | {"weight_optimizer__weight_decay": 0.05})
    with pytest.raises(UserError, match=r"to 0\.0003 at most, .* or raise algorithm\.decay_max"):
        settings_of(ADAPTS | {"algorithm__decay_max": 3e-4})
    settings_of(WATCHED | {"algorithm__decay_max": 3e-4})
    with pytest.raises(UserError, match="its watch needs 99 images of the valid half"):
        settings_of(ADAPTS | {"algorithm__batch_size": 99})
    with pytest.raises(UserError, match=r"algorithm\.window = 4: an even number has no middle"):
        settings_of(ADAPTS | {"algorithm__window": 4})


@pytest.mark.parametrize("own", [{}, {"every": 1}, {"start": 3, "every": 2, "delta": 1}])
def test_the_first_epoch_that_may_turn_is_the_first_that_does(own: dict[str, Any]) -> None:
    """By a rule that any growth fulfils: asked at each epoch that is looked at."""
    watch = registry.build("algorithm", {"name": "robust-darts", **own}, section="algorithm").watch
    chosen = {"window": 5, "start": 10, "delta": 4, "every": 2, "ratio": 1e-9} | own
    every = chosen.pop("every")
    epochs = list(range(every, 100, every))
    (first, *_) = (
        epoch
        for n, epoch in enumerate(epochs, start=1)
        if growth(epochs[:n], [1.0] * n, **chosen).at is not None
    )
    assert watch.first == first
    assert first == {(): 22, ("every",): 16}.get(tuple(own), 10)


@pytest.mark.thorough
def test_a_search_too_short_to_turn_is_told_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its numbers are those of darts, and nothing said so."""
    shorter = {"search__epochs": 3, "algorithm__start": 2}
    folder = searched(settings_of(WATCHED | shorter), tmp_path / "short")
    (told,) = [each.message for each in caplog.records]
    assert told == (
        "optnas: warning: the watch of robust-darts cannot turn a search of 3 epochs: it first "
        "asks after epoch 3, and never after the last"
    )
    darts = settings_of(
        {key: value for key, value in (WATCHED | shorter).items() if "algorithm__" not in key}
    )
    plain = searched(darts, tmp_path / "plain")
    assert without_time(folder.read_epochs()) == without_time(plain.read_epochs())
    caplog.clear()
    searched(settings_of(NEVER | {"search__epochs": 4}), tmp_path / "longer")
    assert not caplog.records
