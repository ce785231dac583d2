"""Runs as processes of this machine, the default."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from optnas.base.errors import UserError
from optnas.base.registry import register
from optnas.base.toml import inline_toml
from optnas.study.engines.base import Engine, Job

LOG = "worker.log"
VISIBLE = "CUDA_VISIBLE_DEVICES"
ASK_EVERY = 0.1  # seconds, of processes that no descriptor tells of


class Handle(NamedTuple):
    """A process, a descriptor that tells of its end, and the GPU it sees, if it was given one."""

    process: subprocess.Popen[bytes]
    end: int | None
    gpu: str | None


class _Local:
    def __init__(self, gpus: Sequence[str]):
        self._gpus, self._runs = gpus, Counter[str | None]()

    def start(self, job: Job) -> Handle:
        command = [sys.executable, "-P", "-m", "optnas", "study", "execute", str(job.folder)]
        # As TOML, so that no folder's name is taken for a number.
        command += [f"{key}={inline_toml(value)}" for key, value in job.settings.items()]
        gpu = min(self._gpus, key=self._runs.__getitem__, default=None)
        own = {} if gpu is None else {VISIBLE: gpu}
        with (job.folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": str(job.threads), **own},
                # Ctrl-C in a terminal reaches the whole group; the runner passes it on, once.
                start_new_session=True,
            )
        self._runs[gpu] += 1
        return Handle(process, _end_of(process), gpu)

    def wait(self, handles: Collection[Handle], seconds: float) -> dict[Any, str]:
        ends = [each.end for each in handles if each.end is not None]
        until, longest = time.monotonic() + seconds, seconds
        if len(ends) < len(handles):
            longest = ASK_EVERY
        while True:
            rest = max(0.0, until - time.monotonic())
            select.select(ends, [], [], min(rest, longest))
            codes = {each: each.process.poll() for each in handles}
            ended = {each: code for each, code in codes.items() if code is not None}
            if ended or rest == 0:
                break
        for handle in ended:
            if handle.end is not None:
                os.close(handle.end)
            self._runs[handle.gpu] -= 1
        return {h: f"signal {-c}" if c < 0 else f"exit code {c}" for h, c in ended.items()}

    def interrupt(self, handle: Handle) -> None:
        handle.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        pass


def _end_of(process: subprocess.Popen[bytes]) -> int | None:
    """What becomes readable when a process ends; None where it has to be asked.

    Linux alone has it, and a process that has begun is not left alone for want of a descriptor.
    """
    try:
        return os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        return None


@register("engine", "local", here=True)
def local(gpus: int = 0) -> Engine:
    """Processes of this machine.

    Args:
        gpus: how many GPUs the runs are spread over evenly, each run seeing one of them; 0 leaves
            the choice to ``run.device``, which is the first GPU for all. ``--jobs`` of them run at
            a time, so ``jobs / gpus`` share a GPU.

    Raises:
        UserError: there are not so many here.
    """
    return _Local(_visible(gpus))


def _visible(count: int) -> list[str]:
    """The first GPUs that this process may use, as their names for a process of its own."""
    if count == 0:
        return []
    import torch

    there = torch.cuda.device_count()
    if not 0 < count <= there:
        raise UserError(
            f"there are {there} GPUs here"
            + (f" ({VISIBLE} is set)" if VISIBLE in os.environ else ""),
            key="gpus",
            value=count,
            remedy=f"set it from 1 to {there}, or leave it out" if there else "leave it out",
        )
    named = os.environ.get(VISIBLE) or ",".join(map(str, range(there)))
    return [name.strip() for name in named.split(",")][:count]
