"""Text of data made safe for what shows it: a terminal, a spreadsheet, LaTeX, a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

# C0 but tab and newline, delete, C1, and halves of surrogate pairs, which no stream can encode.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "_&%#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


def for_terminal(text: str) -> str:
    r"""Text that moves no cursor and sets no title: control characters as ``\x1b``.

    Newline and tab stay.

    Example:
        >>> for_terminal("a\x1b[2Jb")
        'a\\x1b[2Jb'
    """
    return _CONTROLS.sub(_named, text)


def _named(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def for_csv(cell: object) -> object:
    """A cell that no spreadsheet computes: text that begins as a formula gets an apostrophe.

    Numbers stay, those written as text too: ``-1`` is a value and no formula.

    Example:
        >>> for_csv("=1+1"), for_csv("-1e-3"), for_csv(-1)
        ("'=1+1", '-1e-3', -1)
    """
    if not isinstance(cell, str) or not cell.startswith(_FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def for_latex(text: str) -> str:
    r"""Text for a LaTeX document, its special characters escaped.

    Example:
        >>> for_latex("./my_file.py:A")
        './my\\_file.py:A'
    """
    return text.translate(_LATEX)


def for_shell(path: object) -> str:
    """A path as it is typed in a shell, for a command that is advised.

    Example:
        >>> for_shell("runs/a"), for_shell("my runs/a")
        ('runs/a', "'my runs/a'")
    """
    return shlex.quote(str(path))


def shortened(text: str, most: int) -> str:
    """The beginning of a text and three points, if it is longer than ``most`` characters."""
    return text if len(text) <= most else f"{text[:most]}..."


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first of some names, and how many more there are.

    Args:
        names: at least one.
        most: so many are named.

    Example:
        >>> listed(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
