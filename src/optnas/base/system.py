"""The one operating system that is refused, before anything is imported that it lacks."""

from __future__ import annotations

import sys
from pathlib import PurePath

from optnas.base.errors import EXIT_BAD_INPUT

REFUSAL = (
    "Windows lacks the file locks and signals that keep a killed search whole; "
    "install and run optnas inside WSL (wsl --install)"
)


def refuse_windows() -> None:
    """Refuse Windows in one line: records are kept whole by flock, fsync of folders and signals.

    Raises:
        ImportError: in a program, which may catch it.
        SystemExit: with the code of bad input, in the command ``optnas`` or ``python -m optnas``.
    """
    if sys.platform != "win32":
        return
    # While Python looks for the package of `python -m optnas`, "-m" stands in the name's place.
    if PurePath(sys.argv[0]).stem in ("optnas", "-m"):
        print(f"optnas: error: {sys.platform}: {REFUSAL}", file=sys.stderr)
        raise SystemExit(EXIT_BAD_INPUT)
    raise ImportError(f"{sys.platform}: {REFUSAL}")
