"""Malformed input, each told by the command line in one line, exit code 2, nothing left behind.

Each case has a fresh working folder, the same afterwards; `cases.refusal` checks all that.
"""

from __future__ import annotations

import gzip
import pickle
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import (
    Hostile,
    cifar10_file,
    command,
    console,
    copied,
    interrupted_run,
    png,
    refusal,
    refused,
    tiny_search,
    tmpfs,
    write_files,
)
from tiny import TINY

from optnas.base import registry
from optnas.base.errors import COMMAND_LINE, UserError
from optnas.base.records import RunFolder
from optnas.base.toml import dump_toml, nest, parse_override
from optnas.report.epochs import plot_runs
from optnas.report.pictures import plot_figure
from optnas.search import api
from optnas.search.settings.layers import Layer, resolve
from optnas.search.standalone.settings import load_settings
from optnas.spaces import build_space

# settings of a search on the command line | key and value that are told | a part of the remedy
SETTINGS = """
algorithm.name=dartz | algorithm.name = 'dartz' | did you mean darts?
algorithm.name=xyz | algorithm.name = 'xyz' | use one of: a2m, beta-darts, composed, darts
serach.epochs=3 | serach.epochs = 3 | did you mean search?
search.epoch=3 | search.epoch = 3 | did you mean epochs?
algorithm.hypergradint=unrolled | algorithm.hypergradint = 'unrolled' | mean hypergradient?
weight_optimizer.momentun=0.9 | weight_optimizer.momentun = 0.9 | did you mean momentum?
data.train_sise=9 | data.train_sise = 9 | did you mean train_size?
arch_optimizer.name=adamm | arch_optimizer.name = 'adamm' | did you mean Adam?
weight_optimizer.schedule=cosin | weight_optimizer.schedule.name = 'cosin' | mean cosine?
weight_optimizer.schedule.finl_lr=0 | weight_optimizer.schedule.finl_lr = 0 | mean final_lr?
protocol=sdart | protocol = 'sdart' | did you mean sdarts?
data.name=digit | data.name = 'digit' | did you mean digits?
space.name=nas | space.name = 'nas' | nas-bench-201
benchmark.table=oficial | benchmark.table = 'oficial' | did you mean official?
benchmark.table=5 | benchmark.table = 5 | use one of: auto, analog-nasbench
run.device=tpu | run.device = 'tpu' | use auto, cpu, cuda or cuda:N
search.epochs=three | search.epochs = 'three' | write one such as 40
search.epochs=2.5 | search.epochs = 2.5 | write one such as 40
search.epochs=true | search.epochs = True | write one such as 40
supernet.arch_step_updates_statistics=1 | supernet.arch_step_updates_statistics = 1 | true
weight_optimizer.lr=fast | weight_optimizer.lr = 'fast' | write one such as 0.001
algorithm.name=darts-minus algorithm.beta=x | algorithm.beta = 'x' | write one such as 1.0
arch_optimizer.betas=0.9 | arch_optimizer.betas = 0.9 | write one such as [0.9, 0.999]
algorithm.name=[1] | algorithm.name = [1] | write algorithm.name=NAME
arch_optimizer.schedule=[1] | arch_optimizer.schedule = [1] | write arch_optimizer.schedule=NAME
data.folder=3 | data.folder = 3 | write it in quotes
clipping=3 | clipping = 3 | write clipping.KEY=VALUE
protocol=3 | protocol = 3 | use one of: cpu,
weight_optimizer.lr=inf | weight_optimizer.lr = inf | finite number
arch_optimizer.foreach=2020-01-01 | arch_optimizer.foreach = 2020-01-01 | write true or false
weight_optimizer=1 weight_optimizer.lr=1 | weight_optimizer = 1 | give it one way
search.epochs=-1 | search.epochs = -1 | use 1 or more
search.batch_size=0 | search.batch_size = 0 | use 2 or more
algorithm.name=rsps search.epochs=1 | search.epochs = 1 | raise it
search.seed=-1 | search.seed = -1 | use 0 or more
data.resolution=0 | data.resolution = 0 | use 4 or more
--threads 0 | run.threads = 0 | use 1 or more
arch_optimizer.schedule.warmup_epochs=-1 | arch_optimizer.schedule.warmup_epochs = -1 | change
search.batch_size=64 | search.batch_size = 64 | lower it, or raise data.train_size and
data.train_size=899 | data.train_size = 899 | set it from 1 to 898
measures.sharpness.every=1 measures.sharpness.batch_size=64 | measures.sharpness | lower its
curvature.every=1 | curvature.every = 1 | give it one way
arch_optimizer.name=SparseAdam | arch_optimizer.name = 'SparseAdam' | choose another, such as SGD
weight_optimizer.name=Muon | weight_optimizer.name = 'Muon' | use muon, which reshapes
weight_optimizer.name=muon | weight_optimizer.rest.name | add one, such as rest.name=AdamW
weight_optimizer.name=sam weight_optimizer.lr=1 | weight_optimizer.base | base.name=NAME
arch_optimizer.name=string:Template | arch_optimizer.name = 'string:Template' | name an
weight_optimizer.schedul=cosine | weight_optimizer.schedul = 'cosine' | did you mean schedule?
weight_optimizer.name=nowhere:A | weight_optimizer.name = 'nowhere:A' | module:Object
algorithm.derivative=finite-difference | algorithm.derivative = 'finite-difference' | remove it
algorithm.name=math:dart | algorithm.name = 'math:dart' | module:Object
algorithm.name=math:pi | algorithm.name = 'math:pi' | write it as module:Object or
algorithm.name=./a.py:A | algorithm.name = './a.py:A' | in the folder from which
data.name=cifar10 | data.folder | set OPTNAS_DATA or data.folder=FOLDER
weight_optimizer.name=Adam weight_optimizer.fused=no | weight_optimizer.fused = 'no' | write true or
weight_optimizer.lr='0.1' | weight_optimizer.lr = '0.1' | write 0.1 without quotes
foo | foo | write it as dotted.key=value
"""
UNROLLED = "algorithm.hypergradient=unrolled"

