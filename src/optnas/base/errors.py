"""The one error a user is meant to read, where its key was written, and the nearest valid name."""

from __future__ import annotations

import contextlib
import difflib
import errno
import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from optnas.base.escapes import shortened

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_DIVERGED = 3

COMMAND_LINE = "command line"
# What a remedy says of one setting, as a command line writes it.
SETTING = re.compile(r"(?P<verb>write|add|set) (?P<key>\w[\w-]*(\.[\w-]+)+)=(?P<value>[^\s,;]+)")
IN_RESULT = "as result.json says"  # a note on the error that ended a search

# Characters of an error that are told: of a key or a value, and of its other parts.
LONGEST_VALUE = 200
LONGEST_PART = 2000
FEW = 3  # names that are all offered
MOST = 60  # names that one line lists


Fault = Literal["program", "environment", "disk"]
# What the machine refuses: memory, permission, open files, a server that is gone; a disk is full or
# cannot be written.
OF_THE_MACHINE = {
    *(errno.EACCES, errno.EPERM, errno.ENOMEM, errno.EAGAIN, errno.EIO, errno.EMFILE, errno.ENFILE),
    *(errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV, errno.EHOSTDOWN),
    getattr(errno, "EREMOTEIO", errno.EIO),  # Linux alone has it
}
OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
OUT_OF_MEMORY = ("OutOfMemoryError", "can't allocate memory", "out of memory")


def fault_of(error: BaseException | None) -> Fault:
    """Whose fault an error is: what the environment refused may go well another time.

    Args:
        error: the error; what it was raised from counts too.

    Returns:
        ``disk`` where nothing can be written, which concerns all runs alike, ``environment`` for
        memory, permission and the like, else ``program``.
    """
    seen: set[int] = set()  # what was raised twice may be its own cause
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        told = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError) and error.errno in OF_THE_DISK:
            return "disk"
        if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
            return "environment"
        # torch's errors, which are known by their words alone where torch is not loaded
        if isinstance(error, MemoryError) or (
            isinstance(error, RuntimeError) and any(words in told for words in OUT_OF_MEMORY)
        ):
            return "environment"
        error = error.__cause__
    return "program"


class UserError(Exception):
    """Bad input, told in one line: where, which key and value, why, and the way out.

    The command line prints ``optnas: error: WHERE: key = value: reason; remedy`` and exits with 2.

    Args:
        reason: what is wrong, in one clause.
        where: the file, or ``command line``.
        key: the dotted key or argument at fault, if there is one.
        value: its value, shown as the user wrote it, the first 200 characters of it.
        remedy: what to do, in one clause; where a TOML file is at fault, `in_toml`.
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
        if remedy and str(where).partition(": ")[0].endswith(".toml"):
            remedy = in_toml(remedy)
        self.reason, self.remedy, self.where = reason, remedy, where
        self.key, self.value = key, value
        head = shortened(str(where), LONGEST_PART)
        if key is not None:
            head += f": {shortened(key, LONGEST_VALUE)}"
            head += "" if value is None else f" = {_shown(value)}"
        text = f"{head}: {shortened(reason, LONGEST_PART)}"
        text += f"; {shortened(remedy, LONGEST_PART)}" if remedy else ""
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


def _shown(value: Any) -> str:
    """A value as the user wrote it, as far as it is worth reading."""
    if isinstance(value, str):
        return f"'{shortened(value, LONGEST_VALUE)}'"
    try:
        return shortened(str(value), LONGEST_VALUE)
    except (RecursionError, ValueError):  # nested too deeply, or a number of too many digits
        return f"(a value of type {type(value).__name__})"


@dataclass
class Origins:
    """Which file or command line wrote each setting: where an error's place is looked up, once.

    Attributes:
        default: the place of what nobody wrote, such as a setting that is missing.
        written: the place of each written value, by its dotted key, the latest last.
    """

    default: object = field(default=COMMAND_LINE, compare=False)
    written: dict[str, object] = field(default_factory=dict, compare=False)

    def note(self, section: str, values: Mapping[str, Any], where: object) -> None:
        """Remember who wrote the values of a section, inner tables included."""
        for key, value in values.items():
            if isinstance(value, Mapping) and value:
                self.note(f"{section}.{key}", value, where)
            else:
                self.forget(f"{section}.{key}")
                self.written[f"{section}.{key}"] = where

    def forget(self, key: str) -> None:
        """A value or section starts afresh."""
        self.written = {k: v for k, v in self.written.items() if not f"{k}.".startswith(f"{key}.")}

    def place(self, error: UserError) -> UserError:
        """The same error, told of the place that its key was written in."""
        # Whoever named a place, such as a file of images, knows better; an option is no setting.
        key = error.key or ""
        if key.startswith("-") or error.where != COMMAND_LINE:
            return error
        for known, where in reversed(self.written.items()):
            if f"{key}.".startswith(f"{known}.") or (key and known.startswith(f"{key}.")):
                return error.at(where)
        return error.at(self.default)

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """What is raised inside names the place of its key."""
        try:
            yield
        except UserError as error:
            placed = self.place(error)
            if placed is error:
                raise
            raise placed from error


def in_toml(remedy: str) -> str:
    """A remedy, as far as it is said for a command line, as a file writes it.

    Args:
        remedy: such as of a `UserError`; one that names a command or an option stays.

    Example:
        >>> in_toml("write parts.0.half_of.KEY=VALUE")
        'write half_of = { KEY = VALUE } in parts.0'
        >>> in_toml("write algorithm.name=darts")
        'write name = "darts" in algorithm'
    """
    return remedy if "optnas " in remedy or "--" in remedy else SETTING.sub(_in_toml, remedy)


def _in_toml(found: re.Match[str]) -> str:
    *sections, key = found["key"].split(".")
    value = found["value"]
    plain = re.fullmatch(r"VALUE|true|false|[-+.\d]+(e[-+]?\d+)?|[\[{\"'].*", value)
    # Of a character beyond U+FFFF JSON's escapes are two, which TOML does not take.
    told = f"{key} = {value if plain else json.dumps(value, ensure_ascii=False)}"
    if key == "KEY":
        told, sections = f"{sections[-1]} = {{ {told} }}", sections[:-1]
    return f"{found['verb']} {told}" + (f" in {'.'.join(sections)}" if sections else "")


def offered(names: Sequence[str]) -> str:
    """A remedy that names a few valid names, all of them; empty of none, and of more than a few."""
    return f"did you mean {' or '.join(names)}?" if 0 < len(names) <= FEW else ""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """A remedy that names the nearest valid name, else lists them, `MOST` at most.

    Args:
        name: what the user wrote.
        valid: the names that would have been accepted.

    Returns:
        ``did you mean X?``, of a few names that begin with it all, or ``use one of: A, B, C``.

    Example:
        >>> did_you_mean("dart", ["darts", "random"])
        'did you mean darts?'
        >>> did_you_mean("sdarts", ["darts", "sdarts-adv", "sdarts-rs"])
        'did you mean sdarts-adv or sdarts-rs?'
    """
    names = sorted(valid)
    folded = {candidate.lower(): candidate for candidate in names}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    begun = [each for each in names if each.lower().startswith(name.lower())]
    if name and begun and not (near and folded[near[0]] in begun) and len(begun) <= FEW:
        return offered(begun)
    if near:
        return f"did you mean {folded[near[0]]}?"
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return f"use one of: {', '.join(names[:MOST])}{more}"
