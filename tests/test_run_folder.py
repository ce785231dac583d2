"""What a run leaves behind: files, records, identity, and how it ended."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import random
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import (
    cifar10_file,
    command,
    copied,
    interrupted_run,
    refusal,
    snapshot,
    timeless,
    tiny_search,
    write_files,
)
from tiny import TINY, tiny_settings

from optnas.base.errors import UserError
from optnas.base.records import RunFolder
from optnas.base.toml import read_toml
from optnas.search import api, protocols
from optnas.search.environment import describe_environment
from optnas.search.settings.model import Settings

COLUMNS = """
epoch train_loss train_accuracy valid_loss valid_accuracy weight_lr arch_lr alpha op_weights
architecture benchmark skips nones alpha_entropy alpha_margin alpha_path_length alpha_displacement
alpha_path_length_centred alpha_displacement_centred
weight_norm alpha_hessian_max alpha_hessian_min seconds
"""
KEYS = set(COLUMNS.split())


def search(out: Path, **more: Any) -> Path:
    """A tiny run, made in this process."""
    api.run(TINY | {key.replace("__", "."): value for key, value in more.items()}, out=out)
    return out


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return search(tmp_path_factory.mktemp("runs") / "done")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, interrupted after epoch 1 of 2."""
    return interrupted_run(tmp_path_factory.mktemp("runs") / "stopped")


def status(run: Path) -> str:
    return str(json.loads((run / "result.json").read_text())["status"])


def test_files(done: Path) -> None:
    assert {str(path.relative_to(done)) for path in done.rglob("*") if path.is_file()} == {
        ".lock",
        "checkpoints/epoch-0.pt",
        "checkpoints/last.pt",
        "checkpoints/previous.pt",
        "config.toml",
        "environment.json",
        "epochs.jsonl",
        "result.json",
    }
    (start,) = json.loads((done / "environment.json").read_text())
    assert start["packages"]["torch"] == importlib.metadata.version("torch")
    assert read_toml(done / "config.toml")["run"]["device"] == "auto"
    if not torch.cuda.is_available():
        assert (start["device"], start["gpu"]) == ("cpu", None)
    config, result = read_toml(done / "config.toml"), json.loads((done / "result.json").read_text())
    assert config["weight_optimizer"]["dampening"] == 0  # a default nobody wrote
    assert len(config["identity"]["hash"]) == 64
    assert (result["status"], result["hash"]) == ("done", config["identity"]["hash"])
    assert result["architecture"] == timeless(done)[-1]["architecture"]
    assert torch.load(done / "checkpoints/last.pt", weights_only=True)["epoch"] == 2


def test_a_start_on_a_gpu_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"NVIDIA {device}")
    start = describe_environment(tiny_settings().run, torch.device("cuda:1"))
    assert (start["device"], start["gpu"]) == ("cuda:1", "NVIDIA cuda:1")


def test_records(done: Path) -> None:
    records = RunFolder(done).read_epochs()
    assert [record["epoch"] for record in records] == [0, 1, 2]
    for record in records:
        assert set(record) == KEYS
        for key in ("train_loss", "train_accuracy", "weight_lr", "arch_lr"):
            assert (record[key] is None) == (record["epoch"] == 0)
        assert np.shape(record["alpha"]) == np.shape(record["op_weights"]) == (6, 5)
        assert np.allclose(np.sum(record["op_weights"], axis=1), 1)
        bench = record["benchmark"]
        assert (bench["table"], bench["split"]) == ("analog-nasbench", "test")
        assert bench["epochs"] is None  # the table does not state them
        assert list(bench["accuracy"]) == list(bench["regret"]) == ["cifar10"]
        assert bench["regret"]["cifar10"] >= 0
        assert record["skips"] == record["architecture"].count("skip_connect")
        assert record["nones"] == record["architecture"].count("none")
    lengths = [record["alpha_path_length"] for record in records]
    assert lengths == sorted(lengths)
    assert lengths[0] == records[0]["alpha_displacement"] == 0 < records[-1]["alpha_displacement"]
    assert records[-1]["alpha_displacement"] <= lengths[-1]
    for key in ("alpha_path_length", "alpha_displacement"):
        assert 0 < records[-1][f"{key}_centred"] <= records[-1][key]


