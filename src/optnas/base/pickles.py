"""Pickles from elsewhere, read without running code of their choice.

A pickle can name any importable object and call it. Files that researchers hold (benchmark
archives, image batches) are pickles all the same; they are read by a reader that knows the few
globals such a file needs and refuses every other.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import IO, Any

from optnas.base.errors import UserError

Globals = Mapping[tuple[str, str], Any]


class _Reader(pickle.Unpickler):
    def __init__(self, file: IO[bytes], allowed: Globals, where: object, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self.allowed, self.where = allowed, where

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module, name]
        except KeyError:
            raise UserError(
                f"refused to load the global {module}.{name}",
                where=self.where,
                remedy="use the file its authors published; nothing of it was run",
            ) from None


def load_restricted(
    file: IO[bytes], allowed: Globals, *, where: object, encoding: str = "ASCII"
) -> Any:
    """Unpickle a file that may name only known globals.

    Args:
        file: an open binary file, at the start of the pickle.
        allowed: what (module, name) stands for; anything else is refused.
        where: the file's name, for the error.
        encoding: of strings that Python 2 wrote.

    Returns:
        The object that the pickle holds.

    Raises:
        UserError: the pickle names another global, or it is damaged.
    """
    try:
        return _Reader(file, allowed, where, encoding).load()
    except UserError:
        raise
    # A damaged or hostile pickle may fail in any way, in what it calls as well.
    except Exception as error:
        raise UserError(
            f"cannot read it ({type(error).__name__}: {error})",
            where=where,
            remedy="the file is damaged or of another format; fetch it again",
        ) from error
