"""The console script as a user runs it, and what a refusal must look like; shared by the suite."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TINY, assert_same

import optnas
from optnas import cli
from optnas.base.records import Record
from optnas.search import api

CONSOLE = Path(sys.executable).with_name("optnas")
# Other processes run the code under test, also where the script is that of another checkout.
SOURCES = Path(optnas.__file__).parents[1]
TESTED = str(SOURCES) if SOURCES.name == "src" else ""
# optnas: error: FILE or command line: key = value: reason; remedy
FORM = re.compile(r"optnas: error: (?P<told>\S[^\n]*): (?P<reason>\S[^\n]*?); (?P<remedy>\S[^\n]*)")

# A finished process: exit code, lines of stdout and of stderr.
Answer = tuple[int, list[str], list[str]]


def environment(**variables: str) -> dict[str, str]:
    """The environment of a user without data, who keeps no byte code beside their files."""
    return {
        **{name: value for name, value in os.environ.items() if name != "OPTNAS_DATA"},
        "PYTHONPATH": TESTED,
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        **variables,
    }


def start(arguments: Sequence[str], cwd: Path, **variables: str) -> subprocess.Popen[str]:
    """Start the console script with stdout and stderr in pipes."""
    assert CONSOLE.is_file(), "the console script is installed beside the interpreter"
    return subprocess.Popen(
        [CONSOLE, *arguments],
        cwd=cwd,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # pytest or its caller may ignore SIGINT, and a child inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finish(process: subprocess.Popen[str], timeout: float = 200) -> Answer:
    """Wait for a process."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"no end after {timeout} s: {out}{err}") from None
    return process.returncode, out.splitlines(), err.splitlines()


def console(arguments: Sequence[str], cwd: Path, **variables: str) -> Answer:
    """Run the console script to its end."""
    return finish(start(arguments, cwd, **variables))


def unwarned(told: Sequence[str]) -> list[str]:
    """Lines of stderr beside what a search of an algorithm says of its settings as it begins."""
    said = ("optnas: warning: lambda-darts: ", "optnas: warning: the watch of robust-darts ")
    return [line for line in told if not line.startswith(said)]


def command(*arguments: str) -> int:
    """The command line in this process, its signal handlers taken back."""
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    argv, sys.argv = sys.argv, ["optnas", *arguments]
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = argv
        for each, handler in handlers.items():
            signal.signal(each, handler)
    raise AssertionError("main exits")


def inside(arguments: Sequence[str], cwd: Path, **variables: str) -> Answer:
    """What `console` answers, by the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        patch.chdir(cwd)
        patch.delenv("OPTNAS_DATA", raising=False)
        for name, value in {"COLUMNS": "200", **variables}.items():
            patch.setenv(name, value)
        code = command(*arguments)
    return code, out.getvalue().splitlines(), err.getvalue().splitlines()


def tiny_search(*overrides: str, out: str = "out", **more: Any) -> list[str]:
    """The arguments of a search of a second; ``a__b=1`` stands for ``a.b=1``."""
    chosen = TINY | {key.replace("__", "."): value for key, value in more.items()}
    return ["search", "--out", out, *(f"{k}={v}" for k, v in chosen.items()), *overrides]


def snapshot(folder: Path) -> dict[str, Any]:
    """Every name below a folder; of files also time of change and content."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        if path.is_file()
        else None
        for path in sorted(folder.rglob("*"))
    }


def refusal(
    arguments: Sequence[str], cwd: Path, *, by: Callable[..., Answer] = inside, **variables: str
) -> str:
    """The one line of a refusal, without ``optnas: error: ``."""
    # One line of the documented form, exit code 2, nothing on stdout, and no change to any file
    # or folder below the working folder. A process of its own (by=console) takes seconds to start.
    before = snapshot(cwd)
    code, out, err = by(arguments, cwd, **variables)
    assert (code, out, len(err)) == (2, [], 1), (code, out, err)
    assert FORM.fullmatch(err[0]), err[0]
    assert snapshot(cwd) == before
    return err[0].removeprefix("optnas: error: ")


def refused(line: object, place: str, remedy: str) -> None:
    """What a refusal is compared by: its place, key and value, and its remedy; not its wording.

    Args:
        line: what was told.
        place: ``WHERE``, ``WHERE: key`` or ``WHERE: key = value``; a key alone has any value.
        remedy: a part of the way out.
    """
    told = str(line).removeprefix("optnas: error: ").strip()
    value = "" if " = " in place else "( = .*?)?"
    found = re.fullmatch(rf"{re.escape(place)}{value}: (?P<reason>.+?); (?P<remedy>.+)", told)
    assert found, f"{told!r} is not told of {place!r}"
    assert remedy in found["remedy"], f"{told!r} does not advise {remedy!r}"


def interrupted_run(out: Path, epochs: int = 1, **more: Any) -> Path:
    """A tiny run that stopped after an epoch, made in this process."""

    def stop(record: Record) -> None:
        if record["epoch"] == epochs:
            raise KeyboardInterrupt

    chosen = TINY | {key.replace("__", "."): value for key, value in more.items()}
    try:
        api.run(chosen, out=out, on_epoch=stop)
    except KeyboardInterrupt:
        return out
    raise AssertionError("the run was to be interrupted")


def unsaved_run(out: Path, settings: Mapping[str, Any]) -> Path:
    """A run whose process died after the record of epoch 2 and before its checkpoint."""
    last, saved = out / "checkpoints" / "last.pt", b""

    def stop(record: Record) -> None:
        nonlocal saved
        if record["epoch"] == 1:
            saved = last.read_bytes()
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.run(settings, out=out, on_epoch=stop)
    last.write_bytes(saved)
    return out


def copied(run: Path, folder: Path) -> Path:
    """A copy of a run folder that a test may spoil."""
    return Path(shutil.copytree(run, folder))


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files by their paths below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


class Hostile:
    """A pickle of it creates a file when it is read without care, which `refusal` would notice."""

    def __reduce__(self) -> Any:
        return os.system, ("touch executed",)


@contextmanager
def tmpfs(folder: Path, options: str) -> Iterator[None]:
    """A real mount, so that even root is refused."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs permission to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def png(width: int = 32, height: int = 32) -> bytes:
    """An encoded image."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (10, 100, 200)).save(buffer, format="PNG")
    return buffer.getvalue()


def cifar10_file(
    images: Sequence[bytes | None] = (), labels: Sequence[int] = (), rows: int = 80
) -> bytes:
    """A parquet file in the layout of the hubs; what is not given is an intact image of class 0."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    encoded = [*images, *[png()] * (rows - len(images))]
    column = pa.array(
        [{"bytes": each, "path": "x.png"} for each in encoded],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    buffer = io.BytesIO()
    given = [*labels, *[0] * (rows - len(labels))]
    pq.write_table(pa.table({"img": column, "label": pa.array(given, pa.int64())}), buffer)
    return buffer.getvalue()


def timeless(run: Path) -> list[Record]:
    """A run's records, strict JSON, without the one key that may differ: ``seconds``."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    lines = (run / "epochs.jsonl").read_text().splitlines()
    records: list[Record] = [json.loads(line, parse_constant=refuse) for line in lines]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


def assert_same_run(run: Path, reference: Path) -> None:
    """All records but their seconds, and all of the last checkpoint."""
    assert timeless(run) == timeless(reference)
    ends = [
        torch.load(each / "checkpoints/last.pt", weights_only=True) for each in (run, reference)
    ]
    for end in ends:
        # Texts of seconds differ, and with them the records.
        for key in ("seconds", "records_bytes", "records_sha256"):
            del end[key]
    assert_same(*ends)
