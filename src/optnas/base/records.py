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

import contextlib
import copy
import glob
import hashlib
import logging
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from optnas.base.contents import Status, check_records, check_result, check_starts
from optnas.base.errors import UserError
from optnas.base.escapes import for_terminal
from optnas.base.files import (
    TEMPORARY,
    append_text,
    is_locked,
    lock,
    present,
    regular,
    replaced,
    write_text,
)
from optnas.base.json import dump_json, parse_json, parse_object, read_lines
from optnas.base.measurements import Measurements
from optnas.base.toml import dump_toml, parse_toml, read_text

log = logging.getLogger(__name__)
FINISHED = ("done", "diverged")
# The first epoch of the search. Epoch 0 is recorded before any step: part of every curve, but no
# epoch at which a search ends, is best, or is correlated. Analysis and stopping rules ask this.
FIRST_EPOCH = 1
Record = dict[str, Any]
Place = str | os.PathLike[str]  # a RunFolder is one too
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


def folder_path(given: Place) -> Path:
    """The path of one folder.

    Raises:
        UserError: it is something else, such as a list of paths.
    """
    if isinstance(given, (str, os.PathLike)):
        return Path(given)
    raise UserError(
        f"the path of one folder is due here, and this is of type {type(given).__name__}",
        where="arguments",
        key="folder",
        value=given,
        remedy="give one, such as 'runs/a', and call again for each further one",
    )


class BusyError(UserError):
    """Another process is running in a folder."""


