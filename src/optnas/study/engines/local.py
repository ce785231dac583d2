"""Runs as processes of this machine, the default."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Collection
from typing import Any

from optnas.base.registry import register
from optnas.study.engines.base import Engine, Job

LOG = "worker.log"
Handle = tuple["subprocess.Popen[bytes]", int]


class _Local:
    def start(self, job: Job) -> Handle:
        command = [sys.executable, "-P", "-m", "optnas", "study", "execute", str(job.folder)]
        # A JSON string is a TOML string, so that no folder's name is taken for a number.
        command += [f"{key}={json.dumps(value)}" for key, value in job.settings.items()]
        with (job.folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": str(job.threads)},
                # Ctrl-C in a terminal reaches the whole group; the runner passes it on, once.
                start_new_session=True,
            )
        return process, os.pidfd_open(process.pid)

    def wait(self, handles: Collection[Handle], seconds: float) -> dict[Any, str]:
        ready, _, _ = select.select([end for _, end in handles], [], [], seconds)
        ended = {}
        for handle in handles:
            process, end = handle
            if end in ready:
                code = process.wait()
                os.close(end)
                ended[handle] = f"signal {-code}" if code < 0 else f"exit code {code}"
        return ended

    def interrupt(self, handle: Handle) -> None:
        handle[0].send_signal(signal.SIGINT)

    def close(self) -> None:
        pass


@register("engine", "local")
def local() -> Engine:
    """Processes of this machine."""
    return _Local()
