"""What no parser can take is told in one line with exit code 2; one bad folder is one bad row.

Each failed on 0.1.0 with exit code 1: ``RecursionError`` for nesting of thousands, ``ValueError``
for integers of thousands of digits, ``KeyError`` for a result or a configuration without its keys.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from cases import FORM, command, copied
from studies import tiny_study

from optnas.base.errors import UserError
from optnas.base.json import parse_json
from optnas.base.records import RunFolder
from optnas.base.toml import dump_toml, parse_override, parse_toml
from optnas.search import api
from optnas.spaces.tables.references import check_names
from optnas.study.declare import load_study
from optnas.study.starts import StartLog
from optnas.study.states import look, standing

RECORDS = Path(__file__).parents[1] / "results" / "first-light"
DIGITS = "9" * 5000
VALUES = {
    "lists": "[" * 5000 + "]" * 5000,
    "a few hundred lists": "[" * 300 + "]" * 300,
    "lists without an end": "[" * 100_000,
    "tables": "{a=" * 5000 + "1" + "}" * 5000,
    "an integer": DIGITS,
    "a hexadecimal integer": f"0x{'f' * 5000}",
    "an integer in a list": f"[1, [{DIGITS}]]",
}


@pytest.mark.parametrize("case", VALUES)
def test_toml_that_is_too_much(case: str) -> None:
    with pytest.raises(UserError, match=r"^a\.toml: not valid TOML .*; fix the file$"):
        parse_toml(f"key = {VALUES[case]}\n", "a.toml")


def test_toml_keys_nested_too_deeply() -> None:
    key = ".".join(["a"] * 5000)
    for text in (f"{key} = 1\n", f"[{key}]\n"):
        with pytest.raises(UserError, match=r"nested too deeply"):
            parse_toml(text, "a.toml")


@pytest.mark.parametrize("case", VALUES)
def test_a_value_of_the_command_line_that_is_too_much(
    case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command("search", "--out", str(tmp_path / "x"), f"search.seed={VALUES[case]}") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert FORM.fullmatch(err.strip())
    assert len(err) < 1000
    assert not list(tmp_path.iterdir())


def test_a_key_of_the_command_line_that_is_too_deep() -> None:
    with pytest.raises(UserError, match="nested too deeply"):
        parse_override(".".join(["a"] * 5000) + "=1")


def test_numbers_of_usual_size_are_read() -> None:
    largest = 2**64 - 1
    assert parse_toml(f"a = {largest}\nb = -{2**63}\n", "a.toml") == {"a": largest, "b": -(2**63)}
    assert parse_override(f"a={largest}") == (["a"], largest)


JSON = {
    "lists": "[" * 100_000 + "]" * 100_000,
    "tables": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "an integer": f'{{"a": {DIGITS}}}',
}


@pytest.mark.parametrize("case", JSON)
def test_json_that_is_too_much(case: str) -> None:
    with pytest.raises(UserError, match=r"^a\.json: not JSON .*; restore the file$"):
        parse_json(JSON[case], "a.json")


@pytest.mark.parametrize("case", JSON)
def test_stored_hessians_that_are_too_much(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "h.jsonl").write_text(JSON[case] + "\n")
    assert command("stopping", str(tmp_path / "h.jsonl")) == 2
    assert FORM.fullmatch(capsys.readouterr().err.strip())


@pytest.mark.parametrize(
    "words",
    [
        ("benchmark", "query", DIGITS),
        ("benchmark", "query", "+-5"),
        ("benchmark", "random-search", DIGITS),
    ],
    ids=["an index", "two signs", "a count"],
)
def test_an_integer_of_the_command_line(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*words, "--table", "analog-nasbench") == 2
    assert FORM.fullmatch(capsys.readouterr().err.strip())


def test_a_count_in_the_name_of_a_reference() -> None:
    check_names(["best-of-10"])
    with pytest.raises(UserError, match="there is no reference of this name"):
        check_names([f"best-of-{DIGITS}"])


def two_runs(folder: Path) -> tuple[RunFolder, RunFolder]:
    names = ("darts-SGD-SGD-0", "darts-SGD-SGD-1")
    first, second = (Path(shutil.copytree(RECORDS / name, folder / name)) for name in names)
    return RunFolder(first), RunFolder(second)


def drop_identity(run: RunFolder) -> None:
    run.config.write_text(run.config.read_text().split("[identity]")[0])


def first_record(run: RunFolder, line: str) -> None:
    run.epochs.write_text(line + "\n")


BAD: dict[str, Callable[[RunFolder], object]] = {
    "a status that is a number": lambda run: run.result.write_text('{"status": 5}'),
    "a status that is a list": lambda run: run.result.write_text('{"status": [5]}'),
    "no status": lambda run: run.result.write_text("{}"),
    "a result that is a list": lambda run: run.result.write_text("[]"),
    "a torn result": lambda run: run.result.write_text('{"status": "do'),
    "a nested result": lambda run: run.result.write_text('{"a":' * 10**5),
    "a result that is a folder": lambda run: (run.result.unlink(), run.result.mkdir()),
    "no identity": drop_identity,
    "an identity that is none": lambda run: run.config.write_text("identity = 3\n"),
    "a foreign configuration": lambda run: run.config.write_text("[server]\nport = 1\n"),
    "a record that is a number": lambda run: first_record(run, "5"),
    "a record without keys": lambda run: first_record(run, '{"epoch": 0}'),
    "a benchmark that is a list": lambda run: first_record(run, '{"epoch": 0, "benchmark": [1]}'),
    "records that are no text": lambda run: run.epochs.write_bytes(b"\xff\n"),
}


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("case", BAD)
def test_one_bad_folder_is_one_row(
    case: str, as_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, good = two_runs(tmp_path)
    BAD[case](bad)
    assert command("list", str(tmp_path), *["--json"] * as_json) == 0
    out, err = capsys.readouterr()
    assert err == ""
    if not as_json:
        _, first, second = out.splitlines()
        # A run that can be read keeps its row, whatever its result lacks.
        assert first.startswith("unreadable"), out
        assert str(bad.path) in first
        assert second.startswith("darts: SGD + SGD"), out
        assert str(good.path) in second


# --- a configuration that is no whole one -----------------------------------------------------

NEEDED = """
protocol search algorithm space supernet data augmentation weight_optimizer arch_optimizer clipping
evaluation benchmark run identity
"""
TELLING = ("study status", "study plan", "list", "watch")
COMMANDS = """
study status {name} --out out
study plan {name} --out out --no-timing
study table {name} --out out --recorded -o t.csv
study table --out out --recorded -o t.csv
study claims {name} --out out --recorded --claims H3
study claims --out out --recorded --claims H3
study compare {name} --out out --recorded
study export {name} --out out --to records
study report {name} --out out --recorded --to report
list out
watch out --once
plot out -o a.png
plot out --figure cells -o a.png
stopping out
theory noise out
train out/{id} --out trained
resume out/{id}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, RunFolder]:
    """A study of one run that is done."""
    folder = tmp_path_factory.mktemp("finished")
    name = tiny_study(folder, search__epochs=1)
    [run] = load_study(name).runs.values()
    api.run(run.settings.document(), out=folder / "out" / run.id)
    return name, RunFolder(folder / "out" / run.id)


