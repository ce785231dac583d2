import dataclasses
import gzip
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from cases import command
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_settings

from optnas.base import registry
from optnas.base.errors import UserError
from optnas.spaces import NAS_BENCH_201, Space, tables
from optnas.spaces.tables import analog, data_folder, load_table, official
from optnas.spaces.tables.coverage import Coverage, Question
from optnas.spaces.tables.doubts import doubts
from optnas.spaces.tables.table import Measurements, Table
from optnas.spaces.tables.told import describe_benchmark

DATA = os.environ.get("OPTNAS_DATA", "")
CSV = Path(DATA) / "nas-bench-201" / "test-accuracy.csv.gz"
DATASETS = ("cifar10", "cifar100", "imagenet16-120")
ALL_SKIP = "|skip_connect~0|+|skip_connect~0|skip_connect~1|+" + "|".join(
    ["", "skip_connect~0", "skip_connect~1", "skip_connect~2", ""]
)


def needs_data(test: Callable[..., None]) -> Callable[..., None]:
    absent = pytest.mark.skipif(
        not DATA or not CSV.is_file(),
        reason="OPTNAS_DATA has no nas-bench-201/test-accuracy.csv.gz",
    )
    return pytest.mark.data(absent(test))


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for the session, never the user's."""
    folder = tmp_path_factory.getbasetemp() / "optnas-home"
    monkeypatch.setenv("OPTNAS_HOME", str(folder))
    return folder


@pytest.fixture
def analog_table() -> Table:
    return load_table("analog-nasbench", folder=None)


@pytest.fixture
def official_table() -> Table:
    return load_table("official", folder=Path(DATA))


# ---- questions

TINY = Space("tiny", 3, ((0, 1), (0, 2), (1, 2)), ("zero", "identity"), 0, 1)


def tiny_table(values: Sequence[float]) -> Table:
    measured = Measurements(np.array(values, dtype=np.float64))
    return Table("tiny-table", "tiny", "Made up.", {Question("cifar10", "test", 3): measured})


@given(st.lists(st.sampled_from([10.0, 20.5, 20.75, 90.0]), min_size=8, max_size=8))
def test_questions_equal_their_naive_twins(values: list[float]) -> None:
    table = tiny_table(values)
    ask = Question("cifar10", "test", 3)
    for place, cell in enumerate(TINY.all()):
        mine = values[place]
        assert table.accuracy(cell, ask) == mine
        assert table.regret(cell, ask) == max(values) - mine >= 0
        rank = sorted(values, reverse=True).index(mine) + 1
        assert table.rank(cell, ask) == rank
        assert table.percentile(cell, ask) == pytest.approx(100 * (8 - rank + 1) / 8)
    best = TINY.architecture_at(int(np.argmax(values)))
    assert (table.rank(best, ask), table.percentile(best, ask)) == (1, 100)


@pytest.mark.parametrize("name", tables.table_names())
@pytest.mark.thorough
def test_every_table_declares_itself_without_being_read(name: str) -> None:
    source = tables.find_source(name)
    assert source.name == name
    assert source.space_name in registry.names("space")
    covered = source.coverage
    assert (
        covered.headline[0]
        == covered.questions[0]
        == (covered.datasets[0], *covered.headline[0][1:])
    )
    assert len(set(covered.questions)) == len(covered.questions)
    folder = data_folder(None)
    if source.present(folder):
        table = source.load(folder)
        assert (table.name, table.space_name) == (name, source.space_name)
        assert table.coverage == covered
        assert table.folder == folder
    else:
        with pytest.raises(UserError):
            source.load(folder)


def test_a_coverage_is_told_in_a_line() -> None:
    whole = Coverage.product(["a", "b"], ["test", "valid"], [200, None])
    assert str(whole) == "a, b; split test, valid; epochs 200, not stated"
    assert [q.dataset for q in whole.headline] == ["a", "b"]
    part = Coverage(whole.questions[:3])
    assert (
        str(part)
        == "a, split test, epochs 200; b, split test, epochs 200; a, split valid, epochs 200"
    )
    assert part.datasets == ("a", "b")


