"""Checks of whatever takes part in a search, by tiny searches from seed to checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from optnas.algorithms.base import Memory, Progress, WeightGradients
from optnas.base.errors import UserError
from optnas.base.records import Record, RunFolder
from optnas.base.toml import nest
from optnas.search.checkpoints import restore
from optnas.search.exam.base import demand, difference, repeated, untouched
from optnas.search.loop import run
from optnas.search.observe import snapshot_of
from optnas.search.session import Session
from optnas.search.settings.layers import Layer, resolve
from optnas.search.settings.model import DEFAULT_MEASURES, Settings
from optnas.search.state import build_state
from optnas.search.steps import SearchTrial, select

# A search of a second on data that come with the packages; shared with the tests.
TINY: dict[str, Any] = {
    "data.name": "digits",
    "data.train_size": 40,
    "data.valid_size": 40,
    "benchmark.table": "analog-nasbench",
    "search.batch_size": 16,
    "search.epochs": 2,
    "supernet.channels": 2,
    "supernet.dtype": "float64",
    "measures.sharpness.every": 0,
    "measures.sharpness.batch_size": 8,
    "measures.gap.at": [],
}
# Epochs of a search that selects its cell at the end.
LONG = 8
Trace = dict[str, Any]
# Sections of settings that make a tiny search use what is examined.
Sections = Mapping[str, Any]


def tiny(*sections: Sections) -> Settings:
    """Settings of the tiny search with some sections of one's own over it."""
    return resolve([Layer("the exam", each) for each in (nest(TINY), *sections)])


def short(sections: Sections) -> Settings:
    """Settings of the tiny search in one epoch, in two where that would be refused."""
    try:  # one epoch may leave a selection none to train in before
        return tiny(sections, {"search": {"epochs": 1}})
    except UserError:
        return tiny(sections)


@contextlib.contextmanager
def searched(settings: Settings, stop: int | None = None) -> Iterator[RunFolder]:
    """Run a search in a folder of its own, which is there as long as the block runs.

    Args:
        settings: of the search.
        stop: interrupt after this epoch, then resume.

    Yields:
        The folder.
    """

    def interrupt(record: Record) -> None:
        if record["epoch"] == stop:
            raise KeyboardInterrupt

    with tempfile.TemporaryDirectory() as path:
        folder = RunFolder(Path(path) / "run")
        with folder.created(settings.document()):
            with contextlib.suppress(KeyboardInterrupt):
                run(settings, folder, interrupt)
            if stop is not None:
                run(settings, folder)
        yield folder


def trace(settings: Settings, stop: int | None = None) -> Trace:
    """The trace of a search, as `searched` runs it."""
    with searched(settings, stop) as folder:
        return traced(folder)


def traced(folder: RunFolder) -> Trace:
    """What a search leaves behind.

    Returns:
        Records and the last checkpoint, without times.
    """
    checkpoint = torch.load(folder.checkpoint, map_location="cpu", weights_only=True)
    records = [_timeless(record) for record in folder.read_epochs()]
    warnings = folder.warnings.read_text(encoding="utf-8") if folder.warnings.exists() else ""
    for key in ("seconds", "records_bytes", "records_sha256"):
        del checkpoint[key]
    return {"records": records, "checkpoint": checkpoint, "warnings": warnings}


def _timeless(record: Record) -> Record:
    return {key: value for key, value in record.items() if key != "seconds"}


@functools.lru_cache(maxsize=8)
def _reference(document: str, identity: str) -> Trace:
    del identity  # a file addressed by path may have changed under the same name
    return trace(tiny(json.loads(document)))


def reference(sections: Sections) -> Trace:
    """The trace of a whole search, computed once for several checks."""
    return _reference(json.dumps(sections), tiny(sections).hash)


def _same_seed(use: Sections) -> None:
    repeated(lambda: trace(short(use)))


def _another_seed(use: Sections) -> None:
    one, other = (build_state(tiny(use, {"search": {"seed": seed}})) for seed in (0, 1))
    if one.algorithm.initial is None:  # else it may begin where it likes
        found = difference(one.alpha_EO, other.alpha_EO)
        demand(found is not None, "seeds 0 and 1 start from the same alpha")


def _resumed(use: Sections) -> None:
    settings, stop, whole = tiny(use), 1, reference(use)
    selection = build_state(settings).algorithm.select
    if selection is not None:  # long enough to be interrupted half-way through it
        settings = tiny(use, {"search": {"epochs": LONG}})
        stop, whole = selection.begins(LONG), trace(settings)
    found = difference(whole, trace(settings, stop), "the trace")
    demand(found is None, f"after save and resume differs {found}")


def _afterwards(use: Sections) -> None:
    """From each kept checkpoint: operation weights and cell are those of its record."""
    settings = tiny(use, {"checkpoints": {"keep": "all"}})
    with searched(settings) as folder:
        records = folder.read_epochs()
        for record in records:
            last = record is records[-1]
            state = build_state(settings)
            restore(state, folder.checkpoint if last else folder.kept(record["epoch"]))
            snapshot = snapshot_of(state)
            cell = state.space.architecture(snapshot.choice).string
            found = difference(record["op_weights"], snapshot.op_weights_EO.tolist(), "A")
            demand(found is None, f"in epoch {state.epoch} differs {found} after the search")
            demand(
                cell == record["architecture"],
                f"in epoch {state.epoch} the cell is {cell} after the search",
            )