def test_records_of_darts_minus(tmp_path: Path) -> None:
    records = timeless(search(tmp_path / "run", algorithm__name="darts-minus", search__epochs=1))
    assert set(records[-1]) == (KEYS | {"valid_accuracy_without_skip"}) - {"seconds"}


@pytest.mark.parametrize(("every", "due"), [(0, [0, 0, 0, 0]), (2, [1, 0, 1, 1])])
def test_curvature_when_due(every: int, due: list[int], tmp_path: Path) -> None:
    small = {
        "measures__sharpness__every": every,
        "measures__sharpness__batch_size": 2,
        "data__resolution": 4,
    }
    records = timeless(search(tmp_path / "run", search__epochs=3, data__train_size=16, **small))
    for key in ("alpha_hessian_max", "alpha_hessian_min"):
        assert [record[key] is not None for record in records] == due


def settings(**more: Any) -> Settings:
    return api.settings_of(TINY | {key.replace("__", "."): value for key, value in more.items()})


def leaves(document: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


NOT_IDENTITY = {
    "format",
    "protocol",
    "run.device",
    "run.threads",
    "run.stepper",
    "checkpoints.keep",
    "tracking.name",
}
OTHER_WORDS = {
    "halves": "random-halves",
    "arch-first": "weights-first",
    "fresh-batches": "passes",
    "running": "batch",
    "float64": "float32",
    "float32": "bfloat16",
    "analog-nasbench": "official",
    "first-order": "unrolled",
    "exact": "finite-difference",
    "darts": "random",
    "SGD": "Adam",
    "Adam": "SGD",
    "digits": "cifar10",
    "constant": "linear",
    "cosine": "linear",
    "op-weights": "alpha",
}


def changed(value: Any) -> Any:
    """Another value that the same setting accepts."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return [value[1], value[0]] if isinstance(value, list) else OTHER_WORDS[value]


def test_the_hash_names_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_files(tmp_path, {"cifar10/train-0.parquet": cifar10_file()})
    monkeypatch.setenv("OPTNAS_DATA", str(tmp_path))
    base = settings()
    hashes = {"": base.hash}
    for key, value in leaves(base.document()):
        section = key.partition(".")[0]
        if (
            key in NOT_IDENTITY
            or section in ("identity", "space", "measures", "curvature", "benchmark")
            or key == "data.folder"
        ):
            continue
        more = {key.replace(".", "__"): changed(value)}
        if key == "supernet.precision":  # of float32 alone
            more["supernet__dtype"] = "float32"
        if key.endswith(".final_lr"):  # a rate does not rise
            more[key.replace(".", "__")] = value / 2
        if key.endswith(".momentum"):  # below 1
            more[key.replace(".", "__")] = value / 2
        if key.endswith(".final_share"):  # in place of an absolute end
            more[key.replace(".", "__").replace("share", "lr")] = 0.0
        if key == "data.resolution":  # the supernet halves it twice
            more["data__resolution"] = value + 4
        if key == "supernet.batch_norm":
            more["supernet__arch_step_updates_statistics"] = False
        hashes[key] = settings(**more).hash
    assert len(hashes) > 40
    assert len(set(hashes.values())) == len(hashes)
    assert base.model_copy(update={"fingerprint": "0"}).hash not in hashes.values()


def test_the_hash_leaves_out_where_it_runs(tmp_path: Path) -> None:
    (tmp_path / "copy.toml").write_text(protocols.text_of("cpu"))
    elsewhere: dict[str, Any] = {
        "run__device": "cpu",
        "run__threads": 2,
        "run__stepper": "graph",
        "data__folder": str(tmp_path),
        "protocol": str(tmp_path / "copy.toml"),
        "checkpoints__keep": "all",
        "measures__sharpness__every": 1,
        "benchmark__table": "none",
    }
    assert {settings(**{key: value}).hash for key, value in elsewhere.items()} == {settings().hash}


def streams(run: Path) -> dict[str, list[int]]:
    found = torch.load(run / "checkpoints/last.pt", weights_only=True)["generators"]
    return {name: state.tolist() for name, state in found.items()}


def test_optimizer_pairs_start_alike_and_see_the_same_batches(done: Path, tmp_path: Path) -> None:
    pair = {"weight_optimizer__name": "Adam", "arch_optimizer__name": "SGD"}
    other = search(tmp_path / "run", **pair)
    assert timeless(done)[0] == timeless(other)[0]
    assert timeless(done)[1] != timeless(other)[1]
    assert streams(done) == streams(other)
    assert streams(done) != streams(search(tmp_path / "seed", search__seed=1))


def test_a_run_is_repeatable_and_touches_no_global_generator(done: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        random.seed(12345)
        np.random.seed(12345)
        before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
        again = search(tmp_path / "again")
        after = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert timeless(again) == timeless(done)


DRAWS = """
import random

from optnas import register


@register("relaxation", "draws")
def draws():
    def relax(alpha_EO, progress):
        return (alpha_EO + 0.01 * random.random()).softmax(-1)

    return relax
"""


def test_a_search_whose_part_draws_from_a_global_generator_tells_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the seed nor the checkpoint holds such numbers: bits are no longer promised."""
    (tmp_path / "draws.py").write_text(DRAWS)
    part = f"{tmp_path / 'draws.py'}:draws"
    search(tmp_path / "run", algorithm={"name": "composed", "relaxation": part})
    (told,) = [line for line in caplog.messages if "generator" in line]
    assert "drew from the global generator of python in epoch 1: the same seed gives" in told


def test_a_run_repeats_from_its_own_config(done: Path, tmp_path: Path) -> None:
    api.run(out=tmp_path / "again", config=done / "config.toml")
    assert (tmp_path / "again/config.toml").read_text() == (done / "config.toml").read_text()
    assert timeless(tmp_path / "again") == timeless(done)


def test_a_configuration_is_read_as_it_is_now(done: Path, tmp_path: Path) -> None:
    run = RunFolder(copied(done, tmp_path / "run"))
    run.read_config()["search"]["epochs"] = 99  # the reader's own
    assert run.read_config()["search"]["epochs"] == 2
    run.config.write_text(run.config.read_text().replace("epochs = 2", "epochs = 7"))
    assert run.read_config()["search"]["epochs"] == 7


def test_done(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(*tiny_search(out=str(tmp_path / "run"))) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert "done: |" in out
    assert "table analog-nasbench" in out


def test_diverged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert command(*tiny_search("weight_optimizer.lr=1e30", out=str(run))) == 3
    assert "diverged: " in capfd.readouterr().out
    assert status(run) == "diverged"
    before = snapshot(run)
    assert command("resume", str(run)) == 3
    assert snapshot(run) == before


BAD = """
from pathlib import Path

from torch.optim import SGD


class Bad(SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)

    def step(self, closure=None):
        # Steps are rehearsed before the run begins; those must not fail.
        if Path("out/epochs.jsonl").exists() and not Path("today").exists():
            raise RuntimeError("no step\\ntoday")
        return super().step()
"""


def test_failed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)  # packages of another environment
    Path("bad.py").write_text(BAD)
    assert command(*tiny_search("arch_optimizer.name=./bad.py:Bad")) == 1
    first, whose = capfd.readouterr().err.splitlines()
    assert first == "optnas: failed: RuntimeError: no step today"
    assert whose.startswith(f"  {tmp_path / 'bad.py'}, line ")
    result = json.loads(Path("out/result.json").read_text())
    assert (result["status"], result["reason"]) == ("failed", "RuntimeError: no step\ntoday")
    assert "Traceback" in result["traceback"][0]
    assert [record["epoch"] for record in timeless(Path("out"))] == [0]
    Path("today").touch()
    assert command("resume", "out") == 0
    assert status(Path("out")) == "done"


class Stopping(io.BytesIO):
    """A file whose second write is stopped; torch then tells of an error of its own."""

    def __init__(self, reason: BaseException):
        super().__init__()
        self.reason, self.writes = reason, 0

    def write(self, data: Any) -> int:
        self.writes += 1
        if self.writes > 1:
            raise self.reason
        return super().write(data)


@pytest.mark.parametrize(
    ("reason", "told"), [(KeyboardInterrupt(), "interrupted"), (MemoryError(), "failed")]
)
def test_stopped_while_a_checkpoint_is_written(
    reason: BaseException, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "optnas.search.checkpoints.write_atomically",
        lambda _, write, keep: write(Stopping(reason)),
    )
    with pytest.raises(type(reason)):
        search(tmp_path / "out")
    assert status(tmp_path / "out") == told


def test_one_process_a_folder(stopped: Path, tmp_path: Path) -> None:
    copied(stopped, tmp_path / "run")
    (tmp_path / "starting").mkdir()
    for folder, arguments in (
        ("run", ["resume", "run"]),
        ("starting", tiny_search(out="starting")),
    ):
        with RunFolder(tmp_path / folder).locked():
            line = refusal(arguments, tmp_path)
        assert line.startswith(f"{folder}: another process is running in this folder; wait")


def test_a_start_that_was_killed_at_once_counts_as_none(done: Path, tmp_path: Path) -> None:
    for name in (".lock", "config.toml.1.partial"):
        (tmp_path / name).write_text("")
    assert timeless(search(tmp_path)) == timeless(done)
    assert not list(tmp_path.rglob("*.partial"))


def test_bad_input_found_late_leaves_nothing(tmp_path: Path) -> None:
    for out in (tmp_path / "new/run", tmp_path):
        with pytest.raises(UserError):
            search(out, weight_optimizer__lr=-1.0)
        assert os.listdir(tmp_path) == []


def test_resume(stopped: Path, done: Path, tmp_path: Path) -> None:
    run = copied(stopped, tmp_path / "run")
    assert status(run) == "interrupted"
    api.resume(run)
    assert timeless(run) == timeless(done)
    assert len(json.loads((run / "environment.json").read_text())) == 2
    before = snapshot(run)
    api.resume(run)
    assert snapshot(run) == before


@pytest.mark.parametrize(
    ("key", "was", "told"),
    [
        ("processor", "a slide rule", r"another processor .+ \(was a slide rule\)"),
        ("gpu", "an abacus", r"another gpu .+ \(was an abacus\)"),
        ("threads", 2, r"another threads 1 \(was 2\)"),
        ("torch", "1.0", r"another torch \S+ \(was 1\.0\)"),
    ],
)
def test_what_goes_on_elsewhere_says_that_bits_differ(
    key: str,
    was: Any,
    told: str,
    stopped: Path,
    done: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = copied(stopped, tmp_path / "run")
    (start,) = json.loads((run / "environment.json").read_text())
    (start["packages"] if key == "torch" else start)[key] = was
    (run / "environment.json").write_text(json.dumps([start]))
    api.resume(run)
    (warning,) = caplog.messages
    assert re.search(rf"goes on after epoch 1 with {told}: the rest is right", warning)
    assert timeless(run) == timeless(done)


@pytest.mark.parametrize("spoiled", ["torn", "later", "no checkpoint", "only config"])
def test_resume_cuts_off_what_no_checkpoint_knows(
    spoiled: str, stopped: Path, done: Path, tmp_path: Path
) -> None:
    run = copied(stopped, tmp_path / "run")
    if spoiled == "only config":
        for path in run.glob("*.json*"):
            path.unlink()
        shutil.rmtree(run / "checkpoints")
    elif spoiled == "no checkpoint":
        (run / "checkpoints/last.pt").unlink()
        (run / "checkpoints/last.pt.1.partial").write_bytes(b"half a file")
    else:
        whole = (done / "epochs.jsonl").read_bytes().splitlines(keepends=True)[-1]
        with (run / "epochs.jsonl").open("ab") as file:
            file.write(whole[:-9] if spoiled == "torn" else whole)
        assert len(RunFolder(run).read_epochs()) == (2 if spoiled == "torn" else 3)
    api.resume(run)
    assert timeless(run) == timeless(done)
    assert not list(run.rglob("*.partial"))


def test_a_file_named_by_path_is_part_of_the_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "import torch\nclass Mine(torch.optim.SGD):\n    pass\n"
    Path("mine.py").write_text(code)
    chosen = {"arch_optimizer.name": "./mine.py:Mine", "arch_optimizer.lr": 0.01}
    before = api.settings_of(TINY | chosen).hash
    run = search(tmp_path / "run", **{key.replace(".", "__"): v for key, v in chosen.items()})
    Path("mine.py").write_text(code + "# edited\n")
    assert api.settings_of(TINY | chosen).hash != before
    with pytest.raises(UserError, match=r"mine\.py was edited after the run was started"):
        api.resume(run)