# command | place, key and value that are told | a part of the remedy
COMMANDS = f"""
search | command line | see optnas search --help
serach | command line | see optnas --help
train 0 data.name=digits -o x --threads 1000000000000 | command line: threads = 1000000000000 | use 1 to 4096
train 0 data.name=digits -o x augmentation.crop_padding=9 | command line: augmentation.crop_padding = 9 | use 8 or less
benchmark train toy -o x.json --threads 5000 | command line: threads = 5000 | use 1 to 4096
protocol | command line | see optnas protocol --help
list --al | command line | see optnas list --help
search -o x --threads a | command line | see optnas search --help
search -o x {UNROLLED} protocol=nas-bench-201 data.name=digits | protocol nas-bench-201: search.step_order = 'weights-first' | step_order=arch-first
search -o x {UNROLLED} data.name=digits weight_optimizer.name=Adadelta | command line: algorithm.hypergradient = 'unrolled' | use one of those
search -o x protocol=./p.toml | p.toml | check the path
search -o x -c c.toml | c.toml | check the path
list none | command line: DIR|KIND = 'none' | check the path
resume none | none | check the path
plot none -o x.png | none | check the path
plot none -o x.xyz | command line: -o = 'x.xyz' | end it in .png
protocol show cpus | command line: protocol = 'cpus' | did you mean cpu?
benchmark query '|none~0|' | command line: architecture = '|none~0|' | write |op~0|
benchmark query '|none~0|+|none~0|none~1|+|none~0|none~1|sep~2|' | command line: architecture = '|none~0|+|none~0|none~1|+|none~0|none~1|sep~2|' | use one of: avg_pool_3x3, none,
benchmark query 15625 | command line: index = 15625 | use 0 to 15624
benchmark query ² | command line: architecture = '²' | write |op~0|
benchmark query 0 --table ofical | command line: table = 'ofical' | did you mean official?
benchmark query 0 --table official | command line: table = 'official' | set OPTNAS_DATA
benchmark query 0 --table official --data . | nas-bench-201/test-accuracy.csv.gz | use the table
benchmark query 0 --table nats-tss | table nats-tss | run: optnas benchmark import
benchmark query 0 --split valid --table analog-nasbench | table analog-nasbench: split = 'valid' | nats-tss (run: optnas benchmark import
benchmark query 0 --epochs 12 --table analog-nasbench | table analog-nasbench: epochs = 12 | nats-tss (run: optnas benchmark import
benchmark query 0 --dataset cifar1000 --table analog-nasbench | table analog-nasbench: dataset = 'cifar1000' | did you mean cifar100?
benchmark import none | none | check the path
benchmark import . | . | give the folder NATS-tss-v1_0-3ffb9-simple
benchmark random-search 0 --table analog-nasbench | command line: K = 0 | use 1 to 15625
benchmark random-search --table nats | command line: table = 'nats' | nats-tss
search -o x data.name=digits benchmark.table=nats-tss | table nats-tss | run: optnas benchmark import
plot --figure alternation -o x.png --reference optimum | command line: --reference = 'optimum' | leave it out
"""  # noqa: E501


