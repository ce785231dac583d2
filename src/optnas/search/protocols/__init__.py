"""Published search protocols as TOML files, and the reading of protocol files by name or path."""

from __future__ import annotations

from optnas.base.toml import Shelf

SHELF = Shelf("protocol", "search/protocols")
names, load, text_of = SHELF.names, SHELF.load, SHELF.text_of
