"""TensorBoard: every number of every epoch, under RUN/tensorboard.

optnas search tracking.name=tensorboard ... --out runs/a
tensorboard --logdir runs
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from optnas.base import registry
from optnas.base.columns import RECORD, SUPERNET_ACCURACY
from optnas.base.contents import Status
from optnas.base.errors import UserError
from optnas.base.records import Record, RunFolder
from optnas.base.toml import dump_toml, flat
from optnas.search.settings.model import Settings
from optnas.spaces import build_space

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from optnas.spaces.base import Space

FOLDER = "tensorboard"
# Every record has this number: an epoch is there if its scalar is.
WITNESS = SUPERNET_ACCURACY
MATRICES = [key for key, each in RECORD.items() if each.unit.endswith("edges x operations")]


@registry.register("tracker", "tensorboard")
def tensorboard(alpha: bool = True) -> TensorBoard:
    """Follow a run in TensorBoard.

    Args:
        alpha: also one curve per edge and operation, of alpha and of the operation weights.

    Raises:
        UserError: tensorboard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "the package tensorboard is not installed",
            key="tracking.name",
            value="tensorboard",
            remedy='run: pip install "optnas[tensorboard]", or leave tracking.name out',
        )
    return TensorBoard(alpha)


class TensorBoard:
    """Writes the records as scalars, the architecture as text, the settings as text and hparams.

    Step is the epoch. A start writes whatever epochs of epochs.jsonl are not there yet (a process
    was killed between record and event, or tracking begins late) and declares void what is there
    of later ones, so that a resumed run has each step once.

    Args:
        alpha: also one curve per edge and operation.
    """

    def __init__(self, alpha: bool):
        self._alpha = alpha
        self._step = 0
        self._writer: SummaryWriter
        self._space: Space

    def start(self, settings: Settings, folder: RunFolder) -> None:
        """Open an event file, and bring it up to the records."""
        from torch.utils.tensorboard import SummaryWriter

        path = folder.path / FOLDER
        records = folder.read_epochs()
        present = _steps(str(path)) if path.is_dir() else set()
        missing = [r for r in records if r["epoch"] not in present]
        first = missing[0]["epoch"] if missing else len(records)
        self._space = build_space(settings.space.model_dump())
        self._writer = SummaryWriter(path, purge_step=first if present else None)
        if not present:
            self._describe(settings)
        for record in records[first:]:
            self.record(record)

    def record(self, record: Record) -> None:
        """Write an epoch's numbers, and wait until they are in the file."""
        self._step = step = record["epoch"]
        curves = dict(record)
        for key in MATRICES:
            matrix = curves.pop(key)
            if self._alpha:
                curves[key] = self._by_name(matrix)
        for tag, value in _scalars(curves):
            self._writer.add_scalar(tag, value, step)
        self._writer.add_text("architecture", f"`{record['architecture']}`", step)
        self._writer.flush()

    def finish(self, status: Status) -> None:
        """Close the event file."""
        self._writer.add_text("status", status, self._step)
        self._writer.close()

    def _by_name(self, matrix_EO: list[list[float]]) -> dict[str, dict[str, float]]:
        further = range(self._space.operation_count + 1, len(matrix_EO[0]) + 1)
        names = [*self._space.operations, *(f"column {place}" for place in further)]
        return {
            f"{source}-{target}": dict(zip(names, row, strict=True))
            for (source, target), row in zip(self._space.edges, matrix_EO, strict=True)
        }

    def _describe(self, settings: Settings) -> None:
        from torch.utils.tensorboard.summary import hparams

        document = settings.document()
        self._writer.add_text("columns", _legend())
        self._writer.add_text("config", f"```toml\n{dump_toml(document)}```")
        chosen = {
            key: value if isinstance(value, (int, float, str)) else str(value)
            for key, value in flat({k: v for k, v in document.items() if k != "identity"}).items()
        }
        file: Any = self._writer.file_writer
        for summary in hparams(chosen, {WITNESS: None, "alpha_path_length_centred": None}):
            file.add_summary(summary)


def _legend() -> str:
    """Every column of the record in words with its unit, as a table in Markdown."""
    lines = [f"| `{key}` | {each.words} | {each.unit} |" for key, each in RECORD.items()]
    return "\n".join(["| column | | unit |", "|---|---|---|", *lines])


def _scalars(record: Record) -> Iterator[tuple[str, float]]:
    """The numbers of a record under tags like ``benchmark/accuracy/cifar10``."""
    for key, value in flat(record).items():
        if isinstance(value, (int, float)) and not isinstance(value, bool) and key != "epoch":
            yield key.replace(".", "/"), value


def _steps(path: str) -> set[int]:
    """The epochs whose scalars are there and not void."""
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    events = EventAccumulator(path, size_guidance={SCALARS: 0}).Reload()
    if WITNESS not in events.Tags()[SCALARS]:
        return set()
    return {event.step for event in events.Scalars(WITNESS)}
