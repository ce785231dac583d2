"""The official archive: every number against the authors' own reader, and what is refused."""

from __future__ import annotations

import bz2
import io
import json
import os
import pickle
import re
import shutil
import statistics
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import archive
import numpy as np
import pytest
from cases import Hostile, command
from tiny import TINY

from optnas.base.errors import UserError
from optnas.base.files import TEMPORARY
from optnas.search import api
from optnas.spaces import NAS_BENCH_201, tables
from optnas.spaces.tables import Question, Table, load_table, nats, nats_archive
from optnas.spaces.tables.coverage import Coverage
from optnas.spaces.tables.nats_archive import COVERAGE, Summary, read_archive
from optnas.spaces.tables.noise import noise_floor

SAMPLE = Path(os.environ.get("OPTNAS_DATA", "")) / "nas-bench-201/official-sample" / archive.NAME
CELLS = (0, 7, 284, 15_624)
# Our data set and split: the archive's data set, and the key of the answer of its reader.
ORACLE = {
    ("cifar10", "valid"): ("cifar10-valid", "valid-accuracy"),
    ("cifar10", "test"): ("cifar10", "test-accuracy"),
    ("cifar100", "valid"): ("cifar100", "valid-accuracy"),
    ("cifar100", "test"): ("cifar100", "test-accuracy"),
    ("imagenet16-120", "valid"): ("ImageNet16-120", "valid-accuracy"),
    ("imagenet16-120", "test"): ("ImageNet16-120", "test-accuracy"),
}


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No data folder, and a cache folder of the test's own."""
    monkeypatch.delenv("OPTNAS_DATA", raising=False)
    monkeypatch.setenv("OPTNAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive.write_archive(tmp_path_factory.mktemp("archive"), CELLS)


def assert_equals_the_oracle(folder: Path, table: Table, cells: tuple[int, ...]) -> None:
    from nats_bench import create

    oracle = create(str(folder), "tss", fast_mode=True, verbose=False)
    for index in cells:
        cell = NAS_BENCH_201.architecture_at(index)
        assert oracle.query_index_by_arch(cell.string) == index
        for question in COVERAGE.questions:
            dataset, key = ORACLE[question.dataset, question.split]

            def asked(is_random: Any) -> float:
                more = {"hp": str(question.epochs), "is_random": is_random}  # noqa: B023
                return float(oracle.get_more_info(index, dataset, **more)[key])  # noqa: B023

            mean = asked(False)
            seeds = oracle.arch2infos_dict[index][str(question.epochs)].get_dataset_seeds(dataset)
            trials = [asked(seed) for seed in seeds]
            ask = question
            assert table.accuracy(cell, ask) == pytest.approx(mean, abs=1e-6)
            assert table.count(cell, ask) == len(trials)
            spread = statistics.stdev(trials) if len(trials) > 1 else None
            assert table.spread(cell, ask) == pytest.approx(spread, abs=1e-6)


@pytest.mark.data
@pytest.mark.skipif(not SAMPLE.is_dir(), reason="OPTNAS_DATA has no official sample")
def test_the_genuine_sample_equals_the_authors_reader(home: Path) -> None:
    imported = nats.import_archive(SAMPLE, None, allow_partial=True)
    assert (imported.held, imported.size) == (3, 15_625)
    table = nats.load(None)
    assert_equals_the_oracle(SAMPLE, table, (0, 11, 284))
    known = {"cifar10": 91.58, "cifar100": 67.61, "imagenet16-120": 30.17}
    cell = NAS_BENCH_201.architecture_at(11)
    found = {d: table.accuracy(cell, Question(d, "test", 200)) for d in known}
    assert {d: round(value, 2) for d, value in found.items()} == known


@pytest.mark.data
@pytest.mark.skipif(not SAMPLE.is_dir(), reason="OPTNAS_DATA has no official sample")
@pytest.mark.thorough
def test_the_sample_is_the_official_table(home: Path) -> None:
    nats.import_archive(SAMPLE, None, allow_partial=True)
    for name, within in (("official", 5e-3), ("nb201-12", 1e-4)):
        other = load_table(name, folder=SAMPLE.parents[2])
        for index in (0, 11, 284):
            cell = NAS_BENCH_201.architecture_at(index)
            for ask in other.coverage.questions:
                ours, theirs = (t.accuracy(cell, ask) for t in (nats.load(None), other))
                assert ours == pytest.approx(theirs, abs=within)


@pytest.mark.parametrize("ending", ["", ".tar", ".tar.gz", ".tar.bz2"])
def test_a_folder_or_a_tar_equals_the_authors_reader(
    written: Path, ending: str, tmp_path: Path
) -> None:
    path = written
    if ending:
        path = archive.tar_of(shutil.copytree(written, tmp_path / "copy" / written.name), ending)
    seen: list[int] = []
    nats.import_archive(path, None, allow_partial=True, on_cell=seen.append)
    assert seen == [1, 2, 3, 4]
    table = nats.load(None)
    assert_equals_the_oracle(written, table, CELLS)
    assert f"Read from {path.name}." in table.provenance


# ---- a part


def test_a_part_is_refused_unless_it_is_allowed(
    written: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("benchmark", "import", str(written)) == 2
    assert "15621 of 15625 cells are missing, the first is 1; fetch" in capsys.readouterr().err
    assert not home.exists()
    assert command("benchmark", "import", str(written), "--allow-partial") == 0
    out = capsys.readouterr().out
    assert f"wrote {home}/nas-bench-201/nats-tss.npz: 4 of 15625 cells\na part: it" in out
    query = ("benchmark", "query", "7", "--table", "nats-tss")
    assert command(*query, "--split", "valid", "--epochs", "12") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[3:6]] == [
        [dataset, "valid", "12"] for dataset in ("cifar10", "cifar100", "imagenet16-120")
    ]
    assert [line.split()[-3:] for line in lines[3:6]] == [["-", "-", "-"]] * 3
    assert lines[6:] == ["imported in part, 4 of 15625 cells: no regret or rank"]


def test_what_a_part_does_not_answer(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nats.import_archive(written, None, allow_partial=True)
    table = nats.load(None)
    ask = Question("cifar10", "test", 200)
    absent, there = (NAS_BENCH_201.architecture_at(index) for index in (1, 0))
    for question in (table.accuracy, table.spread, table.count):
        with pytest.raises(UserError, match="holds 4 of 15625 cells, and not this one; import"):
            question(absent, ask)
    for whole in (table.regret, table.rank, table.percentile):
        with pytest.raises(UserError, match="4 of 15625 cells, and all are needed; import the"):
            whole(there, ask)
    with pytest.raises(UserError, match="all are needed"):
        table.values(ask)
    with pytest.raises(UserError, match="all are needed"):
        table.describe()
    assert not tables.find_source("nats-tss").present(None)
    assert tables.default_table(None, NAS_BENCH_201) == "analog-nasbench"
    with pytest.raises(UserError, match="all are needed"):
        api.run(TINY | {"benchmark.table": "nats-tss"}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert command("benchmark", "tables") == 0
    assert "nats-tss  (not there as a whole; run: optnas benchmark" in capsys.readouterr().out


def test_a_cell_without_a_trial_is_missing(tmp_path: Path) -> None:
    folder = archive.write_archive(tmp_path, (3, 4))
    document = archive.cell(5)
    results = document["12"]["all_results"]
    document["12"]["all_results"] = {k: v for k, v in results.items() if k[0] != "cifar100"}
    (folder / archive.file_name(5)).write_bytes(archive.packed(document))
    summary = read_archive(folder)
    assert np.flatnonzero(summary.held).tolist() == [3, 4]


# ---- the whole


def full_summary() -> Summary:
    """Every cell, made up: an accuracy from the question and the index, two trials."""
    summary = Summary.empty()
    questions, cells = summary.accuracy_QN.shape
    summary.accuracy_QN[:] = np.arange(cells) * 7919 % cells / cells * 90
    summary.accuracy_QN[:] += np.arange(questions)[:, None]
    summary.spread_QN[:] = 0.25
    summary.count_QN[:] = 2
    summary.spread_QN[:, 5], summary.count_QN[:, 5] = np.nan, 1
    return summary


@pytest.mark.thorough
def test_the_file_of_the_official_table_is_made_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the page of tables tells it, for whom nobody hands the file to."""
    monkeypatch.setenv("OPTNAS_DATA", str(tmp_path))
    nats.save(full_summary(), nats.path_to_write(tmp_path), archive="a")
    page = (Path(__file__).parents[1] / "docs" / "benchmarks.md").read_text()
    (block,) = (each for each in re.findall(r"(?s)```python\n(.*?)```", page) if "gzip" in each)
    exec(block, {})
    made, imported = (load_table(name, folder=tmp_path) for name in ("official", "nats-tss"))
    for question in made.coverage.questions:
        assert np.abs(made.values(question) - imported.values(question)).max() <= 5.1e-5


def test_a_whole_table_is_like_any_other(tmp_path: Path, home: Path) -> None:
    summary = full_summary()
    nats.save(summary, nats.path_to_write(None), archive="a")
    table = load_table("nats-tss", folder=None)
    assert table.held is None
    assert tables.default_table(None, NAS_BENCH_201) == "nats-tss"
    for place, question in enumerate(COVERAGE.questions):
        values = table.ask(question).accuracy
        assert np.abs(values - summary.accuracy_QN[place]).max() <= 5e-7
        cell = NAS_BENCH_201.architecture_at(100)
        rank = 1 + sum(value > values[100] for value in values.tolist())
        assert table.rank(cell, question) == rank
    ask = COVERAGE.questions[0]
    assert table.spread(NAS_BENCH_201.architecture_at(4), ask) == 0.25
    assert table.spread(NAS_BENCH_201.architecture_at(5), ask) is None
    assert table.count(NAS_BENCH_201.architecture_at(5), ask) == 1
    # A cell of one trial tells nothing of the noise floor, and hides it no more.
    (_, of_good), (_, of_all) = noise_floor(table, ask)
    assert (of_good, of_all) == pytest.approx((0.25, 0.25))
    result = api.run(TINY | {"benchmark.table": "nats-tss"}, out=tmp_path / "run")
    told = result["benchmark"]
    assert (told["table"], told["split"], told["epochs"]) == ("nats-tss", "test", 200)
    assert list(told["accuracy"]) == ["cifar10", "cifar100", "imagenet16-120"]
    record = json.loads((tmp_path / "run/epochs.jsonl").read_text().splitlines()[-1])
    cell = NAS_BENCH_201.parse(record["architecture"])
    assert told["accuracy"]["cifar10"] == table.accuracy(cell, ask)


def test_the_file_is_small_and_the_noise_of_floats_is_gone(home: Path) -> None:
    draw = np.random.default_rng(0)
    summary = Summary.empty()
    shape = summary.accuracy_QN.shape
    exact = draw.integers(0, 10_000, (*shape, 3)).sum(-1) / 300
    summary.accuracy_QN[:] = exact + draw.uniform(-1e-8, 1e-8, shape)
    summary.spread_QN[:] = draw.uniform(0, 1, shape)
    summary.count_QN[:] = 3
    path = nats.path_to_write(None)
    nats.save(summary, path, archive="a")
    assert path.stat().st_size < 2**21
    values = load_table("nats-tss", folder=None).ask(COVERAGE.questions[0]).accuracy
    assert len(np.unique(values)) == len(np.unique(np.round(exact[0], 4)))
    again = path.read_bytes()
    nats.save(summary, path, archive="a")
    assert path.read_bytes() == again


def test_the_data_folder_comes_first(tmp_path: Path, home: Path) -> None:
    data = tmp_path / "data"
    assert nats.table_path(data) is nats.table_path(None) is None
    nats.save(full_summary(), nats.path_to_write(None), archive="home")
    assert nats.table_path(data) == home / "nas-bench-201/nats-tss.npz"
    nats.save(full_summary(), nats.path_to_write(data), archive="data")
    assert "Read from data." in load_table("nats-tss", folder=data).provenance
    assert "Read from home." in load_table("nats-tss", folder=None).provenance


def test_looking_for_a_default_reads_no_numbers(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nats.save(full_summary(), nats.path_to_write(None), archive="a")
    monkeypatch.setattr(nats, "_unpacked", None)
    assert tables.default_table(None, NAS_BENCH_201) == "nats-tss"


def test_numbers_of_other_questions_are_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Coverage(COVERAGE.questions[::-1])
    with monkeypatch.context() as patch:
        patch.setattr(nats, "COVERAGE", other)
        nats.save(full_summary(), nats.path_to_write(None), archive="a")
    with pytest.raises(UserError, match="not a table of this version of optnas"):
        load_table("nats-tss", folder=None)


def test_a_user_without_a_home_has_no_imported_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    nats.save(full_summary(), nats.path_to_write(tmp_path), archive="a")
    monkeypatch.setattr(nats, "cache_folder", homeless)
    assert nats.table_path(tmp_path) == nats.path_to_write(tmp_path)
    assert tables.default_table(None, NAS_BENCH_201) == "analog-nasbench"
    with pytest.raises(UserError, match=r"no place for the table .*give a folder with --data"):
        nats.import_archive(tmp_path, None)


@pytest.mark.thorough
def test_who_can_answer_and_how_to_get_it(home: Path) -> None:
    ask = Question("cifar10", "valid", 12)
    analog = load_table("analog-nasbench", folder=None)
    cell = NAS_BENCH_201.architecture_at(0)
    with pytest.raises(UserError, match=r"the table nats-tss \(run: optnas benchmark import PATH"):
        analog.accuracy(cell, ask)
    nats.save(full_summary(), nats.path_to_write(None), archive="a")
    with pytest.raises(UserError, match="epochs not stated; the table nats-tss or nb201-12 "):
        analog.accuracy(cell, ask)
    with pytest.raises(UserError, match=r"epochs = 100: .* no known table can answer"):
        load_table("nats-tss", folder=None).accuracy(cell, ask._replace(epochs=100))
    with pytest.raises(UserError, match=r"split = 'valid': .*the table nats-tss or nb201-12 "):
        analog.questions(split="valid")


# ---- bad input


def spoiled(change: Callable[[Any], None]) -> bytes:
    document = archive.cell(7)
    change(document)
    return archive.packed(document)


def set_accuracy(value: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for result in document["200"]["all_results"].values():
            result["eval_acc1es"]["x-valid@199"] = value

    return change


def as_object_scalar() -> bytes:
    """numpy.core.multiarray.scalar(dtype('O'), ...), the kind that could hold anything."""
    code = b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\ntRS'x'\ntR."
    return bz2.compress(code)


SPOILED: dict[str, tuple[Callable[[], bytes], str]] = {
    "hostile": (lambda: archive.packed(Hostile()), r"refused to load the global \w+\.system"),
    "eval": (lambda: bz2.compress(b"cbuiltins\neval\n."), "refused to load the global builtins.e"),
    "numpy by another name": (
        lambda: archive.packed(np.arange(3)),
        r"refused to load the global numpy\.core\.multiarray\._reconstruct",
    ),
    "a scalar of objects": (as_object_scalar, "no number type: 'O8'"),
    "a torn pickle": (lambda: bz2.compress(pickle.dumps([1] * 99)[:-9]), "cannot read it"),
    "not bzip2": (lambda: b"PK\x03\x04 and so on", "no bzip2 file"),
    "cut off": (lambda: archive.packed(archive.cell(7))[:-50], "the file is truncated; fetch"),
    "empty": (lambda: b"", "the file is truncated"),
    "a list": (lambda: archive.packed([1, 2]), r"not a cell of NATS-tss-v1_0-3ffb9-simple \(Type"),
    "no 12": (lambda: spoiled(lambda d: d.pop("12")), r"\(KeyError: '12'\)"),
    "other keys": (
        lambda: spoiled(lambda d: d["12"].update(all_results={"cifar10": {}})),
        "not a cell of",
    ),
    "another cell": (
        lambda: archive.packed(archive.cell(8)),
        r"arch_str = .* the file's name says",
    ),
    "NaN": (lambda: spoiled(set_accuracy(float("nan"))), "x-valid@199 = nan: no percentage"),
    "101 %": (lambda: spoiled(set_accuracy(101)), "x-valid@199 = 101: no percentage from 0 to"),
    "text": (lambda: spoiled(set_accuracy("much")), "not a cell of"),
    "beyond floats": (lambda: spoiled(set_accuracy(10**400)), r"not a cell of .*\(OverflowError"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_spoiled_cell(
    case: str, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, message = SPOILED[case]
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / archive.NAME
    folder.mkdir()
    (folder / archive.file_name(7)).write_bytes(make())
    for path in (folder, archive.tar_of(folder)):
        with pytest.raises(UserError, match=message) as caught:
            nats.import_archive(path, None, allow_partial=True)
        assert str(caught.value).startswith(str(path))
        assert archive.file_name(7) in str(caught.value)
    assert not home.exists()
    assert not (tmp_path / "executed").exists()


def test_a_file_that_unpacks_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_archive, "LARGEST_CELL", 100_000)
    (tmp_path / archive.file_name(7)).write_bytes(bz2.compress(bytes(10**6)))
    with pytest.raises(UserError, match="larger than any cell"):
        read_archive(tmp_path)


def not_a_tar(path: Path) -> Path:
    path.with_name("x.pbz2").write_bytes(archive.meta())
    return path.with_name("x.pbz2")


def torn_tar(path: Path) -> Path:
    whole = archive.tar_of(path).read_bytes()
    path.with_name("torn.tar").write_bytes(whole[: len(whole) - 20_480 - 700])
    return path.with_name("torn.tar")


def twice(path: Path) -> Path:
    with tarfile.open(path.with_name("t.tar"), "w") as tar:
        for folder in ("a", "b"):
            tar.add(path / archive.file_name(7), f"{folder}/{archive.file_name(7)}")
    return path.with_name("t.tar")


def a_link(path: Path) -> Path:
    with tarfile.open(path.with_name("l.tar"), "w") as tar:
        link = tarfile.TarInfo(archive.file_name(7))
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link, io.BytesIO())
    return path.with_name("l.tar")


def beyond(path: Path) -> Path:
    (path / archive.file_name(99_999)).write_bytes(archive.packed(archive.cell(7)))
    return path


PATHS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "absent": (lambda path: path / "none", r"cannot read it \(No such file.*; check the path"),
    "empty": (lambda path: path.parent / "home2", "holds no file such as 000000.pickle.pbz2; give"),
    "another file": (not_a_tar, "no whole tar file .*; other archives are not read"),
    "torn": (torn_tar, "no whole tar file"),
    "twice": (twice, "b/000007.pickle.pbz2: cell 7 is there twice"),
    "a link in place of a cell": (a_link, "holds no file|no whole tar"),
    "beyond": (beyond, "index = 99999: nas-bench-201 has 15625 cells; use 0 to 15624"),
}


@pytest.mark.parametrize("case", PATHS)
def test_a_path_that_is_no_archive(case: str, tmp_path: Path, home: Path) -> None:
    (tmp_path / "home2").mkdir()
    make, message = PATHS[case]
    path = make(archive.write_archive(tmp_path / "whole", [7]))
    if case == "empty":
        path = tmp_path / "home2"
    with pytest.raises(UserError, match=message) as caught:
        nats.import_archive(path, None, allow_partial=True)
    assert str(caught.value).startswith(str(path))
    assert not home.exists()


def test_a_table_that_cannot_be_written_is_told_before_reading(
    written: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    told = r"nats-tss\.npz: cannot write the table \(.*\); give another folder with --data"
    with pytest.raises(UserError, match=told):
        nats.import_archive(
            written, tmp_path / "file", on_cell=lambda done: pytest.fail("it was read")
        )


def test_a_damaged_table(home: Path) -> None:
    nats.save(full_summary(), nats.path_to_write(None), archive="a")
    path = nats.path_to_write(None)
    whole = path.read_bytes()
    step = len(whole) // 40
    damaged = [whole[:length] for length in range(0, len(whole), step)]
    damaged += [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(9, 200, 7)]
    for content in damaged:
        path.write_bytes(content)
        try:
            table = load_table("nats-tss", folder=None)
        except UserError as error:
            assert "run: optnas benchmark import" in str(error)  # noqa: PT017
        else:  # a byte that means nothing
            assert table.held is None
    np.savez(path, facts=np.array('{"format": 1}'), accuracy=[1.5], spread=[1], count=[1])
    with pytest.raises(UserError, match="not a table of this version"):
        load_table("nats-tss", folder=None)


# ---- a hundred cells in a real process


@pytest.mark.slow
@pytest.mark.parametrize("number", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_killed_at_any_time(number: str, tmp_path: Path) -> None:
    import signal
    import time

    from cases import console, finish, start

    folder = archive.write_archive(tmp_path, range(400))
    arguments = ["benchmark", "import", str(folder), "--allow-partial"]
    home = tmp_path / "own"
    for after in (0.3, 0.8, 1.3):
        process = start(arguments, tmp_path, OPTNAS_HOME=str(home))
        time.sleep(after)
        process.send_signal(getattr(signal, number))
        code, _, err = finish(process)
        left = [path for path in home.rglob("*") if path.is_file()]
        if code == 0:
            break
        assert all(path.name.endswith(TEMPORARY) for path in left)
        if code > 0:
            assert err == ["optnas: interrupted; run the same command again"]
    code, out, _ = console(arguments, tmp_path, OPTNAS_HOME=str(home))
    assert code == 0
    assert out[0].endswith("nats-tss.npz: 400 of 15625 cells")


@pytest.mark.slow
@pytest.mark.timeout(1200)  # writes and packs an archive of full length first
def test_every_cell_from_a_tar_to_a_query(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "whole.tar"
    with tarfile.open(path, "w") as tar:
        for index in range(NAS_BENCH_201.size):
            document = archive.cell(index)
            for state in document.values():
                for result in state["all_results"].values():
                    last = {
                        k: v for k, v in result["eval_acc1es"].items() if k[-3:] in ("199", "@11")
                    }
                    result.clear()
                    result["eval_acc1es"] = last
            data = archive.packed(document)
            member = tarfile.TarInfo(f"{archive.NAME}/{archive.file_name(index)}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    imported = nats.import_archive(path, None)
    assert imported.held == 15_625
    assert imported.path.stat().st_size < 2**21
    table = load_table("nats-tss", folder=None)
    for index in (0, 999, 15_624):
        for question in COVERAGE.questions:
            dataset, _ = ORACLE[question.dataset, question.split]
            split = nats_archive.ORIGIN[question.dataset, question.split][1]
            results = archive.cell(index)[str(question.epochs)]["all_results"]
            trials = [
                result["eval_acc1es"][f"{split}@{question.epochs - 1}"]  # type: ignore[operator]
                for (name, _), result in results.items()
                if name == dataset
            ]
            cell = NAS_BENCH_201.architecture_at(index)
            assert table.accuracy(cell, question) == pytest.approx(
                statistics.mean(trials), abs=1e-6
            )
