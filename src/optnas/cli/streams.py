"""Standard streams that never stop what computes: a reader may leave, a disk may be full."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class Shown:
    """A text stream whose writes never fail; what cannot be shown any more is dropped.

    Args:
        stream: the stream behind it.

    Attributes:
        lost: what made it go silent, None while it has not.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.lost: OSError | None = None

    def write(self, text: str) -> int:
        """Show a text, if that is still possible."""
        if self.lost is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Show what was written, if that is still possible."""
        if self.lost is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.lost = error
        # What the stream still holds goes nowhere, else closing it would fail at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _open_what_is_closed() -> None:
    # In their order: each gets the lowest number that is free, its own. A file of a run that got it
    # instead would hold whatever a library prints.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            # Open until the end, as the stream that it stands for.
            stream = open(nowhere, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)


@contextlib.contextmanager
def guarded() -> Iterator[Shown]:
    """Put standard output and error behind streams that cannot fail.

    What their encoding has not is escaped; where one was closed (``>&-``) there is one that leads
    nowhere.

    Yields:
        Standard output, to ask what was lost.
    """
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    before = sys.stdout, sys.stderr
    out = Shown(sys.stdout)
    sys.stdout, sys.stderr = out, Shown(sys.stderr)
    try:
        yield out
    finally:
        out.flush()
        sys.stdout, sys.stderr = before