def test_accuracies_cannot_be_changed() -> None:
    table = tiny_table(range(8))
    values = table.values(Question("cifar10", "test", 3))
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 100
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.name = "mine"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"dataset": "cifar100", "epochs": 200},
            "official (set OPTNAS_DATA to the folder",
        ),
        ({"epochs": 200}, "epochs = 200: this table has cifar10; split test; epochs not stated;"),
        ({"epochs": 200}, "nas-bench-201/test-accuracy.csv.gz (means of the official"),
        ({"dataset": "cifar100"}, "no known table can answer: analog-nasbench has cifar10; split"),
        ({"split": "valid"}, "split = 'valid': this table has"),
        ({"split": "valid"}, "no known table can answer"),
        ({"epochs": 12}, "the table nats-tss (run: optnas benchmark import PATH"),
        ({"dataset": "cifar-10"}, "did you mean cifar10?"),
    ],
)
def test_a_question_without_an_answer(analog_table: Table, change: Any, message: str) -> None:
    ask = Question(**({"dataset": "cifar10", "split": "test", "epochs": None} | change))
    with pytest.raises(UserError) as caught:
        analog_table.accuracy(NAS_BENCH_201.architecture_at(0), ask)
    assert str(caught.value).startswith("table analog-nasbench: ")
    assert message in str(caught.value)


def test_a_cell_of_another_space(analog_table: Table) -> None:
    ask = Question("cifar10", "test", None)
    with pytest.raises(UserError, match="this table holds cells of nas-bench-201"):
        analog_table.rank(TINY.architecture_at(0), ask)


# ---- one file is a table

MINE = """
import numpy as np
from optnas.spaces.tables import Coverage, Measurements, Table, TableSource

COVERAGE = Coverage.product(["cifar10"], ["valid", "test"], [7])


def load(folder):
    measured = Measurements(np.arange(15625) / 200)
    held = {question: measured for question in COVERAGE.questions}
    return Table("mine", "SPACE", "Made up.", held, folder)


def mine():
    return TableSource("mine", "SPACE", "Made up.", COVERAGE, "ask me", lambda _: True, load)
"""


def test_a_table_in_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE.replace("SPACE", "nas-bench-201"))
    settings = tiny_settings(benchmark__table=f"{file}:mine")
    assert list(settings.sources) == []  # a table moves no number: decision 8
    record = describe_benchmark(
        load_table(settings.benchmark.table, folder=None), NAS_BENCH_201.architecture_at(200)
    )
    assert (record["table"], record["split"], record["epochs"]) == ("mine", "valid", 7)
    assert record["accuracy"] == {"cifar10": 1.0}
    file.write_text(MINE.replace("SPACE", "elsewhere"))
    with pytest.raises(UserError, match=r"cells of elsewhere, and the space is nas-bench-201; use"):
        tiny_settings(benchmark__table=f"{file}:mine")


@pytest.mark.parametrize("name", ["toy", "nas-bench-macro"])
def test_validation_accuracies_are_what_they_are_called(name: str) -> None:
    assert doubts(load_table(name, folder=None)) == []


@needs_data
def test_validation_accuracies_of_12_epochs_are_what_they_are_called() -> None:
    assert doubts(load_table("nb201-12", folder=data_folder(None))) == []


def test_a_test_accuracy_called_validation_is_told(tmp_path: Path, capsys: Any) -> None:
    """As where only one training of each cell is given, under the name of validation."""
    analog = load_table("analog-nasbench", folder=None)
    noise = np.random.default_rng(0).normal(0, 0.25, analog.size)
    called = Measurements(analog.values(analog.coverage.questions[0]) + noise)
    mine = dataclasses.replace(
        analog, name="mine", measurements={Question("cifar10", "valid", 200): called}
    )
    (told,) = doubts(mine)
    assert "(cifar10, split valid, epochs 200) are test accuracies of the table analog-nas" in told
    (tmp_path / "mine.py").write_text(MINE.replace("SPACE", "nas-bench-201"))
    assert command("benchmark", "query", "3", "--table", f"{tmp_path}/mine.py:mine") == 0
    out = capsys.readouterr().out
    assert "warning: its validation accuracies (cifar10, split valid, epochs 7) are test" in out


