"""Classes, functions and instances where a name is accepted: written down, and named by their file.

What a program hands over must mean the same to another process, tomorrow, and to a run's identity.
Its source, with everything of the user's own that it uses, is therefore written to a file of its
own in `FOLDER`, ``optnas-objects/EG-1f3870be274f.py``, and the settings name that file: from there
on it is a component like any other that is named by path. What installed packages hold is imported
there. Importable without torch.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import datetime
import functools
import hashlib
import inspect
import linecache
import numbers
import os
import re
import symtable
import sys
import sysconfig
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import optnas.base
from optnas.base import registry
from optnas.base.errors import UserError
from optnas.base.files import write_text
from optnas.base.toml import require_table
from optnas.optimizers import signatures

FOLDER = Path("optnas-objects")
DIGITS = 12  # of the SHA-256 in a file's name
HEADER = '''"""Written by optnas from what a program gave it; part of the identity of its runs."""

from __future__ import annotations
'''
WRITE_IT = "write it to a file and name it as ./file.py:NAME"
CONSTANTS = (type(None), bool, int, float, complex, str, bytes)
# Where packages are installed; all else is the user's own.
INSTALLED = re.compile(r"[/\\](site|dist)-packages[/\\]")
WITH_PYTHON = (sysconfig.get_path("stdlib"), str(Path(optnas.base.__file__).parents[1]))
Refuse = Callable[[str], UserError]


@contextlib.contextmanager
def named(settings: Mapping[str, Any], where: object) -> Iterator[dict[str, Any]]:
    """Settings in which every object is a name; files written for settings that are refused go.

    Args:
        settings: dotted or nested keys; values may be objects, paths and numbers of any kind.
        where: what to call them in error messages.

    Yields:
        The same of plain values only.

    Raises:
        UserError: an object has no source, or uses what has none.
    """
    require_table(settings, where)
    new: list[Path] = []
    try:
        yield {str(key): _plain(value, str(key), where, new) for key, value in settings.items()}
    except UserError:
        for path in new:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            FOLDER.rmdir()  # not if anything is left in it
        raise


def _plain(value: Any, key: str, where: object, new: list[Path]) -> Any:
    match value:
        case Mapping():
            return {str(k): _plain(v, f"{key}.{k}", where, new) for k, v in value.items()}
        case list() | range():
            return [_plain(each, key, where, new) for each in value]
        case tuple() if type(value) is tuple:
            return [_plain(each, key, where, new) for each in value]
        case None | bool() | int() | float() | str() | datetime.date() | datetime.time():
            return value
        case numbers.Integral():
            return int(value)
        case numbers.Real():
            return float(value)
        case os.PathLike():
            return os.fspath(value)
    # Arrays, tensors and numpy's truth values, without loading either package.
    if type(value).__module__.partition(".")[0] in ("numpy", "torch") and hasattr(value, "tolist"):
        return _plain(value.tolist(), key, where, new)
    return _name_of(value, key, where, new)


def _name_of(value: Any, key: str, where: object, new: list[Path]) -> str:
    def refuse(reason: str) -> UserError:
        return UserError(reason, where=where, key=key, value=_called(value), remedy=WRITE_IT)

    is_code = isinstance(value, (type, types.FunctionType))
    if is_code and not _is_own(value):
        module, name = value.__module__, value.__qualname__
        if "<locals>" in name:
            raise refuse(f"was made inside a function of {module}, and nothing says how")
        if module.startswith("torch.optim.") and signatures.is_torchs(name):
            return name
        return registry.name_of(value) or f"{module}:{name}"
    writer = _Writer(refuse)
    if is_code:
        name = value.__name__
        writer.bind(name, value)
    else:
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(value).__name__).lower()
        body = writer.expression(value)
        writer.parts.append(f"def {name}(**supplied):\n    return {body}\n")
    text = "\n\n\n".join([HEADER + "\n".join(["", *writer.imports]), *writer.parts])
    path = FOLDER / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:DIGITS]}.py"
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise refuse(f"{path} was edited since it was written; remove it, or name it itself")
    else:
        try:
            FOLDER.mkdir(exist_ok=True)
            write_text(path, text)
        except OSError as error:
            raise refuse(f"cannot be written to {path.resolve()} ({error.strerror})") from error
        new.append(path)
    return f"{path.as_posix()}:{name}"


def _called(value: Any) -> str:
    return getattr(value, "__qualname__", None) or f"an instance of {type(value).__qualname__}"


def _is_own(thing: Any) -> bool:
    """Whether a class or function is of no installed package."""
    module = sys.modules.get(thing.__module__)
    return thing.__module__ == "__main__" or module is None or not _is_installed(module)


def _is_installed(module: types.ModuleType) -> bool:
    """Whether a module is of Python, of optnas or of an installed package; built in ones are."""
    file = getattr(module, "__file__", None)
    return file is None or bool(INSTALLED.search(file)) or file.startswith(WITH_PYTHON)


class _Writer:
    """Collects the text of a file in which a name means what it means where an object is from.

    Args:
        refuse: makes the error.
    """

    def __init__(self, refuse: Refuse):
        self.imports: list[str] = []
        self.parts: list[str] = []
        self._refuse = refuse
        self._bound: dict[str, Any] = {}

    def bind(self, name: str, value: Any) -> None:
        """Let a name mean a value, once.

        Raises:
            UserError: it means another already, or nothing says how the value is made.
        """
        inner = inspect.unwrap(value) if callable(value) else value
        if isinstance(inner, types.FunctionType) and _is_own(inner):
            value = inner  # its source has the decorator
        if name in self._bound:
            if self._bound[name] is not value:
                raise self._refuse(f"uses two things called {name}")
            return
        self._bound[name] = value
        if isinstance(value, types.ModuleType) and not _of_optnas(name, value):
            if not _is_installed(value):
                raise self._refuse(
                    f"uses the module {value.__name__}, which is not installed; import what it "
                    "needs of it by name"
                )
            renamed = "" if value.__name__ == name else f" as {name}"
            self.imports.append(f"import {value.__name__}{renamed}")
        elif isinstance(value, (numbers.Number, *CONSTANTS)):
            self.parts.append(f"{name} = {self.expression(value)}")
        elif isinstance(value, (type, types.FunctionType)) and _is_own(value):
            if value.__name__ != name:
                self.bind(value.__name__, value)
                self.parts.append(f"{name} = {value.__name__}")
            else:
                self._define(value)
        elif home := _home(name, value):
            renamed = "" if home[1] == name else f" as {name}"
            self.imports.append(f"from {home[0]} import {home[1]}{renamed}")
        elif isinstance(value, (list, dict, set)):
            raise self._refuse(
                f"uses {name}, a {type(value).__name__} that may change; make it a tuple, or "
                "define it inside"
            )
        elif isinstance(value, (type, types.FunctionType)):
            raise self._refuse(f"uses {name}, which was made inside a function of another package")
        else:
            try:
                made = self.expression(value)
            except UserError as error:
                raise self._refuse(f"uses {name}: {error.reason}") from error
            self.parts.append(f"{name} = {made}")

    def _define(self, thing: Any) -> None:
        """The source of a class or function, behind what it uses."""
        if thing.__name__ == "<lambda>":
            raise self._refuse("a lambda has no source of its own; write it as def")
        text = _source(thing)
        if text is None:
            raise self._refuse(f"the source of {thing.__qualname__} cannot be had")
        space = _namespace(thing)
        for name in _names_in(text):
            if name in space and name != thing.__name__:
                self.bind(name, space[name])
        self.parts.append(text)

    def expression(self, value: Any) -> str:
        """A value as code; what it needs is bound.

        Raises:
            UserError: nothing says how it was made.
        """
        of = self.expression
        match value:
            case float() if value - value != 0:  # infinite or not a number
                return f'float("{value}")'
            case _ if type(value) in CONSTANTS:
                return repr(value)
            case numbers.Integral():
                return repr(int(value))
            case numbers.Real():
                return repr(float(value))
            case type() | types.FunctionType():
                self.bind(value.__name__, value)
                return str(value.__name__)
            case functools.partial():
                self.bind("functools", functools)
                words = [f"{key}={of(each)}" for key, each in value.keywords.items()]
                return f"functools.partial({', '.join(map(of, [value.func, *value.args]))}" + (
                    f", {', '.join(words)})" if words else ")"
                )
            case tuple() if hasattr(value, "_fields"):
                return f"{of(type(value))}({', '.join(map(of, value))})"
            case tuple():
                return f"({' '.join(f'{of(each)},' for each in value)})"
            case list():
                return f"[{', '.join(map(of, value))}]"
            case dict():
                return f"{{{', '.join(f'{of(k)}: {of(v)}' for k, v in value.items())}}}"
            case _ if dataclasses.is_dataclass(value):
                fields = {f: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
                given = (f"{f.name}={of(v)}" for f, v in fields.items() if v is not f.default)
                return f"{of(type(value))}({', '.join(given)})"
        if isinstance(value, types.BuiltinFunctionType):
            raise self._refuse("it is built in and has no source; write a function that calls it")
        raise self._refuse(
            f"nothing says how an instance of {type(value).__qualname__} was made; pass its class, "
            "or a function that returns it"
        )


def _home(name: str, value: Any) -> tuple[str, str] | None:
    """An installed module, and the name that it has for a value."""
    said = getattr(value, "__module__", None), getattr(value, "__name__", name)
    for known in (said[1], name):
        if _of_optnas(known, value):  # deeper paths may change with any release
            return "optnas", known
    loaded = {
        key: module
        for key, module in list(sys.modules.items())
        if isinstance(module, types.ModuleType) and key != "__main__" and _is_installed(module)
    }
    for key in [said[0], *sorted(loaded, key=lambda each: (each.count("."), each))]:
        for known in (said[1], name):
            if key in loaded and vars(loaded[key]).get(known) is value:
                return key, known
    return None


def _of_optnas(name: str, value: Any) -> bool:
    return getattr(sys.modules["optnas"], name, None) is value


def _source(thing: Any) -> str | None:
    """The source of a class or function, None if it cannot be had."""
    text = None
    with contextlib.suppress(OSError, TypeError):
        text = inspect.getsource(thing)
    if text is None and isinstance(thing, type):
        text = _in_a_cell(thing)
    text = text and textwrap.dedent(text).strip("\n") + "\n"  # a cell may lack the last one
    try:
        ast.parse(text or "")
    except SyntaxError:
        return None
    return text


def _in_a_cell(thing: type) -> str | None:
    """The source of a class of a notebook, whose module is no file.

    Its methods know their cell. A class without any is looked for in all cells, and found if they
    define it alike.
    """
    methods = [each for each in vars(thing).values() if isinstance(each, types.FunctionType)]
    codes = [inspect.unwrap(method).__code__ for method in methods]
    lines = {code.co_filename: code.co_firstlineno for code in codes}
    cells = [name for name in lines if name in linecache.cache]
    found = {
        "".join(text[start - 1 : end])
        for cell in cells or [name for name in linecache.cache if not Path(name).exists()]
        for text in [linecache.getlines(cell)]
        for start, end in _definitions(thing.__name__, "".join(text))
        if cell not in lines or start <= lines[cell] <= end
    }
    return found.pop() if len(found) == 1 else None


def _definitions(name: str, text: str) -> Iterator[tuple[int, int]]:
    """First and last lines of the classes of a name."""
    with contextlib.suppress(SyntaxError):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and node.name == name:
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                yield first, node.end_lineno or first


def _namespace(thing: Any) -> dict[str, Any]:
    """What names mean inside a class or function: of its module, and of functions around it."""
    space = dict(vars(sys.modules[thing.__module__])) if thing.__module__ in sys.modules else {}
    inside = [thing, *vars(thing).values()] if isinstance(thing, type) else [thing]
    functions = [each for each in inside if isinstance(each, types.FunctionType)]
    for function in functions:
        space |= function.__globals__
    for function in functions:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        space |= {name: cell.cell_contents for name, cell in cells}
    return space


def _names_in(text: str) -> list[str]:
    """Names that a text takes from outside, those of Python itself too, sorted."""

    def walk(table: symtable.SymbolTable) -> Iterator[str]:
        for symbol in table.get_symbols():
            outer = table.get_type() == "module"
            if symbol.is_referenced() if outer else symbol.is_global():
                yield symbol.get_name()
        for child in table.get_children():
            yield from walk(child)

    return sorted(set(walk(symtable.symtable(text, "<object>", "exec"))))
