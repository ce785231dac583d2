"""What a run was computed with."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import logging
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optnas.base.errors import UserError
from optnas.base.escapes import for_terminal
from optnas.search.settings.model import MOST_THREADS, RunSection, Settings

if TYPE_CHECKING:
    import torch

log = logging.getLogger("optnas")

PACKAGES = ("optnas", "torch", "numpy", "pyarrow", "pillow", "analog-nasbench")


def describe_environment(run: RunSection, device: torch.device) -> dict[str, Any]:
    """Versions, machine and command of one start.

    Args:
        run: threads and stepper.
        device: what is computed on, which ``run.device`` need not say.

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
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
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


def tell_elsewhere(
    starts: Sequence[Mapping[str, Any]], now: Mapping[str, Any], stands: str
) -> None:
    """Say that what goes on here no longer ends in the bits of an uninterrupted run.

    Args:
        starts: the earlier ones, the latest last.
        now: this one, as of `describe_environment`.
        stands: where it goes on, such as ``after epoch 5``.
    """
    if not starts:
        return
    before, told = starts[-1], []
    for key in ("processor", "gpu", "threads"):
        # A record that another version or an export made need not say it.
        if key in before and before[key] != now[key]:
            told.append(f"{key} {now[key] or 'none'} (was {before[key] or 'none'})")
    versions, was = now["packages"]["torch"], before.get("packages", {}).get("torch")
    if was is not None and was != versions:
        told.append(f"torch {versions} (was {was})")
    if told:
        log.warning(
            "optnas: warning: goes on %s with another %s: the rest is right, and not bit for bit "
            "that of an uninterrupted run",
            stands,
            for_terminal("; ".join(told)),
        )


def computing(settings: Settings) -> AbstractContextManager[None]:
    """Let torch compute as the settings of a search say inside the block; see `exactly`."""
    return exactly(settings.run.threads, tf32=settings.supernet.precision == "tf32")


@contextlib.contextmanager
def exactly(threads: int, *, tf32: bool = False) -> Iterator[None]:
    """Let torch compute the same bits each time inside the block, whatever surrounds it.

    With so many threads on the CPU. On a GPU by algorithms that give the same bits each time, and
    float32 is multiplied as such unless ``tf32``, which torch by itself allows in convolutions.

    Args:
        threads: of the CPU.
        tf32: whether a GPU multiplies float32 numbers by their leading bits.

    Yields:
        Nothing.
    """
    import torch

    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    with cpu_threads(threads), multiplying(tf32=tf32), undisturbed():
        # A benchmark chooses by the clock, among algorithms that may round differently.
        cudnn.deterministic, cudnn.benchmark = True, False
        try:
            yield
        finally:
            cudnn.deterministic, cudnn.benchmark = before


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Leave outside the block how the calling program lets torch compute.

    That is by autocast in fewer bits, without gradients, or on another device by default. A mode of
    torch slows every call of its inside: what nobody has set is not touched.

    Yields:
        Nothing.
    """
    import torch

    with contextlib.ExitStack() as modes:
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        if torch.is_inference_mode_enabled():
            modes.enter_context(torch.inference_mode(mode=False))
        if not torch.is_grad_enabled():
            modes.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))
        yield


@contextlib.contextmanager
def multiplying(*, tf32: bool) -> Iterator[None]:
    """Let torch multiply float32 numbers as such inside the block, whatever the program has said.

    Torch has a switch for all products, one for those of each library and one for each kind; one
    that says "none" follows those above it. The older ones (``allow_tf32``,
    `torch.set_float32_matmul_precision`) set these, and cannot be read where they were set apart,
    as in the block. A kind of product is given a value only where it had one of its own: that of
    convolutions on a GPU begins with one that nobody can set again.

    Args:
        tf32: whether a GPU multiplies by their leading bits; a CPU never does.

    Yields:
        Nothing.
    """
    import torch

    every: Any = torch.backends  # its stubs lack these attributes
    cudnn, mkldnn = every.cudnn, every.mkldnn
    gpu, cpu = "tf32" if tf32 else "ieee", "ieee"
    kinds = [
        *((kind, gpu) for kind in (cudnn.conv, cudnn.rnn, every.cuda.matmul)),
        *((kind, cpu) for kind in (mkldnn.conv, mkldnn.rnn, mkldnn.matmul)),
    ]
    said = every.fp32_precision
    every.fp32_precision = "none"  # else it would be what the next two seem to say
    of_gpu, of_cpu = cudnn.fp32_precision, mkldnn.fp32_precision
    own: list[tuple[Any, str]] = []
    try:
        cudnn.fp32_precision = gpu
        # Set as an attribute it would be that of all products.
        mkldnn.set_flags(_fp32_precision=cpu)
        for kind, wanted in kinds:
            if kind.fp32_precision != wanted:
                own.append((kind, kind.fp32_precision))
                kind.fp32_precision = wanted
        yield
    finally:
        for kind, value in own:
            kind.fp32_precision = value
        cudnn.fp32_precision = of_gpu
        mkldnn.set_flags(_fp32_precision=of_cpu)
        every.fp32_precision = said


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
