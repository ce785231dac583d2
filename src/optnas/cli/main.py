"""The command line as a whole: its commands, signals and exit codes.

Bad input is one line on stderr and exit code 2. Exit codes of a search: 0 done, 1 failed,
2 bad input, 3 diverged, 130 or 143 interrupted.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from optnas.base.errors import (
    EXIT_BAD_INPUT,
    EXIT_DONE,
    EXIT_FAILED,
    IN_RESULT,
    UserError,
)
from optnas.base.escapes import for_shell, for_terminal, shortened
from optnas.cli import (
    benchmark,
    benchmark_train,
    cache,
    data,
    doctor,
    exam,
    lists,
    measure,
    narrow,
    plot,
    protocol,
    search,
    stopping,
    study,
    study_train,
    theory,
    train,
    watch,
)
from optnas.cli.common import listing
from optnas.cli.streams import guarded
from optnas.cli.usage import usage_line

EXIT_INTERRUPTED = 128 + signal.SIGINT
IMPATIENCE = 5.0  # seconds after a signal in which further ones are ignored

LONGEST = 8000  # characters of an error line
# Reason and remedy.
NOT_ALLOWED = ("this user may not use it", "ask its owner for permission, or name another")

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A laboratory for optimizer pairs in differentiable architecture search.",
)


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        from optnas.cli.printing.text import say

        say(f"optnas {version('optnas')}")
        raise typer.Exit


@app.callback()
def _before(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_tell_version, help="Print the version."),
    ] = False,
) -> None:
    """What can stand before a command: told by its own function, also where no command follows."""


app.command()(search.search)
app.command()(search.resume)
app.command(epilog=train.EPILOG)(train.train)
app.command("list", cls=lists.WithKinds)(lists.list_)
app.command(cls=listing("figure"))(plot.plot)
app.command(cls=listing("measure"))(measure.measure)
app.command()(narrow.narrow)
app.command()(exam.exam)
app.command()(cache.cache)
app.command()(doctor.doctor)
app.command()(watch.watch)
app.command(cls=listing("stopping"))(stopping.stopping)
app.command(hidden=True, context_settings={"ignore_unknown_options": True})(stopping.stop)
benchmark.app.command()(benchmark_train.train)
app.add_typer(benchmark.app, name="benchmark")
app.add_typer(data.app, name="data")
app.add_typer(protocol.app, name="protocol")
study.app.command()(study_train.train)
app.add_typer(study.app, name="study")
app.add_typer(theory.app, name="theory")


def _tell(kind: str, error: object) -> None:
    line = shortened(" ".join(str(error).split()), LONGEST)
    print(for_terminal(f"optnas: {kind}: {line}"), file=sys.stderr)


def _refused(error: Exception) -> UserError | None:
    """What the system refuses of a path that a user named, as bad input, whichever command asked.

    A search that had begun has failed, and says so in its folder.
    """
    if not isinstance(error, OSError) or error.filename is None:
        return None
    if IN_RESULT in getattr(error, "__notes__", ()):
        return None
    reasons = {
        errno.ENAMETOOLONG: ("longer than a file's name can be", "check the path"),
        errno.EACCES: NOT_ALLOWED,
        errno.EPERM: NOT_ALLOWED,
    }
    if error.errno not in reasons:
        return None
    reason, remedy = reasons[error.errno]
    return UserError(reason, key="path", value=os.fsdecode(error.filename), remedy=remedy)


def _tell_whose(error: Exception) -> None:
    """The lines of the user's own files that an error came through: they are who can mend it."""
    ours = (str(Path(__file__).parents[1]), sys.prefix, sys.base_prefix)
    for frame in traceback.extract_tb(error.__traceback__):
        # Packages of a user, or of another environment that this one sees, lie elsewhere.
        installed = {"site-packages", "dist-packages"} & set(Path(frame.filename).parts)
        if not installed and not frame.filename.startswith((*ours, "<")):
            place = f"{frame.filename}, line {frame.lineno}, in {frame.name}"
            print(for_terminal(f"  {place}: {frame.line}"), file=sys.stderr)


def _tell_interruption() -> None:
    advice = "run the same command again"
    if sys.argv[1:2] in (["search"], ["resume"]):
        folder = _folder(sys.argv[1:])
        advice = f"go on with: optnas resume {for_shell(folder) if folder else 'DIR'}"
        if "--overwrite" in sys.argv:
            advice += " (where the former run is back: run the same command again)"
    print(for_terminal(f"optnas: interrupted; {advice}"), file=sys.stderr, flush=True)


def _folder(words: list[str]) -> str:
    """The run's folder on the command line of a search or a resume."""
    for place, word in enumerate(words):
        if word in ("--out", "-o"):
            return next(iter(words[place + 1 : place + 2]), "")
        if word.startswith("--out="):
            return word.removeprefix("--out=")
    return next((word for word in words[1:2] if words[0] == "resume"), "")


def _at_home(word: str) -> str:
    """``KEY=~/x`` and ``--option=~/x`` with the home folder: no shell expands ~ inside a word."""
    found = re.fullmatch(r"([\w.-]+=)(~(?:/.*)?)", word, re.DOTALL)
    return word if found is None else found[1] + os.path.expanduser(found[2])


def _torch_is_loading() -> bool:
    spec = getattr(sys.modules.get("torch"), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def main() -> None:
    """Run the command line; never a traceback for bad input."""
    with guarded() as out:
        code = _answered()
        out.flush()
        if code == EXIT_DONE and out.lost and not isinstance(out.lost, BrokenPipeError):
            # A reader that left has seen what it wanted; a full disk has not.
            _tell("failed", f"cannot show all of it ({out.lost.strerror})")
            code = EXIT_FAILED
    sys.exit(code)


@functools.cache
def _built() -> Any:
    # Calling `app` would build every command anew; it also installs a hook for exceptions, which
    # `_answered` catches all.
    return typer.main.get_command(app)


def _answered() -> int:
    """The exit code of the command that stands in the arguments."""
    signals: list[tuple[int, float]] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        # What follows is short and must not be cut off by an impatient second Ctrl-C. Later ones
        # count again: Python drops an exception that is raised inside a finalizer.
        now = time.monotonic()
        if signals and now - signals[-1][1] < IMPATIENCE:
            return
        signals.append((number, now))
        if _torch_is_loading():
            # An exception inside the C++ of torch's import would abort the process. Nothing has
            # begun that would have to be recorded.
            _tell_interruption()
            os._exit(128 + number)
        raise KeyboardInterrupt

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, interrupt)
    try:
        # Outside standalone mode the code of a typer.Exit comes back as the value, and an
        # interruption as the code of one.
        words = [_at_home(word) for word in sys.argv[1:]] or ["--help"]
        code = _built().main(words, prog_name="optnas", standalone_mode=False) or EXIT_DONE
    except UserError as error:
        _tell("error", error)
        code = EXIT_BAD_INPUT
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's
            _tell("error", usage_line(error))
            code = EXIT_BAD_INPUT
        elif refused := _refused(error):
            _tell("error", refused)
            code = EXIT_BAD_INPUT
        else:
            _tell("failed", f"{type(error).__name__}: {error}")
            _tell_whose(error)
            code = EXIT_FAILED
    if code == EXIT_INTERRUPTED:
        _tell_interruption()
        code = 128 + (signals[-1][0] if signals else signal.SIGINT)
    return code
