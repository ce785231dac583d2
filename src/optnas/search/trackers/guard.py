"""A tracker that fails is let go, once and visibly; the run goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from optnas.base import registry
from optnas.base.contents import Status
from optnas.base.errors import UserError
from optnas.base.escapes import for_terminal
from optnas.base.records import FINISHED, Record, RunFolder
from optnas.search.settings.model import Settings
from optnas.search.trackers.base import Tracker

log = logging.getLogger("optnas")
LIMIT_S = 120  # importing a library from a slow disk takes most of a minute


class Guarded:
    """Passes calls on until the first one that raises or does not come back in time.

    The failure is one line in the run's ``warnings.txt`` and one on stderr; no call follows it. A
    search of hours is worth more than its curves on a screen, which a resume or a second look at
    epochs.jsonl can draw again. A search that is taken back to an earlier epoch is a new start to
    its tracker.

    Args:
        tracker: whom to pass them on to.
        name: its name, for the line.
        folder: of the run.
    """

    def __init__(self, tracker: Tracker, name: str, folder: RunFolder):
        self._tracker: Tracker | None = tracker
        self._name, self._folder = name, folder
        self._settings: Settings | None = None
        self._told = -1  # the last epoch that it has been told of
        self._call: threading.Thread | None = None

    def start(self, settings: Settings) -> None:
        """See `Tracker.start`."""
        self._settings = settings
        self._pass_on(lambda tracker: self._start(tracker, settings), "at the start")

    def record(self, record: Record) -> None:
        """See `Tracker.record`."""
        epoch = record["epoch"]
        settings = self._settings
        if settings is not None and epoch <= self._told:  # the record is among those so far
            self._pass_on(lambda tracker: self._anew(tracker, settings), f"at epoch {epoch}")
            return
        self._told = epoch
        self._pass_on(lambda tracker: tracker.record(record), f"at epoch {epoch}")

    def finish(self, status: Status) -> None:
        """See `Tracker.finish`; nothing if it was never started."""
        settings = self._settings
        if settings is None:
            return

        def finish(tracker: Tracker) -> None:
            # The way back may have been the end of the search.
            if status in FINISHED and len(self._folder.read_epochs()) <= self._told:
                self._anew(tracker, settings)
            tracker.finish(status)

        self._pass_on(finish, "at the end")

    def _start(self, tracker: Tracker, settings: Settings) -> None:
        self._told = len(self._folder.read_epochs()) - 1
        tracker.start(settings, self._folder)

    def _anew(self, tracker: Tracker, settings: Settings) -> None:
        tracker.finish("interrupted")
        self._start(tracker, settings)

    def _pass_on(self, call: Callable[[Tracker], Any], when: str) -> None:
        if self._tracker is None:
            return
        tracker, earlier, failures = self._tracker, self._call, list[BaseException]()

        def attempt() -> None:
            try:
                # Alive if Ctrl-C came while it was waited for, not begun if just before its start.
                if earlier is not None and earlier.is_alive():
                    earlier.join()
                call(tracker)
            except BaseException as error:  # another's code, or another's server
                failures.append(error)

        # A thread, since nothing else can leave a server that does not answer.
        self._call = threading.Thread(target=attempt, name="tracking", daemon=True)
        self._call.start()
        self._call.join(LIMIT_S)
        if self._call.is_alive():
            failures.append(TimeoutError(f"no answer within {LIMIT_S} seconds"))
        if failures:
            self._tracker = None
            line = (
                f"tracking by {self._name} stopped {when} "
                f"({type(failures[0]).__name__}: {failures[0]}); "
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
