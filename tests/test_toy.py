"""A second space through the whole lab: nothing may know another one by name or by size."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from cases import command, interrupted_run, refusal, timeless, tiny_search
from naive_supernet import NaiveSupernet
from tiny import TINY, every_space, every_variant, is_rare, normal
from torch.testing import assert_close

import optnas
from optnas.base import registry
from optnas.search import api
from optnas.spaces import Space, build_space, function_string, functions
from optnas.spaces.network import Supernet
from optnas.spaces.tables import Question, load_table

TOY = build_space({"name": "toy"})
SPACES = [build_space({"name": name}) for name in registry.names("space")]
# tests/test_exam.py searches by the others.
VARIANTS = {name: changes for name, changes in every_variant() if not is_rare(name)}
ON_TOY = {"space.name": "toy", "benchmark.table": "auto"}
BIGGEST = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"


def on_toy(changes: dict[str, Any]) -> dict[str, Any]:
    return TINY | {key.replace("__", "."): value for key, value in changes.items()} | ON_TOY


# ---- the space


def test_the_toy_space() -> None:
    assert (TOY.nodes, TOY.edge_count, TOY.operation_count, TOY.size) == (3, 3, 4, 64)
    for space in SPACES:
        if space != TOY:
            assert space.edge_count != TOY.edge_count
            assert space.operation_count != TOY.operation_count
            assert (space.none, space.skip) != (TOY.none, TOY.skip)


def test_every_cell_round_trips() -> None:
    cells = list(TOY.all())
    assert [TOY.index(TOY.parse(cell.string)) for cell in cells] == list(range(64))
    assert TOY.architecture_at(1).string == "|skip_connect~0|+|skip_connect~0|nor_conv_3x3~1|"
    grouped = functions(TOY)
    assert len(grouped) == 26
    assert sorted(place for places in grouped.values() for place in places) == list(range(64))
    assert all(function_string(cells[place]) == f for f, ps in grouped.items() for place in ps)


@pytest.mark.parametrize(
    "space", [space for space in SPACES if space.network is None], ids=lambda space: space.name
)
def test_the_supernet_equals_its_naive_twin(space: Space) -> None:
    sizes = {"channels": 3, "cells": 2, "classes": 5, "image_channels": 1}
    net = Supernet(space, **sizes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        naive = NaiveSupernet(space.edges, space.operations, **sizes).double()
    naive.load(net.weights)
    naive.train()
    shape = (space.edge_count, space.operation_count)
    x, grad = normal(6, 1, 8, 8, seed=1), normal(6, 5, seed=2)
    for op_weights in (normal(*shape, seed=3), normal(*shape, seed=4).softmax(-1)):
        ours, theirs = (op_weights.clone().requires_grad_() for _ in range(2))
        logits = net(x, ours, statistics=None).logits_BK
        expected = naive(x, theirs)
        assert_close(logits, expected, rtol=1e-10, atol=1e-10)
        (logits * grad).sum().backward()
        naive.zero_grad()
        (expected * grad).sum().backward()
        assert ours.grad is not None
        assert theirs.grad is not None
        live = [column for column in range(shape[1]) if column != space.none]
        assert_close(ours.grad[:, live], theirs.grad[:, live], rtol=1e-10, atol=1e-10)
        named = naive.named_weights()
        for name, weight in net.weights.items():
            assert_close(weight.grad, named[name].grad, rtol=1e-9, atol=1e-10)
            weight.grad = None


# ---- the lab


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny searches by every algorithm; to select, one trains an epoch before."""
    folder = tmp_path_factory.mktemp("toy")
    for name, changes in VARIANTS.items():
        api.run(on_toy(changes | {"search__epochs": 2}), out=folder / name)
    return folder


@pytest.mark.thorough
def test_every_algorithm_searches_the_toy_space(runs: Path) -> None:
    table = load_table("toy", folder=None)
    for name in VARIANTS:
        loaded = api.load(runs / name)
        last = loaded.iloc[-1]
        cell = TOY.parse(last["architecture"])
        assert last["benchmark.table"] == "toy"
        assert last["benchmark.accuracy.digits"] == table.accuracy(
            cell, Question("digits", "test", 20)
        )
        assert (len(last["op_weights"]), {len(row) for row in last["op_weights"]}) == (3, {4})
        assert last["skips"] == cell.count("skip_connect")
        assert loaded.attrs["config"]["benchmark"]["table"] == "toy"


