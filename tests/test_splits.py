"""Published splits: rows as the file lists them, files that do not fit told in one line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import write_files
from made import archive_files, parquet_bytes, pixels, png, split_text
from tiny import tiny_settings

from optnas.base.errors import UserError
from optnas.base.registry import find
from optnas.data.sets.base import Dataset
from optnas.data.sets.cifar import Part, published_rows
from optnas.data.sets.cifar10 import CIFAR10
from optnas.data.sets.photos import photos
from optnas.data.splits import read_split
from optnas.search import api
from optnas.search.settings.model import Settings
from optnas.search.state import build_state

ODD, EVEN = list(range(1, 80, 2)), list(range(0, 80, 2))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """CIFAR-100 with 80 training and 60 test images, CIFAR-10 with 80, and a split file of each."""
    labels = [row % 7 for row in range(80)]
    write_files(tmp_path, archive_files("cifar100", pixels(80), labels))
    write_files(tmp_path, archive_files("cifar100", pixels(60, seed=1), labels[:60], part="test"))
    write_files(tmp_path, archive_files("cifar10", pixels(80), labels))
    xvalid, xtest = [59, *range(0, 50, 2)], [*range(1, 59, 2), *range(50, 59, 2)]
    files: dict[str, str | bytes] = {
        "cifar-split.txt": split_text(train=ODD, valid=EVEN[::-1]),
        "cifar100-test-split.txt": split_text(xvalid=xvalid, xtest=xtest),
    }
    write_files(tmp_path, files)
    return tmp_path


def opened(name: str, folder: Path) -> Dataset:
    dataset: Dataset = find("dataset", name)(folder=folder)
    return dataset


def settings(folder: Path, name: str, split: str, file: str, **more: Any) -> Settings:
    chosen = {"data__train_size": 40, "data__valid_size": 20, "data__folder": str(folder)} | more
    chosen |= {"data__split": split, "data__split_file": str(folder / file)}
    return tiny_settings(data__name=name, data__resolution=8, **chosen)


def test_lists_are_taken_as_they_stand(folder: Path) -> None:
    split = read_split("file", folder / "cifar-split.txt", opened("cifar10", folder))
    assert split.train_N.tolist() == ODD
    assert split.valid_M.tolist() == EVEN[::-1]
    state = build_state(settings(folder, "cifar10", "file", "cifar-split.txt"))
    images, labels = opened("cifar10", folder).read()
    for half, rows in ((state.train, ODD), (state.valid, EVEN[:-21:-1])):
        blocks = images[rows].reshape(len(rows), 8, 4, 8, 4, 3).mean((2, 4))
        assert half.labels_N.tolist() == labels[rows].tolist()
        found = half.images_NCHW.permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(found, np.rint(blocks))


def test_alpha_learns_from_test_images(folder: Path) -> None:
    complete = settings(folder, "cifar100", "test-file", "cifar100-test-split.txt")
    state = build_state(complete)
    dataset = opened("cifar100", folder)
    assert dataset.test is not None
    assert state.train.labels_N.tolist() == dataset.read()[1][:40].tolist()
    rows = [59, *range(0, 38, 2)]
    assert state.valid.labels_N.tolist() == dataset.test().read(np.array(rows))[1].tolist()
    assert torch.equal(state.valid.mean_C, torch.tensor(dataset.mean, dtype=torch.float64))
    assert state.note.endswith("; alpha learns from test images")


def test_all_lists_are_used_by_default(folder: Path) -> None:
    sizes = {"data.name": "cifar100", "data.folder": str(folder), "data.split": "test-file"}
    file = {"data.split_file": str(folder / "cifar100-test-split.txt")}
    small = {"search.batch_size": 16, "measures.sharpness.batch_size": 8}
    data = api.settings_of(sizes | file | small | {"protocol": "nas-bench-201"}).data
    assert (data.train_size, data.valid_size) == (80, 26)


@pytest.mark.parametrize("name", ["cifar100", "imagenet16-120"])
@pytest.mark.parametrize("protocol", ["nas-bench-201", "nats-bench"])
def test_the_benchmark_protocols_ask_for_the_file(name: str, protocol: str, folder: Path) -> None:
    write_files(folder, archive_files("imagenet16-120", pixels(20, 16), [1] * 20))
    asked = {"data.name": name, "protocol": protocol, "data.folder": str(folder)}
    with pytest.raises(
        UserError, match=r"split_file: .*=test-file needs .* 'data.split_file': PATH"
    ):
        api.settings_of(asked)


def test_content_is_identity_and_place_is_not(folder: Path, tmp_path: Path) -> None:
    file = "cifar100-test-split.txt"
    base = settings(folder, "cifar100", "test-file", file)
    moved = tmp_path / "moved.txt"
    moved.write_text((folder / file).read_text())
    again = settings(folder, "cifar100", "test-file", "moved.txt")
    assert again.hash == base.hash
    document = json.loads(moved.read_text())
    rows = document["xvalid"][1]
    rows[0], rows[1] = rows[1], rows[0]
    moved.write_text(json.dumps(document))
    assert settings(folder, "cifar100", "test-file", "moved.txt").hash != base.hash
    labels = [row % 7 for row in range(60)]
    write_files(folder, archive_files("cifar100", pixels(60, seed=2), labels, part="test"))
    assert settings(folder, "cifar100", "test-file", file).hash != base.hash


def test_a_run_goes_on_with_its_file_elsewhere(folder: Path, tmp_path: Path) -> None:
    file = folder / "cifar-split.txt"
    chosen = settings(folder, "cifar10", "file", file.name, search__epochs=1).document()
    chosen.pop("identity"), chosen.pop("format"), chosen.pop("protocol")
    api.run(chosen, out=tmp_path / "run")
    moved = file.rename(folder / "moved.txt")
    with pytest.raises(UserError, match=r"cifar-split.txt: cannot read it"):
        api.resume(tmp_path / "run")
    result = api.resume(tmp_path / "run", {"data.split_file": str(moved)})
    assert result["status"] == "done"
    moved.write_text(split_text(train=EVEN, valid=ODD))
    told = r"point data.folder and data.split_file to the original data"
    with pytest.raises(UserError, match=told):
        api.resume(tmp_path / "run", {"data.split_file": str(moved)})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON (nested too deeply)"),
        ("[1]", "has no lists train and valid and nothing else"),
        (split_text(train=ODD), "has no lists train and valid"),
        (split_text(train=ODD, valid=EVEN, test=[1]), "has no lists train and valid and nothing"),
        (split_text(xvalid=ODD, xtest=EVEN), "belong to data.split=test-file; set data.split=test"),
        (split_text(train=ODD, valid=[*EVEN, 80]), "valid = 80: the row is not below 80"),
        (split_text(train=ODD, valid=[*EVEN, 1]), "valid = 1: the row is listed twice"),
        (split_text(train=[*ODD, 1], valid=EVEN), "train = 1: the row is listed twice"),
        (split_text(train=ODD, valid=EVEN[1:]), "lists 79 rows, and there are 80 images; give"),
        (split_text(train=range(80), valid=[]), "valid: the list is empty"),
        (
            '{"train": ["int", ["0", "x"]], "valid": []}',
            """train = 'x': is not of the form ["int""",
        ),
        ('{"train": ["int", ["-1"]], "valid": []}', "train = '-1': is not of the form"),
        ('{"train": ["int", [1]], "valid": []}', "train = 1: is not of the form"),
        ('{"train": [0, 1], "valid": [2]}', "train: is not of the form"),
        ('{"train": {"int": 1}, "valid": [2]}', "train: is not of the form"),
    ],
    ids=range(16),
)
def test_files_that_do_not_fit(text: str, told: str, folder: Path) -> None:
    path = folder / "split.txt"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_split("file", path, opened("cifar10", folder))
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_kinds_that_are_not_to_be_had(folder: Path) -> None:
    with pytest.raises(UserError, match=r"data.split_file = .*: no split file is read under data"):
        settings(folder, "cifar10", "halves", "cifar-split.txt")
    with pytest.raises(UserError, match=r"data.split = 'test-file': digits has no test images"):
        settings(folder, "digits", "test-file", "cifar-split.txt")
    with pytest.raises(UserError, match=r"data.valid_size = 41: its half of the split has 40"):
        settings(folder, "cifar10", "file", "cifar-split.txt", data__valid_size=41)
    assert photos(None).test is not None


