"""TensorBoard: every number of every epoch, under RUN/tensorboard.

optnas search tracking.name=tensorboard ... --out runs/a
tensorboard --logdir runs
"""

from __future__ import annotations

import shutil
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from optnas.base.columns import RECORD, SUPERNET_ACCURACY
from optnas.base.contents import Status
from optnas.base.records import Record, RunFolder
from optnas.base.registry import register
from optnas.base.toml import dump_toml, flat
from optnas.search.settings.model import Settings
from optnas.search.trackers.shown import WITNESS, Curves, demand_packages

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


@register("tracker", "tensorboard")
def tensorboard(alpha: bool = True) -> TensorBoard:
    """Follow a run in TensorBoard.

    Args:
        alpha: also one curve per edge and operation, of alpha and of the operation weights.

    Raises:
        UserError: tensorboard is not installed.
    """
    demand_packages("tensorboard", "tensorboard")
    return TensorBoard(alpha)


class TensorBoard:
    """Writes the records as scalars, the architecture as text, the settings as text and hparams.

    Step is the epoch. A start writes whatever epochs of epochs.jsonl are not there yet (a process
    was killed between record and event, or tracking begins late), and all anew if there is one
    that is void, so that a resumed run has each step once.

    Args:
        alpha: also one curve per edge and operation.
    """

    def __init__(self, alpha: bool):
        self._alpha = alpha
        self._step = 0
        self._writer: SummaryWriter
        self._curves: Curves

    def start(self, settings: Settings, folder: RunFolder) -> None:
        """Open an event file, and bring it up to the records."""
        from torch.utils.tensorboard import SummaryWriter

        path = folder.path / FOLDER
        records = folder.read_epochs()
        present = _witnessed(str(path)) if path.is_dir() else {}

        def there(record: Record) -> bool:
            return present.get(record["epoch"]) == np.float32(record[WITNESS])

        first = len(list(takewhile(there, records)))
        if first < len(present):
            # Tensorboard's own way, to purge, fails where two starts fall into one second.
            shutil.rmtree(path)
            first, present = 0, {}
        self._curves = Curves(settings, folder, self._alpha)
        self._writer = SummaryWriter(path)
        if not present:
            self._describe(settings)
        self._write(records[first:])

    def record(self, record: Record) -> None:
        """Write an epoch's numbers, and wait until they are in the file."""
        self._write([record])

    def finish(self, status: Status) -> None:
        """Close the event file."""
        self._writer.add_text("status", status, self._step)
        self._writer.close()

    def _write(self, records: list[Record]) -> None:
        for record, numbers in self._curves.of(records):
            self._step = step = record["epoch"]
            for tag, value in numbers.items():
                self._writer.add_scalar(tag, value, step)
            self._writer.add_text("architecture", f"`{record['architecture']}`", step)
        self._writer.flush()

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
        for summary in hparams(
            chosen, {SUPERNET_ACCURACY: None, "alpha_path_length_centred": None}
        ):
            file.add_summary(summary)


def _legend() -> str:
    """Every column of the record in words with its unit, as a table in Markdown."""
    lines = [f"| `{key}` | {each.words} | {each.unit} |" for key, each in RECORD.items()]
    return "\n".join(["| column | | unit |", "|---|---|---|", *lines])


def _witnessed(path: str) -> dict[int, float]:
    """The epochs whose scalars are there and not void, with the number they are known by."""
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    events = EventAccumulator(path, size_guidance={SCALARS: 0}).Reload()
    if WITNESS not in events.Tags()[SCALARS]:
        return {}
    return {event.step: event.value for event in events.Scalars(WITNESS)}
