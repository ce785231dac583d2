"""Where a program stands, in one line that changes: on a terminal's stderr, or in a notebook."""

from __future__ import annotations

import sys
import time
from typing import Any, Self

from optnas.base.escapes import for_terminal
from optnas.base.records import Record


class Line:
    """A line that replaces itself as long as the block runs; its last text stays.

    Args:
        wanted: None shows it in a terminal and in a notebook, and nowhere else; true also where
            text is only appended, as a line each time.
    """

    def __init__(self, wanted: bool | None = None):
        self._wanted = wanted
        self._live: Any = None
        self._cell: Any = None
        self._last = ""

    def __enter__(self) -> Self:
        if self._wanted is not False and not _in_notebook() and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), refresh_per_second=4)
            self._live.__enter__()
        return self

    @property
    def shown(self) -> bool:
        """Whether anybody sees the text."""
        if self._live is not None or self._wanted:
            return True
        return self._wanted is not False and _in_notebook()

    def show(self, text: str) -> None:
        """Show another text in its place."""
        if text == self._last:
            return
        self._last, text = text, for_terminal(text)
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(text))
        elif self._wanted is not False and _in_notebook():
            from IPython.display import display  # type: ignore[import-not-found]

            if self._cell is None:
                self._cell = display(_Plain(text), display_id=True)
            else:
                self._cell.update(_Plain(text))
        elif self._wanted:
            print(text, file=sys.stderr, flush=True)

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(*error)


class _Plain(str):
    """Text that a notebook shows without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class Epochs(Line):
    """The epochs of one search.

    Args:
        epochs: how many there will be.
        wanted: as of `Line`.
    """

    def __init__(self, epochs: int, wanted: bool | None = None):
        super().__init__(wanted)
        self._epochs = epochs
        self._first: tuple[int, float] | None = None  # epoch and time of the first one told

    def add(self, record: Record) -> None:
        """Tell of one more epoch."""
        epoch, now = record["epoch"], time.monotonic()
        told = [f"epoch {epoch} of {self._epochs}", f"valid {record['valid_accuracy']:.2f} %"]
        table, accuracy = record["benchmark"]["table"], record["benchmark"]["accuracy"]
        told += [f"{name} {value:.2f} % ({table})" for name, value in [*accuracy.items()][:1]]
        if self._first is None or epoch <= self._first[0]:  # a search may go back
            self._first = epoch, now
        elif epoch < self._epochs:
            begun, since = self._first
            left = (now - since) / (epoch - begun) * (self._epochs - epoch)
            told.append(f"about {duration(left)} left")
        self.show(", ".join(told))


def duration(seconds: float) -> str:
    """Seconds as people say them.

    Args:
        seconds: not negative.

    Returns:
        Such as ``45 s``, ``12 min`` or ``3 h 5 min``.

    Example:
        >>> duration(11_100)
        '3 h 5 min'
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours / 24:.1f} days"
