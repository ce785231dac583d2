"""The start log of a run folder: who began the run when, and how each execution ended."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
from typing import Any

from optnas.base.contents import check_event
from optnas.base.errors import UserError
from optnas.base.files import append_lines, present
from optnas.base.json import parse_object
from optnas.base.records import FINISHED, RunFolder
from optnas.base.toml import read_text


class StartLog:
    """``starts.jsonl`` of a run folder: a line when a process begins it, a line when it ends.

    Written by whoever holds the folder's lock. Exactly one line says ``done`` or ``diverged``.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: RunFolder):
        self.path = folder.path / "starts.jsonl"

    def add(self, event: str) -> None:
        """Append one line and wait until it is on disk.

        Args:
            event: ``start``, or how the execution ended.
        """
        line = {
            "event": event,
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "host": socket.gethostname(),
            "process": os.getpid(),
        }
        append_lines(self.path, json.dumps(line) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All whole lines; one that is no JSON object was torn by a power cut.

        Returns:
            The events in order.

        Raises:
            UserError: the file cannot be read, or a whole line tells no event.
        """
        if not present(self.path):
            return []
        events = []
        for number, line in enumerate(read_text(self.path).splitlines(), start=1):
            where = f"{self.path} line {number}"
            try:
                event = parse_object(line, where)
            except UserError:
                continue
            check_event(event, where)
            events.append(event)
        return events

    def begun(self, after: int) -> float | None:
        """When the execution under way began, in seconds since 1970; None while none is.

        Args:
            after: how many lines there were before it: the last of them may be the start of an
                execution that was killed.
        """
        later = self.read()[after:]
        if not later or later[-1]["event"] != "start":
            return None
        with contextlib.suppress(ValueError):
            return datetime.datetime.fromisoformat(later[-1]["time"]).timestamp()
        return None

    def completed(self) -> int:
        """How many executions ended the run."""
        return sum(event["event"] in FINISHED for event in self.read())

    def settle(self, status: str) -> None:
        """Note the completion of a finished run whose process was killed before it could.

        Args:
            status: how the run ended.
        """
        if self.read() and not self.completed():
            self.add(status)