# settings | key and value that are told | a part of the remedy; these are found once torch is there
LATE = """
run.device=cuda:99 | run.device = 'cuda:99' | use auto or cpu
weight_optimizer.lr=-1 | weight_optimizer.lr = -1.0 | change
arch_optimizer.betas=[2.0,0.9] | arch_optimizer.betas = [2.0, 0.9] | change
algorithm.derivative=finite-difference | algorithm.derivative = 'finite-difference' | remove
"""


def rows(table: str) -> list[Any]:
    """The cells of a table in text; a row's name is its first cell."""
    lines = [line.split(" | ") for line in table.splitlines() if line]
    return [pytest.param(*cells, id=cells[0]) for cells in lines]


@pytest.mark.parametrize(("settings", "told", "remedy"), rows(SETTINGS + LATE))
def test_settings(settings: str, told: str, remedy: str, tmp_path: Path) -> None:
    refused(refusal(tiny_search(*settings.split()), tmp_path), f"command line: {told}", remedy)


def command_line(*words: str) -> Layer:
    return Layer(COMMAND_LINE, nest({".".join(keys): v for keys, v in map(parse_override, words)}))


# settings | what is told | a part of the remedy; what no file can hold or no path be
TEXTS = r"""
data.folder=/tmp/\udcff | command line: data.folder | without bytes that are no UTF-8
measures.gap.every=0 measures.x.name=./\udcff.py:a | command line: measures.x | give it in the folder
data.split=file data.split_file="a\u0000b" | a\x00b | check the path
data.name=parquet data.path="a\u0000b" | command line: data.path | set data.path
data.name=folder data.path="a\u0000b" | command line: data.path | set data.path
data.name=cifar10 data.folder="a\u0000b" | a\x00b/cifar10 |
protocol="./a\u0000b.toml" | a\x00b.toml | check the path
algorithm.derivative=exact algorithm.hypergradient=5 | command line: algorithm.hypergradient = 5 | NAME
algorithm.derivative=exact algorithm.hypergradient.name=5 | command line: algorithm.hyp | NAME
"""  # noqa: E501


@pytest.mark.parametrize("row", TEXTS.strip().splitlines())
def test_text_that_is_none(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """UnicodeEncodeError with a folder left behind, ValueError, TypeError."""
    monkeypatch.chdir(tmp_path)
    words, told, remedy = row.split(" |")
    words = words.replace("\\udcff", "\udcff")
    assert command(*tiny_search(*words.split())) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"optnas: error: {told.strip()}"), err
    assert remedy.strip() in err
    assert not list(tmp_path.iterdir())


