"""Trackio: every number of every epoch, in a database of the run or in one for many.

optnas search tracking.name=trackio tracking.folder=runs/trackio ... --out runs/a
TRACKIO_DIR=runs/trackio trackio show --project optnas
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from optnas.base.contents import Status
from optnas.base.records import Record, RunFolder
from optnas.base.registry import register
from optnas.search.settings.model import Settings
from optnas.search.trackers import trackio_process
from optnas.search.trackers.shown import Curves, demand_packages, identifier

FOLDER = "trackio"
LEVELS = {"done": "info", "interrupted": "info"}  # any other end: error


@register("tracker", "trackio")
def trackio(project: str = "optnas", folder: str = "", alpha: bool = True) -> Trackio:
    """Follow a run in Trackio, without a network.

    Args:
        project: the project that the run belongs to; letters, digits, ``-`` and ``_``.
        folder: of the database, trackio's TRACKIO_DIR; empty for one in the run's folder.
        alpha: also one curve per edge and operation, of alpha and of the operation weights.

    Raises:
        UserError: trackio is not installed.
    """
    demand_packages("trackio", "trackio")
    return Trackio(project, folder, alpha)


class Trackio:
    """Writes the records as metrics, the settings with their hash as config, the end as an alert.

    Each start writes the run anew from epochs.jsonl, under the same id. Only trackio's storage is
    used, at once and locally: its own `log` hands over to a thread, which swallows what goes wrong.

    Args:
        project: as of `trackio`.
        folder: as of `trackio`.
        alpha: as of `trackio`.
    """

    def __init__(self, project: str, folder: str, alpha: bool):
        self._project, self._folder, self._alpha = project, folder, alpha
        self._process: subprocess.Popen[str]
        self._curves: Curves
        self._run: dict[str, str]
        self._config: dict[str, Any] | None
        self._step = 0

    def start(self, settings: Settings, folder: RunFolder) -> None:
        """Write all epochs so far."""
        path = Path(self._folder or folder.path / FOLDER).absolute()
        ours = {k: v for k, v in os.environ.items() if not k.startswith("TRACKIO_")}
        ours |= {"TRACKIO_DIR": str(path), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        self._process = subprocess.Popen(
            # -P: beside the script lie files of the names of libraries.
            [sys.executable, "-P", trackio_process.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ours,
            text=True,
            start_new_session=True,  # Ctrl-C is the search's to hear
        )
        name = folder.path.absolute().name
        self._run = {"project": self._project, "run": name, "run_id": identifier(folder)}
        self._config = settings.document()
        self._ask("delete_run")
        self._curves = Curves(settings, folder, self._alpha)
        self._write(folder.read_epochs())

    def record(self, record: Record) -> None:
        """Write an epoch's numbers; the step is the epoch."""
        self._write([record])

    def finish(self, status: Status) -> None:
        """Write the status as an alert, and let the process end."""
        title, level = f"{self._run['run']}: {status}", LEVELS.get(status, "error")
        self._ask("bulk_alert", titles=[title], texts=[None], levels=[level], steps=[self._step])
        self._process.communicate()

    def _write(self, records: list[Record]) -> None:
        rows, steps = [], []
        for record, numbers in self._curves.of(records):
            rows.append({**numbers, "architecture": record["architecture"]})
            steps.append(record["epoch"])
        if rows:  # trackio keeps no config of a run without rows
            self._ask("bulk_log", metrics_list=rows, steps=steps, config=self._config)
            self._config, self._step = None, steps[-1]

    def _ask(self, call: str, **arguments: Any) -> None:
        asked, answered = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answered is not None
        asked.write(json.dumps({"call": call, **self._run, **arguments}) + "\n")
        asked.flush()
        answer = answered.readline()
        problem = json.loads(answer) if answer else "its process has ended"
        if problem:
            self._process.kill()
            self._process.communicate()
            raise RuntimeError(problem)