@pytest.mark.thorough
def test_runs_are_listed_plotted_and_drawn(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("list", str(runs)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(VARIANTS)
    assert all(" toy " in line and " digits " in line for line in lines[1:])
    folders = [str(runs / name) for name in list(VARIANTS)[:2]]
    assert command("plot", *folders, "-o", str(runs / "all.svg")) == 0
    assert command("plot", folders[0], "-o", str(runs / "again.svg"), "--table", "toy") == 0
    assert command("plot", folders[0], "--figure", "mixed-cell", "-o", str(runs / "cell.svg")) == 0
    for figure in ("nas-triangle", "alternation", "auxiliary-skip", "mixed-cell"):
        assert command("plot", "--figure", figure, "-o", str(runs / f"{figure}.svg")) == 0


def test_a_cell_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    cell = TOY.architecture_at(17)
    for arguments in (
        [cell.string, "--table", "toy"],
        [cell.string, "--space", "toy"],
        ["17", "--space", "toy", "--table", "toy"],
    ):
        assert command("benchmark", "query", *arguments) == 0
        out = capsys.readouterr().out
        assert f"{cell.string}  (index 17 of toy)" in out
        assert "table toy: Every function of the space toy" in out


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    changes = {"space__name": "toy", "benchmark__table": "toy", "measures__sharpness__every": 1}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    api.run(on_toy(changes), out=whole)
    interrupted_run(cut, **changes)
    api.resume(cut)
    assert timeless(cut) == timeless(whole)


def test_a_space_of_ones_own_needs_one_file_and_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_space.py").write_text(
        "from optnas.spaces import Space\n"
        "def bridge() -> Space:\n"
        "    return Space('bridge', 4, ((0, 1), (1, 2), (0, 3), (2, 3)),\n"
        "        ('nor_conv_3x3', 'none', 'skip_connect'), none=1, skip=2, weighted=(0,))\n"
    )
    search = tiny_search("space.name=./my_space.py:bridge", benchmark__table="none")
    assert command(*search) == 0
    assert command("list", ".") == 0
    assert command("plot", "out", "-o", "out.svg") == 0
    assert command("plot", "out", "--figure", "mixed-cell", "-o", "cell.svg") == 0
    out = capsys.readouterr().out
    assert "benchmark: none; no table is asked about these images (digits)\n" in out
    assert " none " in out.splitlines()[-3]
    last = api.load("out").iloc[-1]
    assert last["benchmark.table"] == "none"
    cell = build_space({"name": "./my_space.py:bridge"}).parse(last["architecture"])
    assert cell.space.size == 81


# ---- bad input

REFUSED = [
    (
        tiny_search("space.name=toy", benchmark__table="analog-nasbench"),
        "benchmark.table = 'analog-nasbench': this table holds cells of nas-bench-201, and the",
    ),
    (tiny_search(benchmark__table="toy"), "benchmark.table = 'toy': this table holds cells of toy"),
    (
        ["benchmark", "query", BIGGEST, "--table", "toy"],
        "this is no cell of toy; write |op~0|+|op~0",
    ),
    (["benchmark", "query", BIGGEST, "--space", "toy"], "this is no cell of toy"),
    (["benchmark", "query", "64", "--space", "toy"], "index = 64: toy has 64 cells; use 0 to 63"),
    (
        ["benchmark", "query", "0", "--space", "toy", "--table", "analog-nasbench"],
        "table analog-nasbench: architecture = ",
    ),
    (["benchmark", "query", "0", "--space", "toi"], "space.name = 'toi': "),
    (["benchmark", "train", "toi", "-o", "x.json"], "SPACE = 'toi': "),
    (["benchmark", "train", "toy", "-o", "x.csv"], "--out = 'x.csv': a table is a JSON file; end"),
    (
        ["benchmark", "train", "toy", "-o", "x.json", "--protocol", "digit"],
        "training protocol = 'digit': there is no training protocol of this name; did",
    ),
    (["benchmark", "train", "toy", "-o", "nowhere/x.json"], "choose a folder that is there"),
]


@pytest.mark.thorough
@pytest.mark.parametrize(("arguments", "told"), REFUSED, ids=[told for _, told in REFUSED])
def test_what_is_refused(arguments: list[str], told: str, tmp_path: Path) -> None:
    assert told in refusal(arguments, tmp_path)


def test_a_space_without_a_table_is_told_so(tmp_path: Path) -> None:
    file = tmp_path / "s.py"
    file.write_text(
        "from optnas.spaces import Space\n"
        "def s():\n    return Space('s', 2, ((0, 1),), ('none', 'skip_connect'), 0, 1)\n"
    )
    told = refusal(tiny_search(f"space.name={file}:s", benchmark__table="auto"), tmp_path)
    assert "no benchmark table holds cells of s; set benchmark.table=none to do without" in told


# ---- nothing else knows a space

ROOT = Path(optnas.__file__).parent
# What may name a space: the spaces themselves, and the tables of their cells.
KNOWING = ("spaces", "benchmarks")
# Figure 2 of PR-DARTS is about cells of a convolution: that of NAS-Bench-201.
CONVOLUTION = {"theory/skips.py": ["optnas.spaces.operations.nasbench201"]}
# The distribution of a table, among those whose versions a run notes.
DISTRIBUTION = "analog-nasbench"


def mentions(path: Path) -> list[str]:
    """Names, numbers and texts of a module, docstrings left out, that speak of one space."""
    tree = ast.parse(path.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    words = []
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str() | int()) if id(node) not in docstrings:
                words.append(str(node.value))
            case ast.Name(id=name) | ast.alias(name=name) | ast.Attribute(attr=name):
                words.append(name)
            case ast.ImportFrom(module=str() as name):
                words.append(name)
    own = {space.name for space in SPACES} | {str(space.size) for space in SPACES if space != TOY}
    own |= {f"{space.size:,}" for space in SPACES if space != TOY} | {"nasbench"}
    own -= {"darts"}  # an algorithm too

    def plain(word: str) -> str:
        return word.lower().replace("_", "").replace("-", "")

    return [
        word
        for word in words
        if word != DISTRIBUTION
        and any(plain(each) in plain(word) for each in own if each != "toy" or word == "toy")
    ]


def test_nothing_but_spaces_and_tables_names_a_space() -> None:
    modules = [path.relative_to(ROOT) for path in sorted(ROOT.rglob("*.py"))]
    told = {str(m): mentions(ROOT / m) for m in modules if m.parts[0] not in KNOWING}
    assert {module: words for module, words in told.items() if words} == CONVOLUTION
    assert mentions(ROOT / "spaces" / "__init__.py")  # the search does find what there is


def test_every_space_has_a_default_table_of_its_own() -> None:
    tables = {name: changes["benchmark__table"] for name, changes in every_space()}
    assert len(set(tables.values())) == len(tables) >= 2
