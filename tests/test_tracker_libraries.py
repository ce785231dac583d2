"""Trackers with the real libraries: what each wrote, as its own reader tells it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cases import timeless, unsaved_run
from tiny import TINY

from optnas.base.cache import cache_folder
from optnas.base.records import RunFolder
from optnas.base.toml import flat
from optnas.search import api
from optnas.search.settings.model import Settings
from optnas.search.trackers.guard import tracker_of

# Set while a library looks at them.
OURS = {"WANDB_CACHE_DIR", "WANDB_ERROR_REPORTING", "MLFLOW_DISABLE_TELEMETRY"}


@dataclass
class Shown:
    """What a library holds of one run."""

    config: dict[str, Any]
    rows: list[tuple[int, dict[str, Any]]]
    status: str


def in_wandb(run: Path) -> Shown:
    (log,) = (run / "wandb").glob("offline-run-*/run-*.wandb")
    reader = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
    told = subprocess.run(reader, check=True, capture_output=True, text=True).stdout
    records = [json.loads(line) for line in told.splitlines()]
    (about,) = (each["run"] for each in records if each["type"] == "run")
    assert about["host"] == "none"
    summaries = [each["summary"]["update"] for each in records if each["type"] == "summary"]
    items = [each["history"]["item"] for each in records if each["type"] == "history"]
    (status,) = (each["status"] for each in summaries if "status" in each)
    return Shown(flat(about["config"]["update"]), [(item["_step"], item) for item in items], status)


def in_mlflow(run: Path) -> Shown:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{run / 'mlflow/mlflow.db'}")
    (held,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert held.info.status == "FINISHED"
    rows: dict[int, dict[str, Any]] = {}
    for tag in held.data.metrics:
        for metric in client.get_metric_history(held.info.run_id, tag):
            row = rows.setdefault(metric.step, {"architecture": None})
            assert tag not in row
            row[tag] = metric.value
    rows[max(rows)]["architecture"] = held.data.tags["optnas.architecture"]
    config = {key: _number(value) for key, value in held.data.params.items()}
    return Shown(config, sorted(rows.items()), held.data.tags["optnas.status"])


def in_trackio(run: Path) -> Shown:
    script = """if True:
        import json, trackio
        (run,) = trackio.Api().runs("optnas")
        from trackio.sqlite_storage import SQLiteStorage
        rows = SQLiteStorage.get_logs("optnas", run.name, run_id=run.id)
        print("\\n" + json.dumps([run.config, rows, [each["title"] for each in run.alerts()]]))
    """
    told = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"TRACKIO_DIR": str(run / "trackio")},
    ).stdout
    config, rows, (status,) = json.loads(told.splitlines()[-1])
    status = status.removeprefix(f"{run.name}: ")
    return Shown(flat(config), [(row["step"], row) for row in rows], status)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def assert_shown(run: Path, shown: Shown) -> None:
    """Each epoch once and equal to its record, with the settings and the end."""
    records = timeless(run)
    measured = RunFolder(run).read_measures("again")
    assert [step for step, _ in shown.rows] == [record["epoch"] for record in records]
    for (_, row), record, line in zip(shown.rows, records, measured, strict=True):
        assert row["valid_loss"] == record["valid_loss"]
        assert row["benchmark/accuracy/cifar10"] == record["benchmark"]["accuracy"]["cifar10"]
        assert row["alpha/0-1/skip_connect"] == record["alpha"][0][1]
        assert row["op_weights/2-3/none"] == record["op_weights"][5][0]
        found = line["values"]["alpha_hessian_max"]
        assert row["measures/again/alpha_hessian_max"] == found
        assert row["architecture"] in (record["architecture"], None)
        assert "measures/sharpness/alpha_hessian_max" not in row  # it is in the record
    folder = RunFolder(run)
    for key in ("arch_optimizer.lr", "identity.hash"):
        assert shown.config[key] == flat(folder.read_config())[key]
    assert shown.rows[-1][1]["architecture"] == records[-1]["architecture"]
    assert shown.status == "done"
    assert not folder.warnings.exists()


@pytest.mark.parametrize(
    ("name", "read"),
    [
        pytest.param("wandb", in_wandb, marks=pytest.mark.thorough),
        pytest.param("trackio", in_trackio, marks=pytest.mark.thorough),
        pytest.param("mlflow", in_mlflow, marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_is_one_run_with_each_epoch_once(
    name: str,
    read: Callable[[Path], Shown],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The process dies after the record of epoch 2 and before its checkpoint."""
    for place in ("HOME", "elsewhere"):
        (tmp_path / place).mkdir()
    monkeypatch.setenv("OPTNAS_HOME", str(cache_folder()))
    monkeypatch.setenv("HOME", str(tmp_path / "HOME"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = {"name": "sharpness", "batch_size": 8, "every": 1}
    measures = {"measures.sharpness.every": 1, "measures.again": again}
    own = TINY | measures | {"tracking.name": name, "search.epochs": 3}
    run = unsaved_run(tmp_path / "run", own)
    for variable in OURS:
        monkeypatch.delenv(variable, raising=False)
    api.resume(run)
    assert not OURS & os.environ.keys()  # of the caller's process
    assert_shown(run, read(run))
    # A search that was taken back and went another way from epoch 2 on.
    *before, last = records = RunFolder(run).read_epochs()
    before[-1]["valid_loss"], last["valid_loss"] = 0.25, 0.5
    (run / "epochs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    folder = RunFolder(run)
    settings = Settings.recorded(folder.read_config())
    guard = tracker_of(settings, folder)
    guard.start(settings)
    guard.finish("done")
    assert_shown(run, read(run))
    plain = {"config.toml", "epochs.jsonl", "result.json", "environment.json", ".lock"}
    plain |= {"checkpoints", "measures"}
    assert {path.name for path in run.iterdir()} == plain | {name, "tracking-id"}
    elsewhere = [path for path in tmp_path.rglob("*") if run not in path.parents and path != run]
    assert not [path for path in elsewhere if path.is_file()]
