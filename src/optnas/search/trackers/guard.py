"""A tracker that fails is let go, once and visibly; the run goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from optnas.base import registry
from optnas.base.contents import Status
from optnas.base.errors import UserError
from optnas.base.escapes import for_terminal
from optnas.base.records import Record, RunFolder
from optnas.search.settings.model import Settings
from optnas.search.trackers.base import Tracker

log = logging.getLogger("optnas")


class Guarded:
    """Passes calls on until the first one that raises.

    The failure is one line in the run's ``warnings.txt`` and one on stderr; no call follows it. A
    search of hours is worth more than its curves on a screen, which a resume or a second look at
    epochs.jsonl can draw again.

    Args:
        tracker: whom to pass them on to.
        name: its name, for the line.
        folder: of the run.
    """

    def __init__(self, tracker: Tracker, name: str, folder: RunFolder):
        self._tracker: Tracker | None = tracker
        self._name, self._folder = name, folder
        self._started = False

    def start(self, settings: Settings) -> None:
        """See `Tracker.start`."""
        self._started = True
        self._pass_on(lambda tracker: tracker.start(settings, self._folder), "at the start")

    def record(self, record: Record) -> None:
        """See `Tracker.record`."""
        when = f"at epoch {record['epoch']}"
        self._pass_on(lambda tracker: tracker.record(record), when)

    def finish(self, status: Status) -> None:
        """See `Tracker.finish`; nothing if it was never started."""
        if self._started:
            self._pass_on(lambda tracker: tracker.finish(status), "at the end")

    def _pass_on(self, call: Callable[[Tracker], Any], when: str) -> None:
        if self._tracker is None:
            return
        try:
            call(self._tracker)
        except Exception as error:  # another's code, or another's server
            self._tracker = None
            line = (
                f"tracking by {self._name} stopped {when} ({type(error).__name__}: {error}); "
                f"the run goes on, {self._folder.epochs} has every epoch"
            )
            line = " ".join(line.split())
            self._folder.warn(line)
            log.warning("optnas: warning: %s", for_terminal(line))


def tracker_of(settings: Settings, folder: RunFolder) -> Guarded:
    """The tracker of a run, not started yet.

    Raises:
        UserError: it cannot be made; nothing has begun.
    """
    name = settings.tracking.name
    factory = registry.find("tracker", name, key="tracking.name")
    try:
        tracker = registry.supply(factory, settings.tracking.settings, {}, section="tracking")
    except UserError:
        raise
    except Exception as error:  # another's code
        raise UserError(
            f"it cannot be made ({type(error).__name__}: {error})",
            key="tracking.name",
            value=name,
            remedy="repair it, or set tracking.name=none",
        ) from error
    return Guarded(tracker, name, folder)
