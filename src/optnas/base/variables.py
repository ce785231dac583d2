"""Variables of the environment that other libraries read, given for as long as they do."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def given(**defaults: str) -> Iterator[None]:
    """Set variables inside the block that nobody has set: the process is the caller's.

    Args:
        **defaults: their values by name.

    Yields:
        Nothing.
    """
    missing = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)
