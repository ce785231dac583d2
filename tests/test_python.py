"""What only a program can hand over or see: objects for names, mixed keys, progress, errors."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import itertools
import linecache
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TINY

import optnas
from optnas.analysis.claims import Claim
from optnas.base.records import RunFolder
from optnas.report.declared import DeclaredStudy
from optnas.search import showing
from optnas.search.words import in_python
from optnas.study.declare import load_study
from optnas.study.engines.base import Job
from optnas.study.folder import prepare
from optnas.study.worker import execute

ONE = TINY | {"search.epochs": 1}
_cells = itertools.count()


def cell(text: str, **given: Any) -> dict[str, Any]:
    """What a notebook's cell defines: classes of a module without a file."""
    name = f"<cell {next(_cells)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    space = {"__name__": "__main__", **given}
    exec(compile(text, name, "exec"), space)
    return space


OWN = """
import functools
import math
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from optnas import Algorithm, Cadence, Measure, Progress, Quantity, Snapshot, Values, parts

FLOOR = 1e-8
loss = []  # of another cell; a local name below

@functools.cache
def floor(width):
    return FLOOR * width

def projected(weights):
    clip_grad_norm_([], 1.0)  # itself decorated
    return weights.clamp(min=floor(1))

class Base(torch.optim.Optimizer):
    pass

class EG(Base):
    def __init__(self, params, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                for leaf in group["params"]:
                    weights = projected(leaf.softmax(-1)) * (-group["lr"] * leaf.grad).exp()
                    leaf.copy_(weights.log())
        return loss

def cooling(start: float = 2.0) -> Algorithm:
    def relax(alpha_EO: Tensor, progress: Progress) -> Tensor:
        return (alpha_EO / start).softmax(-1)

    return Algorithm(relax, parts.unperturbed, parts.first_order, parts.argmax_per_edge)

def norm(snapshot: Snapshot) -> Values:
    return Values({"norm": math.sqrt(float((snapshot.alpha_EO**2).sum()))})

size = Measure(norm, {"norm": Quantity("logits")}, "nothing", Cadence(every=1))
"""


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def own_settings(space: dict[str, Any]) -> dict[str, Any]:
    return {
        "arch_optimizer": {"name": space["EG"]},
        "arch_optimizer.lr": np.float32(0.5),
        "algorithm.name": space["cooling"],
        "measures.size.name": space["size"],
        "weight_optimizer.name": torch.optim.Adam,
    }


