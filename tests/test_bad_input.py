"""Malformed input, each told by the console script in one line, exit code 2, nothing left behind.

A case is a name, the arguments, what the line starts with (the place, the key, the value) and a
part of the rest. The working folder is fresh, and must be the same afterwards.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from cases import cifar10_file, png, refusal, tiny_search, write_files

Case = tuple[str, list[str], str, str]


def setting(name: str, override: str, told: str, rest: str) -> Case:
    """A case of one wrong setting on the command line of a search."""
    return name, tiny_search(*override.split()), f"command line: {told}: ", rest


NAMES = [
    setting("algorithm", "algorithm.name=dartz", "algorithm.name = 'dartz'", "did you mean darts?"),
    setting("far-name", "algorithm.name=xyz", "algorithm.name = 'xyz'", "use one of: darts, "),
    setting("section", "serach.epochs=3", "serach.epochs = 3", "did you mean search?"),
    setting("key", "search.epoch=3", "search.epoch = 3", "did you mean epochs?"),
    setting(
        "component-key",
        "algorithm.hypergradint=unrolled",
        "algorithm.hypergradint = 'unrolled'",
        "did you mean hypergradient?",
    ),
    setting(
        "optimizer-key",
        "weight_optimizer.momentun=0.9",
        "weight_optimizer.momentun = 0.9",
        "did you mean momentum?",
    ),
    setting("data-key", "data.train_sise=9", "data.train_sise = 9", "did you mean train_size?"),
    setting(
        "optimizer",
        "arch_optimizer.name=adamm",
        "arch_optimizer.name = 'adamm'",
        "did you mean Adam?",
    ),
    setting(
        "schedule",
        "weight_optimizer.schedule=cosin",
        "weight_optimizer.schedule.name = 'cosin'",
        "did you mean cosine?",
    ),
    setting(
        "schedule-key",
        "weight_optimizer.schedule.finl_lr=0",
        "weight_optimizer.schedule.finl_lr = 0",
        "did you mean final_lr?",
    ),
    setting("protocol", "protocol=sdart", "protocol = 'sdart'", "did you mean sdarts?"),
    setting("data-set", "data.name=digit", "data.name = 'digit'", "did you mean digits?"),
    setting("space", "space.name=nas", "space.name = 'nas'", "use one of: nas-bench-201"),
    setting(
        "table", "benchmark.table=oficial", "benchmark.table = 'oficial'", "did you mean official?"
    ),
]

TYPES = [
    setting("text-epochs", "search.epochs=three", "search.epochs = 'three'", "valid integer"),
    setting("half-epoch", "search.epochs=2.5", "search.epochs = 2.5", "valid integer"),
    setting("true-epochs", "search.epochs=true", "search.epochs = True", "valid integer"),
    setting(
        "number-for-switch",
        "supernet.arch_step_updates_statistics=1",
        "supernet.arch_step_updates_statistics = 1",
        "valid boolean",
    ),
    setting("text-lr", "weight_optimizer.lr=fast", "weight_optimizer.lr = 'fast'", "a number"),
    setting("text-beta", "algorithm.name=darts-minus algorithm.beta=x", "algorithm.beta = 'x'", ""),
    setting(
        "one-beta",
        "weight_optimizer.name=Adam weight_optimizer.betas=0.9",
        "weight_optimizer.betas = 0.9",
        "a list of 2 numbers",
    ),
    setting("list-name", "algorithm.name=[1]", "algorithm.name = [1]", "a name is a string"),
    setting("list-schedule", "arch_optimizer.schedule=[1]", "arch_optimizer.schedule = [1]", ""),
    setting("number-folder", "data.folder=3", "data.folder = 3", "a folder is a string"),
    setting("number-device", "run.device=3", "run.device = 3", "valid string"),
    setting("section-as-value", "clipping=3", "clipping = 3", "write clipping.KEY=VALUE"),
    setting("number-protocol", "protocol=3", "protocol = 3", "use one of: cpu, "),
    setting("infinite", "weight_optimizer.lr=inf", "weight_optimizer.lr = inf", "finite number"),
    setting("nan", "supernet.alpha_scale=nan", "supernet.alpha_scale = nan", ""),
    setting(
        "date", "weight_optimizer.foreach=2020-01-01", "weight_optimizer.foreach = 2020-01-01", ""
    ),
    setting(
        "whole-and-part",
        "weight_optimizer=1 weight_optimizer.lr=1",
        "weight_optimizer = 1",
        "give it one way",
    ),
]

RANGES = [
    setting("epochs", "search.epochs=-1", "search.epochs = -1", "greater than or equal to 1"),
    setting("no-batch", "search.batch_size=0", "search.batch_size = 0", "greater than or equal"),
    setting("seed", "search.seed=-1", "search.seed = -1", "greater than or equal to 0"),
    setting("resolution", "data.resolution=0", "data.resolution = 0", "greater than or equal"),
    setting("threads", "--threads 0", "run.threads = 0", "greater than or equal to 1"),
    setting("large-batch", "search.batch_size=64", "search.batch_size = 64", "larger than a half"),
    setting("large-half", "data.train_size=899", "data.train_size = 899", "from 1 to 898"),
    setting(
        "curvature",
        "curvature.batch_size=64",
        "curvature.batch_size = 64",
        "larger than the validation half",
    ),
]

COMBINATIONS = [
    setting(
        "no-rule",
        "algorithm.hypergradient=unrolled weight_optimizer.name=Adadelta",
        "algorithm.hypergradient = 'unrolled'",
        "not of Adadelta; use first-order",
    ),
    setting(
        "order",
        "algorithm.hypergradient=unrolled search.step_order=weights-first",
        "search.step_order = 'weights-first'",
        "set search.step_order=arch-first",
    ),
    setting(
        "closure",
        "arch_optimizer.name=LBFGS",
        "arch_optimizer.name = 'LBFGS'",
        "choose another, such as SGD",
    ),
    setting(
        "matrices-only",
        "weight_optimizer.name=Muon",
        "weight_optimizer.name = 'Muon'",
        "matrices only",
    ),
    setting(
        "batch-statistics",
        "supernet.batch_norm=batch",
        "supernet.arch_step_updates_statistics = True",
        "set it to false",
    ),
]

COMMAND_LINE = [
    ("no-value", tiny_search("foo"), "command line: foo: not a setting; ", "dotted.key=value"),
    ("no-key", tiny_search("=3"), "command line: =3: not a setting; ", "dotted.key=value"),
    ("no-out", ["search"], "command line: Missing option '--out'", "see optnas --help"),
    ("command", ["serach"], "command line: No such command 'serach'. Did you mean 'search'?", ""),
    ("no-command", ["protocol"], "command line: Missing command", "see optnas --help"),
    ("option", ["list", "--al"], "command line: No such option", "see optnas --help"),
    ("option-type", ["search", "-o", "x", "--threads", "a"], "command line: Invalid value", "'a'"),
    ("list", ["list", "none"], "command line: FOLDER = 'none': ", "check the path"),
    ("resume", ["resume", "none"], "none: there is no run", "check the path"),
    ("plot", ["plot", "none", "-o", "x.png"], "none: there is no run", "check the path"),
    ("protocol", ["protocol", "show", "cpus"], "command line: protocol = 'cpus': ", "mean cpu?"),
    ("protocol-path", ["protocol", "show", "./p.toml"], "p.toml: cannot read it", "No such file"),
    ("own-protocol", tiny_search("protocol=./p.toml"), "p.toml: cannot read it", "No such file"),
]

BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|"
QUERIES = [
    (
        "shape",
        ["benchmark", "query", BEST],
        f"command line: architecture = '{BEST}': this is no cell",
        "write |op~0|",
    ),
    (
        "operation",
        ["benchmark", "query", BEST + "sep_conv_3x3~2|"],
        f"command line: architecture = '{BEST}sep_conv_3x3~2|': 'sep_conv_3x3' is no operation",
        "did you mean nor_conv_3x3?",
    ),
    (
        "index",
        ["benchmark", "query", "15625"],
        "command line: index = 15625: ",
        "use 0 to 15624",
    ),
    ("digit", ["benchmark", "query", "²"], "command line: architecture = '²': ", "write |op~0|"),
    (
        "table",
        ["benchmark", "query", "0", "--table", "ofical"],
        "command line: table = 'ofical': ",
        "did you mean official?",
    ),
    (
        "no-folder",
        ["benchmark", "query", "0", "--table", "official"],
        "command line: table = 'official': the official table needs a data folder; ",
        "set OPTNAS_DATA",
    ),
    (
        "no-table",
        ["benchmark", "query", "0", "--table", "official", "--data", "."],
        "nas-bench-201/test-accuracy.csv.gz: cannot read the official table (No such file",
        "use the table analog-nasbench",
    ),
]

OBJECTS = [
    setting("module", "weight_optimizer.name=nowhere:A", "weight_optimizer.name = 'nowhere:A'", ""),
    setting("attribute", "algorithm.name=math:dart", "algorithm.name = 'math:dart'", "math"),
    setting("no-callable", "algorithm.name=math:pi", "algorithm.name = 'math:pi'", "not a callab"),
    setting("no-module", "algorithm.name=:pi", "algorithm.name = ':pi'", "module:Object"),
    setting("file", "algorithm.name=./a.py:A", "algorithm.name = './a.py:A'", "No such file"),
]

ALL = {
    "name": NAMES,
    "type": TYPES,
    "range": RANGES,
    "combination": COMBINATIONS,
    "command-line": COMMAND_LINE,
    "query": QUERIES,
    "object": OBJECTS,
}


@pytest.mark.parametrize(
    ("arguments", "told", "rest"),
    [
        pytest.param(arguments, told, rest, id=f"{group}-{name}")
        for group, cases in ALL.items()
        for name, arguments, told, rest in cases
    ],
)
def test_bad_arguments(arguments: list[str], told: str, rest: str, tmp_path: Path) -> None:
    line = refusal(arguments, tmp_path)
    assert line.startswith(told), line
    assert rest in line[len(told) :], line


FILES: list[tuple[str, dict[str, str | bytes], list[str], str, str]] = [
    (
        "invalid-toml",
        {"c.toml": "[search\nepochs = 1"},
        ["-c", "c.toml"],
        "c.toml: not valid TOML",
        "fix the file",
    ),
    ("missing-toml", {}, ["-c", "c.toml"], "c.toml: cannot read it (No such file", "check"),
    ("binary-toml", {"c.toml": b"\x80\xff\0"}, ["-c", "c.toml"], "c.toml: cannot read it", "text"),
    (
        "key-in-file",
        {"c.toml": "[weight_optimizer]\nnesterof = true"},
        ["-c", "c.toml", "weight_optimizer.lr=0.1"],
        "c.toml: weight_optimizer.nesterof = True: ",
        "did you mean nesterov?",
    ),
    (
        "section-in-file",
        {"c.toml": "[searching]\nepochs = 1"},
        ["-c", "c.toml"],
        "c.toml: searching.epochs = 1: ",
        "did you mean search?",
    ),
    (
        "combination-in-file",
        {"c.toml": "[algorithm]\nname = 'darts'\nhypergradient = 'unrolled'"},
        ["-c", "c.toml", "weight_optimizer.name=Adadelta"],
        "c.toml: algorithm.hypergradient = 'unrolled': ",
        "not of Adadelta",
    ),
    (
        "newer-format",
        {"c.toml": "format = 99"},
        ["-c", "c.toml"],
        "c.toml: format = 99: ",
        "upgrade optnas",
    ),
    (
        "protocol-tables",
        {"p.toml": "algorithms = 3"},
        ["protocol=./p.toml"],
        "./p.toml: algorithms = 3: ",
        "[algorithms.NAME]",
    ),
    (
        "syntax-error",
        {"a.py": "def broken(:\n"},
        ["algorithm.name=./a.py:A"],
        "command line: algorithm.name = './a.py:A': cannot load it (SyntaxError: ",
        "module:Object",
    ),
    (
        "raising-import",
        {"a.py": "1 / 0\n"},
        ["arch_optimizer.name=./a.py:A"],
        "command line: arch_optimizer.name = './a.py:A': cannot load it (ZeroDivisionError: ",
        "module:Object",
    ),
    (
        "exiting-import",
        {"a.py": "import sys\nsys.exit(0)\n"},
        ["weight_optimizer.name=./a.py:A"],
        "command line: weight_optimizer.name = './a.py:A': cannot load it (SystemExit: 0)",
        "module:Object",
    ),
    (
        "no-data-folder",
        {},
        ["data.name=cifar10"],
        "command line: data.folder: cifar10 needs a data folder",
        "set OPTNAS_DATA",
    ),
    (
        "no-such-data",
        {},
        ["data.name=cifar10", "--data", "data"],
        "data/cifar10: there is no such folder",
        "set OPTNAS_DATA",
    ),
    (
        "no-data-file",
        {"data/cifar10/test-0.parquet": b""},
        ["data.name=cifar10", "--data", "data"],
        "data/cifar10: the folder has no train-*.parquet",
        "set OPTNAS_DATA",
    ),
    (
        "empty-data",
        {"data/cifar10/train-0.parquet": b""},
        ["data.name=cifar10", "--data", "data"],
        "data/cifar10/train-0.parquet: the file is empty",
        "copy the file again",
    ),
    (
        "truncated-data",
        {"data/cifar10/train-0.parquet": cifar10_file()[:-9]},
        ["data.name=cifar10", "--data", "data"],
        "data/cifar10/train-0.parquet: the file is truncated",
        "copy the file again",
    ),
    (
        "small-data",
        {"data/cifar10/train-0.parquet": cifar10_file(rows=60)},
        ["data.name=cifar10", "data.train_size=40", "--data", "data"],
        "command line: data.train_size = 40: its half of the 60 labelled images has 30",
        "from 1 to 30",
    ),
    (
        "whole-folder-taken",
        {"out/notes.txt": "mine"},
        [],
        "command line: --out = 'out': ",
        "choose an empty or new folder",
    ),
    (
        "other-run",
        {"out/config.toml": "format = 1"},
        [],
        "command line: --out = 'out': ",
        "optnas resume out",
    ),
    ("file-in-the-way", {"out": "mine"}, [], "command line: --out = 'out': ", "choose an empty"),
    (
        "below-a-file",
        {"file": "mine"},
        ["--out", "file/out"],
        "command line: --out = 'file/out': cannot write here (Not a directory)",
        "choose a folder",
    ),
    (
        "long-name",
        {},
        ["--out", "x" * 300],
        f"command line: --out = '{'x' * 300}': cannot write here (File name too long)",
        "choose a folder",
    ),
]


@pytest.mark.parametrize(
    ("files", "more", "told", "rest"),
    [pytest.param(*case, id=name) for name, *case in FILES],
)
def test_bad_files(
    files: dict[str, str | bytes], more: list[str], told: str, rest: str, tmp_path: Path
) -> None:
    write_files(tmp_path, files)
    line = refusal(tiny_search(*more), tmp_path)
    assert line.startswith(told), line
    assert rest in line[len(told) :], line
