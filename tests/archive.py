"""Writes archives in the layout of NATS-tss-v1_0-3ffb9-simple, for the suite and a benchmark."""

from __future__ import annotations

import bz2
import collections
import functools
import pickle
import random
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from optnas.spaces import NAS_BENCH_201

NAME = "NATS-tss-v1_0-3ffb9-simple"
EVALUATIONS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("ori-test", "x-valid", "x-test"),
    "ImageNet16-120": ("ori-test", "x-valid", "x-test"),
}
State = dict[str, Any]


def trial(draw: random.Random, dataset: str, seed: int, epochs: int) -> State:
    """One training: every accuracy differs from every other, so that a mix-up shows."""
    accuracies = {
        f"{split}@{epoch}": draw.randrange(10_000) / 100 + draw.uniform(0, 1e-8)
        for split in EVALUATIONS[dataset]
        for epoch in range(epochs)
    }
    curve = dict.fromkeys(range(epochs), 1.0)
    return {
        "name": "infer.tiny",
        "train_acc1es": curve,
        "train_acc5es": curve,
        "train_losses": curve,
        "train_times": {epoch: np.float64(2.5) for epoch in range(epochs)},
        "arch_config": {"channel": 16},
        "params": 0.5,
        "flop": 20.0,
        "seed": f"{seed:04d}",
        "epochs": epochs,
        "latency": [0.01],
        "eval_names": list(EVALUATIONS[dataset]),
        "eval_acc1es": accuracies,
        "eval_times": dict.fromkeys(accuracies, 1.0),
        "eval_losses": dict.fromkeys(accuracies, 1.0),
        "net_state_dict": None,
    }


def cell(index: int) -> State:
    """A cell's document: one or two trials of 12 epochs, one to three of 200."""
    draw = random.Random(index)
    document: State = collections.OrderedDict()
    for epochs, seeds in ((12, (111, 777)), (200, (777, 888, 999))):
        chosen = {name: seeds[: draw.randint(1, len(seeds))] for name in EVALUATIONS}
        document[str(epochs)] = {
            "arch_index": index,
            "arch_str": NAS_BENCH_201.architecture_at(index).string,
            "all_results": {
                (name, seed): trial(draw, name, seed, epochs)
                for name, of_name in chosen.items()
                for seed in of_name
            },
            "dataset_seed": {name: list(of_name) for name, of_name in chosen.items()},
            "clear_net_done": True,
        }
    return document


def packed(document: object) -> bytes:
    """The bytes of a file of the archive, which names modules as numpy 1 did."""
    text = pickle.dumps(document, protocol=3)
    return bz2.compress(text.replace(b"cnumpy._core.", b"cnumpy.core."))


@functools.cache
def meta() -> bytes:
    """The file that lists all cells; only the authors' own reader wants it."""
    strings = [each.string for each in NAS_BENCH_201.all()]
    return packed(
        {
            "meta_archs": strings,
            "total_archs": 15_625,
            "arch2infos": None,
            "evaluated_indexes": set(),
        }
    )


def file_name(index: int) -> str:
    return f"{index:06d}.pickle.pbz2"


def write_archive(parent: Path, cells: Iterable[int]) -> Path:
    """The folder of an archive with some cells."""
    folder = parent / NAME
    folder.mkdir(parents=True)
    (folder / "meta.pickle.pbz2").write_bytes(meta())
    for index in cells:
        (folder / file_name(index)).write_bytes(packed(cell(index)))
    return folder


def tar_of(folder: Path, ending: str = ".tar") -> Path:
    """A tar of an archive's folder, compressed as its ending says."""
    path = folder.with_name(folder.name + ending)
    compression = ending.rpartition(".")[2].replace("tar", "")
    with tarfile.open(path, f"w:{compression}") as tar:  # type: ignore[call-overload]
        tar.add(folder, folder.name)
    return path
