"""What watching a search costs: the default set against the search itself, then every measure.

    OPTNAS_DATA=DATA python benchmarks/measures.py [KEY=VALUE]...

One epoch is trained under protocol ``cpu`` on CIFAR-10 images (any setting may follow), one thread,
CPU seconds of this process. The *search* is training and one pass over the validation half an
epoch. The *default set* is what a search takes unless told otherwise: description of alpha and
benchmark query every epoch, and the measures of `optnas.search.settings.model.DEFAULT_MEASURES` at
their cadence. Every registered measure is then
taken once, with its default settings, and its share is that of its own cadence over all
epochs of the protocol. Costs of measures do not depend on the epoch but through
alpha. The last line printed is JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch

from optnas.base import registry
from optnas.base.errors import COMMAND_LINE
from optnas.cli.common import dotted_settings
from optnas.search.api import nest
from optnas.search.observe import take
from optnas.search.session import Session
from optnas.search.settings.complete import complete_measure
from optnas.search.settings.layers import Layer, resolve
from optnas.search.settings.model import DEFAULT_MEASURES, MeasureSection, Settings
from optnas.search.state import build_state


def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU seconds of this process that some work takes."""
    began = time.process_time()
    work()
    return time.process_time() - began


def search_costs(session: Session) -> dict[str, float]:
    """CPU seconds of an epoch's parts; the session is at epoch 0."""
    train = cpu_seconds(session.train_epoch)
    seen = session.snapshot
    validation = cpu_seconds(lambda: seen.evaluate(seen.op_weights_EO, seen.statistics))
    recorded = cpu_seconds(session.measure) - validation
    return {"train": train, "validation": validation, "alpha_and_benchmark": max(recorded, 0.0)}


def measure_costs(session: Session, names: Iterable[str]) -> dict[str, dict[str, float]]:
    """CPU seconds of some measures, and how often each is taken at its own cadence."""
    found = {}
    for name in names:
        section = MeasureSection(**complete_measure(name, {}))
        line = take(session.snapshot, section).line
        if line["status"] == "failed":
            raise SystemExit(f"{name}: {line['reason']}")
        times = section.cadence.count(session.state.settings.search.epochs)
        found[name] = {"cpu_seconds": line["cost"]["cpu_seconds"], "times": times}
    return found


def settings_of(words: list[str]) -> Settings:
    """Protocol ``cpu`` on CIFAR-10, with what the command line changes."""
    base = {"protocol": "cpu", "data.name": "cifar10"}
    return resolve([Layer(COMMAND_LINE, nest(base | dotted_settings(words), COMMAND_LINE))])


def main() -> None:
    """Measure, print, and end with a line of JSON."""
    torch.set_num_threads(1)
    settings = settings_of(sys.argv[1:])
    # What is recorded is timed measure by measure.
    session = Session(build_state(settings.model_copy(update={"measures": {}})))
    session.train_epoch()
    costs = search_costs(session)
    measured = measure_costs(session, registry.names("measure"))
    epochs = settings.search.epochs
    search = epochs * costs["train"] + (epochs + 1) * costs["validation"]
    default = (epochs + 1) * costs["alpha_and_benchmark"]
    default += sum(measured[n]["cpu_seconds"] * measured[n]["times"] for n in DEFAULT_MEASURES)
    print(f"{settings.algorithm.name}, {epochs} epochs, {settings.data.name}: CPU seconds")
    for name, seconds in costs.items():
        print(f"  {name:<20} {seconds:9.3f} a time")
    for name, cost in measured.items():
        share = cost["cpu_seconds"] * cost["times"] / search
        cost["share"] = share
        print(
            f"  {name:<20} {cost['cpu_seconds']:9.3f} a time, {cost['times']} times: "
            f"{100 * share:.1f} % of the search"
        )
    print(f"default set: {default:.1f} of {search:.1f} CPU seconds, {100 * default / search:.1f} %")
    told = {"search": search, "default": default, "ratio": default / search}
    print(json.dumps({**told, "costs": costs, "measures": measured, "goal": 0.25}))


if __name__ == "__main__":
    main()