def test_classes_functions_and_instances_run_as_their_source_says() -> None:
    space = cell(OWN)
    result = optnas.run(ONE | own_settings(space), out="run")
    table = optnas.load("run")
    config = table.attrs["config"]
    name = config["arch_optimizer"]["name"]
    assert name.startswith("optnas-objects/EG-")
    assert name.endswith(".py:EG")
    assert set(config["identity"]["sources"]) == {
        name.rpartition(":")[0],
        config["algorithm"]["name"].rpartition(":")[0],
    }
    assert config["weight_optimizer"]["name"] == "Adam"
    assert [line["status"] for line in optnas.RunFolder(Path("run")).read_measures("size")] == [
        "ok",
        "ok",
    ]
    # The same in another cell is the same run, in another process too: the file is the identity.
    assert optnas.settings_of(ONE | own_settings(cell(OWN))).hash == result["hash"]
    by_path = own_settings(space) | {"arch_optimizer": {"name": name}}
    assert optnas.settings_of(ONE | by_path).hash == result["hash"]
    # A constant that is used counts as much as the text of the class.
    for edited in (OWN.replace("1e-8", "1e-6"), OWN.replace("-group", "group")):
        assert optnas.settings_of(ONE | own_settings(cell(edited))).hash != result["hash"]


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a lambda": (lambda: lambda: None, "a lambda has no source of its own; write it as def"),
    "an instance": (
        lambda: torch.Generator(),
        "nothing says how an instance of Generator was made",
    ),
    "built in": (lambda: torch.softmax, "it is built in and has no source"),
    "no source": (
        lambda: types.FunctionType(compile("1", "<nowhere>", "exec"), {"__name__": "__main__"}),
        "the source of <module> cannot be had",
    ),
    "what changes": (
        lambda: cell("seen = []\ndef f():\n    return seen\n")["f"],
        "uses seen, a list that may change; make it a tuple, or define it inside",
    ),
    "two of a name": (
        lambda: cell(
            "def f():\n    return g(), h\n",
            g=cell("h = 1\ndef g():\n    return h\n")["g"],
            h=2,
        )["f"],
        "uses two things called h",
    ),
    "an instance that is used": (
        lambda: cell("def f():\n    return ones\n", ones=torch.ones(2))["f"],
        "uses ones: nothing says how an instance of Tensor was made",
    ),
    "of a function": (
        lambda: cell("def f():\n    return g\n", g=optnas.parts.conjugate_gradient())["f"],
        "uses g, which was made inside a function of another package",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_source_is_refused(case: str, tmp_path: Path) -> None:
    make, reason = REFUSED[case]
    with pytest.raises(optnas.UserError) as refused:
        optnas.run(ONE | {"algorithm.name": make()}, out="run")
    assert str(refused.value).startswith("settings: algorithm.name = ")
    assert reason in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_edited_is_not_taken_for_the_object() -> None:
    settings = ONE | {"arch_optimizer.name": cell(OWN)["EG"]}
    found = Path(optnas.settings_of(settings).arch_optimizer.name.rpartition(":")[0])
    found.write_text(found.read_text() + "# mine\n")
    with pytest.raises(optnas.UserError, match="was edited since it was written"):
        optnas.settings_of(settings)


def test_a_file_is_not_left_for_settings_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(optnas.UserError, match=r"arch_optimizer\.rate = 1"):
        optnas.settings_of(
            ONE | {"arch_optimizer": {"name": cell(OWN)["EG"], "rate": 1}, "search.seed": 3}
        )
    assert list(tmp_path.iterdir()) == []


def test_dotted_and_nested_keys_mix() -> None:
    mixed = {"search": {"epochs": 3}, "search.seed": 4, "data": {"name": "digits"}}
    settings = optnas.settings_of(
        mixed | {"algorithm": {"name": "darts", "hypergradient.name": "unrolled"}}
    )
    assert (settings.search.epochs, settings.search.seed) == (3, 4)
    assert settings.algorithm.settings["hypergradient"]["name"] == "unrolled"
    for twice in ({"search.epochs": 4}, {"search.epochs.more": 4}, {"data": "digits"}):
        with pytest.raises(optnas.UserError, match="is given twice, or as a whole and in parts"):
            optnas.settings_of(mixed | {"search": {"epochs": 3}} | twice | {"data.name": "digits"})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"weight_optimizer.lr": None},
            "weight_optimizer.lr: is None; %s the 0.025 of protocol cpu",
        ),
        (
            {"arch_optimizer": {"betas": None}},
            "arch_optimizer.betas: is None; %s the [0.5, 0.999] of",
        ),
        (
            {"weight_optimizer.schedule": None},
            "weight_optimizer.schedule: is None; %s the table of",
        ),
        ({"supernet.cells": None}, "supernet.cells: is None; %s the 1 of protocol cpu"),
        (
            {"weight_optimizer": {"name": "RAdam", "lr": None}},
            "weight_optimizer.lr: is None; %s the default 0.001",
        ),
        (
            {"algorithm": {"name": "darts", "hypergradient": None}},
            "algorithm.hypergradient: is None; %s the default first-order",
        ),
    ],
)
def test_none_is_no_value_where_another_counts(given: dict[str, Any], told: str) -> None:
    with pytest.raises(optnas.UserError) as refused:
        optnas.settings_of({key: ONE[key] for key in ONE if key not in given} | given)
    assert str(refused.value).startswith("settings: " + told.replace("%s", "leave it out for"))


