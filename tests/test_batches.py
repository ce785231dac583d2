"""Pickled batches: the same images as from parquet, whoever wrote them, and nothing is run."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import Hostile, write_files
from made import ARCHIVES, archive_files, batch_bytes, flat, parquet_bytes, pixels, png

from optnas.base.errors import UserError
from optnas.base.registry import find
from optnas.data.sets.base import Dataset
from optnas.data.sets.pickled import Batches

WRITERS: dict[str, dict[str, Any]] = {
    "python 2": {"python2": True},
    **{f"protocol {number}": {"protocol": number} for number in range(2, 6)},
}
CIFARS = ("cifar10", "cifar100")


def opened(name: str, folder: Path) -> Dataset:
    dataset: Dataset = find("dataset", name)(folder=folder)
    return dataset


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", CIFARS)
def test_both_layouts_have_the_same_images(name: str, writer: str, tmp_path: Path) -> None:
    classes = ARCHIVES[name][-1]
    images_NHWC = pixels(23)
    labels = [7 * row % classes for row in range(23)]
    label = {"cifar10": "label", "cifar100": "fine_label"}[name]
    encoded = parquet_bytes([png(image) for image in images_NHWC], labels, label=label)
    write_files(tmp_path / "a", {f"{name}/train-0.parquet": encoded})
    write_files(tmp_path / "b", archive_files(name, images_NHWC, labels, **WRITERS[writer]))
    one, other = opened(name, tmp_path / "a"), opened(name, tmp_path / "b")
    assert one.size == other.size == 23
    assert (one.mean, one.std, one.classes) == (other.mean, other.std, other.classes)
    for rows in (None, np.array([22, 0, 5, 5, 4])):
        (a_images, a_labels), (b_images, b_labels) = one.read(rows), other.read(rows)
        np.testing.assert_array_equal(a_images, b_images)
        np.testing.assert_array_equal(a_labels, b_labels)
    np.testing.assert_array_equal(other.read()[0], images_NHWC)


def test_parquet_goes_before_batches_and_batches_before_an_empty_folder(tmp_path: Path) -> None:
    write_files(tmp_path, archive_files("cifar10", pixels(10), [1] * 10))
    (tmp_path / "cifar10").mkdir()
    assert "original archive" in opened("cifar10", tmp_path).note
    (tmp_path / "cifar10/train-0.parquet").write_bytes(parquet_bytes([png(pixels(1)[0])], [3]))
    assert "parquet" in opened("cifar10", tmp_path).note


@pytest.mark.parametrize("name", ARCHIVES)
def test_test_images_are_opened_only_when_asked_for(name: str, tmp_path: Path) -> None:
    side = 16 if name == "imagenet16-120" else 32
    labels = [1 + row % 5 for row in range(20)]
    write_files(tmp_path, archive_files(name, pixels(20, side), labels))
    dataset = opened(name, tmp_path)
    before = dataset.fingerprint()
    assert dataset.test is not None
    with pytest.raises(UserError, match=f"has no {ARCHIVES[name][2][0]}; set OPTNAS_DATA"):
        dataset.test()
    write_files(tmp_path, archive_files(name, pixels(6, side, seed=1), labels[:6], part="test"))
    test = dataset.test()
    np.testing.assert_array_equal(test.read()[0], pixels(6, side, seed=1))
    assert (test.mean, test.std, test.classes) == (dataset.mean, dataset.std, dataset.classes)
    assert dataset.fingerprint() == before != test.fingerprint()


def test_imagenet_keeps_the_first_120_classes_in_order(tmp_path: Path) -> None:
    images_NHWC = pixels(40, 16)
    labels = [(row * 31) % 1000 + 1 for row in range(40)]
    write_files(tmp_path, archive_files("imagenet16-120", images_NHWC, labels, python2=True))
    kept = [row for row, label in enumerate(labels) if 1 <= label <= 120]
    assert 1 < len(kept) < 20
    dataset = opened("imagenet16-120", tmp_path)
    images, found = dataset.read()
    assert (dataset.size, dataset.classes, dataset.resolution) == (len(kept), 120, 16)
    np.testing.assert_array_equal(images, images_NHWC[kept])
    assert found.tolist() == [labels[row] - 1 for row in kept]
    write_files(tmp_path, archive_files("imagenet16-120", images_NHWC, [121] * 40))
    with pytest.raises(UserError, match="no image has a label in 1 to 120"):
        opened("imagenet16-120", tmp_path)


def one_batch(folder: Path, content: bytes) -> Path:
    """A folder with CIFAR-100 in one file."""
    write_files(folder, {"cifar-100-python/train": content})
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda data, labels: (np.asfortranarray(data), labels),
        lambda data, labels: (data, np.array(labels)),
        lambda data, labels: (data, np.array(labels, dtype=">i4")),
        lambda data, labels: (data, np.array(labels, dtype=np.uint8)),
    ],
    ids=["column-major", "int64", "big-endian", "uint8"],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_of_other_forms(
    change: Callable[..., tuple[Any, Any]], protocol: int, tmp_path: Path
) -> None:
    images_NHWC = pixels(4)
    data, labels = change(flat(images_NHWC), [3, 99, 0, 42])
    content = pickle.dumps({"data": data, "fine_labels": labels}, protocol=protocol)
    images, found = opened("cifar100", one_batch(tmp_path, content)).read()
    np.testing.assert_array_equal(images, images_NHWC)
    assert found.tolist() == [3, 99, 0, 42]


class Nested:
    """Calls what it is given when it is read without care."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.parts = call, arguments

    def __reduce__(self) -> Any:
        return self.parts


