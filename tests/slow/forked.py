"""The command line in a process of its own that has torch already: a fork, hundreds in a minute."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cases import command

MOMENTS = Path(__file__).parents[1] / "moments"
CRASHED = 99


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, -N after signal N; what it printed; None in time."""

    code: int | None
    out: str
    err: str


def started(words: Sequence[str], cwd: Path, streams: Path, moment: str = "") -> int:
    """Begin a command, in a process that meets a moment (`tests/moments`) if one is named."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    code = CRASHED
    try:
        for stream, place in enumerate((os.devnull, streams / "out", streams / "err")):
            os.dup2(os.open(place, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644), stream)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        os.chdir(cwd)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if moment:
            os.environ["MOMENT"] = moment
            sys.modules.pop("sitecustomize", None)
            sys.path.insert(0, str(MOMENTS))
            __import__("sitecustomize")
        code = command(*words)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(process: int, streams: Path, seconds: float) -> Ended:
    """Wait for a process; one that does not end in time is killed."""
    until, code = time.monotonic() + seconds, None
    while True:
        waited, status = os.waitpid(process, os.WNOHANG)
        if waited:
            code = os.waitstatus_to_exitcode(status)
            break
        if time.monotonic() > until:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            break
        time.sleep(0.005)
    told = [(streams / name).read_text(errors="replace") for name in ("out", "err")]
    return Ended(code, *told)


def answered(
    words: Sequence[str], cwd: Path, streams: Path, *, moment: str = "", seconds: float = 120
) -> Ended:
    """Run a command to its end."""
    return ended(started(words, cwd, streams, moment), streams, seconds)
