"""Errors in Python's words: arguments instead of options, functions instead of commands.

A `UserError` is written where only the settings are known, for a command line. What Python's
functions raise passes through here.
"""

from __future__ import annotations

import contextlib
import functools
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from optnas.base.errors import COMMAND_LINE, UserError
from optnas.optimizers.signatures import is_torchs

Function = TypeVar("Function", bound=Callable[..., Any])

ARGUMENTS = "arguments"  # the place of what is no setting
# An option, with or without its value; a dotted setting and its value.
OPTION = re.compile(r"--(?P<name>[a-z][a-z-]*)(?: (?P<value>[^\s,;]+)$)?")
SETTING = re.compile(r"\b(?P<key>[a-z_]+(?:\.[\w-]+)+)=(?P<value>[^\s,;]+)")
# What stands on a command line without an option, and the argument it is.
WORDS = {"DIR...": "runs", "-o": "path", "RUN|ARCH": "what"}
# A word of a shell, quoted where it has to be; a comma or semicolon after it is the sentence's.
WORD = r"((?:'[^']*'|\"[^\"]*\"|[^\s'\"])*(?:'[^']*'|\"[^\"]*\"|[^\s'\",;]))"
COMMANDS = (
    (r"add --overwrite", r"pass overwrite=True"),
    (rf"optnas resume {WORD}", r"optnas.resume(\1)"),
    (rf"optnas search -c {WORD} --out DIR", r"optnas.run(config=\1, out=DIR)"),
    (
        rf"optnas search -c {WORD} --out {WORD} --overwrite",
        r"optnas.run(config=\1, out=\2, overwrite=True)",
    ),
    (
        rf"optnas measure {WORD} (\S+:([\w-]+))(?= |$)",
        r"optnas.measure(\1, {\3: {'name': \2, ...}})",
    ),
    (rf"optnas measure {WORD} {WORD} --again", r"optnas.measure(\1, {\2: {}}, again=True)"),
    (rf"optnas measure {WORD} ([\w-]+)(?= |$)", r"optnas.measure(\1, {\2: {...}})"),
    (r"optnas list shows the runs below a folder", r"optnas.find_runs(FOLDER) finds runs"),
)


def in_python(text: str) -> str:
    """A remedy, as far as it is said for a command line, in Python's words.

    Example:
        >>> in_python("set measures.sharpness.every=0, or: optnas resume runs/a")
        "set 'measures.sharpness.every': 0, or: optnas.resume('runs/a')"
    """

    def call(found: re.Match[str], said: str) -> str:
        words = [" ".join(shlex.split(each)) for each in found.groups()]
        quoted = {f"\\{n}": _value(each) for n, each in enumerate(words, start=1)}
        return re.sub(r"\\\d", lambda group: quoted[group[0]], said)

    for command, said in COMMANDS:
        text = re.sub(command, functools.partial(call, said=said), text)
    if re.search(r"\boptnas [a-z]", text):  # a command that has no function
        return text
    text = SETTING.sub(lambda found: f"{found['key']!r}: {_value(found['value'])}", text)
    return OPTION.sub(_argument, text)


def _argument(option: re.Match[str]) -> str:
    name = option["name"].replace("-", "_")
    return name if option["value"] is None else f"{name}={_value(option['value'])}"


def _value(word: str) -> str:
    """A word of a command line as Python writes it; NAME and the like stand for something."""
    if word in ("true", "false"):
        return word.capitalize()
    plain = re.fullmatch(r"[A-Z]+|[-+.\d]+(e[-+]?\d+)?|[\[{\"'].*", word)
    return word if plain and not is_torchs(word) else repr(word)


@contextlib.contextmanager
def told(where: object = ARGUMENTS) -> Iterator[None]:
    """What is raised inside speaks of Python's arguments, unless a command line calls.

    Where it comes from says nothing that it does not say itself, if that is a `UserError` too.

    Args:
        where: what to call the settings.

    Yields:
        Nothing.

    Raises:
        UserError: what was raised inside.
    """
    try:
        yield
    except UserError as error:
        cause: BaseException | None = error
        while isinstance(cause, UserError):
            cause = cause.__cause__
        if where == COMMAND_LINE:
            raise error from cause
        key, place = error.key, error.where
        if place == COMMAND_LINE:
            is_option = key is None or key.startswith("--") or key in WORDS
            if key is not None and is_option:
                key = WORDS.get(key) or key.removeprefix("--").replace("-", "_")
            place = ARGUMENTS if is_option else where
        remedy = error.remedy and in_python(error.remedy)
        kind = type(error)
        raise kind(error.reason, where=place, key=key, value=error.value, remedy=remedy) from cause


def speaking(function: Function) -> Function:
    """A function whose errors are `told`."""

    @functools.wraps(function)
    def spoken(*args: Any, **kwargs: Any) -> Any:
        with told():
            return function(*args, **kwargs)

    return spoken  # type: ignore[return-value]
