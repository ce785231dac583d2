"""Loading what others wrote: a Python file by its path, ``module:Object``, an entry point.

The loaded code may fail in any way while it is imported; the failure is then one `UserError`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optnas.base.errors import UserError, did_you_mean
from optnas.base.files import regular

Factory = Callable[..., Any]
# factories by kind and name
Registered = dict[tuple[str, str], Factory]
# A `UserError` that knows already where the name was written.
Refuse = Callable[..., UserError]

# What each file that was loaded by path registers, by the name of its module.
FILES: dict[str, Registered] = {}
# Factories of functions that are a component themselves, by the function's `id`.
ITSELF: dict[int, Factory] = {}
WRITE_IT = "write it as module:Object or ./file.py:Object"


def load_file(target: str) -> tuple[types.ModuleType, Registered]:
    """Load a Python file by path, once as long as it does not change.

    Returns:
        The module, and what the file registered.
    """
    path = regular(Path(target).resolve())
    facts = path.stat()
    return _load_version(path, facts.st_mtime_ns, facts.st_size)


@functools.cache
def _load_version(path: Path, changed: int, size: int) -> tuple[types.ModuleType, Registered]:
    del changed, size  # they tell one version of the file from another
    spec = importlib.util.spec_from_file_location(str(path), path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    FILES[spec.name] = {}
    spec.loader.exec_module(module)
    return module, FILES[spec.name]


def load_object(kind: str, name: str, refuse: Refuse) -> Factory:
    """The factory behind ``module:Object`` or ``./file.py:NAME``.

    Args:
        kind: what is asked for.
        name: what the user wrote. A file's NAME is one it registers, else an attribute of it.
        refuse: makes the error.

    Raises:
        UserError: it cannot be loaded, is not there, or is of another kind.
    """
    target, _, attribute = name.rpartition(":")
    found: Registered = {}
    module = None
    if target.endswith(".py") and not Path(target).exists():
        raise refuse(
            f"there is no file {Path(target)} in {Path.cwd()}, where the command was given",
            remedy="give it in the folder from which the path leads to the file",
        )
    try:
        if target.endswith(".py"):
            module, found = load_file(target)
        else:
            module = importlib.import_module(target)
        factory: Factory = found.get((kind, attribute)) or getattr(module, attribute)
        factory = ITSELF.get(id(factory), factory)
        inspect.signature(factory)
    except (Exception, SystemExit) as error:
        remedy = WRITE_IT
        if module is not None and not hasattr(module, attribute):
            remedy = f"{did_you_mean(attribute, _contents(kind, module, found))} ({WRITE_IT})"
        raise refuse(f"cannot load it ({type(error).__name__}: {error})", remedy=remedy) from error
    _check_named(factory, refuse)
    kinds = {of_kind for (of_kind, _), each in found.items() if each is factory}
    if kinds and kind not in kinds:
        raise refuse(
            f"is registered as {' and '.join(sorted(kinds))}, not as {kind}",
            remedy=f"name a {kind}",
        )
    return factory


def _check_named(factory: Factory, refuse: Refuse) -> None:
    """What a component says of itself is kept under the name that a function or class has."""
    if not hasattr(factory, "__qualname__"):
        raise refuse(
            f"is neither a function nor a class, but of type {type(factory).__name__}",
            remedy="name a function that calls it, with its settings as parameters",
        )


def _contents(kind: str, module: types.ModuleType, found: Registered) -> set[str]:
    """What could have been meant in a module: what it registers, else what it defines."""
    registered = {name for of_kind, name in found if of_kind == kind}
    return registered or defined_in(module)


def defined_in(module: types.ModuleType) -> set[str]:
    """The functions and classes that a module defines itself."""
    return {
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }


def load_entry(entry: importlib.metadata.EntryPoint, home: str, refuse: Refuse) -> Factory:
    """The factory behind an entry point.

    Args:
        entry: the entry point.
        home: what to call the distribution that declares it.
        refuse: makes the error.

    Raises:
        UserError: it cannot be loaded.
    """
    try:
        factory = typing.cast(Factory, entry.load())
        inspect.signature(factory)
    except (Exception, SystemExit) as error:
        raise refuse(
            f"{home} offers it as {entry.value}, which cannot be loaded "
            f"({type(error).__name__}: {error})",
            remedy="repair or uninstall that package",
        ) from error
    _check_named(factory, refuse)
    return ITSELF.get(id(factory), factory)


def registered_by(target: str) -> Registered:
    """What a file registers.

    Returns:
        Factories by kind and name.

    Raises:
        UserError: the file cannot be loaded.
    """
    return loaded_file(target)[1]


def loaded_file(target: str) -> tuple[types.ModuleType, Registered]:
    """A file as of `load_file`.

    Raises:
        UserError: the file cannot be loaded.
    """
    try:
        return load_file(target)
    except (Exception, SystemExit) as error:
        raise UserError(
            f"cannot load it ({type(error).__name__}: {error})",
            where=target,
            remedy="check the path, and that the file runs",
        ) from error
