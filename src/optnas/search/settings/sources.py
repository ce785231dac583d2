"""The code that settings name and this package does not hold: part of which run they are.

See docs/decisions/0008-identity.md. Importable without torch.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from optnas.optimizers.introduced import OURS
from optnas.search.objects import FOLDER, INSTALLED, WITH_PYTHON

IN_A_FILE = re.compile(r"(?P<file>.+\.py):(?P<name>[^\W\d][\w-]*)")


def sources(tables: Iterable[Any]) -> dict[str, str]:
    """What components of others are loaded from, so that edited code is another run.

    Args:
        tables: sections of settings, with the components in their settings; they are loaded.

    Returns:
        Of a file that is named by path its SHA-256, by the path; of ``module:Object`` that of the
        module's file and of the one that defines the object, by the modules' names; of what is
        installed the version, by ``package NAME``. In order.
    """
    found: dict[str, str] = {}
    for name in _names(tables):
        target, _, attribute = name.rpartition(":")
        if target.endswith(".py"):
            found[target] = hashlib.sha256(Path(target).read_bytes()).hexdigest()
        elif target:
            found |= _of_module(target, attribute)
    return dict(sorted(found.items()))


def _names(tables: Iterable[Any]) -> Iterator[str]:
    """Names of components, and of the components in their settings."""
    for table in tables:
        if isinstance(table, Mapping):
            if isinstance(table.get("name"), str):
                yield table["name"]
            yield from _names(table.values())


def _of_module(module: str, attribute: str) -> dict[str, str]:
    defined = getattr(getattr(sys.modules.get(module), attribute, None), "__module__", None)
    found: dict[str, str] = {}
    for name in {module, defined or module}:
        package, loaded = name.partition(".")[0], sys.modules.get(name)
        file = getattr(loaded, "__file__", None)
        if package in OURS or file is None:
            continue
        versions = _versions(package) if INSTALLED.search(file) else {}
        if versions or (file.startswith(WITH_PYTHON) and not INSTALLED.search(file)):
            found |= versions  # environment.json names Python's own
        else:
            found[name] = _digest(file, id(getattr(loaded, "__spec__", None)))
    return found


@functools.cache
def _digest(file: str, loaded: int) -> str:
    """SHA-256 of a module's file, once after it was loaded: what it is edited to later runs not."""
    del loaded  # tells one loading of the module from another
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


@functools.cache
def _versions(package: str) -> dict[str, str]:
    """The versions of the installed distributions that hold a package."""
    holding = importlib.metadata.packages_distributions().get(package, [])
    return {f"package {name}": importlib.metadata.version(name) for name in holding}


def spelled_alike(value: Any) -> Any:
    """Settings in which one file named in several ways is named in one: ``./FILE.py:NAME``.

    A path from the root stays one, and so does one that leaves the folder by ``..``; a file that
    optnas wrote keeps the name that it was given.

    Args:
        value: a section of settings, or a value in it.

    Example:
        >>> spelled_alike({"name": "mine.py:Mine", "base": "./more/./own.py:own"})
        {'name': './mine.py:Mine', 'base': './more/own.py:own'}
    """
    if isinstance(value, Mapping):
        return {key: spelled_alike(each) for key, each in value.items()}
    if isinstance(value, list):
        return [spelled_alike(each) for each in value]
    found = IN_A_FILE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    path = PurePath(found["file"])
    elsewhere = path.is_absolute() or path.parts[0] in ("..", "~", FOLDER.name)
    return f"{'' if elsewhere else './'}{path.as_posix()}:{found['name']}"
