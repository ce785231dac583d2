"""Runs as jobs of a Slurm cluster, through submitit; a preempted job is queued again.

Every node must see the study's folder, the data and this installation under the same paths.
submitit's own files lie in ``OUT/.submitit``.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from optnas.base.errors import UserError
from optnas.base.registry import register
from optnas.study.engines.base import Engine, Job
from optnas.study.worker import execute

POLL = 0.5  # seconds


class _Execute:
    """What a job calls. ``checkpoint`` is submitit's: called before a preemption, queued again."""

    def __call__(self, folder: str, settings: dict[str, Any]) -> int:
        return execute(Path(folder), settings)

    def checkpoint(self, folder: str, settings: dict[str, Any]) -> Any:
        import submitit

        return submitit.helpers.DelayedSubmission(self, folder, settings)


class _Slurm:
    def __init__(self, folder: Path, cluster: str, parameters: dict[str, Any]):
        submitit = _import_submitit()
        self._executor: Any = submitit.AutoExecutor(folder=folder, cluster=cluster)
        self._executor.update_parameters(**parameters)

    def start(self, job: Job) -> Any:
        self._executor.update_parameters(cpus_per_task=job.threads)
        return self._executor.submit(_Execute(), str(job.folder), dict(job.settings))

    def wait(self, handles: Collection[Any], seconds: float) -> dict[Any, str]:
        until = time.monotonic() + seconds
        while True:
            ended = {handle: _how(handle) for handle in handles if handle.done()}
            if ended or time.monotonic() >= until:
                return ended
            time.sleep(min(POLL, seconds))

    def interrupt(self, handle: Any) -> None:
        handle.cancel(check=False)

    def close(self) -> None:
        pass


def _how(job: Any) -> str:
    try:
        return f"exit code {job.result()}"
    except Exception as error:  # whatever the job raised, wrapped by submitit in one way or another
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {lines[-1]}" if lines else type(error).__name__


def _import_submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        raise UserError(
            "the engine needs the package submitit",
            key="--engine",
            value="slurm",
            remedy="pip install 'optnas[slurm]'",
        ) from error
    return submitit


@register("engine", "slurm")
def slurm(
    out: Path,
    cluster: Literal["slurm", "local"] = "slurm",
    minutes: int = 24 * 60,
    partition: str = "",
    gpus: int = 0,
    memory_gb: int = 4,
) -> Engine:
    """A Slurm cluster.

    Args:
        out: the study's folder.
        cluster: ``local`` runs the same jobs as processes of this machine.
        minutes: time limit of one job; a job that reaches it goes on in another.
        partition: of the cluster; empty is its default.
        gpus: GPUs of one run.
        memory_gb: memory of one run.

    Raises:
        UserError: submitit is not installed, or there is no Slurm on this machine.
    """
    parameters: dict[str, Any] = {"timeout_min": minutes, "mem_gb": memory_gb, "name": "optnas"}
    if gpus:
        parameters["gpus_per_node"] = gpus
    if partition:
        parameters["slurm_partition"] = partition
    try:
        return _Slurm(out.resolve() / ".submitit", cluster, parameters)
    except RuntimeError as error:
        raise UserError(
            f"cannot submit here ({error})",
            key="engine.cluster",
            value=cluster,
            remedy="start it on a login node of the cluster, or write cluster=local",
        ) from error
