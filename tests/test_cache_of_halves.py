"""Decoded images come from the cache only where they are those that would be decoded."""

from __future__ import annotations

import dataclasses
import io
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from cases import command
from made import parquet_bytes, pixels, png

from optnas.base import cache
from optnas.data import images
from optnas.data.sets.base import Dataset
from optnas.data.sets.parquet import parquet


def counted(decoder: str, files: tuple[Path, ...] = ()) -> tuple[Dataset, list[int]]:
    """A data set of 20 images whose pixels are their row, and how many rows were decoded when."""
    calls: list[int] = []

    def decode(rows_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calls.append(len(rows_N))
        pixels = np.broadcast_to(rows_N[:, None, None, None], (len(rows_N), 8, 8, 3))
        return pixels.astype(np.uint8), rows_N % 3

    return (
        Dataset(
            name="rows",
            classes=3,
            channels=3,
            resolution=8,
            size=20,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            crop_padding=1,
            flip=True,
            note="",
            files=files,
            decode=decode,
            decoder=decoder,
        ),
        calls,
    )


def load(dataset: Dataset, rows: list[int], resolution: int = 8) -> tuple[Any, Any]:
    found = images.load_images(dataset, torch.tensor(rows), resolution, dataset.moments())
    return found.images_NCHW[:, 0, 0, 0].tolist(), found.labels_N.tolist()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPTNAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_only_what_would_be_equal_is_taken_from_the_cache(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "train.parquet"
    file.write_bytes(b"one")
    dataset, calls = counted("d1", (file,))
    assert load(dataset, [3, 1, 2]) == ([3, 1, 2], [0, 1, 2])
    assert load(dataset, [3, 1, 2]) == ([3, 1, 2], [0, 1, 2])
    assert calls == [3]
    # Other rows, another order, another size, another decoder, other bytes: decoded.
    load(dataset, [3, 2, 1])
    load(dataset, [3, 1])
    load(dataset, [3, 1, 2], resolution=4)
    load(dataclasses.replace(dataset, decoder="d2"), [3, 1, 2])
    assert calls == [3, 3, 2, 3, 3]
    file.write_bytes(b"two")
    load(dataset, [3, 1, 2])
    assert calls == [3, 3, 2, 3, 3, 3]
    assert len(list((home / "halves").iterdir())) == 6


def test_who_names_no_decoder_is_asked_each_time(home: Path) -> None:
    dataset, calls = counted("")
    for _ in range(2):
        load(dataset, [3, 1, 2])
    assert calls == [3, 3]
    assert not home.exists()


def test_the_least_recently_used_go_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, calls = counted("d")
    load(dataset, [0])
    load(dataset, [1])
    for age, path in enumerate(sorted((home / "halves").iterdir())):
        os.utime(path, (age, age))
    load(dataset, [0])  # used last from here on
    size = next((home / "halves").iterdir()).stat().st_size
    monkeypatch.setattr(cache, "LIMIT", 2 * size)
    load(dataset, [2])
    calls.clear()
    load(dataset, [0])
    load(dataset, [2])
    assert calls == []
    load(dataset, [1])
    assert calls == [1]


def _load_in_a_process(place: str, barrier: Any) -> None:
    os.environ["OPTNAS_HOME"] = place
    dataset, _ = counted("d")
    barrier.wait()
    assert load(dataset, list(range(20)))[0] == list(range(20))


def test_two_processes_at_once(home: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    both = [context.Process(target=_load_in_a_process, args=(str(home), barrier)) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(60)
    assert [each.exitcode for each in both] == [0, 0]
    dataset, calls = counted("d")
    assert load(dataset, list(range(20)))[0] == list(range(20))
    assert calls == []
    assert [path.suffix for path in (home / "halves").iterdir()] == [".npz"]


def test_another_label_column_is_another_half(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "train.parquet"
    images = [png(image) for image in pixels(4)]
    rows = pq.read_table(io.BytesIO(parquet_bytes(images, [0, 1, 0, 1])))
    pq.write_table(rows.append_column("other", pa.array([1, 0, 1, 0])), file)
    asked = parquet(None, str(file)), parquet(None, str(file), label="other")
    assert [load(each, [0, 1], 32)[1] for each in asked] == [[0, 1], [1, 0]]
    # Two halves, and the mean and standard deviation of either data set.
    assert len(list((home / "halves").iterdir())) == 4


def test_the_command_shows_and_clears(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset, calls = counted("d")
    load(dataset, [0, 1])
    capsys.readouterr()
    assert command("cache", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [told["folder"], len(told["halves"]), told["tables"]] == [str(home), 1, []]
    assert command("cache") == 0
    assert "halves" in capsys.readouterr().out
    assert command("cache", "--clear") == 0
    assert "removed" in capsys.readouterr().out
    assert list((home / "halves").iterdir()) == []
    load(dataset, [0, 1])
    assert calls == [2, 2]