def _measured(use: Sections) -> None:
    every = {label: {"every": 1} for label in DEFAULT_MEASURES}
    seen = trace(tiny(use, {"measures": every}))["checkpoint"]
    found = difference(reference(use)["checkpoint"], seen, "the checkpoint")
    demand(found is None, f"measuring changes {found}")


def _pairs(use: Sections) -> None:
    other = {"weight_optimizer": {"name": "RMSprop"}, "arch_optimizer": {"name": "SGD"}}
    records = [reference(use), trace(short({**use, **other}))]
    found = difference(records[0]["records"][0], records[1]["records"][0], "the record")
    demand(found is None, f"before the first step differs {found} of two optimizer pairs")


def _selection(use: Sections) -> None:
    """What begins a selection's epoch is asked twice, as after a kill in its middle."""
    state = build_state(tiny(use, {"search": {"epochs": LONG}}))
    selection = state.algorithm.select
    assert selection is not None
    for epoch in range(selection.begins(LONG), LONG + 1):
        before, asked = state.memory, list[Memory]()
        for _ in range(2):
            state.memory = before
            tensors = {f"{name} of the memory": each for name, each in before.items()}
            with untouched(alpha=state.alpha_EO, **tensors, **state.supernet.weights):
                select(state, state.progress(epoch))
            asked.append(state.memory)
        found = difference(asked[0], asked[1], "memory")
        demand(found is None, f"asked again in epoch {epoch} of {LONG} it chooses another {found}")
        cell = state.algorithm.cell(state.alpha_EO.detach(), state.progress(epoch))
        demand(
            isinstance(cell, list) and len(cell) == state.space.edge_count,
            f"its cell is {cell}, not one operation per edge",
        )


def _memory(use: Sections) -> None:
    """The start is the same each time; every checkpoint has all of its names."""
    settings = tiny(use, {"checkpoints": {"keep": "all"}})
    start = build_state(settings).algorithm.start
    assert start is not None
    repeated(start)
    with searched(settings) as folder:
        for path in (*map(folder.kept, folder.kept_epochs()), folder.checkpoint):
            held = torch.load(path, map_location="cpu", weights_only=True)["memory"]
            demand(start().keys() <= held.keys(), f"{path.name} lacks some of its names")


RESUMED = "saved and resumed equals uninterrupted"
SEARCHES: dict[str, Callable[[Sections], None]] = {
    "same seed, same search; no global generator": _same_seed,
    "another seed, another search": _another_seed,
    RESUMED: _resumed,
    "measuring changes nothing": _measured,
}


def _weight_gradients(use: Sections) -> None:
    """In every step of a search: asked twice, it hands back the same, and changes nothing."""
    state = build_state(tiny(use))
    look = state.algorithm.on_weight_gradients
    assert look is not None

    def twice(gradients: Mapping[str, torch.Tensor], progress: Progress) -> WeightGradients:
        seen = {f"the gradient of {name}": each for name, each in gradients.items()}
        held = {f"{name} of the memory": each for name, each in progress.memory.items()}
        with untouched(**seen, **held):
            one, other = (look(gradients, progress) for _ in range(2))
        found = difference(one._asdict(), other._asdict())
        demand(found is None, f"gives another {found} the second time")
        for name, gradient in one.gradients.items():
            demand(name in gradients, f"hands back a gradient of {name}, which is no weight")
            fits = gradient is None or gradient.shape == gradients[name].shape
            demand(fits, f"the gradient of {name} has another shape than the weight")
        return one

    state.algorithm = dataclasses.replace(state.algorithm, on_weight_gradients=twice)
    session = Session(state)
    for _ in range(1 + state.settings.search.epochs):
        session.train_epoch()


def _watch(use: Sections) -> None:
    """After every epoch of a search it looks twice, decides the same, and changes nothing."""
    session = Session(build_state(tiny(use, {"search": {"epochs": LONG}})))
    state = session.state
    watch = state.algorithm.watch
    assert watch is not None
    for _ in range(1 + LONG):
        session.train_epoch()
        if state.epoch % watch.every:
            continue
        tensors = {f"{name} of the memory": each for name, each in state.memory.items()}
        with untouched(alpha=state.alpha_EO, **tensors, **state.supernet.weights):
            one, other = (watch.look(SearchTrial(state, session.progress)) for _ in range(2))
        found = difference(one._asdict(), other._asdict(), "the turn")
        demand(found is None, f"asked again after epoch {state.epoch} decides another {found}")
        if one.back is not None:
            far = state.epoch - one.back
            demand(0 < far <= watch.back, f"goes back by {far} epochs, and says {watch.back}")
            demand(one.back % watch.every == 0, f"goes back to epoch {one.back}, not looked at")
        state.remember(one.memory)


# Of algorithms that have what the attribute of this name says.
OF_SOME: dict[str, dict[str, Callable[[Sections], None]]] = {
    "on_weight_gradients": {
        "on_weight_gradients: the same twice, changes nothing": _weight_gradients
    },
    "select": {"a selection asked again chooses the same, and changes nothing": _selection},
    "watch": {"a watch asked again decides the same, and changes nothing": _watch},
    "start": {"memory: the same start, in every checkpoint": _memory},
}
OF_AN_ALGORITHM = {
    **SEARCHES,
    "afterwards equals live: operation weights and cell": _afterwards,
    "optimizer pairs of one seed start alike": _pairs,
}
