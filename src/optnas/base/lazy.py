"""Modules that are imported when first used, so that naming a component does not load torch.

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")
"""

from __future__ import annotations

import importlib
import types
from typing import Any


class _Lazy(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def lazy(name: str) -> types.ModuleType:
    """A stand-in for a module.

    Args:
        name: of the module, such as ``torch``.

    Returns:
        A module whose attributes are those of the named one, which is imported at the first of
        them.
    """
    return _Lazy(name)
