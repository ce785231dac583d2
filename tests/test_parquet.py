"""Images given by path: classes from their labels, mean and std from their pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import write_files
from made import parquet_bytes, pixels, png
from tiny import tiny_settings

from optnas.base.errors import UserError
from optnas.data.sets import base
from optnas.data.sets.parquet import parquet
from optnas.search import api

LABELS = [row % 3 for row in range(90)]
ENCODED = [png(image) for image in pixels(90, 16)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_files(tmp_path, {"mine/any.parquet": parquet_bytes(ENCODED, LABELS, image="image")})
    return tmp_path / "mine/any.parquet"


def test_facts(path: Path) -> None:
    dataset = parquet(None, path=str(path))
    images, labels = dataset.read()
    np.testing.assert_array_equal(images, pixels(90, 16))
    assert labels.tolist() == LABELS
    assert (dataset.classes, dataset.resolution, dataset.crop_padding) == (3, 16, 2)


@pytest.mark.parametrize("at_once", [1, 7, 4096])
def test_moments_are_those_of_all_pixels(
    at_once: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = parquet(None, path=str(path)).moments()
    monkeypatch.setattr(base, "MEASURED_AT_ONCE", at_once)
    mean, std = parquet(None, path=str(path)).moments()
    assert (mean, std) == whole
    scaled = pixels(90, 16) / 255
    np.testing.assert_allclose(mean, scaled.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std((0, 1, 2)), rtol=1e-12)


def test_a_folder_gives_its_training_files_in_order(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "train-0.parquet": parquet_bytes(ENCODED[:50], LABELS[:50], label="kind"),
        "train-1.parquet": parquet_bytes(ENCODED[50:], LABELS[50:], label="kind"),
        "test-0.parquet": b"never opened",
    }
    write_files(tmp_path, files)
    dataset = parquet(None, path=str(tmp_path), label="kind")
    np.testing.assert_array_equal(dataset.read()[0], pixels(90, 16))


def settings(path: Path, **more: Any) -> Any:
    chosen = {"search__epochs": 1, "data__resolution": 8, **more}
    return tiny_settings(data__name="parquet", data__path=str(path), **chosen)


def test_a_search_goes_on_with_its_file_elsewhere(path: Path, tmp_path: Path) -> None:
    complete = settings(path)
    assert complete.data.split == "random-halves"
    document = {k: v for k, v in complete.document().items() if k not in ("identity", "format")}
    result = api.run(document, out=tmp_path / "run")
    assert result["note"] == "90 images of 3 classes from any.parquet, given by path"
    moved = path.rename(tmp_path / "moved.parquet")
    assert settings(moved).hash == complete.hash
    assert api.resume(tmp_path / "run", {"data.path": str(moved)})["status"] == "done"
    moved.write_bytes(parquet_bytes(ENCODED[::-1], LABELS))
    assert settings(moved).hash != complete.hash


@pytest.mark.parametrize(
    ("images", "labels", "told"),
    [
        (ENCODED, [1 + label for label in LABELS], "no row has the label 0, and some have 3"),
        (ENCODED, [2 * label for label in LABELS], "no row has the label 1, and some have 4"),
        (ENCODED, [0] * 90, "label: all rows have the same label"),
        (ENCODED, [0, 1, -1, *LABELS[3:]], "label of row 2 = -1: the label is not 0 or more"),
        (ENCODED, [0, 1, None, *LABELS[3:]], "label of row 2 = 'null': the label is not 0 or more"),
        ([png(pixels(1)[0, :, :20]), *ENCODED[1:]], LABELS, "row 0 = '20x32': the image is not sq"),
        ([b"x", *ENCODED[1:]], LABELS, "img of row 0: the image cannot be decoded"),
        ([*ENCODED[:89], png(pixels(1)[0])], LABELS, "row 89 = '32x32': the image is not 16x16"),
        ([png(0 * pixels(1)[0])] * 90, LABELS, "every pixel of colour channel 0 has the"),
    ],
    ids=range(9),
)
def test_files_that_will_not_do(images: Any, labels: Any, told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet_bytes(images, labels))
    with pytest.raises(UserError) as caught:
        parquet(None, path=str(path)).moments()
    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)
