"""What a run was computed with."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optnas.config import Settings

PACKAGES = ("optnas", "torch", "numpy", "pyarrow", "pillow", "analog-nasbench")


def describe_environment(settings: Settings) -> dict[str, Any]:
    """Versions, machine and command of one start of a run.

    Args:
        settings: the run's settings.

    Returns:
        Strict JSON values.
    """
    import torch

    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": settings.run.threads,
        "device": settings.run.device,
        "cuda": torch.version.cuda,
    }


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute on this many CPU threads inside the block.

    Args:
        count: torch's number of threads.

    Yields:
        Nothing.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
