"""One import for strangers: docs/api.md and the package name the same things."""

from __future__ import annotations

import ast
import re
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import TINY
from topics import pages_of

import optnas
from optnas import UserError, study
from optnas.base.records import given_runs

ROOT = Path(__file__).parent.parent
ROWS = re.findall(r"(?m)^\| `(\w+)` \| (.+) \|$", (ROOT / "docs" / "api.md").read_text())
DOCUMENTS = [*pages_of("extending"), *pages_of("benchmarks")]


def test_the_page_lists_every_name_once_and_no_other() -> None:
    assert sorted(name for name, _ in ROWS) == sorted(optnas.__all__)


@pytest.mark.parametrize("name", optnas.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(optnas, name) is not None
    assert name in dir(optnas)


def test_type_checkers_see_the_same_names() -> None:
    (checked,) = (
        node.body
        for node in ast.parse(Path(optnas.__file__).read_text()).body
        if isinstance(node, ast.If)
    )
    seen = {
        (alias.asname, f"{node.module}.{alias.name}")
        for node in checked
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    loaded = {(name, f"optnas.{home}.{name}") for name, home in optnas._HOME.items()}
    loaded |= {(name, f"optnas.{path}") for name, path in optnas._MODULES.items()}
    assert seen == loaded


def test_templates_and_examples_import_from_one_place() -> None:
    texts = [path.read_text() for path in (*DOCUMENTS, *(ROOT / "examples").glob("*.py"))]
    deeper = re.findall(r"(?m)^ *(?:from|import) (optnas\.[\w.]+)", "\n".join(texts))
    # What a figure of the deck is made of, and what a table is compared with, is no interface.
    allowed = {
        *("optnas.measures.landscape.read", "optnas.spaces.tables.random_search"),
        "optnas.spaces.tables.references",
    }
    assert set(deeper) <= allowed


# --- errors -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("api") / "done"
    optnas.run(TINY | {"search.epochs": 1}, out=out)
    return out


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "a folder": (
        lambda out: optnas.run(TINY, out=out),
        "arguments: out = '{out}': the output folder holds something already; choose another, "
        "pass overwrite=True, or: optnas.resume('{out}')",
    ),
    "a value": (
        lambda out: optnas.run(TINY | {"search.epochs": "x"}, out=out),
        "settings: search.epochs = 'x': must be a whole number; write one such as 40",
    ),
    "a value of a resumed run": (
        lambda out: optnas.resume(out, {"run.device": 5}),
        "settings: run.device = 5: must be text; write one such as auto",
    ),
    "a setting of a measure": (
        lambda out: optnas.measure(out, {"gap": {"batch_size": "x"}}),
        "measures: gap.batch_size = 'x': must be a whole number; write one such as 0",
    ),
    "a measure's other setting": (
        lambda out: optnas.measure(out, {"gap": {}}, {"search.epochs": 4}),
        "settings: search.epochs = 4: a resumed run keeps its settings",
    ),
    "settings as on a command line": (
        lambda out: optnas.run("data.name=digits", out=out),  # type: ignore[arg-type]
        "arguments: settings = 'data.name=digits': a dictionary is due here, and this is of type "
        "str; write {{'data.name': 'digits'}}",
    ),
    "settings as words": (
        lambda out: optnas.resume(out, ["run.threads=2", "run.device=cpu"]),  # type: ignore[arg-type]
        "arguments: settings = ['run.threads=2', 'run.device=cpu']: a dictionary is due here, and "
        "this is of type list; write {{'run.threads': 2, 'run.device': 'cpu'}}",
    ),
    "a measure by name": (
        lambda out: optnas.measure(out, "gap"),  # type: ignore[arg-type]
        "arguments: measures = 'gap': a dictionary is due here, and this is of type str; write "
        "{{'gap': {{}}}}",
    ),
    "several studies where one is due": (
        lambda out: study.table(None, [out.parent]),  # type: ignore[arg-type]
        "arguments: out = [",
    ),
    "several runs where one is due": (
        lambda out: optnas.load([str(out)]),  # type: ignore[arg-type]
        "arguments: out = ['{out}']: the path of one folder is due here, and this is of type "
        "list; give one, such as 'runs/a'",
    ),
    "no folder": (
        lambda out: optnas.run({}, out=None),  # type: ignore[arg-type]
        "arguments: out: the path of one folder is due here, and this is of type NoneType",
    ),
    "several outputs": (
        lambda out: optnas.train(out, out=[str(out)]),  # type: ignore[arg-type]
        "arguments: out = ['{out}']: the path of one folder is due here",
    ),
    "a number for the data": (
        lambda out: study.table(None, out.parent, data=5),  # type: ignore[arg-type]
        "arguments: data = 5: the path of one folder is due here",
    ),
    "a number for a study's data": (
        lambda out: study.table("quickstart", out.parent, data=5),  # type: ignore[arg-type]
        "arguments: data = 5: the path of one folder is due here",
    ),
    "no table": (
        lambda out: optnas.settings_of({"benchmark.table": None}),
        "settings: benchmark.table: a table is called by its name; use one of: auto, analog",
    ),
    "no path among runs": (
        lambda out: optnas.plot_runs([out, 5], "x.png"),  # type: ignore[list-item]
        "arguments: folder = 5: the path of one folder is due here",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors_speak_of_arguments_and_of_nothing_behind_them(case: str, done: Path) -> None:
    """Said ``command line: --out``, below pages of pydantic's own."""
    call, told = WRONG[case]
    with pytest.raises(UserError) as refused:
        call(done)
    assert str(refused.value).startswith(told.format(out=done))
    text = "".join(traceback.format_exception(refused.value))
    assert text.count("Traceback") == 1
    assert "pydantic" not in text


def test_runs_are_taken_as_a_program_names_them(done: Path) -> None:
    """A path ended in AttributeError, though `load`, `network`, `supernet` and `train` take one."""
    run = optnas.Run(done)
    for given in (
        str(done),
        done,
        [str(done)],
        optnas.RunFolder(str(done)),
        [run],
        done.parent,
        [done, done.parent],
    ):
        assert [each.path for each in given_runs(given)] == [done]
    picture = done.with_suffix(".svg")
    optnas.plot_runs([str(done)], picture)
    first = picture.read_text().count("<path")
    optnas.plot_figure("epochs", str(done), picture)
    assert picture.read_text().count("<path") == first > 0
    assert len(optnas.load(run)) == len(optnas.load(run.folder)) == 2
    assert [each.path for each in optnas.find_runs(str(done))] == [done]