def hostile_array() -> np.ndarray:
    array = np.empty((2, 3072), dtype=object)
    array[1, 5] = Hostile()
    return array


# An array that states more rows than its bytes can be, and a string longer than its file.
HUGE = batch_bytes(pixels(2), [0, 1], "fine_labels").replace(
    b"K\x02M\x00\x0c", b"J\xff\xff\xff\x7fM\x00\x0c"
)
ENDLESS = b"\x80\x05\x8e" + struct.pack("<Q", 1 << 62) + b"x."
HOSTILE: dict[str, tuple[bytes, str]] = {
    "a call": (pickle.dumps(Hostile()), "refused to load the global posix.system"),
    "inside labels": (
        pickle.dumps({"data": flat(pixels(1)), "fine_labels": [[[Hostile()]]]}),
        "refused to load the global posix.system",
    ),
    "inside an array": (
        pickle.dumps({"data": hostile_array(), "fine_labels": [0, 1]}),
        "refused to load the global posix.system",
    ),
    "as a key": (pickle.dumps({Nested(eval, "1"): 1}), "refused to load the global builtins.eval"),
    "by getattr": (
        pickle.dumps(Nested(getattr, "text", "upper")),
        "refused to load the global builtins.getattr",
    ),
    "another codec": (
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00xX\x03\x00\x00\x00zip\x86R.",
        "asks for the codec 'zip'",
    ),
    "more rows than bytes": (HUGE, "is no array of whole numbers (ValueError: an array of shape"),
    "a string without end": (ENDLESS, "cannot read it ("),
    "an array of objects": (
        pickle.dumps({"data": np.array([None]), "fine_labels": [0]}),
        "holds an array of type 'O8'",
    ),
    "nested too deeply": (
        b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "has no dictionary",
    ),
    "an array never filled": (
        b"\x80\x02}(X\x04\x00\x00\x00datacnumpy\nndarray\n)RX\x0b\x00\x00\x00fine_labels](K\x01eu.",
        "is no array of whole numbers (TypeError",
    ),
    "a state of another form": (
        b"\x80\x02}X\x04\x00\x00\x00datacnumpy\nndarray\n)RK\x07bs.",
        "cannot read it (TypeError",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_hostile_files_run_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content, told = HOSTILE[kind]
    with pytest.raises(UserError) as caught:
        opened("cifar100", one_batch(tmp_path, content))
    assert told in str(caught.value)
    assert str(tmp_path / "cifar-100-python/train") in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_a_batch_cut_off_anywhere_is_told(tmp_path: Path) -> None:
    content = batch_bytes(pixels(2), [0, 1], "fine_labels")
    for length in [*range(120), *range(120, len(content), 997), len(content) - 1]:
        with pytest.raises(UserError, match="cannot read it "):
            opened("cifar100", one_batch(tmp_path, content[:length]))


TWO = flat(pixels(2))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"data": TWO, "labels": [0, 1]}, "with data and fine_labels, has the keys data, labels"),
        ([1], "needs a dictionary with data and fine_labels, has no dictionary"),
        ({"data": TWO, "fine_labels": [0, 100]}, "row 1 = 100: the label is not in 0 to 99"),
        ({"data": TWO, "fine_labels": [-1, 0]}, "row 0 = -1: the label is not in 0 to 99"),
        ({"data": TWO, "fine_labels": [0]}, "data = 'uint8 [2, 3072]': is not uint8 of shape [1"),
        ({"data": TWO[:, :768], "fine_labels": [0, 1]}, "data = 'uint8 [2, 768]': is not uint8"),
        ({"data": TWO.astype(int), "fine_labels": [0, 1]}, "data = 'int64 [2, 3072]': is not"),
        ({"data": TWO / 255, "fine_labels": [0, 1]}, "holds an array of type 'f8'"),
        ({"data": "pixels", "fine_labels": [0, 1]}, "data: is no array of whole numbers"),
        ({"data": TWO, "fine_labels": [0, 1.0]}, "fine_labels: is not a list of whole numbers"),
        ({"data": TWO, "fine_labels": [0, True]}, "fine_labels: is not a list of whole numbers"),
        ({"data": TWO, "fine_labels": [0, 1 << 99_999]}, "is not a list of whole numbers"),
        ({1 << 99_999: 1, "a" * 99: 2}, f"has the keys int, {'a' * 40}; use"),
        ({"data": np.dtype("u1"), "fine_labels": [0]}, "data: is no array of whole numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_batches_of_another_layout(content: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        opened("cifar100", one_batch(tmp_path, pickle.dumps(content)))
    assert told in str(caught.value)


def test_resolving_again_reads_no_batch_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, archive_files("cifar10", pixels(10), [1] * 10))
    assert opened("cifar10", tmp_path).size == 10
    with monkeypatch.context() as patch:
        patch.setattr(Batches, "_load", None)
        assert opened("cifar10", tmp_path).size == 10
    write_files(tmp_path, archive_files("cifar10", pixels(15), [1] * 15))
    assert opened("cifar10", tmp_path).size == 15
