"""Whether this machine can search: one check after the other, each with what to do about it.

Nothing but the standard library is imported before a check needs it, so that a broken installation
is told like everything else.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from optnas.base.errors import COMMAND_LINE, UserError

# ``absent`` is what one may do without, such as a data set that was never asked for.
State = Literal["ok", "absent", "wrong"]

NVIDIA = Path("/proc/driver/nvidia/version")  # of a driver that is loaded
VISIBLE = "CUDA_VISIBLE_DEVICES"
ENOUGH = 1 << 30  # bytes; a run of the default protocol keeps some megabytes
# Two steps of each level, of a network that is small enough for a second.
TWO_STEPS = {
    "protocol": "cpu",
    "data.name": "digits",
    "data.train_size": 32,
    "data.valid_size": 32,
    "search.batch_size": 16,
    "search.epochs": 1,
    "supernet.channels": 4,
    "benchmark.table": "none",
    "measures.sharpness.batch_size": 16,
}


class Check(NamedTuple):
    """What one check saw.

    Attributes:
        subject: what was looked at.
        state: ``ok``, ``absent`` or ``wrong``.
        seen: what there is, or what is wrong.
        remedy: what to do about it, or how to get it; may be empty.
    """

    subject: str
    state: State
    seen: str
    remedy: str = ""


def examine_machine(data: Path | None = None, device: str = "auto") -> Iterator[Check]:
    """Look at everything a search needs.

    Args:
        data: the data folder; default: the variable ``OPTNAS_DATA``.
        device: as of ``run.device``.

    Yields:
        What was seen. A check that fails in a way nobody thought of is ``wrong`` too.
    """
    checks: dict[str, Callable[[], Iterator[Check]]] = {
        "versions": _versions,
        "device": functools.partial(_device, device),
        "data": functools.partial(_data, data),
        "tables": functools.partial(_tables, data),
        "cache": _cache,
        "disk": _disk,
        "search": functools.partial(_search, device),
    }
    for subject, check in checks.items():
        try:
            yield from check()
        except UserError as error:
            yield _wrong(subject, error)
        except Exception as error:  # whatever is broken here is what is looked for
            told = f"{type(error).__name__}: {error}".strip(": ")
            yield Check(subject, "wrong", told, "mend the installation, or report it as a bug")


def _wrong(subject: str, error: UserError) -> Check:
    places = [each for each in (error.where, error.key) if each not in (None, COMMAND_LINE)]
    told = ": ".join([*map(str, places), error.reason])
    return Check(subject, "wrong", told, error.remedy or "")


def _versions() -> Iterator[Check]:
    import importlib.metadata as installed
    import platform

    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    python = SpecifierSet(installed.metadata("optnas")["Requires-Python"])
    own = f"Python {platform.python_version()}, optnas {installed.version('optnas')}"
    fits = platform.python_version() in python
    if not fits:
        yield Check("versions", "wrong", own, f"use Python {python}")
    needed = [Requirement(each) for each in installed.requires("optnas") or ()]
    needed = [each for each in needed if not each.marker or each.marker.evaluate({"extra": ""})]
    wrong = {}
    for each in needed:
        try:
            there = installed.version(each.name)
        except installed.PackageNotFoundError:
            wrong[str(each)] = f"{each.name} is not installed"
            continue
        if not each.specifier.contains(there, prereleases=True):
            wrong[str(each)] = f"{each.name} is {there}, and optnas needs {each}"
    for requirement, reason in wrong.items():
        yield Check("versions", "wrong", reason, f'pip install "{requirement}"')
    if fits and not wrong:
        yield Check("versions", "ok", f"{own}, and the {len(needed)} packages it needs")


def _device(name: str) -> Iterator[Check]:
    import joblib
    import torch

    from optnas.search.environment import processor
    from optnas.search.state import pick_device

    chosen = pick_device(name)
    seen = f"torch {torch.__version__}, {chosen}: {processor()}, {joblib.cpu_count()} cores"
    if chosen.type == "cuda":
        about = torch.cuda.get_device_properties(chosen)
        seen = f"torch {torch.__version__}, {chosen}: {about.name}, {_size(about.total_memory)}"
    yield Check("device", "ok", seen)
    if name != "cpu" and NVIDIA.exists() and not torch.cuda.is_available():
        if os.environ.get(VISIBLE, "all").strip() in ("", "-1"):
            reason = f"{VISIBLE}={os.environ[VISIBLE]} hides every GPU"
            yield Check("device", "wrong", reason, "unset it, or use --device cpu")
            return
        built = torch.version.cuda
        reason = f"is built for CUDA {built}" if built else "is built without CUDA"
        yield Check(
            "device",
            "wrong",
            f"there is an NVIDIA driver, and torch, which {reason}, sees no GPU",
            "install the torch for your driver: https://pytorch.org/get-started/locally",
        )


def _data(option: Path | None) -> Iterator[Check]:
    from optnas.base import registry
    from optnas.base.schema import EMPTY, parameters_of
    from optnas.spaces.tables import DATA_VARIABLE, data_folder

    folder = data_folder(option)
    if folder is not None and not folder.is_dir():
        remedy = f"set {DATA_VARIABLE} or --data to a folder, or to nothing"
        yield Check("data", "wrong", f"{folder}: there is no such folder", remedy)
        return
    yield Check("data", "ok", f"folder {folder}" if folder else f"{DATA_VARIABLE} is not set")
    for name in registry.names("dataset"):
        factory, subject = registry.find("dataset", name), f"data {name}"
        parameters = parameters_of(factory, skip=("folder",)).values()
        if any(each.default is EMPTY for each in parameters):  # nobody knows where it lies
            continue
        try:
            own = registry.complete_settings(factory, {}, section="data", skip=("folder",))
            dataset = registry.supply(factory, own, {"folder": folder}, section="data")
        except UserError as error:
            if isinstance(error.where, Path) and error.where.exists():
                yield _wrong(subject, error)
            else:
                yield Check(subject, "absent", error.reason, error.remedy or "")
        else:
            yield Check(subject, "ok", f"{dataset.size:,} images for searches: {dataset.note}")


def _tables(option: Path | None) -> Iterator[Check]:
    from optnas.base import registry
    from optnas.spaces.tables import data_folder, find_source

    folder = data_folder(option)
    for name in registry.names("table"):
        subject = f"table {name}"
        try:
            source = find_source(name)
            if not source.present(folder):
                yield Check(subject, "absent", "is not there", source.obtain)
                continue
            table = source.load(folder)
        except UserError as error:
            yield _wrong(subject, error)
        else:
            held = table.size if table.held is None else int(table.held.sum())
            yield Check(subject, "ok", f"{held:,} cells of {table.space_name}")


def _cache() -> Iterator[Check]:
    from optnas.base import cache

    remedy = "set OPTNAS_HOME to a folder that can be written; till then all is converted anew"
    try:
        folder = cache.cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        held = sum(each.size for files in cache.contents().values() for each in files)
    except RuntimeError as error:  # no home folder
        yield Check("cache", "wrong", str(error), remedy)
    except OSError as error:
        yield Check("cache", "wrong", f"{folder}: cannot write here ({error.strerror})", remedy)
    else:
        yield Check("cache", "ok", f"{folder}, {_size(held)}")


def _disk() -> Iterator[Check]:
    places = {"this folder": Path.cwd(), "temporary files": Path(tempfile.gettempdir())}
    for what, folder in places.items():
        free = shutil.disk_usage(folder).free
        seen = f"{what}: {_size(free)} free in {folder}"
        if free < ENOUGH:
            yield Check("disk", "wrong", seen, "make room, or write runs elsewhere with --out")
        else:
            yield Check("disk", "ok", seen)


def _search(device: str) -> Iterator[Check]:
    from optnas.search import api

    settings: dict[str, Any] = {**TWO_STEPS, "run.device": device}
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = api.run(settings, out=Path(folder) / "run", progress=False)
    took = f"in {time.perf_counter() - began:.1f} s"
    if result["status"] != "done":
        reason = f"two steps on digits end as {result['status']}: {result.get('reason', '')}"
        yield Check("search", "wrong", reason, "report it as a bug, with the output of this")
    else:
        yield Check("search", "ok", f"two steps on digits {took}")


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
