"""The one error a user is meant to read, and the nearest-name helper behind its remedies."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from typing import Any

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_DIVERGED = 3

COMMAND_LINE = "command line"


class UserError(Exception):
    """Bad input, told in one line: where, which key and value, why, and the way out.

    The command line prints ``optnas: error: WHERE: key = value: reason; remedy`` and exits with 2.

    Args:
        reason: what is wrong, in one clause.
        where: the file, or ``command line``.
        key: the dotted key or argument at fault, if there is one.
        value: its value, shown as the user wrote it.
        remedy: what to do, in one clause.
    """

    def __init__(
        self,
        reason: str,
        *,
        where: object = COMMAND_LINE,
        key: str | None = None,
        value: Any = None,
        remedy: str | None = None,
    ):
        self.reason, self.remedy, self.where = reason, remedy, where
        self.key, self.value = key, value
        head = str(where)
        if key is not None:
            shown = f"'{value}'" if isinstance(value, str) else str(value)
            head += f": {key}" if value is None else f": {key} = {shown}"
        text = f"{head}: {reason}" + (f"; {remedy}" if remedy else "")
        super().__init__(" ".join(text.split()))

    def __reduce__(self) -> tuple[Any, ...]:
        told = {"where": self.where, "key": self.key, "value": self.value, "remedy": self.remedy}
        return functools.partial(type(self), **told), (self.reason,)

    def at(self, where: object) -> UserError:
        """The same error, blamed on another file."""
        return UserError(
            self.reason, where=where, key=self.key, value=self.value, remedy=self.remedy
        )

    def below(self, section: str) -> UserError:
        """The same error of a part, told by the part's place: its key under a section's."""
        return UserError(
            self.reason,
            where=self.where,
            key=f"{section}.{self.key or 'name'}",
            value=self.value,
            remedy=self.remedy,
        )


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """A remedy that names the nearest valid name, else lists them all.

    Args:
        name: what the user wrote.
        valid: the names that would have been accepted.

    Returns:
        ``did you mean X?`` or ``use one of: A, B, C``.

    Example:
        >>> did_you_mean("dart", ["darts", "random"])
        'did you mean darts?'
    """
    names = sorted(valid)
    folded = {candidate.lower(): candidate for candidate in names}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return f"did you mean {folded[near[0]]}?" if near else f"use one of: {', '.join(names)}"