def test_numbers_of_other_packages_are_numbers() -> None:
    plain = {"search.epochs": 2, "augmentation.flip": True, "arch_optimizer.betas": [0.5, 0.25]}
    expected = optnas.settings_of(ONE | plain).hash
    for other in (
        {"search.epochs": np.array(2), "augmentation.flip": np.bool_(True)},
        {"search.epochs": torch.tensor(2), "augmentation.flip": torch.tensor(True)},
        {"arch_optimizer.betas": np.array([0.5, 0.25])},
        {"arch_optimizer.betas": torch.tensor([0.5, 0.25], requires_grad=True)},
    ):
        assert optnas.settings_of(ONE | plain | other).hash == expected


def test_none_stays_where_it_is_the_default() -> None:
    for given in ({"weight_optimizer.foreach": None}, {"data.folder": None}):
        assert optnas.settings_of(ONE | given).hash == optnas.settings_of(ONE).hash


def test_another_component_of_a_run_is_laid_over_its_file() -> None:
    """Over `run.settings` it kept the other one's settings, or was given twice."""
    optnas.run(ONE | {"arch_optimizer": {"name": "SGD", "momentum": 0.5}}, out="run")
    own, file = optnas.Run("run").settings, "run/config.toml"
    assert optnas.settings_of(own | {"search.seed": 2}).search.seed == 2
    way = r"optnas.settings_of\({'arch_optimizer.name': NAME}, config='RUN/config.toml'\)$"
    for another in ({"arch_optimizer.name": "Adam"}, {"arch_optimizer": {"name": "Adam"}}):
        with pytest.raises(optnas.UserError, match=way):
            optnas.settings_of(own | another)
        found = optnas.settings_of(another, config=file)
        assert found.arch_optimizer == optnas.settings_of(ONE | another).arch_optimizer
        assert found.weight_optimizer == optnas.settings_of(ONE).weight_optimizer
    with pytest.raises(optnas.UserError) as refused:
        optnas.settings_of({"arch_optimizer.rate": 1})  # no run's settings
    assert "config=" not in str(refused.value)


def test_functions_where_no_setting_is(tmp_path: Path) -> None:
    """Figures and claims as they are; of measures the message shows how one is written."""
    optnas.run(ONE | {"checkpoints.keep": "all"}, out="run")

    def bare(runs: Any) -> optnas.Figure:
        seeds = [optnas.Seed(0, str(run.path), [1.0, 2.0]) for run in runs]
        panel = optnas.Panel("p", "u", [optnas.Curve("c", [0, 1], seeds, "#000000")])
        return optnas.Figure("Bare", [optnas.Row("", [panel])])

    optnas.plot_figure(bare, "run", "one.png", folder=str(tmp_path))  # type: ignore[arg-type]
    assert optnas.Run("run").plot(figure=bare).title == "Bare"
    with pytest.raises(optnas.UserError, match="a name is due here, and this is of type int"):
        optnas.plot_figure(3, "run", "one.png")  # type: ignore[arg-type]
    claim = optnas.Claim(
        id="mine",
        text="t",
        source="me",
        parts=[  # type: ignore[arg-type]
            {
                "name": "a",
                "response": {"column": "skips"},
                "contrast": [{"axis": "arch_optimizer.name", "plus": "Adam", "minus": "SGD"}],
                "direction": "less",
            }
        ],
    )

    def made() -> optnas.Claim:
        return claim

    ledger = optnas.study.judge(None, ".", claims=[claim, made], recorded=True)
    assert [finding.id for finding in ledger.findings] == ["mine"]
    with pytest.raises(optnas.UserError, match=r"claim = 'dict': does not return a Claim"):
        optnas.study.judge(None, ".", claims=[dict], recorded=True)
    with pytest.raises(
        optnas.UserError, match=r"write {'flat': {'draws': 2, 'name': './m.py:flat'}}"
    ):
        optnas.measure("run", {"./m.py:flat": {"draws": 2}})
    with pytest.raises(optnas.UserError, match=r"measures\['mine'\].*write {'name': 'NAME'}"):
        optnas.measure("run", {"mine": made})  # type: ignore[dict-item]


