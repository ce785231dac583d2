"""What a tracker is: three calls. It looks on; nothing it does can move a number.

A factory registered with ``@register("tracker", NAME)`` returns one; its parameters are the
settings under ``tracking``. Importable without torch.
"""

from __future__ import annotations

from typing import Protocol

from optnas.base.contents import Status
from optnas.base.records import Record, RunFolder
from optnas.search.settings.model import Settings


class Tracker(Protocol):
    """Follows one start of a run, from `start` to `finish`.

    What it is given it must not change. If it raises, it is let go: see
    `optnas.search.trackers.guard`.
    """

    def start(self, settings: Settings, folder: RunFolder) -> None:
        """The run starts, or goes on from its last checkpoint.

        Args:
            settings: of the run.
            folder: of the run. ``folder.read_epochs()`` are the records so far, cut off where a
                resumed run goes on: what a tracker has of later epochs is void.
        """
        ...

    def record(self, record: Record) -> None:
        """An epoch has ended; its record and its checkpoint are on disk.

        Args:
            record: the epoch's line of epochs.jsonl.
        """
        ...

    def finish(self, status: Status) -> None:
        """The start has ended; after kill -9 this call never comes.

        Args:
            status: ``done``, ``diverged``, ``interrupted`` or ``failed``.
        """
        ...
