"""Runs as tasks of a Ray cluster, one process each; a lost node's runs go on elsewhere.

Every node must see the study's folder, the data and this installation under the same paths. A task
that was lost with its node is submitted again by Ray and goes on from the run's last checkpoint.
"""

from __future__ import annotations

import signal
from collections.abc import Collection
from pathlib import Path
from typing import Any

from optnas.base import variables
from optnas.base.errors import UserError
from optnas.base.registry import register
from optnas.study.engines.base import Engine, Job
from optnas.study.worker import execute


class _Ray:
    def __init__(self, address: str, gpus: float, retries: int):
        self._ray: Any = _import_ray()
        self._gpus, self._retries = gpus, retries
        self._owned = not self._ray.is_initialized()
        if self._owned:
            try:
                with variables.given(RAY_USAGE_STATS_ENABLED="0"):
                    self._ray.init(
                        address=None if address == "local" else address,
                        include_dashboard=False if address == "local" else None,
                        log_to_driver=False,
                    )
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise UserError(
                    f"cannot reach the cluster ({' '.join(str(error).split())[:100]})",
                    key="engine.address",
                    value=address,
                    remedy="start it with: ray start --head, or write address=local",
                ) from error

    def start(self, job: Job) -> Any:
        # One process per run: it ends with its task and gives its memory back.
        task = self._ray.remote(
            num_cpus=job.threads, num_gpus=self._gpus, max_retries=self._retries, max_calls=1
        )(_execute)
        return task.remote(str(job.folder), dict(job.settings))

    def wait(self, handles: Collection[Any], seconds: float) -> dict[Any, str]:
        ready, _ = self._ray.wait(list(handles), num_returns=len(handles), timeout=seconds)
        return {handle: self._how(handle) for handle in ready}

    def _how(self, handle: Any) -> str:
        try:
            return f"exit code {self._ray.get(handle)}"
        except self._ray.exceptions.RayError as error:
            return f"{type(error).__name__}"

    def interrupt(self, handle: Any) -> None:
        self._ray.cancel(handle)  # a KeyboardInterrupt in the task

    def close(self) -> None:
        if self._owned:
            self._ray.shutdown()


def _execute(folder: str, settings: dict[str, Any]) -> int:
    # Ray cancels by an interrupt of the main thread, which a process whose ancestors ignore SIGINT
    # would not notice.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return execute(Path(folder), settings)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "the engine needs the package ray",
            key="--engine",
            value="ray",
            remedy="pip install 'optnas[ray]'",
        ) from error
    return ray


@register("engine", "ray")
def ray(address: str = "auto", gpus: float = 0.0, retries: int = 3) -> Engine:
    """A Ray cluster.

    Args:
        address: of the cluster; ``auto`` is the running one, ``local`` starts one on this machine.
        gpus: GPUs of one run, also a fraction: with 0.25 four runs share one.
        retries: how often Ray submits a run again after its node or process was lost.

    Raises:
        UserError: Ray is not installed, there is no such cluster, or a number is negative.
    """
    for key, value in (("gpus", gpus), ("retries", retries)):
        if value < 0:
            raise UserError(
                "is not negative", key=f"engine.{key}", value=value, remedy="write 0 or more"
            )
    return _Ray(address, gpus, retries)