def test_whatever_fails_before_the_configuration_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with a lock was left, which the next start took for another's."""

    def fails(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("optnas.base.folder.write_text", fails)
    with pytest.raises(RuntimeError):
        api.run(TINY, out=tmp_path / "deep" / "out")
    assert not list(tmp_path.iterdir())


# settings | key and value that are told | a part of the remedy; told in this process
HERE = """
run.threads=1000000000000 | run.threads = 1000000000000 | use 4096 or less
augmentation.crop_padding=4000000000000 | augmentation.crop_padding = 4000000000000 | use 16 or less
augmentation.crop_padding=17 | augmentation.crop_padding = 17 | use 16 or less
augmentation.cutout=9223372036854775808 | augmentation.cutout = 9223372036854775808 | or less
evaluation.batch_size=9223372036854775808 | evaluation.batch_size = 9223372036854775808 | or less
algorithm=darts | algorithm = 'darts' | write algorithm.name=darts
data=digits | data = 'digits' | write data.name=digits
weight_optimizer=SGD | weight_optimizer = 'SGD' | write weight_optimizer.name=SGD
arch_optimizer=muon | arch_optimizer = 'muon' | write arch_optimizer.name=muon
space=toy | space = 'toy' | write space.name=toy
algorithm=dartz | algorithm = 'dartz' | write algorithm.KEY=VALUE
epochs=2 | epochs = 2 | did you mean search.epochs?
seed=1 | seed = 1 | did you mean search.seed?
device=cuda | device = 'cuda' | did you mean run.device?
lr=0.1 | lr = 0.1 | did you mean weight_optimizer.lr or arch_optimizer.lr?
batch_size=2 | batch_size = 2 | did you mean search.batch_size or evaluation.batch_size?
weight_optimizer.name=SGD nesterov=true | nesterov = True | mean weight_optimizer.nesterov?
schedule.name=cosine | schedule.name | mean weight_optimizer.schedule or arch_optimizer.schedule?
optimizer.name=SGD | optimizer.name = 'SGD' | did you mean weight_optimizer or arch_optimizer?
algorithm.name=replay algorithm.driver=a | algorithm.driver = 'a' | write algorithm.driver.KEY=VALUE
weight_optimizer.name=SGD weight_optimizer.momentum=2 | weight_optimizer.momentum = 2 | less than 1
arch_optimizer.name=SGD arch_optimizer.momentum=1 | arch_optimizer.momentum = 1 | less than 1
weight_optimizer.name=SGD weight_optimizer.momentum='0.9' | weight_optimizer.momentum | write 0.9
search.epochs=two | search.epochs = 'two' | write one such as 40
search.epochs=-1 | search.epochs = -1 | use 1 or more
weight_optimizer.name=Adm | weight_optimizer.name = 'Adm' | did you mean Adam?
measures.gap.every=-1 | measures.gap.every = -1 | write it as every=5
run.device=tpu | run.device = 'tpu' | use auto, cpu, cuda or cuda:N
weight_optimizer.schedule.final_lr=9 | weight_optimizer.schedule.final_lr = 9.0 | set weight_
data.name=svhn search.seed=x | search.seed = 'x' | write one such as 0
data.train_sise=9 | data.train_sise = 9 | did you mean train_size?
data.name=cifr10 | data.name = 'cifr10' | did you mean cifar10?
search.batch_size=97 data.resolution=4 | data.folder | take data.name=digits, which comes with the
data.name=svhn space.name=toy benchmark.table=none | data.folder | or take data.name=digits
"""


@pytest.mark.parametrize(
    ("settings", "told", "remedy"),
    [pytest.param(*line.split(" | "), id=line) for line in HERE.splitlines() if line],
)
def test_settings_without_a_data_folder(
    settings: str, told: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The protocol's data set is not there, which is said after all else that is wrong."""
    monkeypatch.delenv("OPTNAS_DATA", raising=False)
    with pytest.raises(UserError) as error:
        resolve([command_line(*settings.split())])
    refused(error.value, f"command line: {told}", remedy)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("training.epochs=two", "training.epochs = 'two': must be a whole number"),
        ("optimizer.name=Adm", "optimizer.name = 'Adm': there is no optimizer of this name"),
        ("data=digits", "data = 'digits': is a section, not a value; write data.name=digits"),
        ("epochs=2", "epochs = 2: there is no such section; did you mean training.epochs?"),
        ("network.auxiliary_weight=0.4", "data.folder: cifar10 needs a data folder; set OPTNAS_"),
    ],
)
def test_settings_of_a_training_without_a_data_folder(
    settings: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPTNAS_DATA", raising=False)
    words = [settings] if settings == "data=digits" else ["data.name=cifar10", settings]
    space = build_space({"name": "darts"})
    with pytest.raises(UserError) as error:
        load_settings(space, "cpu", over=[command_line(*words)])
    assert told in str(error.value)


@pytest.mark.parametrize(("settings", "told", "remedy"), [*rows(SETTINGS)[:1], *rows(LATE)[:1]])
def test_settings_in_a_process_of_its_own(
    settings: str, told: str, remedy: str, tmp_path: Path
) -> None:
    """Before and after torch is imported."""
    line = refusal(tiny_search(*settings.split()), tmp_path, by=console)
    refused(line, f"command line: {told}", remedy)


@pytest.mark.parametrize(("command", "told", "remedy"), rows(COMMANDS))
def test_commands(command: str, told: str, remedy: str, tmp_path: Path) -> None:
    refused(refusal(shlex.split(command), tmp_path), told, remedy)


# file and content | settings | place, key and value that are told | a part of the remedy
FILES = r"""
c.toml [search\nepochs = 1 | -c c.toml | c.toml | fix the file
c.toml \xe9 | -c c.toml | c.toml | check the path
c.toml [searc]\nepochs = 1 | -c c.toml | c.toml: searc.epochs = 1 | did you mean search?
c.toml format = 99 | -c c.toml | c.toml: format = 99 | upgrade optnas
c.toml algorithm.hype = 9 | -c c.toml algorithm.derivative=exact | c.toml: algorithm.hype = 9 | hyp
c.toml search.seed = -1 | -c c.toml | c.toml: search.seed = -1 | use 0 or more
c.toml search.seed = "1" | -c c.toml | c.toml: search.seed = '1' | write 1 without quotes
c.toml weight_optimizer.lr = -1 | -c c.toml | c.toml: weight_optimizer.lr = -1.0 | change its value
c.toml run.device = "cuda:99" | -c c.toml | c.toml: run.device = 'cuda:99' | use auto or cpu
p.toml spaces = 3 | protocol=./p.toml | ./p.toml: spaces = 3 | write [spaces.NAME]
a.py def broken(: | algorithm.name=./a.py:A | command line: algorithm.name = './a.py:A' | module:Obj
a.py 1 / 0 | arch_optimizer.name=./a.py:A | command line: arch_optimizer.name = './a.py:A' | module:
a.py exit(0) | weight_optimizer.name=./a.py:A | command line: weight_optimizer.name | module:Object
- | arch_optimizer.name=./a.py:A | command line: arch_optimizer.name = './a.py:A' | in the folder
- | data.name=cifar10 --data data | data/cifar10 | set OPTNAS_DATA
out/notes mine | - | command line: --out = 'out' | choose an empty or new folder
out/config.toml a = 1 | - | command line: --out = 'out' | or: optnas resume out
out mine | - | command line: --out = 'out' | choose an empty or new folder
f mine | -o f/o | command line: --out = 'f/o' | choose a folder
"""


@pytest.mark.parametrize(("file", "settings", "told", "remedy"), rows(FILES))
def test_files(file: str, settings: str, told: str, remedy: str, tmp_path: Path) -> None:
    name, _, content = file.partition(" ")
    if content:
        raw = content.replace("\\n", "\n").replace("\\xe9", "\xe9").encode("latin-1")
        write_files(tmp_path, {name: raw})
    line = refusal(tiny_search(*settings.split() if settings != "-" else ()), tmp_path)
    refused(line, told, remedy)


def test_a_name_too_long(tmp_path: Path) -> None:
    line = refusal(tiny_search(out="x" * 300), tmp_path)
    assert "...': cannot write here (File name too long); choose" in line


CIFAR10 = "data/cifar10/train-0.parquet"


@pytest.mark.parametrize(
    ("file", "content", "told", "remedy"),
    [
        ("test-0.parquet", b"", "data/cifar10", "set OPTNAS_DATA"),
        ("train-0.parquet", b"", CIFAR10, "copy the file again"),
        ("train-0.parquet", cifar10_file()[:-9], CIFAR10, "copy the"),
        ("train-0.parquet", cifar10_file(rows=60), "command line: data.train_size = 40", "to 30"),
    ],
)
def test_data(file: str, content: bytes, told: str, remedy: str, tmp_path: Path) -> None:
    write_files(tmp_path, {f"data/cifar10/{file}": content})
    refused(refusal(tiny_search("data.name=cifar10", "--data", "data"), tmp_path), told, remedy)


def test_a_hostile_benchmark_file_is_not_opened(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "fake/analognasbench/__init__.py": "open('executed', 'w')",
        "fake/analognasbench/data.anb": pickle.dumps(Hostile()),
        "fake/analog_nasbench-0.1.3.dist-info/METADATA": "Name: analog-nasbench\nVersion: 0.1.3\n",
    }
    write_files(tmp_path, files)
    query = ["benchmark", "query", "0", "--table", "analog-nasbench"]
    line = refusal(query, tmp_path, by=console, PYTHONPATH=str(tmp_path / "fake"))
    assert line.startswith(f"{tmp_path}/fake/analognasbench/data.anb: its SHA-256 is ")
    assert "it was not opened; run: pip install" in line


def test_a_truncated_table(tmp_path: Path) -> None:
    table = gzip.compress(b"index,arch" * 99)[:-20]
    write_files(tmp_path, {"data/nas-bench-201/test-accuracy.csv.gz": table})
    query = "benchmark query 0 --table official --data data"
    line = refusal(query.split(), tmp_path)
    assert line.startswith("data/nas-bench-201/test-accuracy.csv.gz: no whole gzip file of text ")
    assert line.endswith("; replace the file by an intact copy")


def test_a_read_only_folder(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "ro"):
        line = refusal(tiny_search(out="disk/out"), tmp_path)
    assert line.startswith("command line: --out = 'disk/out': cannot write here (Read-only file")


@pytest.mark.parametrize("left", [0, pytest.param(40_000, marks=pytest.mark.thorough)])
def test_a_full_disk(left: int, tmp_path: Path) -> None:
    """Full from the start, or full when the first checkpoint is written."""
    with tmpfs(tmp_path / "disk", "size=256k"):
        (tmp_path / "disk/ballast").write_bytes(bytes(256 * 1024 - left))
        line = refusal(tiny_search(out="disk/out"), tmp_path)
    assert line.startswith("command line: --out = 'disk/out': cannot write here (No space left")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted after epoch 1 of 2."""
    return interrupted_run(tmp_path_factory.mktemp("runs") / "run")


# file of the run | its text | its new text | arguments | what is told | a part of the remedy
RESUMES = """
config.toml | format = 1 | format = 2 | - | out/config.toml: format = 2 | upgrade optnas
config.toml | seed = 0 | seed = 1 | - | out/config.toml: identity.hash | undo the edit
config.toml | epochs = 2 | epochs = -2 | - | out/config.toml: search.epochs = -2 | use 1 or more
config.toml | s_version = 2 | s_version = 0 | - | out/config.toml: identity.numbers_version | start
config.toml | hash = | # = | - | out/config.toml | optnas search -c
config.toml | = | - | - | out/config.toml | fix the file
result.json | { | [ | - | out/result.json | restore the file
- | - | - | search.epochs=9 | command line: search.epochs = 9 | only run.*, tracking.*, data.fo
- | - | - | data=5 | command line: data = 5 | only run.*, tracking.*, data.fo
- | - | - | run.treads=2 | command line: run.treads = 2 | did you mean threads?
"""


@pytest.mark.parametrize(("file", "old", "new", "more", "told", "remedy"), rows(RESUMES))
def test_resume(
    run: Path, tmp_path: Path, file: str, old: str, new: str, more: str, told: str, remedy: str
) -> None:
    out = copied(run, tmp_path / "out")
    if file != "-":
        (out / file).write_text((out / file).read_text().replace(old, new))
    line = refusal(["resume", "out", *more.replace("-", "").split()], tmp_path)
    refused(line, told, remedy)


def test_resume_with_other_data(tmp_path: Path) -> None:
    write_files(tmp_path, {CIFAR10: cifar10_file()})
    data = {"data.name": "cifar10", "data.folder": str(tmp_path / "data")}
    document = api.settings_of(TINY | data).document()
    write_files(tmp_path, {"out/config.toml": dump_toml(document)})
    write_files(tmp_path, {CIFAR10: cifar10_file(labels=[1])})
    line = refusal(["resume", "out"], tmp_path)
    assert line.startswith("out/config.toml: identity.fingerprint = ")
    assert line.endswith("point data.folder to the original data, or start a new run")


@pytest.mark.thorough
def test_plot(run: Path, tmp_path: Path) -> None:
    copied(run, tmp_path / "a")
    interrupted_run(tmp_path / "b", search__seed=1)
    records = tmp_path / "b/epochs.jsonl"
    records.write_text(records.read_text().replace("analog-nasbench", "official"))
    line = refusal(["plot", "a", "b", "-o", "x.png"], tmp_path)
    assert line.startswith("command line: DIR...: ")
    assert "different benchmark tables (analog-nasbench, official)" in line
    records.write_text("")
    plot_b = ["plot", "b", "-o", "x.png"]
    assert "no records" in refusal(plot_b, tmp_path)
    run_b = RunFolder(tmp_path / "b")
    with pytest.raises(UserError, match=r"no records yet; optnas resume .*/b, or leave it out"):
        run_b.read_some_epochs()
    with run_b.locked(), pytest.raises(UserError, match="no records yet; wait for its first"):
        run_b.read_some_epochs()
    records.write_text("{\n")
    assert refusal(plot_b, tmp_path).startswith("b/epochs.jsonl line 1: not JSON")
    assert "cannot write the picture (No such" in refusal(["plot", "a", "-o", "c/x.png"], tmp_path)


def test_runs_of_two_spaces_are_drawn_without_a_table(run: Path, tmp_path: Path) -> None:
    """The remedy named a table, which then held no cell of one of the spaces."""
    copied(run, tmp_path / "a")
    interrupted_run(tmp_path / "b", search__seed=1)
    interrupted_run(tmp_path / "c", space__name="toy", benchmark__table="toy")
    records = tmp_path / "b/epochs.jsonl"
    records.write_text(records.read_text().replace("analog-nasbench", "toy"))
    runs, picture = [tmp_path / "a", tmp_path / "b"], tmp_path / "x.png"
    with pytest.raises(UserError, match=r"ask one of them for all: --table analog-nasbench$"):
        plot_runs(runs, picture)
    runs = [tmp_path / "a", tmp_path / "c"]
    with pytest.raises(UserError, match=r"spaces \(nas-bench-201, toy\); .* --table none$"):
        plot_runs(runs, picture)
    with pytest.raises(UserError, match=r"--table = 'toy': .* of nas-bench-201; .* --table none$"):
        plot_runs(runs[0], picture, table="toy")
    with pytest.raises(UserError, match=r"DIR...: of the 1 run given the figure F9 .*; it needs f"):
        plot_figure("F9", runs[0], picture)
    assert not picture.exists()


def without(path: Path, key: str) -> None:
    """Take one thing out of a checkpoint."""
    content = torch.load(path, weights_only=True)
    del content[key]
    torch.save(content, path)


CHECKPOINTS = {
    "empty": lambda path, other: path.write_bytes(b""),
    "text": lambda path, other: path.write_bytes(b"no checkpoint"),
    "truncated": lambda path, other: path.write_bytes(path.read_bytes()[:-1000]),
    "a list": lambda path, other: torch.save([1], path),
    "a tensor": lambda path, other: torch.save(torch.zeros(3), path),
    "incomplete": lambda path, other: without(path, "weights"),
    "hostile": lambda path, other: torch.save({"format": 1, "hash": Hostile()}, path),
    "of another run": lambda path, other: shutil.copy(other, path),
}


@pytest.mark.thorough
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_checkpoint(kind: str, run: Path, tmp_path: Path) -> None:
    out = copied(run, tmp_path / "out")
    other = tmp_path / "other"
    if "other" in kind:
        interrupted_run(other, search__seed=1)
    CHECKPOINTS[kind](out / "checkpoints/last.pt", other / "checkpoints/last.pt")
    line = refusal(["resume", "out"], tmp_path)
    reason = "the checkpoint of another run" if "other" in kind else "not a readable checkpoint ("
    assert line.startswith(f"out/checkpoints/last.pt: {reason}")
    assert line.endswith("delete it to start this run from the beginning")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("file", "content", "rest"),
    [
        ("epochs.jsonl", "", "has 0 bytes where the checkpoint expects"),
        ("environment.json", "{", "not JSON"),
    ],
)
def test_files_beside_the_checkpoint(
    file: str, content: str, rest: str, run: Path, tmp_path: Path
) -> None:
    copied(run, tmp_path / "out").joinpath(file).write_text(content)
    line = refusal(["resume", "out"], tmp_path)
    assert line.startswith(f"out/{file}: {rest}")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (cifar10_file(images=[png(32, 31)]), "img of row 0 = '32x31': the image is not 32x32"),
        (cifar10_file(images=[b"no image"]), "img of row 0: the image cannot be decoded"),
        (cifar10_file(labels=[0, 10]), "label of row 1 = 10: the label is not in 0 to 9"),
    ],
)
def test_images(content: bytes, told: str, tmp_path: Path) -> None:
    write_files(tmp_path, {CIFAR10: content})
    line = refusal(tiny_search("data.name=cifar10", "--data", "data"), tmp_path)
    assert line.startswith(f"{CIFAR10}: {told}")


@pytest.mark.parametrize("kind", ["algorithm", "measure"])
def test_a_part_names_its_setting_once(kind: str) -> None:
    """A part does not know where it stands: it names its own setting, the program the section."""
    told = []
    for name in registry.names(kind):
        section = f"measures.{name}" if kind == "measure" else kind
        for key in registry.describe(kind, name, section, skip=("space",)).settings:
            given = {f"{section}.{key}": -1, "data.name": "digits"}
            if kind != "measure":
                given[f"{section}.name"] = name
            try:
                api.settings_of(given)
            except UserError as error:
                told.append((f"{section}.{key}", error.key or ""))
    assert len(told) > 10
    assert [each for each in told if not each[1].startswith(each[0])] == []
