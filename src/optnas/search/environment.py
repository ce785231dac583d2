"""What a run was computed with."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from optnas.base.errors import UserError
from optnas.search.settings.model import MOST_THREADS, RunSection, Settings

PACKAGES = ("optnas", "torch", "numpy", "pyarrow", "pillow", "analog-nasbench")


def describe_environment(run: RunSection) -> dict[str, Any]:
    """Versions, machine and command of one start.

    Args:
        run: threads, device and stepper.

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
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": run.threads,
        "device": run.device,
        "stepper": run.stepper,
        "cuda": torch.version.cuda,
    }


def processor() -> str:
    """The processor and the instructions that torch uses on it, such as ``AMD EPYC, AVX512``.

    Sums of floating-point numbers differ in the last bits between processors, and training
    amplifies that: equal bits are promised where this and the versions are equal.
    """
    import torch

    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):  # Linux tells the model here, other systems above
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}"


def computing(settings: Settings) -> AbstractContextManager[None]:
    """Let torch compute as the settings of a search say inside the block; see `exactly`."""
    return exactly(settings.run.threads, tf32=settings.supernet.precision == "tf32")


@contextlib.contextmanager
def exactly(threads: int, *, tf32: bool = False) -> Iterator[None]:
    """Let torch compute the same bits each time inside the block.

    With so many threads on the CPU. On a GPU by algorithms that give the same bits each time, and
    float32 is multiplied as such unless ``tf32``, which torch by itself allows in convolutions.

    Args:
        threads: of the CPU.
        tf32: whether a GPU multiplies float32 numbers by their leading bits.

    Yields:
        Nothing.
    """
    import torch

    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic
    with cpu_threads(threads):
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic = tf32, tf32, True
        try:
            yield
        finally:
            cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic = before


@contextlib.contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads inside the block.

    Yields:
        Nothing.

    Raises:
        UserError: there are no so many.
    """
    import torch

    if not 1 <= count <= MOST_THREADS:
        raise UserError(
            "is no number of threads",
            key="threads",
            value=count,
            remedy=f"use 1 to {MOST_THREADS}",
        )

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
