"""The folder of a run: locked while a process works in it, begun and replaced whole or not at all.

Importable without torch.
"""

from __future__ import annotations

import contextlib
import copy
import glob
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optnas.base.errors import UserError, fault_of
from optnas.base.escapes import for_shell, for_terminal
from optnas.base.files import (
    TEMPORARY,
    is_locked,
    lock,
    present,
    replaced,
    with_name_of_its_own,
    write_text,
)
from optnas.base.toml import dump_toml, parse_toml, read_text

log = logging.getLogger(__name__)

TRAINING = "training.toml"  # the settings of a stand-alone training in its folder
Place = str | os.PathLike[str]  # a folder is one too


def folder_path(given: Place, key: str = "folder") -> Path:
    """The path of one folder.

    Args:
        given: what was handed over.
        key: the argument that it is, for the error.

    Raises:
        UserError: it is something else, such as a list of paths.
    """
    if isinstance(given, (str, os.PathLike)):
        return Path(given)
    raise UserError(
        f"the path of one folder is due here, and this is of type {type(given).__name__}",
        where="arguments",
        key=key,
        value=given,
        remedy="give one, such as 'runs/a', and call again for each further one",
    )


class Kept:
    """A path that stays where it was when it was given, also when the program goes elsewhere.

    Until then it is told as it was given.

    Args:
        path: relative to the folder in which the program is, or absolute.
    """

    def __init__(self, path: Path):
        self._given, self._whole, self._here = path, path, ""
        if not path.is_absolute():
            with contextlib.suppress(OSError):  # a folder that was removed has no name
                self._here = os.getcwd()
                parent = path.parent.resolve() if ".." in path.parts else path.parent.absolute()
                self._whole = parent / path.name

    def __call__(self) -> Path:
        """The path at this moment."""
        if self._given is self._whole:
            return self._given
        with contextlib.suppress(OSError):
            if os.getcwd() == self._here:
                return self._given
        return self._whole


class Part:
    """A file or folder of fixed name in a `Folder`, wherever that lies at the moment.

    Args:
        *names: of it and of the folders around it, the outermost first.
    """

    def __init__(self, *names: str):
        self._names = names

    def __get__(self, folder: Folder, owner: type[Folder]) -> Path:
        return folder.path.joinpath(*self._names)


class BusyError(UserError):
    """Another process is running in a folder."""


class Folder:
    """A run's folder and the configuration in it.

    Args:
        path: the folder; it need not exist yet. It stays the same if the program goes elsewhere.

    Raises:
        UserError: it is no path of one folder.
    """

    config = Part("config.toml")
    warnings = Part("warnings.txt")
    checkpoint = Part("checkpoints", "last.pt")
    _lock = Part(".lock")

    def __init__(self, path: Place):
        self._kept = Kept(with_name_of_its_own(folder_path(path)))
        self._config: tuple[str, dict[str, Any]] | None = None  # as last read: text, document

    @property
    def path(self) -> Path:
        """As it was given, absolute once the program has left the folder where it was given."""
        return self._kept()

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"

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
                where the block ends by any exception before the new one's first checkpoint.

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
        here = ""
        with contextlib.suppress(OSError):  # a folder that was removed has no name
            here = os.getcwd()
        # Held while it stands aside: whoever finds it unheld knows that its process is gone.
        with self.locked():
            with self._told():
                self.path.rename(former)
            try:
                yield
            except BaseException as error:  # an interruption and a full memory too
                if self.checkpoint.exists():
                    self._drop(former, here)
                else:
                    self._make_way(former, told=not isinstance(error, UserError))
                raise
            # A search that diverged at epoch 0 has ended, and leaves no checkpoint.
            if self.config.exists():
                self._drop(former, here)

    def _drop(self, former: Path, here: str) -> None:
        """Remove the run that was replaced; whoever stands in its folder steps into the new one."""
        shutil.rmtree(former, ignore_errors=True)
        if Path(here).is_relative_to(self.path.resolve()):
            with contextlib.suppress(OSError):
                os.chdir(here)
            told = f"{here} is another folder now; a shell that stands in it goes there by: cd ."
            log.warning("optnas: warning: %s", for_terminal(told))

    def _make_way(self, former: Path, *, told: bool) -> None:
        """Put the run that stood aside in the place of one that never began."""
        try:
            if self.path.exists():
                with self.locked():
                    self._take_back()
            former.rename(self.path)
        except (OSError, UserError):
            where = (
                f"{former}: the former run of {self.path} still lies here, and can be moved back"
            )
            log.warning("optnas: warning: %s", for_terminal(where))
            return
        if told:
            ended = "the former run is back: the new one ended before its first checkpoint"
            log.warning("optnas: warning: %s", for_terminal(f"{self.path}: {ended}"))

    def put_back(self) -> None:
        """Bring back the run that stood aside for one that was killed before it began.

        Nothing happens where there is none, where the new run has begun, or where that is refused.
        """
        with contextlib.suppress(OSError, UserError):
            former = self.former()
            if former is not None and not self.config.exists():
                self._put_back(former)

    def _put_back(self, former: Folder) -> None:
        with former.locked():
            if self.path.exists():
                with self.locked():
                    self._refuse_occupied()
                    self._take_back()
            former.path.rename(self.path)
            told = "this run is back: the one that was to replace it was killed before it began"
            self.warn(told)
            log.warning("optnas: warning: %s", for_terminal(f"{self.path}: {told}"))

    def former(self) -> Folder | None:
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
        return Folder(max(left, key=lambda path: path.stat().st_mtime)) if left else None

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
                except BaseException as error:
                    bad_input = isinstance(error, UserError) and not self.checkpoint.exists()
                    if bad_input or not self.config.exists():
                        self._take_back()
                    raise
        except BaseException:
            for folder in made:  # what is not empty stays
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
                remedy=f"choose another, add --overwrite, or: optnas resume {for_shell(self.path)}"
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

    def refused(self, error: OSError) -> bool:
        """Whether it is this folder that an operating system refuses, and no file of others."""
        names = (error.filename, error.filename2)  # bytes, or a descriptor, are of others
        paths = [Path(each).absolute() for each in names if isinstance(each, (str, os.PathLike))]
        inside = any(each.is_relative_to(self.path.absolute()) for each in paths)
        return inside or fault_of(error) == "disk"

    def unwritable(self, error: OSError) -> UserError:
        """An operating system's refusal (read-only, full disk, no permission) as bad input."""
        return UserError(
            f"cannot write here ({error.strerror or error})",
            key="--out",
            value=str(self.path),
            remedy="choose a folder that can be written, with space left",
        )

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
            if present(self.path / TRAINING):
                raise UserError(
                    "this is a training, and no run",
                    where=self.path,
                    remedy="to go on with it, give the command that began it once more: "
                    f"optnas train ... --out {for_shell(self.path)}",
                )
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
            or type(identity.get("numbers_version")) is not int  # true is none
        ):
            raise UserError(
                "has no hash and numbers version under [identity], as a run's has",
                where=self.config,
                remedy="restore the file, or move the folder elsewhere",
            )
        return identity
