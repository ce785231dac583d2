"""Names and where they come from: folders, files, entry points."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from cases import command, refused, write_files
from studies import tiny_study
from tiny import tiny_settings

from optnas import UserError
from optnas.base import registry
from optnas.base.schema import Component, complete, hints_of, settings_of
from optnas.measures.stopping import choose
from optnas.search.observe import snapshot_of, take
from optnas.search.state import build_state
from optnas.spaces import build_space
from optnas.study.declare import load_study
from optnas.study.runner import queued_in, runner_of
from optnas.theory.inputs import opened

FILE = """
from optnas import register
from optnas.algorithms.darts import darts

@register("algorithm", "darts")
def own(): ...

@register("schedule", "own-schedule")
def schedule(): ...

class Attribute:
    def __init__(self, temperature: float = 2): ...

def stars(*args, share: float = 0.5, **more): ...
"""
BUSY = """
from optnas.base.registry import register

@register("engine", "busy", queue=lambda out: lambda: {out: "somewhere"})
def engine(out): ...
"""
Installed = Callable[..., None]


def forget(module: str) -> None:
    """Take back what the import of a module registered."""
    sys.modules.pop(module, None)
    for key in [k for k, factory in registry._FACTORIES.items() if factory.__module__ == module]:
        del registry._FACTORIES[key]


@pytest.fixture
def installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Installed]:
    """Installs distributions of one module with entry points, for the time of a test."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def install(name: str, content: str, points: str) -> None:
        facts = f"{name}-1.0.dist-info"
        write_files(
            tmp_path,
            {
                f"{name}.py": content,
                f"{facts}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
                f"{facts}/entry_points.txt": points,
            },
        )
        registry._offered.cache_clear()
        request.addfinalizer(lambda: forget(name))

    yield install
    registry._offered.cache_clear()


@pytest.fixture
def file(tmp_path: Path) -> str:
    write_files(tmp_path, {"own.py": FILE})
    return str(tmp_path / "own.py")


def test_what_a_file_registers_is_known_by_its_address_only(file: str) -> None:
    assert registry.find("algorithm", f"{file}:darts").__name__ == "own"
    assert registry.find("schedule", f"{file}:own-schedule").__name__ == "schedule"
    assert registry.find("algorithm", f"{file}:Attribute").__name__ == "Attribute"
    assert registry.find("algorithm", "darts").__module__ == "optnas.algorithms.darts"
    assert "own-schedule" not in registry.names("schedule")


def test_a_file_is_loaded_once_as_long_as_it_does_not_change(file: str) -> None:
    first = registry.find("algorithm", f"{file}:own")
    assert registry.find("algorithm", f"{file}:own") is first
    Path(file).write_text(FILE.replace("= 2", "= 3.5"))
    settings = {}
    for name in ("Attribute", "stars"):
        factory = registry.find("algorithm", f"{file}:{name}")
        settings |= registry.complete_settings(factory, {}, section="algorithm")
    assert settings == {"temperature": 3.5, "share": 0.5}


def test_what_a_files_imports_register_is_not_the_files(tmp_path: Path) -> None:
    """In a fresh process, where the import in the file is the first of its module."""
    write_files(tmp_path, {"own.py": FILE})
    code = (
        "from optnas.base import registry;"
        "assert registry.find('algorithm', './own.py:own').__name__ == 'own';"
        "assert registry.find('algorithm', 'darts').__name__ == 'darts'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_an_engine_that_cannot_be_loaded_is_told_and_the_others_are_asked(
    installed: Installed, tmp_path: Path
) -> None:
    installed("dead", "1 / 0\n", "[optnas.engines]\ndead = dead:it\n")
    installed("busy", BUSY, "[optnas.engines]\nbusy = busy:engine\n")
    found, (told,) = queued_in(tmp_path)
    assert found == {tmp_path: "somewhere"}
    assert told.startswith("what dead has in its queue is not known: ")
    assert "which cannot be loaded (ZeroDivisionError" in told
    loaded = load_study(tiny_study(tmp_path))
    with pytest.raises(UserError, match="--engine busy or slurm"):
        runner_of(loaded, tmp_path / "out", "local", {}, detached=True)