def test_a_space_without_a_table() -> None:
    with pytest.raises(
        UserError, match=r"no benchmark table holds cells of tiny; set benchmark.table=none"
    ):
        tables.default_table(None, TINY)


# ---- the analog table


def test_the_analog_table(analog_table: Table) -> None:
    facts = json.loads(json.dumps(analog_table.describe()))
    assert (facts["epochs"], facts["epochs_label"], facts["split"]) == (None, "not stated", "test")
    assert facts["datasets"]["cifar10"]["cells"] == 15_625
    assert facts["datasets"]["cifar10"]["best"] == pytest.approx(94.0664)
    assert "not the official table" in facts["provenance"]
    ask = Question("cifar10", "test", None)
    assert analog_table.accuracy(NAS_BENCH_201.parse(ALL_SKIP), ask) == pytest.approx(60.7836)


def test_keys_of_the_data_file_are_translated() -> None:
    cell = analog.our_cell((2, 1, 0, 3, 4, 1))
    assert cell.string == (
        "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|avg_pool_3x3~1|none~2|"
    )


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_hostile_data_file_is_not_opened_and_would_be_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "it-ran"
    data = pickle.dumps({(0,) * 6: Hostile(trace)})
    (tmp_path / "data.anb").write_bytes(data)
    with pytest.raises(UserError, match=r"refused to load the global \w+\.mkdir"):
        analog.read_records(data)
    monkeypatch.setattr(analog, "read_records", lambda data: pytest.fail("it was opened"))
    with pytest.raises(UserError, match="it was not opened; run: pip install"):
        analog.load(tmp_path / "data.anb")
    assert not trace.exists()
    with pytest.raises(UserError, match="cannot read it"):
        analog.load(tmp_path / "absent.anb")


@pytest.mark.parametrize(
    "code", [b"cbuiltins\neval\n.", b"canalognasbench.data\nAnalogNASBench\n.", b"cos\nsystem\n."]
)
def test_every_other_global_is_refused(code: bytes) -> None:
    with pytest.raises(UserError, match="refused to load the global"):
        analog.read_records(code)


def test_a_missing_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analog, "MODULE", "surely_not_installed")
    with pytest.raises(
        UserError, match=r"not installed; run: pip install analog-nasbench==0\.1\.3"
    ):
        analog.load()


@pytest.mark.thorough
def test_loading_imports_neither_the_distribution_nor_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from optnas.spaces.tables import load_table;"
        "load_table('analog-nasbench', folder=None);"
        "print({'analognasbench', 'pandas', 'torch', 'matplotlib'} & set(sys.modules))"
    )
    for _ in ("converted", "from the cache"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"OPTNAS_HOME": str(tmp_path)},
        )
        assert (done.stdout.strip(), done.stderr) == ("set()", "")


# ---- the official table


def made_up_csv(change: Any = None) -> bytes:
    lines = [official.HEADER]
    lines += [f"{place},{cell},90.5,70,40" for place, cell in enumerate(NAS_BENCH_201.all())]
    if change:
        change(lines)
    return ("\n".join(lines) + "\n").encode()


def write_csv(folder: Path, compressed: bytes) -> None:
    path = folder / "nas-bench-201" / "test-accuracy.csv.gz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(compressed)


def replace(line: int, old: str, new: str) -> Callable[[list[str]], None]:
    return lambda lines: lines.__setitem__(line - 1, lines[line - 1].replace(old, new))


