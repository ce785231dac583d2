"""What is not a record, a result, a start or a line of a measure is read by no command."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cases import FORM, command

from optnas.base.contents import check_measured
from optnas.base.errors import UserError, did_you_mean
from optnas.base.json import parse_json
from optnas.base.measurements import Measurements
from optnas.base.records import RunFolder, find_runs
from optnas.study.exporting import copy_record
from optnas.study.starts import StartLog
from optnas.study.states import each_once, look

RECORDS = Path(__file__).parents[1] / "results"
PAIRS = RECORDS / "pairs-cpu"

Lines = list[dict[str, Any]]
Edit = Callable[[Lines], object]


def edited(edit: Edit) -> Callable[[Path], None]:
    """A change of the objects of a JSON-lines file."""

    def change(path: Path) -> None:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        edit(lines)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    return change


def replaced(old: str, new: str) -> Callable[[Path], None]:
    """A change of a file's text at the first place that fits."""

    def change(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def no_newline(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def result(**facts: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | facts))

    return change


# file, part of the reason -> what makes the file none of a run
BAD: dict[tuple[str, str], Callable[[Path], None]] = {
    ("epochs.jsonl", "NaN is not a finite"): edited(lambda r: r[3].update(valid_loss=float("nan"))),
    ("epochs.jsonl", "Infinity is not"): edited(lambda r: r[3].update(extra=float("inf"))),
    ("epochs.jsonl", "inf is not"): replaced('"nones"', '"extra": 1e999, "nones"'),
    ("epochs.jsonl", "valid_accuracy: must be"): edited(lambda r: r[3].update(valid_accuracy=None)),
    ("epochs.jsonl", "skips = True: must be"): edited(lambda r: r[3].update(skips=True)),
    ("epochs.jsonl", "valid_loss = '1'"): edited(lambda r: r[3].update(valid_loss="1")),
    ("epochs.jsonl", "line 5: skips: is missing"): edited(lambda r: r[4].pop("skips")),
    ("epochs.jsonl", "epoch = 2: the record of epoch 3"): edited(lambda r: r.insert(3, r[2])),
    ("epochs.jsonl", "epoch = 4: the record of epoch 3"): edited(lambda r: r.pop(3)),
    ("epochs.jsonl", "epoch = 1: the record of epoch 0"): edited(lambda r: r.pop(0)),
    ("epochs.jsonl", "the run is done after 40 epochs"): edited(lambda r: r.pop()),
    ("epochs.jsonl", "its last line is torn"): no_newline,
    ("epochs.jsonl", "alpha: has not the shape"): edited(lambda r: r[5]["alpha"][2].pop()),
    ("epochs.jsonl", "op_weights.0.1 = 'a'"): edited(
        lambda r: r[5]["op_weights"][0].insert(1, "a")
    ),
    ("epochs.jsonl", "has not the data sets"): edited(
        lambda r: r[5]["benchmark"]["accuracy"].pop("cifar10")
    ),
    ("result.json", "status = 'finished'"): result(status="finished"),
    ("result.json", "epochs = '40'"): result(epochs="40"),
    ("result.json", "NaN is not a finite"): result(seconds=float("nan")),
    ("result.json", "architecture: is missing"): replaced('"architecture"', '"cell"'),
    ("environment.json", "not a JSON list"): lambda path: path.write_text("{}") and None,
    ("environment.json", "not a JSON object"): lambda path: path.write_text("[5]") and None,
    ("environment.json", "packages.torch = 2"): replaced('"2.13.0+cpu"', "2"),
    ("measures/gap.jsonl", "NaN is not a finite"): edited(
        lambda r: r[0]["values"].update(gap=float("nan"))
    ),
    ("measures/gap.jsonl", "status = 'fine'"): edited(lambda r: r[0].update(status="fine")),
    ("measures/gap.jsonl", "settings: is missing"): edited(lambda r: r[0].pop("settings")),
    ("measures/gap.jsonl", "not of the same numbers: ['gap']"): edited(
        lambda r: r[0]["values"].pop("gap")
    ),
    ("measures/gap.jsonl", "on another line"): edited(lambda r: r.append(r[0])),
    ("measures/gap.jsonl", "comes after a later epoch"): edited(
        lambda r: r.append(r[0] | {"epoch": 4})
    ),
    ("measures/gap.jsonl", "arrays = '../../a.npz'"): edited(
        lambda r: r[0].update(arrays="../../a.npz")
    ),
    ("measures/gap.jsonl", "its last line is torn"): no_newline,
}


def read(run: RunFolder, file: str) -> None:
    """What reads a file of a run."""
    {
        "epochs.jsonl": run.read_epochs,
        "result.json": run.read_result,
        "environment.json": run.read_starts,
        "measures/gap.jsonl": lambda: run.read_measures("gap"),
    }[file]()


def copy_of_a_run(place: Path, number: int = 0) -> RunFolder:
    return RunFolder(shutil.copytree(sorted(PAIRS.iterdir())[number], place))


@pytest.mark.parametrize(("file", "reason"), BAD, ids=" ".join)
def test_what_is_none_of_a_run_is_refused(file: str, reason: str, tmp_path: Path) -> None:
    run = copy_of_a_run(tmp_path / "run")
    read(run, file)
    BAD[file, reason](run.path / file)
    with pytest.raises(UserError, match="restore the file") as refused:
        read(run, file)
    told = str(refused.value)
    assert FORM.fullmatch(f"optnas: error: {told}")
    assert told.startswith(str(run.path / file))
    assert reason in told
    assert look(run) == ("unreadable", told)


@pytest.mark.thorough
def test_every_committed_run_is_readable() -> None:
    runs = find_runs(RECORDS)
    assert len(runs) > 60
    assert [look(run) for run in runs if look(run) != ("done", "")] == []


# The first word says what becomes of a run that is no run: told with all the others, or refused.
COMMANDS = {
    "told": [
        "list {}",
        "list {} --json",
        "study table --recorded --out {} -o table.csv",
        "study claims --recorded --out {} --claims H3",
        "study claims --recorded --out {} --claims H3 --json",
    ],
    "refused": [
        "plot {}/bad -o a.png",
        "plot {}/bad {}/good --figure F7 -o a.png",
        "plot {}/bad --figure mixed-cell -o a.png",
        "plot {}/bad {}/good --figure stopping -o a.png",
        "stopping {}/bad",
    ],
}


@pytest.mark.parametrize(
    ("does", "words"), [(does, words) for does, all_ in COMMANDS.items() for words in all_]
)
def test_no_command_takes_it_for_a_run(
    does: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = copy_of_a_run(tmp_path / "runs/bad")
    copy_of_a_run(tmp_path / "runs/good", 1)
    BAD["epochs.jsonl", "NaN is not a finite"](bad.epochs)
    code = command(*words.format("runs", "runs").split())
    out, err = capsys.readouterr()
    told = "epochs.jsonl line 4: not JSON (NaN is not a finite number); restore the file"
    if does == "told":
        assert (code, err) == (0, "")
        assert told in out
    else:
        assert (code, out) == (2, "")
        assert told in err
        assert not Path("a.png").exists()


def test_a_torn_last_line_of_a_run_that_is_not_done_is_left_out(tmp_path: Path) -> None:
    run = copy_of_a_run(tmp_path / "run")
    run.result.unlink()
    no_newline(run.epochs)
    assert len(run.read_epochs()) == 40


def test_a_measure_is_not_written_beside_what_is_none(tmp_path: Path) -> None:
    kept = Measurements(copy_of_a_run(tmp_path / "run").path / "measures")
    line = kept.read("gap")[0]
    no_newline(kept.path / "gap.jsonl")
    before = (kept.path / "gap.jsonl").read_bytes()
    with pytest.raises(UserError, match="torn"):
        kept.put("gap", line | {"epoch": 41}, {})
    assert (kept.path / "gap.jsonl").read_bytes() == before


def test_a_start_log_says_what_happened(tmp_path: Path) -> None:
    log = StartLog(RunFolder(tmp_path))
    log.add("start")
    with log.path.open("a") as file:
        file.write('{"event": "do')  # torn by a power cut
    log.add("done")
    assert [line["event"] for line in log.read()] == ["start", "done"]
    log.path.write_text('{"event": 5}\n')
    with pytest.raises(UserError, match="line 1: event = 5"):
        log.read()


@pytest.mark.parametrize(
    "text",
    ["NaN", "-Infinity", "[1e999]", '{"a": ' + "9" * 400 + ".0}", "[1" + "0" * 250 + "e99]"],
)
def test_json_has_finite_numbers(text: str) -> None:
    with pytest.raises(UserError, match=r"^a\.json: not JSON \(\S+ is not a finite number\)"):
        parse_json(text, "a.json")


def test_settings_that_were_edited_are_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run of momentum .9 was drawn as one of .5, and exported so."""
    monkeypatch.chdir(tmp_path)
    first, second, *_ = sorted(path for path in (RECORDS / "optdarts-cpu").glob("*/config.toml"))
    for record, name in ((first, "edited"), (second, "whole")):
        shutil.copytree(record.parent, name)
    config = Path("edited/config.toml")
    text = config.read_text()
    config.write_text(re.sub(r"(?m)^lr = .*", "lr = 0.5", text, count=1))
    state, told = look(RunFolder("edited"))
    assert state == "unreadable"
    assert "edited/config.toml: identity.hash" in told
    assert "the settings were edited after the run was started; undo the edit" in told
    for words in ("plot edited whole -o a.png", "plot edited --figure F7 -o a.png"):
        assert command(*words.split()) == 2
        assert told in capsys.readouterr().err
    with pytest.raises(UserError, match="were edited"):
        copy_record(RunFolder("edited"), Path("record"))
    config.write_text(text)
    assert look(RunFolder("edited")).state == "done"


def test_to_read_a_run_imports_nothing_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')")
    record = next((RECORDS / "optdarts-cpu").glob("*/config.toml"))
    run = RunFolder(shutil.copytree(record.parent, tmp_path / "run"))
    text, part = run.config.read_text(), '\n[algorithm.hypergradient]\nname = "first-order"\n'
    assert part in text
    for name in ("mine:Mine", "./mine.py:Mine"):
        bare = text.replace(part, "").replace(
            "[algorithm]", f'[algorithm]\nhypergradient = "{name}"'
        )
        for edited in (
            re.sub(r'(?m)^name = "(SGD|Adam)"', f'name = "{name}"', text),
            text.replace("first-order", name),
            bare,
        ):
            assert edited != text
            run.config.write_text(edited)
            assert look(run).state == "done"
    for wrong in ("5", '["a"]'):  # ended in a traceback
        run.config.write_text(text.replace('"first-order"', wrong))
        assert look(run).state == "unreadable"


def test_a_copy_of_a_run_is_no_second_seed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A figure said n = 2, and a table had every epoch twice."""
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        copy_of_a_run(tmp_path / "runs" / name)
    (tmp_path / "runs/a/result.json").unlink()
    assert [run.path.name for run in each_once(find_runs("runs"))] == ["b"]  # which is done
    assert command("study", "table", "--recorded", "--out", "runs", "-o", "a.csv") == 0
    assert " rows of 1 runs" in capsys.readouterr().out
    assert "runs/c: has the settings and the seed of runs/b, and is left out" in caplog.text


@pytest.mark.parametrize("text", ["1e300", '"1e999"', "9" * 400, '["' + "9" * 400 + '"]'])
def test_json_may_have_long_numbers(text: str) -> None:
    assert parse_json(text, "a.json") == json.loads(text)


def test_another_programs_configuration_is_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    copy_of_a_run(tmp_path / "runs/good")
    (tmp_path / "runs/.streamlit").mkdir()
    (tmp_path / "runs/.streamlit/config.toml").write_text("[server]\nport = 1\n")
    assert [run.path.name for run in find_runs(tmp_path)] == ["good"]
    assert command("plot", "runs", "-o", "a.png") == 0
    assert command("list", "runs") == 0
    assert "streamlit" not in capsys.readouterr().out


def test_names_that_begin_with_a_word_are_offered() -> None:
    names = ["darts", "darts-pt", "random", "sdarts-adv", "sdarts-rs"]
    assert did_you_mean("sdarts", names) == "did you mean sdarts-adv or sdarts-rs?"
    assert did_you_mean("dart", names) == "did you mean darts?"
    assert did_you_mean("x", names).startswith("use one of")
    assert did_you_mean("x", map(str, range(100, 200))).endswith(" 158, 159 and 40 more")


@pytest.mark.parametrize("file", ["config.toml", "epochs.jsonl", "result.json", "environment.json"])
def test_a_link_that_leads_nowhere_is_no_absent_file(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy_of_a_run(tmp_path / "runs/a")
    (run.path / file).unlink()
    (run.path / file).symlink_to("elsewhere")
    assert look(run).state == "unreadable"
    assert command("list", str(tmp_path / "runs")) == 0
    assert "unreadable" in capsys.readouterr().out


@pytest.mark.thorough
def test_damaged_arrays_are_not_taken_for_absent_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(RECORDS / "inside/darts", tmp_path / "a")
    words = ["plot", str(tmp_path / "a"), "--figure", "curvature", "-o", str(tmp_path / "a.png")]
    (arrays,) = (tmp_path / "a/measures").glob("curvature-*.npz")
    arrays.write_bytes(arrays.read_bytes()[:-9])
    assert command(*words) == 2
    assert f"{arrays.name}: cannot read the arrays" in capsys.readouterr().err
    arrays.unlink()
    assert command(*words) == 0  # committed records may be without them


@pytest.mark.parametrize("words", ["plot {} -o a.png", "stopping {}", "measure {} gap", "list {}"])
def test_a_name_longer_than_a_files_is_bad_input(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*words.format("x" * 5000).split()) == 2
    assert FORM.fullmatch(capsys.readouterr().err.strip())


class Counted(dict[str, Any]):
    """A line that counts how often it is looked at."""

    looked = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.looked += 1
        return super().get(key, default)


def test_lines_of_a_measure_are_looked_at_equally_often() -> None:
    """Each was compared with all before it, whenever one was written."""

    def line(epoch: int, **settings: Any) -> Counted:
        of = {"status": "ok", "values": {}, "units": {}}
        return Counted(epoch=epoch, settings=settings | {"at": [1, {"b": 2}]}, **of)

    lines = [line(epoch) for epoch in range(40)]
    check_measured(lines, "gap.jsonl")
    assert len({each.looked for each in lines}) == 1
    check_measured([line(0, batches=7), line(0, batches=8)], "gap.jsonl")
    with pytest.raises(UserError, match="line 2: this epoch was measured"):
        check_measured([line(0, a=1, batches=7), line(0, batches=7.0, a=1)], "gap.jsonl")
