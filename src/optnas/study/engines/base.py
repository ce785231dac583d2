"""The interface of an engine. It only has to go on with run folders; they are the truth."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Job:
    """What an engine is asked to do: `optnas.study.worker.execute` with these arguments.

    Args:
        folder: the run's folder, absolute; every node must see it under this path.
        settings: new values of ``run.*`` and ``data.folder`` by dotted key.
        threads: CPU threads the run computes with.
    """

    folder: Path
    settings: Mapping[str, Any]
    threads: int


class Engine(Protocol):
    """Carries jobs out, each in a process of its own.

    A factory registered with ``@register("engine", NAME)`` returns one; its parameters are the
    settings of ``--engine-set``, and the program supplies ``out``, the study's folder, and
    ``jobs``, what ``--jobs`` asks for. What the engine calls a job (a process, a reference) is its
    own affair, as long as it can be hashed.

    Where jobs go on without the runner and the cluster decides how many do, the factory is
    registered with ``queue=QUEUE``: ``QUEUE(out)`` is a function that returns the folders which are
    in the cluster's queue, whoever submitted them, each with where in it, such as ``job 4_1,
    pending``; of a job that has begun that ends in ``running``.
    """

    def start(self, job: Job) -> Any:
        """Begin a job; an engine may wait for further ones until it is asked to `wait`.

        Returns:
            The engine's own handle of it.
        """

    def wait(self, handles: Collection[Any], seconds: float) -> dict[Any, str]:
        """Wait until a job ends, however it does, but not for longer than some seconds.

        Args:
            handles: the jobs under way.
            seconds: the longest wait.

        Returns:
            The jobs that ended, and in a few words how, such as ``exit code 0``.
        """

    def interrupt(self, handle: Any) -> None:
        """Ask a job to stop as by Ctrl-C, so that its run ends as ``interrupted``.

        Args:
            handle: a job under way.
        """

    def close(self) -> None:
        """Free what the engine holds; every job has ended."""