def test_a_made_up_official_table_is_read(tmp_path: Path) -> None:
    write_csv(tmp_path, gzip.compress(made_up_csv(replace(3, "90.5", "91.25"))))
    table = load_table("official", folder=tmp_path)
    assert table.coverage.datasets == DATASETS
    ask = Question("cifar10", "test", 200)
    assert table.accuracy(NAS_BENCH_201.architecture_at(1), ask) == 91.25
    assert table.rank(NAS_BENCH_201.architecture_at(1), ask) == 1
    assert table.rank(NAS_BENCH_201.architecture_at(0), ask) == 2
    with pytest.raises(UserError, match="the table analog-nasbench can answer"):
        table.values(Question("cifar10", "test", None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace(1, "arch", "cell"), "line 1: the header must be index,arch,"),
        (lambda lines: lines.clear(), "line 1: the header must be"),
        (lambda lines: lines.pop(), "line 15625: the file ends after 15624 of 15625 cells"),
        (lambda lines: lines.append("x"), "line 15627: there are more than 15625 cells"),
        (replace(8, ",40", ""), "line 8: 4 columns where 5 are due"),
        (replace(9, "7,", "8,"), "line 9: cell 8,|"),
        (lambda lines: lines.insert(2, lines.pop(3)), "line 3: cell 2,|"),
        (replace(4, "90.5", "9o.5"), "line 4: cifar10_test_200 = '9o.5': this is no number"),
        (replace(4, "90.5", "100.5"), "cifar10_test_200 = '100.5': this is no percentage"),
        (replace(4, "90.5", "nan"), "cifar10_test_200 = 'nan': this is no percentage"),
        (replace(4, ",40", ",-1"), "line 4: imagenet16_120_test_200 = '-1'"),
    ],
)
def test_a_bad_official_table_is_told_by_its_line(
    tmp_path: Path, change: Any, message: str
) -> None:
    write_csv(tmp_path, gzip.compress(made_up_csv(change), compresslevel=1))
    with pytest.raises(UserError) as caught:
        load_table("official", folder=tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "nas-bench-201" / "test-accuracy.csv.gz"))
    assert message in str(caught.value)
    assert str(caught.value).endswith("; replace the file by an intact copy")


def test_a_damaged_official_file(tmp_path: Path) -> None:
    whole = gzip.compress(made_up_csv(), compresslevel=1)
    flipped = whole[:5000] + bytes([whole[5000] ^ 0xFF]) + whole[5001:]
    for content in (whole[:-9], whole[:3], b"", b"index,arch\n", flipped, gzip.compress(b"\xff")):
        write_csv(tmp_path, content)
        with pytest.raises(UserError, match=r"test-accuracy\.csv\.gz.*replace the file by"):
            load_table("official", folder=tmp_path)


