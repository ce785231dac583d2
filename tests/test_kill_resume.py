"""Processes killed at any moment and resumed end where an uninterrupted run ends, bit for bit.

The references are made in this process, the killed runs are processes of the console script.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from cases import (
    Answer,
    assert_same_run,
    console,
    copied,
    finish,
    interrupted_run,
    start,
    timeless,
    tiny_search,
    unwarned,
)
from tiny import TINY

from optnas.base import registry
from optnas.base.records import RunFolder
from optnas.search import api

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MOMENTS = Path(__file__).with_name("moments")
EPOCHS = 12  # so that training takes about as long as importing torch
INTERRUPTED = ["optnas: interrupted; go on with: optnas resume out"]
PAIRS = [("SGD", "SGD"), ("SGD", "Adam"), ("Adam", "SGD"), ("Adam", "Adam")]
VARIANTS: dict[str, dict[str, Any]] = {
    **{name: {"algorithm.name": name} for name in registry.names("algorithm")},
    **{f"darts-{w}-{a}": {"weight_optimizer.name": w, "arch_optimizer.name": a} for w, a in PAIRS},
    "unrolled": {"algorithm.hypergradient": "unrolled", "weight_optimizer.name": "Adam"},
    "in passes": {"search.valid_order": "passes", "augmentation.cutout": 3},
    "batch statistics": {"protocol": "nats-bench"},
}
del VARIANTS["darts"]  # that is darts-SGD-Adam


@pytest.fixture(autouse=True)
def _sigint_reaches_children() -> Iterator[None]:
    """A suite started in the background ignores SIGINT, and its children would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def duration(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds of an uninterrupted process."""
    began = time.monotonic()
    code, *_ = console(tiny_search(search__epochs=EPOCHS), tmp_path_factory.mktemp("whole"))
    assert code == 0
    return time.monotonic() - began


def go_on(out: Path, settings: Sequence[str]) -> list[str]:
    """The command that goes on with whatever a killed process left."""
    if (out / "config.toml").exists():
        return ["resume", out.name]
    for entry in out.iterdir() if out.exists() else ():
        assert entry.name == ".lock" or fnmatch(entry.name, "config.toml.*.partial")
    return [*settings, "--out", out.name]


def killed(arguments: Sequence[str], cwd: Path, after: float, number: int) -> Answer:
    """Start a process and send it a signal after some seconds."""
    process = start(arguments, cwd)
    time.sleep(after)
    process.send_signal(number)
    return finish(process)


def assert_told(answer: Answer, number: int, out: Path) -> None:
    """An interruption is told in one line and an exit code of its own."""
    code, _, err = answer
    if code == 0:  # it had been done before the signal came
        assert RunFolder(out).read_result()["status"] == "done"
    elif number != signal.SIGKILL and code == 128 + number:
        assert unwarned(err) == [INTERRUPTED[0].replace("resume out", f"resume {out.name}")]
    else:  # Python had not come as far as optnas
        assert code == -number


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_at_any_time(variant: str, duration: float, tmp_path: Path) -> None:
    settings = TINY | {"search.epochs": EPOCHS} | VARIANTS[variant]
    api.run(settings, out=tmp_path / "reference")
    out, draw = tmp_path / "out", random.Random(variant)
    search = ["search", *(f"{key}={value}" for key, value in settings.items())]
    for limit in (1.0, duration, duration):
        number = draw.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
        moment = draw.uniform(0, limit)
        answer = killed(go_on(out, search), tmp_path, moment, number)
        epochs = len(RunFolder(out).read_epochs())
        print(f"signal {number} after {moment:.2f} s: code {answer[0]}, {epochs} records")
        assert_told(answer, number, out)
    code, _, err = console(go_on(out, search), tmp_path)
    assert (code, unwarned(err)) == (0, [])
    assert_same_run(out, tmp_path / "reference")


def ended_at(moment: str, arguments: Sequence[str], cwd: Path) -> Answer:
    """Run a process that meets a signal at a moment of its own."""
    return console(arguments, cwd, PYTHONPATH=str(MOMENTS), MOMENT=moment)


# A start syncs config.toml and its folder, environment.json and its folder; then each epoch its
# record, its checkpoint, the checkpoint's folder (epoch 0 twice: its checkpoint is kept); at last
# result.json and its folder. A resume begins with environment.json.
STARTING = [
    ("fsync 1 SIGKILL", "config.toml written, not renamed"),
    ("fsync 2 SIGKILL", "config.toml in place, nothing else"),
    ("replace 1 SIGKILL", "environment.json not renamed"),
    ("fsync 3 SIGKILL", "a record without checkpoint"),
    ("fsync 3 60000", "half a checkpoint"),
    ("replace 2 SIGKILL", "the kept checkpoint not renamed"),
    ("fsync 5 SIGKILL", "the kept checkpoint in place, no last one"),
    ("replace 3 SIGKILL", "the first checkpoint not renamed"),
    ("fsync 7 SIGKILL", "the first checkpoint in place"),
]
LATER = [
    ("fsync 2 HALF", "half a record"),
    ("fsync 3 SIGTERM", "a record without checkpoint"),
    ("fsync 3 60000", "half a checkpoint"),
    ("fsync 4 SIGINT", "a checkpoint not renamed"),
    ("replace 2 SIGTERM", "a checkpoint not renamed"),
    ("rename 1 SIGTERM", "the checkpoint before it not renamed"),
    ("link 1 SIGTERM", "the checkpoint before it has no second name"),
    ("fsync 6 SIGKILL", "the last record without checkpoint"),
    ("fsync 6 SIGKILL", "result.json not renamed"),
    ("fsync 4 SIGTERM", "result.json in place"),
]
CODES = {"SIGKILL": -9, "SIGINT": 130, "SIGTERM": 143}


def test_killed_while_starting(tmp_path: Path) -> None:
    reference, out = tmp_path / "reference", tmp_path / "out"
    api.run(TINY, out=reference)
    search = tiny_search()
    for moment, what in STARTING:
        answer = ended_at(moment, go_on(out, search), tmp_path)
        assert answer[0] == CODES.get(moment.split()[-1], -signal.SIGXFSZ), (what, answer)
        assert not (out / "result.json").exists()
    assert console(go_on(out, search), tmp_path)[0] == 0
    assert_same_run(out, reference)


def test_ended_while_writing(tmp_path: Path) -> None:
    reference, out = tmp_path / "reference", tmp_path / "out"
    api.run(TINY | {"search.epochs": 3}, out=reference)
    copied(interrupted_run(tmp_path / "begun", search__epochs=3), out)
    half = str((out / "epochs.jsonl").stat().st_size + 500)
    for moment, what in LATER:
        answer = ended_at(moment.replace("HALF", half), ["resume", "out"], tmp_path)
        code = CODES.get(moment.split()[-1], -signal.SIGXFSZ)
        assert answer[0] == code, (what, answer)
        if code > 0:
            assert answer[2] == INTERRUPTED
            assert RunFolder(out).read_result() == {"status": "interrupted"}
            assert not list(out.rglob("*.partial"))
    assert console(["resume", "out"], tmp_path)[0] == 0
    assert_same_run(out, reference)


# Read in the same way as those of tests/moments; a signal comes when a module is looked up.
AT_IMPORT = """
import os, signal, sys


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == os.environ["MODULE"]:
            os.kill(os.getpid(), getattr(signal, os.environ["SIGNAL"]))


sys.meta_path.insert(0, Finder)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("module", ["torch._C", "torch.autograd", "optnas.search.loop"])
def test_interrupted_while_torch_is_loaded(name: str, module: str, tmp_path: Path) -> None:
    """Torch's C++ would turn an exception into an abort, if it came at the wrong moment."""
    (tmp_path / "sitecustomize.py").write_text(AT_IMPORT)
    at = {"PYTHONPATH": str(tmp_path), "MODULE": module, "SIGNAL": name}
    assert console(tiny_search(), tmp_path, **at) == (CODES[name], [], INTERRUPTED)
    assert go_on(tmp_path / "out", []) == ["resume", "out"]


def test_the_first_second(tmp_path: Path) -> None:
    """A process killed in its first second leaves nothing, or a run that can be resumed."""
    draw = random.Random("first second")
    began, process = time.monotonic(), start(tiny_search(out="timed"), tmp_path)
    while not (tmp_path / "timed/config.toml").exists() and process.poll() is None:
        time.sleep(0.005)
    print(f"config.toml after {time.monotonic() - began:.2f} s")
    process.kill()
    finish(process)
    for position in range(6):
        out = tmp_path / f"out{position}"
        killed(tiny_search(out=out.name), tmp_path, draw.uniform(0, 1), signal.SIGKILL)
        print(f"left: {sorted(os.listdir(out)) if out.exists() else 'nothing'}")
        go_on(out, tiny_search(out=out.name))
    assert console(go_on(out, tiny_search(out=out.name)), tmp_path)[0] == 0
    assert console(["resume", "timed"], tmp_path)[0] == 0
    assert timeless(out) == timeless(tmp_path / "timed")