@pytest.mark.thorough
def test_a_session_takes_what_a_run_takes(tmp_path: Path) -> None:
    for settings in (ONE, optnas.settings_of(ONE)):
        session = optnas.Session(optnas.build_state(settings))
        records = [session.train_epoch() | session.measure() for _ in range(2)]
    result = optnas.run(ONE, out="run")
    assert records[-1]["valid_accuracy"] == result["valid_accuracy"]
    assert set(session.observe("there/looked")) == {
        path.stem for path in Path("there/looked/measures").glob("*.jsonl")
    }
    with pytest.raises(optnas.UserError, match=r"search.epochs = 1: all epochs are trained"):
        session.train_epoch()
    with pytest.raises(optnas.UserError, match=r"optnas.Session\(optnas.build_state\(settings\)\)"):
        optnas.Session(ONE)  # type: ignore[arg-type]
    with pytest.raises(optnas.UserError, match="a dictionary is due here"):
        optnas.build_state("run")  # type: ignore[arg-type]


def test_folders_of_data_by_path(tmp_path: Path) -> None:
    """Strings were a TypeError."""
    assert optnas.data_folder(str(tmp_path)) == optnas.data_folder(tmp_path) == tmp_path
    with pytest.raises(optnas.UserError, match="the path of one folder is due here"):
        optnas.data_folder([tmp_path])  # type: ignore[arg-type]
    with pytest.raises(optnas.UserError, match=f"{tmp_path}/.*: cannot read the official table"):
        optnas.load_table("official", folder=str(tmp_path))
    space = optnas.build_space({"name": "toy"})
    layout = optnas.Layout("place,score", 2, lambda place: [str(place)])
    table = optnas.CsvTable(
        "mine", space, "mine.csv", layout, {optnas.Question("digits", "test", 1): "score"}, "me"
    )
    (tmp_path / "mine.csv").write_text("place,score\n0,1\n1,2\n")
    one = table.load(str(tmp_path))
    assert one.ask(optnas.Question("digits", "test", 1)).accuracy.tolist() == [1.0, 2.0]
    for key in ("asked", "losses"):
        wrong: dict[str, Any] = {key: {next(iter(table.asked)): "scores"}}
        declared = dataclasses.replace(table, **wrong)
        for ask in (declared.source, functools.partial(declared.load, tmp_path)):
            with pytest.raises(optnas.UserError, match=rf"{key} = 'scores': .*did you mean score"):
                ask()


def test_progress(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    optnas.run(ONE, out="quiet")
    assert capfd.readouterr() == ("", "")
    optnas.run(ONE, out="told", progress=True)
    assert [line.partition(",")[0] for line in capfd.readouterr().err.splitlines()] == [
        "epoch 0 of 1",
        "epoch 1 of 1",
    ]
    shown: list[str] = []
    shell = types.SimpleNamespace(kernel=None)
    here = types.SimpleNamespace(update=lambda text: shown.append(repr(text)))
    notebook = types.ModuleType("IPython")
    notebook.get_ipython = lambda: shell  # type: ignore[attr-defined]
    displays = types.ModuleType("IPython.display")
    displays.display = lambda text, display_id: here  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    optnas.run(ONE, out="cell")
    assert len(shown) == 1
    assert shown[0].startswith("epoch 1 of 1, valid ")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("finish it: optnas resume 'my runs/a', or leave it out",
         "finish it: optnas.resume('my runs/a'), or leave it out"),
        ("undo it: optnas search -c 'a b/c.toml' --out 'a b' --overwrite",
         "undo it: optnas.run(config='a b/c.toml', out='a b', overwrite=True)"),
        ("measure it: optnas measure 'my runs/a' gap",
         "measure it: optnas.measure('my runs/a', {'gap': {...}})"),
        ("measure it: optnas measure a ./b.py:flat",
         "measure it: optnas.measure('a', {'flat': {'name': './b.py:flat', ...}})"),
        ("choose another, add --overwrite, or: optnas resume runs/a",
         "choose another, pass overwrite=True, or: optnas.resume('runs/a')"),
        ("undo the edit, or start anew: optnas search -c a/config.toml --out a --overwrite",
         "undo the edit, or start anew: "
         "optnas.run(config='a/config.toml', out='a', overwrite=True)"),
        ("start a run from it: optnas search -c a.toml --out DIR",
         "start a run from it: optnas.run(config='a.toml', out=DIR)"),
        ("measure it: optnas measure a gap", "measure it: optnas.measure('a', {'gap': {...}})"),
        ("lower it, or set measures.sharpness.every=0",
         "lower it, or set 'measures.sharpness.every': 0"),
        ("ask one of them for all: --table official", "ask one of them for all: table='official'"),
        ("to read them add --numbers-version 1", "to read them add numbers_version=1"),
        ("wait, or: optnas train runs/a --out DIR", "wait, or: optnas train runs/a --out DIR"),
        ("write algorithm.name=NAME", "write 'algorithm.name': NAME"),
        ("write weight_optimizer.name=SGD", "write 'weight_optimizer.name': 'SGD'"),
        ("optnas resume a, or leave it out", "optnas.resume('a'), or leave it out"),
        ("pip install 'optnas[optim]'", "pip install 'optnas[optim]'"),
    ],
)  # fmt: skip
def test_remedies_in_pythons_words(said: str, told: str) -> None:
    assert in_python(said) == told
    assert in_python(told) == told


