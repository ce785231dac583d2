"""Datasets: rows in the asked order, damaged files told in one line, nothing decoded unasked."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from optnas.base.errors import UserError
from optnas.base.registry import complete_settings, find, names
from optnas.data.sets.cifar10 import cifar10
from optnas.data.sets.digits import digits

DATA = Path(os.environ.get("OPTNAS_DATA", "no-such-folder"))
needs_cifar10 = pytest.mark.skipif(
    not list((DATA / "cifar10").glob("train-*.parquet")),
    reason="OPTNAS_DATA has no cifar10/train-*.parquet",
)

TwoFiles = tuple[Path, np.ndarray, np.ndarray]


def pixels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def write(
    folder: Path,
    images: Sequence[bytes | None],
    labels: Sequence[int | None],
    name: str = "train-0.parquet",
    rows_per_group: int = 3,
) -> Path:
    """A file in the layout of the hubs; returns its path, FOLDER/cifar10/NAME."""
    path = folder / "cifar10" / name
    path.parent.mkdir(exist_ok=True)
    column = [{"bytes": image, "path": "x.png"} for image in images]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"img": pa.array(column, kind), "label": pa.array(labels, pa.int64())})
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path


def message(folder: Path | None, rows: list[int] | None = None) -> str:
    """The text of the UserError met on the way to the rows: one line, then a remedy."""
    with pytest.raises(UserError) as caught:
        cifar10(folder).read(None if rows is None else np.array(rows))
    text = str(caught.value)
    assert "\n" not in text
    assert "; " in text
    return text


@pytest.fixture
def two_files(tmp_path: Path) -> TwoFiles:
    images_NHWC, labels_N = pixels(12), np.arange(12) % 10
    encoded = [png(image) for image in images_NHWC]
    write(tmp_path, encoded[:7], labels_N[:7].tolist(), "train-0.parquet")
    write(tmp_path, encoded[7:], labels_N[7:].tolist(), "train-1.parquet")
    write(tmp_path, encoded[:1], [0], "test-0.parquet")
    return tmp_path, images_NHWC, labels_N


def test_rows_come_in_the_asked_order_across_files_and_row_groups(two_files: TwoFiles) -> None:
    folder, images_NHWC, labels_N = two_files
    dataset = cifar10(folder)
    assert dataset.size == 12
    for rows in (np.array([11, 0, 6, 7, 3, 3]), np.arange(12)[::-1], np.array([], dtype=int), None):
        images, labels = dataset.read(rows)
        expected = np.arange(12) if rows is None else rows
        np.testing.assert_array_equal(images, images_NHWC[expected])
        np.testing.assert_array_equal(labels, labels_N[expected])
        assert (images.dtype, labels.dtype) == (np.uint8, np.int64)


def test_rows_outside_the_data_are_refused(two_files: TwoFiles) -> None:
    dataset = cifar10(two_files[0])
    for row in (-1, 12):
        with pytest.raises(IndexError, match="rows 0 to 11"):
            dataset.read(np.array([row]))


def test_grey_images_become_colour(tmp_path: Path) -> None:
    grey = np.full((32, 32), 77, dtype=np.uint8)
    write(tmp_path, [png(grey)], [1])
    images, _ = cifar10(tmp_path).read()
    assert (images == 77).all()
    assert images.shape == (1, 32, 32, 3)


def test_fingerprint_is_sha256_of_the_files_in_order_and_one_byte_changes_it(
    two_files: TwoFiles,
) -> None:
    dataset = cifar10(two_files[0])
    names_of_files = [path.name for path in dataset.files]
    assert names_of_files == ["train-0.parquet", "train-1.parquet"]
    content = b"".join(path.read_bytes() for path in dataset.files)
    before = dataset.fingerprint()
    assert before == hashlib.sha256(content).hexdigest()
    last = dataset.files[-1]
    changed = bytearray(last.read_bytes())
    changed[100] ^= 1
    last.write_bytes(changed)
    assert dataset.fingerprint() != before


def test_no_folder() -> None:
    text = message(None)
    assert "data.folder: cifar10 needs a data folder" in text
    assert "set OPTNAS_DATA or data.folder=" in text


def test_missing_folder_and_folder_without_files(tmp_path: Path) -> None:
    assert f"{tmp_path / 'cifar10'}: there is no such folder" in message(tmp_path)
    (tmp_path / "cifar10").mkdir()
    assert "the folder has no train-*.parquet; set OPTNAS_DATA" in message(tmp_path)


def test_empty_truncated_and_foreign_files(tmp_path: Path) -> None:
    path = write(tmp_path, [png(pixels(1)[0])], [0])
    content = path.read_bytes()
    for damaged, told in (
        (b"", "the file is empty; copy"),
        (content[:-1], "truncated or not parquet"),
        (content[: len(content) // 2], "truncated or not parquet"),
        (b"not parquet at all", "truncated or not parquet"),
    ):
        path.write_bytes(damaged)
        assert message(tmp_path).startswith(f"{path}: ")
        assert told in message(tmp_path)


def test_a_file_without_rows(tmp_path: Path) -> None:
    write(tmp_path, [], [])
    assert "the file has no rows" in message(tmp_path)


def test_damage_inside_a_row_group_is_found_when_its_rows_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, [png(image) for image in pixels(6)], [0] * 6)
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    assert "rows 0 to 2 are damaged" in message(tmp_path)
    cifar10(tmp_path).read(np.array([3, 4, 5]))


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"image": [1], "label": [1]}),
        pa.table({"img": [b"x"], "label": [1]}),
        pa.table({"img": [{"path": "x"}], "label": [1]}),
        pa.table({"img": [{"bytes": b"x"}], "fine_label": [1]}),
        pa.table({"img": [{"bytes": b"x"}], "label": ["cat"]}),
    ],
    ids=lambda table: "-".join(table.schema.names),
)
def test_missing_or_ill_typed_columns(tmp_path: Path, table: pa.Table) -> None:
    (tmp_path / "cifar10").mkdir()
    path = tmp_path / "cifar10" / "train-0.parquet"
    pq.write_table(table, path)
    text = message(tmp_path)
    assert (
        f"{path}: needs the columns img or image (struct with bytes) and label (integer), " in text
    )
    assert f"{table.schema.names[1]} (" in text


@pytest.mark.parametrize("bad", [None, b"", b"no image", png(pixels(1)[0])[:-300]])
def test_undecodable_image_names_its_row_in_its_file(tmp_path: Path, bad: bytes | None) -> None:
    good = png(pixels(1)[0])
    write(tmp_path, [good] * 5, [0] * 5, "train-0.parquet")
    path = write(tmp_path, [good, bad], [0, 0], "train-1.parquet")
    assert message(tmp_path).startswith(f"{path}: img of row 1: the image cannot be decoded")
    cifar10(tmp_path).read(np.arange(6))


def test_wrong_image_size_names_row_and_size(tmp_path: Path) -> None:
    write(tmp_path, [png(pixels(1)[0]), png(pixels(1)[0, :28])], [0, 0])
    assert "img of row 1 = '32x28': the image is not 32x32" in message(tmp_path)


@pytest.mark.parametrize(("label", "shown"), [(10, "10"), (-1, "-1"), (None, "'null'")])
def test_label_out_of_range_names_row_and_value(
    tmp_path: Path, label: int | None, shown: str
) -> None:
    write(tmp_path, [png(image) for image in pixels(5)], [0, 1, 2, 9, label])
    assert f"label of row 4 = {shown}: the label is not in 0 to 9" in message(tmp_path)
    cifar10(tmp_path).read(np.arange(4))


def test_digits_are_the_lines_of_the_file() -> None:
    dataset = digits(None)
    with gzip.open(dataset.files[0], "rt") as file:
        lines = [[float(cell) for cell in line] for line in csv.reader(file)]
    rows = np.array([1796, 0, 5, 5])
    images, labels = dataset.read(rows)
    assert (images.shape, images.dtype, labels.dtype) == ((4, 8, 8, 1), np.uint8, np.int64)
    for image, label, row in zip(images, labels, rows, strict=True):
        assert label == lines[row][64]
        assert image.ravel().tolist() == [round(x * 255 / 16) for x in lines[row][:64]]


def test_digits_facts() -> None:
    dataset = digits(None)
    images, labels = dataset.read()
    assert dataset.size == len(images) == 1797
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert images.mean() / 255 == pytest.approx(dataset.mean[0], abs=5e-5)
    assert images.std() / 255 == pytest.approx(dataset.std[0], abs=5e-5)


def test_both_are_registered_and_have_no_settings_of_the_user() -> None:
    assert {"cifar10", "digits"} <= set(names("dataset"))
    for name in ("cifar10", "digits"):
        factory = find("dataset", name)
        assert complete_settings(factory, {}, section="dataset", skip=("folder",)) == {}


def test_reading_imports_neither_torch_nor_scikit_learn_nor_pandas(two_files: TwoFiles) -> None:
    script = (
        "import sys; from pathlib import Path; from optnas.base.registry import find; "
        "find('dataset', 'digits')(None).read(); "
        "dataset = find('dataset', 'cifar10'); assert 'pyarrow' not in sys.modules; "
        "dataset(Path(sys.argv[1])).read(); "
        "print(sorted({'torch', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script, str(two_files[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.thorough
@pytest.mark.data
@needs_cifar10
def test_the_real_training_rows() -> None:
    dataset = cifar10(DATA)
    images, labels = dataset.read()
    assert dataset.size == 50_000
    assert np.bincount(labels).tolist() == [5000] * 10
    sample = images[::10] / 255
    np.testing.assert_allclose(sample.mean((0, 1, 2)), dataset.mean, atol=5e-3)
    np.testing.assert_allclose(sample.std((0, 1, 2)), dataset.std, atol=5e-3)
    rows = np.array([49_999, 0, 5_000, 4_999])
    np.testing.assert_array_equal(dataset.read(rows)[0], images[rows])