def test_the_csv_file_of_the_document_is_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plain text, as one writes it; the official files are gzipped."""
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "docs" / "benchmarks" / "own-table.md").read_text()
    writer, table = re.findall(r"(?s)```python\n(.*?)```", page)[:2]
    exec(writer, {})
    (tmp_path / "my_table.py").write_text(table)
    asked = ("benchmark", "query", "1", "--table", "./my_table.py:mine")
    assert command(*asked, "--data", ".") == 0
    assert "89.9" in capsys.readouterr().out  # 90 - 1 / size
    assert command(*asked, "--data", "none") == 2
    told = capsys.readouterr().err
    assert "put mine.csv there, or use the table toy" in told
    lines = (tmp_path / "mine.csv").read_text().splitlines(keepends=True)
    (tmp_path / "mine.csv").write_text("".join(lines[:2]))
    assert command(*asked, "--data", ".") == 2
    assert "mine.csv: line 2: the file ends after 1 of" in capsys.readouterr().err


def test_which_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tables.default_table(None, NAS_BENCH_201) == "analog-nasbench"
    assert tables.default_table(tmp_path, NAS_BENCH_201) == "analog-nasbench"
    write_csv(tmp_path, b"")
    assert tables.default_table(tmp_path, NAS_BENCH_201) == "official"
    with pytest.raises(UserError, match=r"table = 'oficial'.*did you mean official"):
        load_table("oficial", folder=None)
    with pytest.raises(
        UserError, match=r"needs a data folder; set OPTNAS_DATA .*use the table analog-nasbench$"
    ):
        load_table("official", folder=None)
    with pytest.raises(UserError, match=r"there, or use the table analog-nasbench$"):
        load_table("official", folder=tmp_path / "absent")
    monkeypatch.setenv("OPTNAS_DATA", "/data")
    assert data_folder(None) == Path("/data")
    assert data_folder(tmp_path) == tmp_path
    monkeypatch.setenv("OPTNAS_DATA", "")
    assert data_folder(None) is None


# ---- known numbers

BEST = {
    "cifar10": (94.37, "|c3~0|+|c3~0|c3~1|+|skip_connect~0|c3~1|c1~2|", 87.06, 90.75),
    "cifar100": (73.51, "|c3~0|+|c3~0|c3~1|+|skip_connect~0|c3~1|c3~2|", 61.41, 65.29),
    "imagenet16-120": (47.31, "|c1~0|+|c1~0|c3~1|+|skip_connect~0|c3~1|c3~2|", 33.59, 36.39),
}


@needs_data
@pytest.mark.parametrize("dataset", DATASETS)
def test_published_numbers(official_table: Table, dataset: str) -> None:
    best, string, mean, median = BEST[dataset]
    cell = NAS_BENCH_201.parse(string.replace("c1", "nor_conv_1x1").replace("c3", "nor_conv_3x3"))
    ask = Question(dataset, "test", 200)
    assert (official_table.rank(cell, ask), official_table.regret(cell, ask)) == (1, 0)
    facts = official_table.describe()["datasets"][dataset]
    rounded = [round(facts[key], 2) for key in ("best", "mean", "median")]
    assert rounded == [best, mean, median]
    collapsed = official_table.accuracy(NAS_BENCH_201.parse(ALL_SKIP), ask)
    assert round(collapsed, 2) == {"cifar10": 54.30, "cifar100": 15.61}.get(dataset, 16.32)


@needs_data
def test_every_row_equals_the_naive_reader(official_table: Table) -> None:
    with gzip.open(CSV, "rt") as file:
        rows = [line.strip().split(",") for line in file][1:]
    for column, dataset in enumerate(DATASETS, start=2):
        values = official_table.values(Question(dataset, "test", 200))
        assert values.tolist() == [float(row[column]) for row in rows]
    assert [NAS_BENCH_201.index(NAS_BENCH_201.parse(row[1])) for row in rows] == list(range(15_625))


@needs_data
def test_the_half_trained_table_has_losses() -> None:
    half, cell = load_table("nb201-half", folder=Path(DATA)), NAS_BENCH_201.architecture_at(0)
    question = Question("cifar10-half", "test", 200)
    assert half.accuracy(cell, question) == 81.52
    assert half.loss(cell, question) == pytest.approx(0.57610, abs=1e-5)
    official = load_table("official", folder=Path(DATA)).values(Question("cifar10", "test", 200))
    assert scipy.stats.kendalltau(official, half.values(question))[0] > 0.8


def test_a_half_trained_table_of_another_skeleton_is_refused(tmp_path: Path) -> None:
    rows = [f"{i},{cell},90.5,0.4,16,5" for i, cell in enumerate(NAS_BENCH_201.all())]
    rows[3] = rows[3].replace(",16,", ",32,")
    write_csv(tmp_path, b"")
    text = "\n".join(["uid,architecture,accuracy,loss,C,N", *rows]).encode()
    (tmp_path / "nas-bench-201/half-train-test.csv.gz").write_bytes(gzip.compress(text, 1))
    with pytest.raises(UserError, match=r"line 5: C = '32': this is no number from 16 to 16; repl"):
        load_table("nb201-half", folder=tmp_path)


@needs_data
def test_the_two_tables_agree_as_far_as_known(analog_table: Table, official_table: Table) -> None:
    ours = official_table.values(Question("cifar10", "test", 200))
    theirs = analog_table.values(Question("cifar10", "test", None))
    assert scipy.stats.kendalltau(ours, theirs)[0] == pytest.approx(0.926, abs=5e-4)
    assert scipy.stats.pearsonr(ours, theirs)[0] == pytest.approx(0.9994, abs=5e-5)
    good = ours > 93
    assert scipy.stats.kendalltau(ours[good], theirs[good])[0] == pytest.approx(0.56, abs=5e-3)