@pytest.fixture
def here(
    finished: tuple[str, RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, RunFolder]:
    """The study, and a copy of its run that a test may spoil, in ``out`` of the current folder."""
    name, run = finished
    monkeypatch.chdir(tmp_path)
    return name, RunFolder(copied(run.path, tmp_path / "out" / run.path.name))


@pytest.mark.parametrize(
    "section",
    [
        pytest.param(each, marks=[pytest.mark.thorough] * bool(n))
        for n, each in enumerate(NEEDED.split())
    ],
)
def test_a_configuration_without_a_section_is_unreadable(
    section: str, here: tuple[str, RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    """It counted as done, and tables had rows without a seed; other commands ended in KeyError."""
    name, run = here
    document = run.read_config()
    del document[section]
    run.config.write_text(dump_toml(document))
    assert look(run).state == "unreadable"
    for row in COMMANDS.strip().splitlines():
        words = row.format(name=name, id=run.path.name).split()
        code = command(*words)
        out, err = capsys.readouterr()
        if row.startswith(TELLING):
            assert code == 0, (row, err)
            assert "unreadable" in out, row
        elif words[0] != "resume" or code:  # which proves that the defaults are what was there
            assert code == 2, (row, out, err)
            assert FORM.fullmatch(err.strip()), (row, err)
    assert not Path("records").exists()


def test_a_run_of_a_newer_format_is_read_by_nobody(
    here: tuple[str, RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    """It was listed and tabulated as if it were ours; only `resume` refused it."""
    name, run = here
    run.config.write_text(dump_toml(run.read_config() | {"format": 2}))
    told = "format = 2: this optnas reads format 1; upgrade optnas"
    assert look(run).state == "unreadable"
    for words in (("study", "status", name, "--out", "out"), ("list", "out")):
        assert command(*words) == 0
        assert "this optnas reads format 1" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(UserError, match=told):
        api.load(run)
    assert command("study", "table", "--out", "out", "-o", "t.csv") == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("99.1", "upgrade optnas (written by 99.1), or restore the file"),
        ("0.0.9", "restore the file"),
        (importlib.metadata.version("optnas"), "restore the file"),
    ],
)
def test_who_does_not_know_the_settings_of_a_newer_version_upgrades(
    written: str, remedy: str, here: tuple[str, RunFolder]
) -> None:
    """To restore a file that is whole is no help."""
    _, run = here
    starts = run.read_starts()
    starts[-1]["packages"]["optnas"] = written
    run.environment.write_text(json.dumps(starts))
    document = run.read_config()
    document["search"]["warmup"] = 1
    run.config.write_text(dump_toml(document))
    assert look(run).reason.endswith(f"search has no setting 'warmup'; {remedy}")
    del document["search"]["warmup"]
    document["algorithm"]["warmup"] = 1  # the hash of one who does not know its default
    run.config.write_text(dump_toml(document))
    undone = remedy.replace("restore the file", "undo the edit")
    assert look(run).reason.endswith(f"edited after the run was started; {undone}")


@pytest.mark.parametrize("section", ["measures", "checkpoints", "tracking"])
def test_a_configuration_from_before_a_section_is_whole(
    section: str, here: tuple[str, RunFolder]
) -> None:
    _, run = here
    document = run.read_config()
    del document[section]
    run.config.write_text(dump_toml(document))
    assert look(run).state == "done"


# key of a configuration | another value of it | a part of the line
WRONG = """
identity.sources | 5 | identity.sources = 5
identity.sources | {"a.py" = 5} | identity.sources.a.py = 5: must be text
identity.fingerprint | 5 | identity.fingerprint = 5: must be text
identity.numbers_version | true | no hash and numbers version
identity.hash | 5 | no hash and numbers version
data | "x" | data = 'x'
data.name | ["a"] | data.name = ['a']: must be text
algorithm | 5 | algorithm = 5
algorithm.name | {} | algorithm.name: must be text
algorithm.hypergradient | 5 | edited after the run was started
weight_optimizer.lr | nan | weight_optimizer.lr = nan: must be a finite number
weight_optimizer.lr | 2026-11-29 | weight_optimizer.lr = 2026-11-29: must be text or a finite
search.seed | "0" | search.seed = '0': must be a whole number
search.seed | 0.5 | search.seed = 0.5: must be a whole number
search.epcohs | 1 | search.epcohs = 1: search has no setting 'epcohs'
"""


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(each, marks=[pytest.mark.thorough] * bool(n))
        for n, each in enumerate(WRONG.strip().splitlines())
    ],
)
def test_a_configuration_of_other_types_is_one_unreadable_run(
    row: str, here: tuple[str, RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    """One such folder ended `study status` and `study plan` with exit code 1."""
    name, run = here
    key, value, told = row.split(" | ")
    section, _, inner = key.partition(".")
    document = run.read_config()
    wrong = parse_toml(f"value = {value}", "test")["value"]
    if inner:
        document[section][inner] = wrong
    else:
        document[section] = wrong
    run.config.write_text(dump_toml(document))
    for words in (("status", name), ("plan", name, "--no-timing")):
        assert command("study", *words, "--out", "out") == 0
        out, err = capsys.readouterr()
        assert (err, "unreadable" in out) == ("", True)
    state, reason = look(run)
    assert (state, told in reason) == ("unreadable", True), reason
    assert command("list", "out") == 0
    assert told in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("case", ["no identity", "an identity that is none"])
def test_a_table_says_which_run_has_no_identity(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, _ = two_runs(tmp_path)
    BAD[case](bad)
    words = ["study", "table", "--out", str(tmp_path), "-o", str(tmp_path / "t.csv"), "--recorded"]
    assert command(*words) == 2
    err = capsys.readouterr().err
    assert FORM.fullmatch(err.strip())
    assert str(bad.config) in err
    assert not (tmp_path / "t.csv").exists()
    assert look(bad).state == "unreadable"
    assert standing(bad)["status"] == "unreadable"


def test_a_table_leaves_another_programs_configuration_alone(tmp_path: Path) -> None:
    two_runs(tmp_path)
    foreign = tmp_path / ".streamlit" / "config.toml"
    foreign.parent.mkdir()
    foreign.write_text("[server]\nport = 1\n")
    words = ["study", "table", "--out", str(tmp_path), "-o", str(tmp_path / "t.csv"), "--recorded"]
    assert command(*words) == 0
    assert pd.read_csv(tmp_path / "t.csv")["id"].nunique() == 2


def test_a_line_of_the_start_log_that_is_no_event_is_left_out(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    lines = ["[" * 10**5, DIGITS, "5", '{"event": "done"}', '{"event": ']
    (tmp_path / "starts.jsonl").write_text("\n".join(lines))
    assert StartLog(run).read() == [{"event": "done"}]
    assert StartLog(run).completed() == 1
