"""Published search protocols as TOML files, and the reading of protocol files by name or path."""

from __future__ import annotations

from optnas.base.toml import Shelf

_SHELF = Shelf("protocol", "search/protocols")
names, load, text_of = _SHELF.names, _SHELF.load, _SHELF.text_of