def test_the_package_says_what_it_is() -> None:
    assert optnas.__version__ == importlib.metadata.version("optnas")
    assert {"run", "study", "__version__"} <= set(dir(optnas))
    assert Path(optnas.__file__).with_name("py.typed").is_file()
    with pytest.raises(optnas.UserError, match=r"^arguments: table = 'offical': "):
        optnas.load_table("offical", folder=None)


class Here:
    """An engine that runs in this process."""

    def start(self, job: Job) -> Path:
        execute(job.folder, job.settings)
        return job.folder

    def wait(self, handles: list[Path], seconds: float) -> dict[Path, str]:
        return dict.fromkeys(handles, "over")

    def interrupt(self, handle: Path) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


def declared(space: dict[str, Any], seeds: range) -> DeclaredStudy:
    study = {
        "name": "mine",
        "seeds": seeds,
        "base": ONE,
        "grid": {
            "arch_optimizer": [{"name": "Adam"}, {"name": space["EG"], "label": "EG"}],
        },
    }
    return optnas.study(study, out="mine")


@pytest.mark.thorough
def eg_lowers_the_loss() -> Claim:
    part = {
        "name": "loss",
        "response": {"column": "train_loss", "transform": "final"},
        "contrast": [{"axis": "arch_optimizer.name", "plus": "EG", "minus": "Adam"}],
        "direction": "less",
    }
    return Claim.model_validate({"id": "mine", "text": "it does", "source": "me", "parts": [part]})


