"""The run folder: what a run leaves behind, readable by anyone with JSON and TOML.

    config.toml        every setting, format, hash, data fingerprint, numbers version
    environment.json   versions and machine of each start
    epochs.jsonl       one strict JSON object per epoch, epoch 0 first
    result.json        how it ended: status done, interrupted, diverged, failed or timeout
    warnings.txt       one line per thing that went wrong beside the numbers; seldom there
    turns.jsonl        one JSON object per way back of a search that watches itself, with the
                       records it left behind; seldom there
    checkpoints/last.pt, previous.pt of the epoch before, and epoch-N.pt for each epoch kept
                       (checkpoints.keep)
    measures/          what measures found, see `optnas.base.measurements`

Importable without torch.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import shutil
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from optnas.base.contents import Status, check_records, check_result, check_starts
from optnas.base.errors import UserError
from optnas.base.escapes import for_shell, for_terminal
from optnas.base.files import (
    TEMPORARY,
    append_text,
    inside,
    present,
    regular,
    replaced,
    write_text,
)
from optnas.base.folder import Folder, Part, Place, folder_path
from optnas.base.json import dump_json, parse_json, parse_object, read_lines
from optnas.base.measurements import Measurements
from optnas.base.toml import read_text

log = logging.getLogger(__name__)
CONFIG = "config.toml"
FINISHED = ("done", "diverged")
# The first epoch of the search. Epoch 0 is recorded before any step: part of every curve, but no
# epoch at which a search ends, is best, or is correlated. Analysis and stopping rules ask this.
FIRST_EPOCH = 1
Record = dict[str, Any]
DELETE = "restore the file, or delete it"


class Written(NamedTuple):
    """The records of a run as far as a checkpoint knows them.

    Attributes:
        size: length of epochs.jsonl, in bytes.
        sha256: digest of those bytes.
    """

    size: int
    sha256: str


NOTHING_WRITTEN = Written(0, hashlib.sha256().hexdigest())


class RunFolder(Folder):
    """One run's folder.

    Args:
        path: the folder; it need not exist yet.

    Raises:
        UserError: it is no path of one folder.
    """

    environment = Part("environment.json")
    epochs = Part("epochs.jsonl")
    result = Part("result.json")
    turns = Part("turns.jsonl")
    previous = Part("checkpoints", "previous.pt")

    @property
    def measures(self) -> Measurements:
        """What measures found."""
        return Measurements(self.path / "measures")

    def start(self, environment: Mapping[str, Any], records: Written, epoch: int) -> None:
        """Note a start, drop an old result, and cut off what is later than the checkpoint.

        Nothing is changed before all is known to fit.

        Args:
            environment: versions and machine; joins those of earlier starts.
            records: those that the checkpoint vouches for.
            epoch: the checkpoint's, -1 without one.

        Raises:
            UserError: the records are not those the checkpoint was written with, or
                environment.json cannot be read.
        """
        starts = self.read_starts()
        self.measures.check()
        self._check_records(records)
        self.cut(records, epoch)
        self.checkpoint.parent.mkdir(exist_ok=True)
        write_text(self.environment, dump_json([*starts, dict(environment)], indent=1) + "\n")
        self.result.unlink(missing_ok=True)
        for leftover in self.path.rglob(f"*{TEMPORARY}"):
            leftover.unlink()
        former = self.former() if epoch >= 0 else None
        if former is not None:  # this run has replaced it
            shutil.rmtree(former.path, ignore_errors=True)

    def cut(self, records: Written, epoch: int) -> None:
        """Cut off what is later than an epoch: records, lines of measures, kept checkpoints.

        Args:
            records: those up to the epoch.
            epoch: the last that stays, -1 for none.
        """
        self._truncate(records.size)
        self.measures.cut(epoch)
        for later in self.kept_epochs():
            if later > epoch:
                self.kept(later).unlink()

    def note_turn(self, turn: Mapping[str, Any]) -> None:
        """Note a way back with the records that it leaves behind; noted twice it stands there once.

        Args:
            turn: strict JSON values; ``back`` is the last epoch whose record stays.
        """
        records = [each for each in self.read_epochs() if each["epoch"] > turn["back"]]
        line = dump_json({**turn, "records": records}) + "\n"
        before = read_text(self.turns) if present(self.turns) else ""
        if not before.endswith(line):
            write_text(self.turns, before + line)

    def read_starts(self) -> list[dict[str, Any]]:
        """Versions and machine of each start, the latest last; none where nothing says.

        Raises:
            UserError: environment.json is not a list of starts.
        """
        if not present(self.environment):
            return []
        starts = parse_json(read_text(self.environment), self.environment, remedy=DELETE)
        if not isinstance(starts, list):
            raise UserError("not a JSON list", where=self.environment, remedy=DELETE)
        check_starts(starts, self.environment)
        return starts

    def kept(self, epoch: int) -> Path:
        """Where the checkpoint of one epoch is kept."""
        return self.checkpoint.with_name(f"epoch-{epoch}.pt")

    def kept_epochs(self) -> list[int]:
        """Epochs with a checkpoint of their own, sorted; the last epoch is in last.pt."""
        names = (path.name for path in inside(self.checkpoint.parent, "epoch-*.pt"))
        matches = (re.fullmatch(r"epoch-(\d+)\.pt", name) for name in names)
        return sorted(int(match[1]) for match in matches if match)

    def append(self, record: Record) -> Written:
        """Append one epoch's record and wait until it is on disk.

        Args:
            record: strict JSON values only.

        Returns:
            The file after it.
        """
        size = append_text(self.epochs, dump_json(record) + "\n")
        return Written(size, self._digest(size))

    def _digest(self, size: int) -> str:
        with regular(self.epochs).open("rb") as file:
            return hashlib.sha256(file.read(size)).hexdigest()

    def _check_records(self, records: Written) -> None:
        reason, size, sha256 = None, *NOTHING_WRITTEN
        try:
            if present(self.epochs):
                sha256, size = self._digest(records.size), self.epochs.stat().st_size
            if size < records.size:
                reason = f"has {size} bytes where the checkpoint expects {records.size}"
            elif sha256 != records.sha256:
                reason = (
                    f"its first {records.size} bytes are not those the checkpoint was written with"
                )
        except OSError as error:
            reason = f"cannot read it ({error.strerror})"
        if reason is not None:
            raise UserError(
                reason, where=self.epochs, remedy="restore the file, or start a new run"
            )

    def _truncate(self, length: int) -> None:
        if self.epochs.exists() and self.epochs.stat().st_size > length:
            os.truncate(self.epochs, length)

    def finish(self, status: Status, **facts: Any) -> dict[str, Any]:
        """Write how the run ended; the content of result.json."""
        result = {"status": status, **facts}
        write_text(self.result, dump_json(result, indent=1) + "\n")
        return result

    def read_result(self) -> dict[str, Any] | None:
        """How the run ended, or None while it has not.

        Raises:
            UserError: result.json says no way in which a run ends.
        """
        if not present(self.result):
            return None
        result = parse_object(read_text(self.result), self.result)
        check_result(result, self.result)
        return result

    def read_epochs(self) -> list[Record]:
        """All complete records; a torn last line (kill -9 while writing) is left out.

        Returns:
            The records of epochs 0, 1, 2, ..., see `optnas.base.columns`.

        Raises:
            UserError: a complete line is no record, an epoch is missing or there twice, or the run
                is done and has not all of them.
        """
        # The result first: whoever writes it has written the records.
        result = self.read_result() or {}
        records = read_lines(self.epochs, torn=result.get("status") not in FINISHED)
        check_records(records, self.epochs)
        if result.get("status") == "done" and len(records) != result["epochs"] + 1:
            raise UserError(
                f"has {len(records)} records, and the run is done after {result['epochs']} epochs",
                where=self.epochs,
                remedy="restore the file",
            )
        return records

    def read_some_epochs(self) -> list[Record]:
        """As `read_epochs`, for what needs a record.

        Raises:
            UserError: there is none yet, or as of `read_config` and `read_epochs`.
        """
        self.read_config()  # where there is no run at all it says so
        records = self.read_epochs()
        if not records:
            raise self.too_young("records")
        return records

    def too_young(self, missing: str) -> UserError:
        """The error of a run that lacks what its first epoch writes."""
        if (self.read_result() or {}).get("status") in FINISHED:  # nothing more will come
            remedy = f"leave it out, or put its {missing} back"
            return UserError(f"the run has no {missing}", where=self.path, remedy=remedy)
        resumed = f"optnas resume {for_shell(self.path)}, or leave it out"
        return UserError(
            f"the run has no {missing} yet",
            where=self.path,
            remedy="wait for its first epoch" if self.running() else resumed,
        )

    def read_measures(self, label: str, **settings: Any) -> list[Record]:
        """What one measure found, one line per measured epoch; see `Measurements.read`.

        Args:
            label: the measure's name, or the label its section gives it.
            **settings: only lines measured with these.

        Returns:
            The lines in order of epochs; none where nothing was measured.
        """
        return self.measures.read(label, **settings)


def given_runs(runs: Place | Iterable[Place]) -> list[RunFolder]:
    """Runs as a program names them.

    Args:
        runs: one or several paths or `RunFolder`, each a run's folder or one with runs below it.

    Returns:
        The runs in the order given, each once; a folder without a run stays, for the error that it
        deserves.

    Raises:
        UserError: one of them is no path.
    """
    if isinstance(runs, (str, os.PathLike)) or not isinstance(runs, Iterable):
        runs = [runs]
    found: dict[Path, RunFolder] = {}
    for each in runs:
        run = each if isinstance(each, RunFolder) else RunFolder(each)
        for one in ([] if run.config.exists() else find_runs(run.path)) or [run]:
            found.setdefault(one.path.resolve(), one)
    return [*found.values()]


def find_runs(folder: Place) -> list[RunFolder]:
    """Every run at or below a folder, sorted by path.

    A config.toml without identity and without records beside it is another program's. A run that a
    killed process set aside is put back, see `RunFolder.put_back`, or no run any more where the one
    that replaces it has begun. Links to folders are followed, and a folder that is reached twice is
    told once, by its own path where that is below. A folder below that may not be entered is named
    in a warning.

    Raises:
        UserError: the folder itself may not be entered, or is no path.
    """
    folder = folder_path(folder)
    places = _walked(folder)
    aside = sorted(path for path in places if replaced(path) is not None)
    for path in aside:
        RunFolder(path.with_name(str(replaced(path)))).put_back()
    paths = sorted(path for path in (_walked(folder) if aside else places) if path.name == CONFIG)
    found = [RunFolder(path.parent) for path in paths]
    return [run for run in found if not _replaced(run) and not _foreign(run)]


def _walked(folder: Path) -> list[Path]:
    """Configurations at or below a folder, and what was set aside."""
    found: list[Path] = []

    def refused(error: OSError) -> None:
        if not isinstance(error, PermissionError):
            return
        if Path(error.filename) == folder:
            raise UserError(
                f"cannot enter this folder ({error.strerror})",
                where=folder,
                remedy="ask its owner for permission, or name another",
            ) from error
        _tell_refused(str(error.filename), error.strerror)

    waiting, seen = deque([folder]), set[Path]()
    while waiting:  # links after all that lies there itself
        for place, folders, files in os.walk(waiting.popleft(), onerror=refused):
            real = Path(place).resolve()
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            found += (Path(place, name) for name in folders if replaced(Path(name)) is not None)
            found += (Path(place, name) for name in (*folders, *files) if name == CONFIG)
            links = (
                Path(place, name) for name in sorted(folders) if os.path.islink(f"{place}/{name}")
            )
            # One that leads up is a loop, and what lies beside the folder was not asked for.
            waiting += (link for link in links if not real.is_relative_to(link.resolve()))
    return found


@functools.cache
def _tell_refused(path: str, why: str) -> None:
    told = f"{path}: passed over, cannot enter this folder ({why})"
    log.warning("optnas: warning: %s", for_terminal(told))


def _replaced(run: RunFolder) -> bool:
    name = replaced(run.path)
    try:
        return name is not None and RunFolder(run.path.with_name(name)).config.exists()
    except OSError:  # whoever reads it says what is wrong
        return False


def _foreign(run: RunFolder) -> bool:
    try:
        return not run.epochs.exists() and "identity" not in run.read_config()
    except (UserError, OSError):  # likewise
        return False
