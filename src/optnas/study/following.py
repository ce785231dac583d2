"""Runs followed while they go on: read again and again, those that have ended once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from optnas.base.columns import SUPERNET_ACCURACY
from optnas.base.errors import UserError
from optnas.base.records import Record, RunFolder, given_runs
from optnas.measures.drawing import run_labels
from optnas.study.axes import arms_of, axes_of
from optnas.study.declare import Study, load_study
from optnas.study.folder import locate
from optnas.study.states import State, look_and_read

# What no waiting changes; of the others another start may make more.
OVER: tuple[State, ...] = ("done", "diverged", "failed", "timeout", "unreadable")


class Followed(NamedTuple):
    """A run to be followed: its folder, which arm it is of, its seed, how many epochs it will have.

    A folder that is no run's, or not yet one's, is followed all the same.
    """

    folder: RunFolder
    arm: str
    seed: int | None
    epochs: int


@dataclass(frozen=True)
class Seen:
    """A run at one moment.

    Attributes:
        run: which it is.
        state: as of `optnas.study.states.look`.
        reason: why, where something went wrong.
        records: its epochs so far.
    """

    run: Followed
    state: State
    reason: str = ""
    records: Sequence[Record] = field(default=(), repr=False)

    @property
    def done(self) -> int:
        """Epochs that are finished, epoch 0 not counted."""
        return max(0, len(self.records) - 1)

    @property
    def left(self) -> float | None:
        """Seconds of the epochs to come at the mean pace so far; None while nothing is known."""
        took = [record["seconds"] for record in self.records[1:]]
        if self.state in OVER or not took:
            return 0.0 if self.state in OVER else None
        return sum(took) / len(took) * (self.run.epochs - self.done)


class Following:
    """Looks at runs; what has ended is read once.

    Args:
        runs: the runs.
    """

    def __init__(self, runs: Sequence[Followed]):
        self._runs = runs
        self._over: dict[Path, Seen] = {}

    def look(self) -> list[Seen]:
        """Every run now."""
        return [self._over.get(run.folder.path) or self._look_at(run) for run in self._runs]

    def _look_at(self, run: Followed) -> Seen:
        (state, reason), records = look_and_read(run.folder)
        seen = Seen(run, state, reason, records)
        if state in OVER:
            self._over[run.folder.path] = seen
        return seen


def following(target: str, out: Path | None, data: Path | None = None) -> Following:
    """What a name on the command line stands for.

    Args:
        target: the folder of a run or of runs, else a study.
        out: the study's folder.
        data: the data folder, for a study.

    Raises:
        UserError: there is no such folder or study, or no run in it.
    """
    folder = Path(target)
    if out is None and folder.is_dir():
        runs = [run for run in given_runs(folder) if run.config.exists()]
        if not runs:
            raise UserError(
                "there is no run in this folder",
                key="STUDY|RUN",
                value=target,
                remedy="name a run's folder, or a study and its folder with --out",
            )
        return Following(_of_folders(runs))
    study = load_study(target, {} if data is None else {"data.folder": str(data)})
    if out is None:
        raise UserError(
            "a study needs the folder of its runs",
            key="STUDY|RUN",
            value=target,
            remedy="add --out DIR",
        )
    return Following([*_of_study(study, out)])


def _of_folders(runs: Sequence[RunFolder]) -> list[Followed]:
    configs, search = {}, {}
    for run in runs:
        try:
            config = run.read_config()
            run_labels([config])
            search[run.path] = config["search"]["seed"], config["search"]["epochs"]
            configs[run.path] = config
        except (UserError, LookupError, TypeError, AttributeError):
            continue  # `look_and_read` says why
    labels = dict(zip(configs, run_labels([*configs.values()]), strict=True))
    return [
        Followed(run, labels.get(run.path, run.path.name), *search.get(run.path, (None, 0)))
        for run in runs
    ]


def _of_study(study: Study, out: Path) -> Iterable[Followed]:
    arms = arms_of(axes_of(study), list(study.runs))
    for name, folder in locate(study.runs.values(), out).items():
        search = study.runs[name].settings.search
        yield Followed(folder, arms[name] or study.name, search.seed, search.epochs)


def mean_curve(runs: Sequence[Seen], column: str = SUPERNET_ACCURACY) -> list[float]:
    """The mean of a column by epoch, over the runs that have come so far."""
    curves = [[record[column] for record in seen.records] for seen in runs]
    longest = max(map(len, curves), default=0)
    there = ([curve[at] for curve in curves if len(curve) > at] for at in range(longest))
    return [sum(values) / len(values) for values in there]