class RunFolder:
    """One run's folder.

    Args:
        path: the folder; it need not exist yet.

    Raises:
        UserError: it is no path of one folder.
    """

    def __init__(self, path: Place):
        path = folder_path(path)
        self.path = path
        self.config = path / "config.toml"
        self.environment = path / "environment.json"
        self.epochs = path / "epochs.jsonl"
        self.result = path / "result.json"
        self.turns = path / "turns.jsonl"
        self.warnings = path / "warnings.txt"
        self.checkpoint = path / "checkpoints" / "last.pt"
        self.previous = path / "checkpoints" / "previous.pt"
        self.measures = Measurements(path / "measures")
        self._lock = path / ".lock"
        self._config: tuple[str, dict[str, Any]] | None = None  # as last read: text, document

    def __fspath__(self) -> str:
        return str(self.path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder alone. The kernel frees the lock however the process ends.

        Yields:
            Nothing; the lock is held inside the block.

        Raises:
            BusyError: another process holds it.
            UserError: the folder cannot be written.
        """
        with contextlib.ExitStack() as held:
            busy = BusyError(
                "another process is running in this folder",
                where=self.path,
                remedy="wait for it, or choose another folder",
            )
            with self._told():
                held.enter_context(lock(self._lock, busy))
            yield

    def running(self) -> bool:
        """Whether a process holds the folder at this moment."""
        return is_locked(self._lock)

    @contextlib.contextmanager
    def created(self, document: Mapping[str, Any], *, overwrite: bool = False) -> Iterator[None]:
        """Create the folder with its configuration.

        A `UserError` raised inside before the first checkpoint takes everything back.

        Args:
            document: the content of config.toml.
            overwrite: a run that lies there is replaced. It stands aside meanwhile, and comes back
                if the new one cannot begin.

        Yields:
            Nothing; the folder is there and locked inside the block.

        Raises:
            UserError: the folder cannot be made, or holds something already.
        """
        self.put_back()
        with contextlib.ExitStack() as aside:
            if overwrite and self.config.exists():
                aside.enter_context(self._aside())
            aside.enter_context(self._new(document))
            yield

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        """The run that lies here under another name: dropped at the end, back after an error."""
        if not isinstance(self.read_config().get("identity"), Mapping):
            raise UserError(
                "holds no run's configuration, and only a run is overwritten",
                where=self.config,
                remedy="choose another folder",
            )
        former = self.path.with_name(f".{self.path.name}.{os.getpid()}{TEMPORARY}")
        # Held while it stands aside: whoever finds it unheld knows that its process is gone.
        with self.locked():
            with self._told():
                self.path.rename(former)
            try:
                yield
            except UserError:
                if not self.config.exists():
                    former.rename(self.path)
                raise
            finally:
                if self.config.exists():
                    shutil.rmtree(former, ignore_errors=True)

    def put_back(self) -> None:
        """Bring back the run that stood aside for one that was killed before it began.

        Nothing happens where there is none, where the new run has begun, or where that is refused.
        """
        former = self._former()
        if former is None or self.config.exists():
            return
        with contextlib.suppress(OSError, UserError), former.locked():
            if self.path.exists():
                with self.locked():
                    self._refuse_occupied()
                    self._take_back()
            former.path.rename(self.path)
            told = "this run is back: the one that was to replace it was killed before it began"
            self.warn(told)
            log.warning("optnas: warning: %s", for_terminal(f"{self.path}: {told}"))

    def _former(self) -> RunFolder | None:
        """The run that a killed process set aside, the latest of them."""
        left = [
            path
            for path in self.path.absolute().parent.glob(
                f".{glob.escape(self.path.name)}.*{TEMPORARY}"
            )
            if (path / self.config.name).exists()
            and replaced(path) == self.path.name
            and not is_locked(path / self._lock.name)
        ]
        return RunFolder(max(left, key=lambda path: path.stat().st_mtime)) if left else None

    @contextlib.contextmanager
    def _new(self, document: Mapping[str, Any]) -> Iterator[None]:
        with self._told():
            made = [p for p in (self.path, *self.path.parents) if not p.exists()]
            self._refuse_occupied()
        try:
            with self._told():
                self.path.mkdir(parents=True, exist_ok=True)
            with self.locked():
                self._refuse_occupied()
                try:
                    with self._told():
                        write_text(self.config, dump_toml(dict(document)))
                        self.checkpoint.parent.mkdir(exist_ok=True)
                    yield
                except UserError:
                    if not self.checkpoint.exists():
                        self._take_back()
                    raise
        except UserError:
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise

    def _refuse_occupied(self) -> None:
        # A start that was killed before it had written config.toml leaves these two at most.
        def ours(name: str) -> bool:
            partial = name.startswith(self.config.name) and name.endswith(TEMPORARY)
            return partial or name == self._lock.name

        if self.path.exists() and (
            not self.path.is_dir() or not all(ours(entry.name) for entry in self.path.iterdir())
        ):
            raise UserError(
                "the output folder holds something already"
                if self.path.is_dir()
                else "is a file, and a run is a folder",
                key="--out",
                value=str(self.path),
                remedy="choose another, add --overwrite, or: "
                f"optnas resume {shlex.quote(str(self.path))}"
                if self.config.exists()
                else "choose an empty or new folder",
            )

    def _take_back(self) -> None:
        # The folder was empty when this start made or took it: all in it comes from this start.
        with contextlib.suppress(OSError):
            for path in self.path.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self.unwritable(error) from error

    def unwritable(self, error: OSError) -> UserError:
        """An operating system's refusal (read-only, full disk, no permission) as bad input."""
        return UserError(
            f"cannot write here ({error.strerror or error})",
            key="--out",
            value=str(self.path),
            remedy="choose a folder that can be written, with space left",
        )

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
        former = self._former() if epoch >= 0 else None
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
        names = (path.name for path in self.checkpoint.parent.glob("epoch-*.pt"))
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

    def warn(self, line: str) -> None:
        """Note what went wrong beside the numbers; a full disk may be what did."""
        with contextlib.suppress(OSError), self.warnings.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def read_config(self) -> dict[str, Any]:
        """The content of config.toml.

        Raises:
            UserError: there is no run here.
        """
        if not present(self.config):
            self.put_back()
        if not present(self.config):
            raise UserError(
                "there is no run in this folder (no config.toml)",
                where=self.path,
                remedy="check the path; optnas list shows the runs below a folder",
            )
        text = read_text(self.config)
        if self._config is None or self._config[0] != text:
            self._config = text, parse_toml(text, self.config)
        return copy.deepcopy(self._config[1])

    def read_identity(self) -> dict[str, Any]:
        """What config.toml says under ``identity``: hash, numbers version, and more.

        Raises:
            UserError: there is no run here, or hash or numbers version are missing.
        """
        identity = self.read_config().get("identity")
        if (
            not isinstance(identity, dict)
            or not isinstance(identity.get("hash"), str)
            or not isinstance(identity.get("numbers_version"), int)
        ):
            raise UserError(
                "has no hash and numbers version under [identity], as a run's has",
                where=self.config,
                remedy="restore the file, or move the folder elsewhere",
            )
        return identity

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
        resumed = f"optnas resume {shlex.quote(str(self.path))}, or leave it out"
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
        The runs in the order given; a folder without a run stays, for the error that it deserves.

    Raises:
        UserError: one of them is no path.
    """
    if isinstance(runs, (str, os.PathLike)) or not isinstance(runs, Iterable):
        runs = [runs]
    found: list[RunFolder] = []
    for each in runs:
        run = each if isinstance(each, RunFolder) else RunFolder(each)
        found += ([] if run.config.exists() else find_runs(run.path)) or [run]
    return found


def find_runs(folder: Place) -> list[RunFolder]:
    """Every run at or below a folder, sorted by path.

    A config.toml without identity and without records beside it is another program's. A run that a
    killed process set aside is put back, see `RunFolder.put_back`, or no run any more where the one
    that replaces it has begun.
    """
    folder = folder_path(folder)
    for path in sorted(folder.rglob(f".*{TEMPORARY}")):
        name = replaced(path)
        if name is not None:
            RunFolder(path.with_name(name)).put_back()
    # A pattern of a whole name would pass over a link that leads nowhere.
    paths = sorted(path for path in folder.rglob("*.toml") if path.name == "config.toml")
    found = [RunFolder(path.parent) for path in paths]
    return [run for run in found if not _replaced(run) and not _foreign(run)]


def _replaced(run: RunFolder) -> bool:
    name = replaced(run.path)
    return name is not None and RunFolder(run.path.with_name(name)).config.exists()


def _foreign(run: RunFolder) -> bool:
    try:
        return not run.epochs.exists() and "identity" not in run.read_config()
    except UserError:  # whoever reads it says what is wrong
        return False
