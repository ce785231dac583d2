"""Malformed image files and splits as a user meets them: one line, exit code 2, nothing left.

The pattern of test_bad_input.py; every file is written here, hostile pickles included.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from cases import Hostile, console, refusal, tiny_search, write_files
from made import archive_files, batch_bytes, flat, parquet_bytes, pixels, png, split_text

CIFAR10 = "data.name=cifar10 --data data"
CIFAR100 = "data.name=cifar100 --data data"
IMAGENET = "data.name=imagenet16-120 --data data"
PATH = "data.name=parquet data.path=a.parquet"
SPLIT = f"{CIFAR100} data.split=file data.split_file=split.txt"
TEST_SPLIT = f"{CIFAR100} data.split=test-file data.split_file=split.txt"

LABELS = [row % 9 + 1 for row in range(80)]
TRAIN = "data/cifar-100-python/train"
BATCH = "data/cifar-10-batches-py/data_batch_3"
IMAGENET_BATCH = "data/ImageNet16/train_data_batch_10"
Files = dict[str, str | bytes]


def below_data(files: Files) -> Files:
    return {f"data/{name}": content for name, content in files.items()}


TINY_CIFAR10 = below_data(archive_files("cifar10", pixels(80), LABELS))
TINY_CIFAR100 = below_data(archive_files("cifar100", pixels(80), LABELS))
TINY_IMAGENET = below_data(archive_files("imagenet16-120", pixels(80, 16), LABELS))
ENCODED = [png(pixels(1, 16)[0])] * 80
HOSTILE = pickle.dumps(Hostile(), protocol=2)
NESTED = pickle.dumps({"labels": [1], "data": [{"a": (flat(pixels(1, 16)), Hostile())}]})

# name: files, settings, how the line starts, a part of the rest
CASES: dict[str, tuple[Files, str, str, str]] = {
    "a hostile batch": (
        TINY_CIFAR10 | {BATCH: HOSTILE},
        CIFAR10,
        f"{BATCH}: refused to load the global posix.system",
        "nothing of it was run",
    ),
    "a hostile file": (
        {TRAIN: HOSTILE},
        CIFAR100,
        f"{TRAIN}: refused to load the global posix.system",
        "nothing of it was run",
    ),
    "a hostile value": (
        TINY_IMAGENET | {IMAGENET_BATCH: NESTED},
        IMAGENET,
        f"{IMAGENET_BATCH}: refused to load the global posix.system",
        "nothing of it was run",
    ),
    "a truncated batch": (
        {TRAIN: batch_bytes(pixels(3), [1, 2, 3], "fine_labels")[:-100]},
        CIFAR100,
        f"{TRAIN}: cannot read it (",
        "fetch it again",
    ),
    "a batch too few": (
        {name: content for name, content in TINY_CIFAR10.items() if name != BATCH},
        CIFAR10,
        "data/cifar-10-batches-py: the folder has no data_batch_3",
        "set OPTNAS_DATA or data.folder=FOLDER",
    ),
    "another key": (
        {TRAIN: batch_bytes(pixels(3), [1, 2, 3], "coarse_labels")},
        CIFAR100,
        f"{TRAIN}: needs a dictionary with data and fine_labels, has the keys",
        "use the batches as they were published",
    ),
    "a label too large": (
        {TRAIN: batch_bytes(pixels(3), [1, 2, 100], "fine_labels")},
        CIFAR100,
        f"{TRAIN}: fine_labels of row 2 = 100: the label is not in 0 to 99",
        "number the classes 0 to 99",
    ),
    "images of another size": (
        TINY_IMAGENET | {IMAGENET_BATCH: batch_bytes(pixels(8), LABELS[:8])},
        IMAGENET,
        f"{IMAGENET_BATCH}: data = 'uint8 [8, 3072]': is not uint8 of shape [8, 768]",
        "use the batches as they were published",
    ),
    "no folder": (
        {},
        "data.name=imagenet16-120",
        "command line: data.folder: ",
        "ImageNet16/train_d",
    ),
    "no path": (
        {},
        "data.name=parquet",
        "command line: data.path: parquet needs this",
        "data.path=VA",
    ),
    "nothing at the path": (
        {},
        PATH,
        "command line: data.path = 'a.parquet': there is no such file",
        "set",
    ),
    "labels with a gap": (
        {"a.parquet": parquet_bytes(ENCODED, [2 * row for row in range(80)])},
        PATH,
        "a.parquet: label: no row has the label 1, and some have 158",
        "number the classes 0 to K - 1",
    ),
    "another label column": (
        {"a.parquet": parquet_bytes(ENCODED, LABELS, label="kind")},
        PATH,
        "a.parquet: needs the columns img or image (struct with bytes) and label (integer), has",
        "kind (int64)",
    ),
    "no split file named": (
        TINY_CIFAR10,
        f"{CIFAR10} data.split=file",
        "command line: data.split_file",
        "add",
    ),
    "no split file": (TINY_CIFAR100, SPLIT, "split.txt: cannot read it (No such file", "check"),
    "a split of other images": (
        TINY_CIFAR100 | {"split.txt": split_text(train=range(40), valid=range(40, 90))},
        SPLIT,
        "split.txt: valid = 80: the row is not below 80",
        "give a file that shares 80 images out",
    ),
    "a split of the other kind": (
        TINY_CIFAR100 | {"split.txt": split_text(xvalid=range(40), xtest=range(40, 80))},
        SPLIT,
        "split.txt: it has the lists xvalid and xtest, which belong to data.split=test-file",
        "set data.split=test-file",
    ),
    "no test images": (
        TINY_CIFAR100 | {"split.txt": split_text(xvalid=range(40), xtest=range(40, 80))},
        TEST_SPLIT,
        "data/cifar-100-python: the folder has no test",
        "set OPTNAS_DATA",
    ),
    "rows in an order of their own": (
        {"data/cifar10/train-0.parquet": parquet_bytes([png(pixels(1)[0])] * 80, LABELS)}
        | {"split.txt": split_text(train=range(40), valid=range(40, 80))},
        f"{CIFAR10} data.split=file data.split_file=split.txt",
        "data/cifar10/train-0.parquet: its rows are in another order than the published one",
        "use the pickled batches",
    ),
    "a photograph that is not there": (
        {"fake/skimage/__init__.py": ""},
        "data.name=photos",
        "data set photos: ",
        "run: pip install 'optnas[photos]'",
    ),
}


# Two before every commit, one of files and one of folders: tests of the readers tell most of these
# too, in this process.
QUICK = ("a hostile file", "images of another size")
MARKED = [pytest.param(name, marks=[pytest.mark.thorough] * (name not in QUICK)) for name in CASES]


@pytest.mark.parametrize("name", MARKED)
def test_before_the_search(name: str, tmp_path: Path) -> None:
    files, settings, told, rest = CASES[name]
    write_files(tmp_path, files)
    path = str(tmp_path / "fake")
    line = refusal(tiny_search(*settings.split()), tmp_path, by=console, PYTHONPATH=path)
    assert line.startswith(told), line
    assert rest in line, line


@pytest.mark.thorough
def test_images_of_two_sizes(tmp_path: Path) -> None:
    encoded = [*ENCODED[:-1], png(pixels(1)[0])]
    write_files(tmp_path, {"a.parquet": parquet_bytes(encoded, [row % 2 for row in range(80)])})
    line = refusal(tiny_search(*PATH.split()), tmp_path)
    assert line.startswith("a.parquet: img of row 79 = '32x32': the image is not 16x16"), line
