"""MLflow: every number of every epoch, in a store of the run or in one for many.

optnas search tracking.name=mlflow ... --out runs/a
mlflow ui --backend-store-uri sqlite:///runs/a/mlflow/mlflow.db
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
import warnings
from collections.abc import Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from optnas.base import variables
from optnas.base.contents import Status
from optnas.base.records import Record, RunFolder
from optnas.base.registry import register
from optnas.base.toml import flat
from optnas.search.settings.model import Settings
from optnas.search.trackers.shown import WITNESS, Curves, demand_packages, identifier

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER = "mlflow"
ID, STATUS, CELL = "optnas.id", "optnas.status", "optnas.architecture"  # tags of a run
ENDS = {"done": "FINISHED", "interrupted": "KILLED", "timeout": "KILLED"}  # any other: FAILED
METRICS, PARAMETERS, LETTERS = 1000, 100, 6000  # what MLflow takes in one request, and in one value


@register("tracker", "mlflow")
def mlflow(experiment: str = "optnas", uri: str = "", alpha: bool = True) -> MLflow:
    """Follow a run in MLflow.

    Args:
        experiment: the experiment that the run belongs to; made if it is not there.
        uri: of the store, such as ``sqlite:///runs/mlflow.db`` or ``http://localhost:5000``; empty
            for a database in the run's folder.
        alpha: also one curve per edge and operation, of alpha and of the operation weights.

    Raises:
        UserError: mlflow or what its databases need is not installed.
    """
    demand_packages("mlflow", "mlflow", "sqlalchemy", "alembic")
    return MLflow(experiment, uri, alpha)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """MLflow without its telemetry, which it asks for at every call, and without its chatter."""
    with variables.given(MLFLOW_DISABLE_TELEMETRY="true"):
        import mlflow  # noqa: F401 (sets the level)

        chatter = logging.getLogger("mlflow")
        before = chatter.level
        chatter.setLevel(logging.WARNING)
        try:
            yield
        finally:
            chatter.setLevel(before)


class MLflow:
    """Writes the records as metrics, the settings with their hash as parameters, the end as status.

    A run is found again in its store by its tag ``optnas.id``, and goes on there. MLflow cannot
    take a metric back: a run that shows a void epoch is deleted, as MLflow deletes, and made anew.
    MLflow's own telemetry is switched off.

    Args:
        experiment: as of `mlflow`.
        uri: as of `mlflow`.
        alpha: as of `mlflow`.
    """

    def __init__(self, experiment: str, uri: str, alpha: bool):
        self._experiment, self._uri, self._alpha = experiment, uri, alpha
        self._client: MlflowClient
        self._curves: Curves
        self._run = ""

    @_quiet()
    def start(self, settings: Settings, folder: RunFolder) -> None:
        """Find the run, or make it, and bring it up to the records."""
        from mlflow import MlflowClient

        path = folder.path.absolute() / FOLDER
        if not self._uri:
            path.mkdir(exist_ok=True)
        with warnings.catch_warnings(action="ignore"):  # mlflow's on a newer sqlalchemy
            self._client = MlflowClient(self._uri or f"sqlite:///{path / 'mlflow.db'}")
        known = self._client.get_experiment_by_name(self._experiment)
        experiment = known.experiment_id if known else self._new_experiment(path)
        tag = identifier(folder)
        records = folder.read_epochs()
        present: dict[int, float] = {}
        found = self._client.search_runs([experiment], f"tags.`{ID}` = '{tag}'")
        if found:
            self._run = found[0].info.run_id
            history = self._client.get_metric_history(self._run, WITNESS)
            present = {metric.step: metric.value for metric in history}

        def there(record: Record) -> bool:
            return present.get(record["epoch"]) == record[WITNESS]

        first = len(list(takewhile(there, records)))
        if found and first == len(present):
            self._client.update_run(self._run, "RUNNING")
        else:
            if found:
                self._client.delete_run(self._run)
            first = 0
            name = folder.path.absolute().name
            run = self._client.create_run(experiment, tags={ID: tag}, run_name=name)
            self._run = run.info.run_id
            self._describe(settings)
        self._curves = Curves(settings, folder, self._alpha)
        self._write(records[first:])

    @_quiet()
    def record(self, record: Record) -> None:
        """Write an epoch's numbers; the step is the epoch."""
        self._write([record])

    @_quiet()
    def finish(self, status: Status) -> None:
        """Write the status, in MLflow's word and in ours."""
        self._client.set_tag(self._run, STATUS, status)
        self._client.set_terminated(self._run, ENDS.get(status, "FAILED"))

    def _new_experiment(self, path: Any) -> str:
        # Nothing of ours goes there, but without a place of its own it is the working folder.
        place = None if self._uri else str(path / "artifacts")
        experiment: str = self._client.create_experiment(self._experiment, artifact_location=place)
        return experiment

    def _describe(self, settings: Settings) -> None:
        from mlflow.entities import Param

        values = flat(settings.document())
        parameters = [Param(_named(key), str(value)[:LETTERS]) for key, value in values.items()]
        for at in range(0, len(parameters), PARAMETERS):
            self._client.log_batch(self._run, params=parameters[at : at + PARAMETERS])

    def _write(self, records: list[Record]) -> None:
        from mlflow.entities import Metric

        for record, numbers in self._curves.of(records):
            now, epoch = int(1000 * time.time()), record["epoch"]
            metrics = [Metric(_named(tag), value, now, epoch) for tag, value in numbers.items()]
            for at in range(0, len(metrics), METRICS):
                self._client.log_batch(self._run, metrics=metrics[at : at + METRICS])
            self._client.set_tag(self._run, CELL, record["architecture"])


def _named(tag: str) -> str:
    """A tag in the letters that MLflow knows."""
    return re.sub(r"[^\w.\- :/]", "_", tag)