# Parquet keeps the order of the archive, whose members are not sorted, or is shuffled.


def shuffled_blocks(folder: Path, order: Sequence[int]) -> tuple[list[Path], Part]:
    """Five blocks of four rows in an order of their own, in two files."""
    part = Part("train", CIFAR10.train.batches, tuple((b, 9 - b) for b in range(5)), 4)
    labels = [label for b in order for label in (b, 9 - b, 3, 3)]
    encoded = [png(pixels(1)[0])] * 20
    files = {
        "train-0.parquet": parquet_bytes(encoded[:7], labels[:7]),
        "train-1.parquet": parquet_bytes(encoded[7:], labels[7:]),
    }
    write_files(folder, files)
    return [folder / name for name in files], part


def test_parquet_rows_are_put_into_the_published_order(tmp_path: Path) -> None:
    order = (3, 2, 1, 4, 0)
    files, part = shuffled_blocks(tmp_path, order)
    rows = published_rows(files, ("label",), part)
    expected = [4 * order.index(block) + place for block in range(5) for place in range(4)]
    assert rows.tolist() == expected


@pytest.mark.parametrize("order", [(3, 2, 1, 4, 4), (0, 1, 2, 3)])
def test_parquet_rows_in_another_order_are_refused(order: Sequence[int], tmp_path: Path) -> None:
    files, part = shuffled_blocks(tmp_path, (*order, 0, 0)[:5])
    with pytest.raises(UserError, match=r"order than the published one, .* use the pickled batch"):
        published_rows(files[: len(order)], ("label",), part)


def test_published_rows_are_applied_to_the_lists(tmp_path: Path, folder: Path) -> None:
    dataset = opened("cifar10", folder)
    own = np.arange(80)[::-1]
    turned = Dataset(**{**vars(dataset), "published_rows": lambda: own})
    split = read_split("file", folder / "cifar-split.txt", turned)
    assert split.train_N.tolist() == own[ODD].tolist()
    assert split.valid_M.tolist() == own[EVEN[::-1]].tolist()
