"""Photos: patches of the installed photographs, no pixel shared between the two halves."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import tiny_settings

from optnas.base.errors import UserError
from optnas.data.sets import photos as module
from optnas.data.sets.base import Dataset
from optnas.data.sets.photos import photos
from optnas.search import api


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return photos(None)


@pytest.fixture(scope="module")
def rows(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    return dataset.read()


@pytest.mark.thorough
def test_facts(dataset: Dataset, rows: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = rows
    assert (dataset.size, dataset.classes, dataset.resolution) == (6000, 10, 32)
    assert (images.shape, images.dtype) == ((6000, 32, 32, 3), np.uint8)
    for half in (labels[:3000], labels[3000:]):
        assert np.bincount(half).tolist() == [300] * 10
    np.testing.assert_allclose(images.mean((0, 1, 2)) / 255, dataset.mean, atol=5e-5)
    np.testing.assert_allclose(images.std((0, 1, 2)) / 255, dataset.std, atol=5e-5)
    picked = np.array([5999, 0, 17, 17])
    np.testing.assert_array_equal(dataset.read(picked)[0], images[picked])
    assert dataset.test is not None
    assert dataset.test().size == 1500
    assert np.bincount(dataset.test().read()[1]).tolist() == [150] * 10


def corners_of(dataset: Dataset) -> list[module.Corner]:
    corners: list[module.Corner] = dataset.decode.args[1]  # type: ignore[attr-defined]
    return corners


def test_patches_are_cut_where_they_say(
    dataset: Dataset, rows: tuple[np.ndarray, np.ndarray]
) -> None:
    """Against a twin that standardises a photograph pixel by pixel, and cuts one patch."""
    for row in (0, 8, 3001, 5998):
        photo, top, left = corners_of(dataset)[row]
        with Image.open(dataset.files[photo]) as image:
            pixels = np.asarray(image.convert("RGB")).astype(float)
        seen = pixels[:, : int(0.6 * pixels.shape[1])]
        patch = pixels[top : top + 32, left : left + 32]
        for c in range(3):
            scaled = 127.5 + 52 * (patch[..., c] - seen[..., c].mean()) / seen[..., c].std()
            expected = np.rint(np.clip(scaled, 0, 255))
            np.testing.assert_array_equal(rows[0][row, ..., c], expected)


def test_halves_share_no_pixel_and_neither_sees_the_test_part(dataset: Dataset) -> None:
    assert dataset.test is not None
    parts = (
        corners_of(dataset)[:3000],
        corners_of(dataset)[3000:],
        corners_of(dataset.test()),
    )
    for photo, path in enumerate(dataset.files):
        with Image.open(path) as image:
            width, height = image.size
        covered = np.zeros((3, height, width), dtype=bool)
        for part, corners in enumerate(parts):
            for _, top, left in (corner for corner in corners if corner.photo == photo):
                assert 0 <= top <= height - 32
                assert 0 <= left <= width - 32
                covered[part, top : top + 32, left : left + 32] = True
        assert covered.sum(0).max() == 1
        # The first patches of a half come from all over it.
        tops = {corner.top for corner in parts[0][:200] if corner.photo == photo}
        assert len(tops) > 5
        assert {int(6 * top / height) for top in tops} == {0, 2, 4}


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = importlib.util.find_spec

    def without(name: str, *more: Any) -> Any:
        return None if name == "skimage" else found(name, *more)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(UserError) as caught:
        photos(None)
    told = "data set photos: skimage: the photographs are not installed; run: pip install 'optnas["
    assert str(caught.value).startswith(told)


def test_no_package_of_photographs_is_imported() -> None:
    script = (
        "import sys; from optnas.base.registry import find; find('dataset', 'photos')(None).read();"
        "print(sorted({'torch', 'sklearn', 'skimage', 'pandas'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.thorough
def test_a_search(tmp_path: Path) -> None:
    settings = tiny_settings(data__name="photos", search__epochs=1, data__resolution=8)
    document = {k: v for k, v in settings.document().items() if k not in ("identity", "format")}
    result = api.run(document, out=tmp_path / "run")
    assert result["status"] == "done"
    assert result["note"].startswith("Photos are overlapping patches of ten photographs")


@pytest.mark.slow
def test_a_search_learns(tmp_path: Path) -> None:
    """Chance is 10 %; a reduced search was at 35 % after one epoch and at 52 % after three."""
    more = {"data.name": "photos", "search.epochs": 3, "measures.sharpness.every": 0}
    api.run(more | {"benchmark.table": "analog-nasbench"}, out=tmp_path / "run")
    accuracies = api.load(tmp_path / "run")["valid_accuracy"].tolist()
    assert accuracies[0] < 20
    assert accuracies[-1] > 35
