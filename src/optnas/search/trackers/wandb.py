"""Weights & Biases, offline: every number of every epoch, under RUN/wandb.

optnas search tracking.name=wandb ... --out runs/a
wandb leet runs/a/wandb
wandb sync runs/a/wandb/offline-run-*
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from optnas.base import variables
from optnas.base.contents import Status
from optnas.base.records import Record, RunFolder
from optnas.base.registry import register
from optnas.search.settings.model import Settings
from optnas.search.trackers.shown import Curves, demand_packages, identifier

if TYPE_CHECKING:
    from wandb import Run

FOLDER = "wandb"


@register("tracker", "wandb")
def wandb(project: str = "optnas", entity: str = "", alpha: bool = True) -> WeightsAndBiases:
    """Follow a run with Weights & Biases, without a network.

    Args:
        project: to which ``wandb sync`` uploads.
        entity: the user or team to which it uploads; empty for the default of whoever uploads.
        alpha: also one curve per edge and operation, of alpha and of the operation weights.

    Raises:
        UserError: wandb is not installed.
    """
    demand_packages("wandb", "wandb")
    return WeightsAndBiases(project, entity, alpha)


class WeightsAndBiases:
    """Writes the records as history, the settings with their hash as config, the end as summary.

    A log of wandb can only grow. Each start therefore writes it anew from epochs.jsonl under the
    same run id, so that a resumed run is one run with each epoch once. Nothing goes to a network,
    and no host, user, code or package is noted.

    Args:
        project: as of `wandb`.
        entity: as of `wandb`.
        alpha: as of `wandb`.
    """

    def __init__(self, project: str, entity: str, alpha: bool):
        self._project, self._entity, self._alpha = project, entity, alpha
        self._run: Run
        self._curves: Curves

    def start(self, settings: Settings, folder: RunFolder) -> None:
        """Write the log of all epochs so far."""
        path = folder.path.absolute() / FOLDER
        # Read when wandb is imported or starts its own process; by default under the home folder.
        cache = str(path / "cache")
        with variables.given(WANDB_CACHE_DIR=cache, WANDB_ERROR_REPORTING="false"):
            self._run = self._begun(settings, folder, path)
        self._curves = Curves(settings, folder, self._alpha)
        self._write(folder.read_epochs())

    def _begun(self, settings: Settings, folder: RunFolder, path: Path) -> Run:
        import wandb

        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        run: Run = wandb.init(
            id=identifier(folder),
            project=self._project,
            entity=self._entity or None,
            name=folder.path.absolute().name,
            config=settings.document(),
            dir=folder.path,
            settings=wandb.Settings(
                mode="offline",
                reinit="create_new",  # whatever else this process logs is another's
                host="none",
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                save_code=False,
                x_save_requirements=False,
                x_disable_stats=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
            ),
        )
        return run

    def record(self, record: Record) -> None:
        """Log an epoch's numbers; the step is the epoch."""
        self._write([record])

    def finish(self, status: Status) -> None:
        """Note the status in the summary, and close the log."""
        self._run.summary["status"] = status
        self._run.finish(exit_code=0 if status == "done" else 1)

    def _write(self, records: list[Record]) -> None:
        for record, numbers in self._curves.of(records):
            row = {**numbers, "architecture": record["architecture"]}
            self._run.log(row, step=record["epoch"], commit=True)
