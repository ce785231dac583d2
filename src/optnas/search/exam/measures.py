"""Checks of measures: they observe, and never touch."""

from __future__ import annotations

import copy
import functools
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch

from optnas.base.measurements import Line, identity
from optnas.base.records import RunFolder
from optnas.measures.base import Measure, Quantity
from optnas.search.checkpoints import content_of, restore
from optnas.search.exam.base import Check, Subject, demand, difference, repeated
from optnas.search.exam.searches import Sections, Trace, reference, searched, tiny, traced
from optnas.search.observe import Wanted, described, measure_run, snapshot_of
from optnas.search.settings.model import MeasureSection
from optnas.search.state import SearchState, build_state

LABEL = "examined"
# Every measure is taken under both: what it looks at differs in kind.
USES: dict[str, Sections] = {
    "darts": {},
    "darts-minus, batch statistics": {
        "algorithm": {"name": "darts-minus"},
        "supernet": {"batch_norm": "batch", "arch_step_updates_statistics": False},
    },
}
WITHOUT_TORCH = (
    "import sys; from optnas.base import registry; registry.find('measure', sys.argv[1]); "
    "sys.exit('torch' in sys.modules)"
)


def _measure(subject: Subject) -> Measure:
    measure = subject.build()
    demand(isinstance(measure, Measure), f"returns a {type(measure).__name__}, no Measure")
    assert isinstance(measure, Measure)
    return measure


def _section(subject: Subject) -> MeasureSection:
    """The measure taken every epoch, with its quick settings where the examiner says nothing."""
    section = {"name": subject.name, **_measure(subject).quick, **subject.settings, "every": 1}
    return tiny({"measures": {LABEL: section}}).measures[LABEL]


def _lines(folder: RunFolder) -> list[Line]:
    """What was measured, with its arrays, without its cost."""
    kept = folder.measures
    return [
        {**line, "cost": None, "arrays": kept.arrays(line)} for line in folder.read_measures(LABEL)
    ]


@functools.lru_cache(maxsize=8)
def _taken_live(document: str, source: str) -> tuple[Trace, list[Line]]:
    del source  # a file addressed by path may have changed under the same name
    with searched(tiny(json.loads(document))) as folder:
        return traced(folder), _lines(folder)


def _observed(subject: Subject, use: Sections) -> tuple[Trace, list[Line]]:
    section = _section(subject)
    sections = {**use, "measures": {LABEL: section.model_dump()}}
    return _taken_live(json.dumps(sections), identity(described(section)))


def _declares(subject: Subject) -> None:
    measure = _measure(subject)
    demand(bool(measure.cost), "does not say what it costs")
    demand(bool(measure.quantities), "declares no quantity")
    for name, quantity in measure.quantities.items():
        demand(isinstance(quantity, Quantity), f"{name} is no Quantity")
        demand(bool(quantity.unit), f"{name} has no unit")
        known = quantity.better in ("higher", "lower", "neither")
        demand(known, f"{name} is better {quantity.better}: not higher, lower or neither")


def _finds(subject: Subject, use: Sections) -> None:
    _, lines = _observed(subject, use)
    for line in lines:
        told = f"in epoch {line['epoch']} it is {line['status']}: {line.get('reason')}"
        demand(line["status"] == "ok", told)


def _moves_nothing(subject: Subject, use: Sections) -> None:
    found = difference(reference(use), _observed(subject, use)[0], "the trace")
    demand(found is None, f"with it differs {found}")


def _everything(state: SearchState) -> dict[str, Any]:
    """What a search goes on from, its leaves' gradients, its images, and torch's modes."""
    leaves = [*state.supernet.weights.values(), state.alpha_EO]
    halves = {"train": state.train, "valid": state.valid}
    content = {
        **content_of(state),
        "gradients": [leaf.grad for leaf in leaves],
        "requires_grad": [leaf.requires_grad for leaf in leaves],
        "images": {name: [half.images_NCHW, half.labels_N] for name, half in halves.items()},
        "modes": {
            "grad": torch.is_grad_enabled(),
            "dtype": str(torch.get_default_dtype()),
            "threads": torch.get_num_threads(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        },
    }
    return copy.deepcopy(content)


def _leaves_alone(subject: Subject, use: Sections) -> None:
    measure: Measure = subject.factory(**_section(subject).settings)
    settings = tiny(use, {"search": {"epochs": 1}})
    state = build_state(settings)
    with searched(settings) as folder:
        restore(state, folder.checkpoint)
    before = _everything(state)
    measure.measure(snapshot_of(state, subject.name))
    found = difference(before, _everything(state), "the search")
    demand(found is None, f"changes {found}")


def _afterwards(subject: Subject, use: Sections) -> None:
    settings = tiny(use, {"checkpoints": {"keep": "all"}})
    wanted = {LABEL: Wanted(_section(subject), None)}

    def taken() -> list[Line]:
        measure_run(folder, settings, wanted, again=True, on_line=lambda label, line: None)
        return _lines(folder)

    with searched(settings) as folder:
        found = difference(_observed(subject, use)[1], repeated(taken), "the line")
    demand(found is None, f"afterwards, from the checkpoints, differs {found}")


def _loads_without_torch(subject: Subject) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, subject.name], capture_output=True, check=False
    )
    demand(done.returncode == 0, "loading its file loads torch: import that inside the measure")


IN_SEARCHES: dict[str, Callable[[Subject, Sections], None]] = {
    "finds what it declares, in every epoch": _finds,
    "moves nothing: the search with it is the search without": _moves_nothing,
    "leaves everything it sees alone, and torch's modes": _leaves_alone,
    "afterwards is live, and again; no global generator": _afterwards,
}


def _under(use: Sections, check: Callable[[Subject, Sections], None]) -> Check:
    return lambda subject: check(subject, use)


CHECKS: dict[str, Check] = {
    "declares its cost and quantities": _declares,
    "loads without torch": _loads_without_torch,
    **{
        f"{label}: {title}": _under(use, check)
        for label, use in USES.items()
        for title, check in IN_SEARCHES.items()
    },
}
