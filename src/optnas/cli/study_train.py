"""``study train``."""

from __future__ import annotations

from optnas.base.errors import COMMAND_LINE
from optnas.cli.common import DataFolder
from optnas.cli.study import Name, Out
from optnas.cli.train import Device, Epochs, Protocol, Seeds, Threads, Words, given


def train(
    study: Name,
    overrides: Words = None,
    *,
    out: Out,
    protocol: Protocol = "cpu",
    epochs: Epochs = None,
    seeds: Seeds = None,
    device: Device = "auto",
    threads: Threads = 1,
    data: DataFolder = None,
) -> None:
    """Train the cells that the finished runs found, so that data without a table are judged."""
    from optnas.cli.common import dotted_settings
    from optnas.cli.printing.training import (
        print_cells,
        print_disconnected,
        print_run,
        printer,
    )
    from optnas.study.alone import train_cells
    from optnas.study.declare import load_study
    from optnas.study.folder import recorded

    loaded = load_study(study, dotted_settings(None, data=data))
    told = train_cells(
        recorded(loaded.runs.values(), out),
        out,
        given(overrides, epochs, seeds, data),
        protocol=protocol,
        device=device,
        threads=threads,
        on_run=print_run,
        on_start=lambda found, settings, sizes: print_disconnected(found),
        on_epoch=printer()[1],
        where=COMMAND_LINE,
    )
    print_cells(told, study, out)
