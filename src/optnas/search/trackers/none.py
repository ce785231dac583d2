"""Nobody looks on."""

from __future__ import annotations

from optnas.base.contents import Status
from optnas.base.records import Record, RunFolder
from optnas.base.registry import register
from optnas.search.settings.model import Settings


@register("tracker", "none")
class Nobody:
    """The tracker that does nothing."""

    def start(self, settings: Settings, folder: RunFolder) -> None:
        """Do nothing."""

    def record(self, record: Record) -> None:
        """Do nothing."""

    def finish(self, status: Status) -> None:
        """Do nothing."""