@pytest.mark.thorough
def test_what_cannot_be_loaded_ends_no_exam_of_others(
    installed: Installed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken space made every exam fail, a broken hypergradient that of every algorithm."""
    points = "[optnas.spaces]\naaa = dead:it\n[optnas.hypergradients]\naaa = dead:it\n"
    installed("dead", "1 / 0\n", points)
    package = importlib.import_module("optnas.search.exam")
    monkeypatch.setattr("optnas.search.exam", package)  # the attribute comes back too
    for module in [each for each in sys.modules if each.startswith(package.__name__)]:
        monkeypatch.delitem(sys.modules, module)
    exam = importlib.import_module(package.__name__)
    assert exam._variants(exam.Subject("algorithm", "darts"))
    assert command("exam", "softmax", "--kind", "relaxation") == 0
    assert "failed" not in capsys.readouterr().out


def test_an_entry_point_is_loaded_when_it_is_asked_for(installed: Installed) -> None:
    points = "[optnas.algorithms]\nborn = born:whole\nlost = born:lost\n"
    points += "[optnas.relaxations]\nflat = born:whole\n"
    installed("born", "def whole(): ...\n", points)
    installed("dead", "1 / 0\n", "[optnas.algorithms]\ndead = dead:it\n")
    assert {"born", "dead", "darts"} <= set(registry.names("algorithm"))
    assert "flat" in registry.names("relaxation")
    assert "born" not in sys.modules
    assert registry.find("algorithm", "darts").__name__ == "darts"
    assert registry.find("algorithm", "born").__module__ == "born"
    with pytest.raises(UserError) as refused:
        registry.find("algorithm", "dead")
    assert str(refused.value) == (
        "command line: algorithm.name = 'dead': package dead offers it as dead:it, which cannot be "
        "loaded (ZeroDivisionError: division by zero); repair or uninstall that package"
    )
    with pytest.raises(UserError, match=r"born:lost, which cannot be loaded \(AttributeError"):
        registry.find("algorithm", "lost")


def test_a_name_that_two_packages_offer_is_refused(installed: Installed) -> None:
    installed(
        "one", "def darts(): ...\n", "[optnas.algorithms]\ndarts = one:darts\nx = one:darts\n"
    )
    installed("two", "def x(): ...\n", "[optnas.algorithms]\nx = two:x\n")
    with pytest.raises(UserError, match=r"'darts': is offered by optnas and by package"):
        registry.find("algorithm", "darts")
    with pytest.raises(UserError, match=r"one and by package two; uninstall one, or write module"):
        registry.find("algorithm", "x")
    assert registry.find("algorithm", "two:x").__module__ == "two"


def test_a_package_may_declare_what_it_also_registers(installed: Installed) -> None:
    content = "from optnas import register\n@register('algorithm', 'both')\ndef both(): ...\n"
    installed("decorated", content, "[optnas.algorithms]\nboth = decorated:both\n")
    for _ in range(2):
        assert registry.find("algorithm", "both").__module__ == "decorated"


def test_every_kind_has_rooms_and_a_group() -> None:
    for kind, facts in registry.KINDS.items():
        for room in facts.rooms:
            assert importlib.import_module(f"optnas.{room}").__doc__
        assert facts.groups[0] == f"optnas.{kind}" + ("" if kind == "stopping" else "s")
        assert registry.names(kind)
    scripts = importlib.metadata.entry_points(group="console_scripts")
    assert scripts["optnas"].value == "optnas.cli:main"


def odd(
    rate: "float | Tensor" = 0,  # noqa: F821, UP037, what the author's checker alone sees
    pair: tuple[float, float] = (0, 1),
    known: float | Path = 0.5,
    switch: bool | None = None,
    words: Literal["mean", "sum"] = "mean",
    anything: Any = object,
    steps=3,
    more=("a",),
) -> None: ...


ODD = Component("odd", settings_of(odd, foreign=True))


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({}, {}),
        ({"rate": 0.5}, {"rate": 0.5}),
        ({"pair": [0, 2]}, {"pair": (0.0, 2.0)}),
        ({"known": 1}, {"known": 1.0}),
        ({"switch": None}, {}),
        ({"switch": False}, {"switch": False}),
        ({"anything": [1]}, {"anything": [1]}),
        ({"steps": 3.0}, {"steps": 3}),
        ({"more": []}, {"more": []}),
    ],
)
def test_a_signature_is_a_schema(given: dict[str, Any], taken: dict[str, Any]) -> None:
    usual = {"rate": 0, "pair": (0, 1), "known": 0.5, "words": "mean", "steps": 3, "more": ("a",)}
    completed = complete(ODD, given, section="odd", describe=registry.describe)
    assert completed == usual | taken
    for key, value in completed.items():
        assert type(value) is type((usual | taken)[key])


@pytest.mark.parametrize(
    ("given", "place", "remedy"),
    [
        ({"rate": "1"}, "odd.rate = '1'", "write 1 without quotes"),
        ({"pair": [1]}, "odd.pair = [1]", "write one such as [0, 1]"),
        ({"known": True}, "odd.known = True", "write one such as 0.5"),
        ({"switch": "no"}, "odd.switch = 'no'", "write true or false"),
        ({"words": "meen"}, "odd.words = 'meen'", "did you mean mean?"),
        ({"step": 1}, "odd.step = 1", "did you mean steps?"),
        ({"more": 1}, "odd.more = 1", "write one such as ['a']"),
    ],
)
def test_what_a_schema_refuses(given: dict[str, Any], place: str, remedy: str) -> None:
    with pytest.raises(UserError) as caught:
        complete(ODD, given, section="odd", describe=registry.describe)
    refused(caught.value, f"command line: {place}", remedy)


@pytest.mark.parametrize("kind", registry.KINDS)
def test_who_misses_a_component_is_told_how_to_name_one_of_their_own(kind: str) -> None:
    with pytest.raises(UserError, match=r"\(or write \./file\.py:NAME\)$"):
        registry.find(kind, "./no_such_file.csv")


# words of the command line, and the end of what it says
NO_SUCH = (
    (["search", "benchmark.table=./none.csv", "-o", "out"], "(or write ./file.py:NAME)"),
    (
        ["search", "weight_optimizer.name=Adm", "-o", "out"],
        "did you mean Adam? (or write ./file.py:NAME)",
    ),
    (
        ["search", "measures.gapp.every=1", "-o", "out"],
        "did you mean gap? (or write measures.gapp.name=./file.py:NAME)",
    ),
    (["measure", "runs", "gapp"], "did you mean gap? (or write ./file.py:NAME)"),
    (["exam", "dartz"], "did you mean darts? (or write ./file.py:NAME)"),
    (
        ["study", "claims", "--out", "runs", "--claims", "H3c"],
        "did you mean H3? (or write ./file.toml or ./file.py:NAME)",
    ),
)


@pytest.mark.parametrize(("words", "ending"), NO_SUCH, ids=lambda value: str(value)[:40])
def test_the_command_line_tells_it_too(
    words: list[str],
    ending: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert command(*words) == 2
    assert capsys.readouterr().err.rstrip().endswith(ending)


class OfPython314:
    """A factory whose annotations are evaluated when asked for, and name what is absent."""

    def __init__(self):
        self.__qualname__ = "mine"

    def __call__(self, size=3):
        return size

    @property
    def __annotations__(self):
        raise NameError("name 'Tensor' is not defined")


PARTIAL = """
import functools
import torch
import optnas

PARTIAL = functools.partial(torch.optim.SGD, momentum=0.9)
"""
REGISTERED = (
    PARTIAL
    + """
optnas.register("optimizer", "partial")(PARTIAL)
"""
)


def test_an_object_that_can_be_called_is_told_to_be_no_factory(tmp_path: Path) -> None:
    """A partial ended in AttributeError: 'functools.partial' object has no '__qualname__'."""
    write_files(tmp_path, {"own.py": PARTIAL, "registered.py": REGISTERED})
    for name, told in (
        ("own.py:PARTIAL", "is neither a function nor a class, but of type partial"),
        ("registered.py:partial", "TypeError: 'partial' is no function or class, but partial"),
    ):
        with pytest.raises(UserError, match=re.escape(told)):
            tiny_settings(weight_optimizer__name=f"{tmp_path}/{name}")


def test_annotations_that_cannot_be_evaluated_are_told() -> None:
    with pytest.raises(UserError, match=r"cannot be read \(NameError: .*outside of TYPE_CHECKING"):
        settings_of(OfPython314())
    with pytest.raises(UserError, match="outside of TYPE_CHECKING"):
        hints_of(OfPython314(), ["size"])


OF_PARTS = """
import dataclasses
from typing import Annotated, Any

from optnas import Measure, Quantity, register
from optnas.base.schema import Part
from optnas.data.sets.digits import digits
from optnas.measures.base import Values
from optnas.measures.stopping import Decision
from optnas.spaces.toy import TOY
from optnas.optimizers.schedules.common import constant

Own = Annotated[Any, Part("relaxation")]


def check(relaxation):
    assert callable(relaxation), relaxation


@register("measure", "mine")
def measure(relaxation: Own = "softmax"):
    check(relaxation)

    def found(snapshot):
        return Values({"x": float(relaxation(snapshot.alpha_EO, snapshot.progress).sum())})

    return Measure(found, {"x": Quantity("1")}, cost="none")


@register("schedule", "mine")
def schedule(relaxation: Own = "softmax"):
    check(relaxation)
    return constant()


@register("dataset", "mine")
def dataset(relaxation: Own = "softmax"):
    check(relaxation)
    return digits(None)


@register("space", "mine")
def space(relaxation: Own = "softmax"):
    check(relaxation)
    return dataclasses.replace(TOY, name="mine")


@register("stopping", "mine")
def stopping(run, relaxation: Own = "softmax"):
    check(relaxation)
    return Decision(None, None, 0)
"""


def test_the_parts_of_every_component_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accepted, and then a TypeError: the factory was handed the table of its part."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OF_PARTS)
    own = "./mine.py:mine"
    settings = tiny_settings(
        space__name=own,
        data__name=own,
        benchmark__table="none",
        measures__mine__name=own,
        measures__mine__at=[0],
        weight_optimizer__schedule=own,
    )
    assert settings.measures["mine"].settings == {"relaxation": {"name": "softmax"}}
    state = build_state(settings)
    assert state.weight_schedule(0.5, 1, 2) == 0.5
    taken = take(snapshot_of(state), settings.measures["mine"])
    assert taken.line["status"] == "ok"
    assert build_space({"name": own}).name == "mine"
    assert opened(own, None).name == "digits"
    (rule,) = choose([own]).values()
    rule(run=None)


def test_a_part_that_blames_another_section_keeps_its_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was told of algorithm.relaxation.space.name, which is no setting."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "from optnas import UserError, register\n"
        "@register('relaxation', 'mine')\n"
        "def mine(key: str = 'space.name'):\n"
        "    raise UserError('not here', key=key or None, value=1, remedy='choose another')\n"
    )
    for key, told in (
        ("space.name", "protocol cpu: space.name = 1"),
        ("rate", "command line: algorithm.relaxation.rate = 1"),
    ):
        relaxation = {"name": "./mine.py:mine", "key": key}
        with pytest.raises(UserError) as caught:
            tiny_settings(algorithm={"name": "composed", "relaxation": relaxation})
        refused(caught.value, told, "choose another")