@pytest.mark.thorough
def test_a_study_from_a_dictionary_and_its_runs(tmp_path: Path) -> None:
    study = declared(cell(OWN), range(1))
    assert not (tmp_path / "mine").exists()
    planned = study.plan(timing=False)
    assert planned[["arch_optimizer", "search.seed", "state"]].to_numpy().tolist() == [
        ["Adam", 0, "missing"],
        ["EG", 0, "missing"],
    ]
    assert study.runs == []
    assert study.run(engine="test_python:Here", jobs=1)
    study = declared(cell(OWN), range(2))  # one more seed, in another session
    assert study.plan(timing=False)["state"].value_counts().to_dict() == {"done": 2, "missing": 2}
    assert study.run(engine="test_python:Here", jobs=1)
    assert study.table()["id"].nunique() == 4
    compared = study.compare(responses=["train_loss"], to="figures")
    assert compared[["arm", "other", "n"]].to_numpy().tolist() == [["EG", "Adam", 2]]
    (found,) = study.judge(claims=[eg_lowers_the_loss]).findings
    assert (found.verdict, found.n) == ("inconclusive", 2)
    assert any("seeds" in remark for remark in compared.attrs["remarks"])
    assert (tmp_path / "figures" / "compare-train_loss.pdf").is_file()
    # What lies there is a study for everyone.
    again = optnas.study("mine/study.toml", out="mine")
    assert set(again.plan(timing=False)["state"]) == {"done"}

    run = again.runs[-1]
    assert repr(run).endswith("digits, seed 1: done>")
    assert optnas.settings_of(run.settings).hash == run.result["hash"]
    assert (
        run.architecture.string == run.result["architecture"] == run.epochs["architecture"].iloc[-1]
    )
    assert optnas.measure(run.folder.path, {"gap": {"at": ["end"]}}) is None
    assert run.measures["gap"]["epoch"].tolist() == [1]
    with pytest.raises(
        optnas.UserError, match=r"label = 'gapp': the run has no .*; did you mean gap\?"
    ):
        run.measures["gapp"]
    assert run.supernet().op_weights.shape == (6, 5)
    run.plot("run.svg")
    assert run.plot()._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(optnas.UserError, match=r"^nowhere: there is no run in this folder"):
        optnas.Run("nowhere")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"seed": 1}, "study: study.seed = 1: a study has no such key; did you mean seeds?"),
        ({"grid": {"search.epoch": [1]}}, "study: search.epoch = 1: "),
        ({"base": {"data.name": "digit"}}, "study: data.name = 'digit': "),
        ({"base": {"search.seed": 1}}, "study: study.base: search.seed = 1: "),
    ],
)
def test_a_study_that_is_refused(changed: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(optnas.UserError) as refused:
        optnas.study({"name": "mine", "seeds": [0], "base": ONE} | changed, out="mine")
    assert str(refused.value).startswith(told)
    assert list(tmp_path.iterdir()) == []


def test_a_study_stays_where_it_was_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another folder all its runs were missing, and would have been begun anew there."""
    study = optnas.study({"name": "mine", "seeds": [0], "base": ONE}, out="mine")
    [(name, run)] = study.study.runs.items()
    prepare(run, RunFolder(f"mine/{name}"))
    assert study.plan(timing=False)["state"].tolist() == ["unfinished"]
    assert study.out == Path("mine")
    study._write()
    again = optnas.study("mine/study.toml", out="../" + tmp_path.name + "/mine")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for each in (study, again):
        assert each.plan(timing=False)["state"].tolist() == ["unfinished"]
        assert each.out == tmp_path / "mine"
        assert load_study(each._written()).runs.keys() == {name}
    assert not list(Path().iterdir())
    monkeypatch.chdir(tmp_path)
    assert study.out == Path("mine")


def test_a_search_writes_on_where_it_began(tmp_path: Path) -> None:
    """Code of the caller that changed the folder meanwhile left half of the run behind."""
    (tmp_path / "elsewhere").mkdir()

    def leave(record: dict[str, Any]) -> None:
        os.chdir(tmp_path / "elsewhere")

    try:
        result = optnas.run(ONE, out="run", on_epoch=leave, progress=False)
    finally:
        os.chdir(tmp_path)
    assert result["status"] == "done"
    assert RunFolder("run").read_result() == result
    assert len(RunFolder("run").read_epochs()) == 2
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.slow
def test_the_report_of_a_study_from_a_dictionary(tmp_path: Path) -> None:
    study = optnas.study({"name": "mine", "seeds": [0], "base": ONE}, out="mine")
    assert study.run(jobs=1, progress=False)
    assert study.report() == Path("mine/report.html")
    assert (tmp_path / "mine" / "report.html").stat().st_size > 1e5


def test_progress_of_a_search_that_goes_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As robust-darts does, also after a resume."""
    clock = itertools.count(step=10.0)  # an epoch takes ten seconds
    monkeypatch.setattr(showing, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    benchmark: dict[str, Any] = {"table": "none", "accuracy": {}}
    with showing.Epochs(20, True) as shown:
        for epoch in (12, 13, 11, 12, 12):
            shown.add({"epoch": epoch, "valid_accuracy": 1.0, "benchmark": benchmark})
    left = ["", ", about 70 s left", "", ", about 80 s left", ", about 3 min left"]
    assert capsys.readouterr().err.splitlines() == [
        f"epoch {epoch} of 20, valid 1.00 %{told}"
        for epoch, told in zip((12, 13, 11, 12, 12), left, strict=True)
    ]
