"""A table of stand-alone accuracies: every function of a space, trained once per seed.

Beside the table ``NAME.json`` lies its journal, ``NAME.trainings.jsonl``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from optnas.base.errors import UserError
from optnas.base.files import write_text
from optnas.search.environment import describe_environment, exactly
from optnas.search.settings.model import RunSection
from optnas.search.standalone.journal import Entry, add, begin, entry_of, held
from optnas.search.standalone.settings import TrainingSettings
from optnas.search.standalone.train import Parts, load_parts, train
from optnas.spaces import Space, functions
from optnas.spaces.tables.trained import FORMAT, SPLITS

# The finished training, how many there are now, and how many there will be.
OnTraining = Callable[[Entry, int, int], None]


def make_table(
    space: Space,
    settings: TrainingSettings,
    out: Path,
    *,
    threads: int = 1,
    on_training: OnTraining = lambda training, done, total: None,
) -> None:
    """Train what is missing, then write the table.

    Args:
        space: whose cells are trained.
        settings: the training protocol.
        out: the table's file.
        threads: CPU threads.
        on_training: called after each training.

    Raises:
        UserError: the file is taken, cannot be written, or trainings of other settings lie beside
            it; nothing was changed.
    """
    if settings.data.test == "none" or settings.data.valid_size == 0:
        raise UserError(
            "a table has accuracies on validation and on test images, and there are none of these",
            key="data",
            remedy="lower data.train_size, or set data.split to halves or random-halves",
        )
    journal = out.with_suffix(".trainings.jsonl")
    _refuse_occupied(out, journal)
    parts = load_parts(settings)
    with held(journal, out):
        facts = {
            "format": FORMAT,
            "space": settings.space["name"],
            **settings.document(),
            "hash": settings.hash,
        }
        trainings = {(t["index"], t["seed"]): t for t in begin(journal, facts, indexed=True)}
        groups = list(functions(space).values())
        wanted = [(places[0], seed) for seed in settings.training.seeds for places in groups]
        missing = [each for each in wanted if each not in trainings]
        with exactly(threads):
            for training in _train(space, settings, parts, missing):
                add(journal, training)
                trainings[training["index"], training["seed"]] = training
                done = sum(each in trainings for each in wanted)
                on_training(training, done, len(wanted))
        run = RunSection(threads=threads, device="cpu")
        environment = describe_environment(run, torch.device("cpu"))
        write_text(out, _table_text(space, settings, groups, trainings, environment))


def _refuse_occupied(out: Path, journal: Path) -> None:
    if out.exists() and not journal.exists():
        raise UserError(
            "there is a file already, and not the trainings it was made from",
            key="--out",
            value=str(out),
            remedy="choose another name",
        )


def _train(
    space: Space, settings: TrainingSettings, parts: Parts, missing: list[tuple[int, int]]
) -> Iterator[Entry]:
    for index, seed in missing:
        started = time.perf_counter()
        cell = space.architecture_at(index)
        trained = train(settings, parts, cell, seed)
        yield entry_of(cell, seed, trained, time.perf_counter() - started)


def _table_text(
    space: Space,
    settings: TrainingSettings,
    groups: list[list[int]],
    trainings: dict[tuple[int, int], Entry],
    environment: dict[str, Any],
) -> str:
    """One line per function, so that two tables can be compared line by line."""
    head = {
        "format": FORMAT,
        "space": space.name,
        "command": " ".join(environment.pop("command")),
        "hash": settings.hash,
        "settings": settings.document(),
        "dataset": settings.data.name,
        "epochs": settings.training.epochs,
        "seeds": settings.training.seeds,
        "environment": environment,
    }
    rows = [
        {
            "cell": space.architecture_at(places[0]).string,
            "cells": places,
            **{
                split: [trainings[places[0], seed][split] for seed in settings.training.seeds]
                for split in SPLITS
            },
        }
        for places in groups
    ]
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    listed = ",\n ".join(json.dumps(row) for row in rows)
    return "{" + ",\n".join(lines) + f',\n"functions": [\n {listed}\n]}}\n'
