"""What lies in a folder is one copy of the data set, and its pixels are read as they are shown.

Each case failed on 0.1.0, where all files of a pattern were one data set and every image mode was
converted by Pillow's rule (which makes every 16-bit grey pixel above 255 white).
"""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cases import write_files
from made import archive_files, parquet_bytes, pixels, png
from PIL import Image
from tiny import tiny_settings

from optnas import UserError
from optnas.base import registry
from optnas.data.images import Images, shared_images, unbalanced
from optnas.data.sets import cifar, imagenet16_120, layouts
from optnas.search.state import build_state

LABELS = [0, 1, 2] * 4
BLACK_TO_WHITE = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)


def file_of(seed: int = 0, count: int = 12) -> bytes:
    images = [png(each) for each in pixels(count, side=8, seed=seed)]
    return parquet_bytes(images, LABELS[:count])


def parquet(path: Path) -> Any:
    return registry.find("dataset", "parquet")(folder=None, path=str(path))


# --- files ------------------------------------------------------------------------------------

FOLDERS = {
    "two names of one part": (
        {"train-00000-of-00001.parquet": 0, "train-00000-of-00001-b3a1f0.parquet": 1},
        "another copy",
    ),
    "two numberings": (
        {"train-00000-of-00001.parquet": 0, "train-00000-of-00002.parquet": 1},
        "another copy",
    ),
    "a part is missing": (
        {"train-00000-of-00003.parquet": 0, "train-00002-of-00003.parquet": 1},
        "part 1 is missing",
    ),
    "a part beyond the last": (
        {"train-00000-of-00002.parquet": 0, "train-00002-of-00002.parquet": 1},
        "part 1 is missing",
    ),
    "a copy without a place": (
        {"train-00000-of-00001.parquet": 0, "train-copy.parquet": 1},
        "tells no place",
    ),
    "one content twice": ({"train-a.parquet": 0, "train-b.parquet": 0}, "the same content"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_with_more_or_less_than_one_copy_is_refused(case: str, tmp_path: Path) -> None:
    files, reason = FOLDERS[case]
    for name, seed in files.items():
        (tmp_path / name).write_bytes(file_of(seed))
    with pytest.raises(UserError, match=reason) as raised:
        parquet(tmp_path)
    assert raised.value.remedy


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"),
        ("train-00000-of-00002-0a1b.parquet", "train-00001-of-00002-2c3d.parquet"),
        ("train-a.parquet", "train-b.parquet"),
    ],
)
def test_one_copy_is_read_and_its_files_are_told(names: tuple[str, str], tmp_path: Path) -> None:
    for seed, name in enumerate(names):
        (tmp_path / name).write_bytes(file_of(seed))
    dataset = parquet(tmp_path)
    assert dataset.size == 24
    assert dataset.note.startswith("24 images of 3 classes")
    assert all(name in dataset.note for name in names)


def test_the_folder_of_the_report_is_refused(tmp_path: Path) -> None:
    """The train file of CIFAR-10 under two names, as an upload that was tried again leaves it."""
    folder = tmp_path / "cifar10"
    folder.mkdir()
    for name in ("train-00000-of-00001.parquet", "train-00000-of-00001-b42775f4.parquet"):
        (folder / name).write_bytes(file_of())
    with pytest.raises(UserError, match=r"b42775f4|another copy"):
        registry.find("dataset", "cifar10")(folder=tmp_path)


def test_known_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = tmp_path
    assert layouts.of_published(50_000, 50_000, "training images of X", where) == ""
    assert "only 49,999 of 50,000" in layouts.of_published(49_999, 50_000, "images", where)
    with pytest.raises(UserError, match=r"100,000 images, and there are 50,000 training images"):
        layouts.of_published(100_000, 50_000, "training images of X", where)
    sizes = {part.size for data in ("cifar10", "cifar100") for part in parts(data)}
    assert sizes == {50_000, 10_000}
    assert set(imagenet16_120.PUBLISHED.values()) == {151_700, 6_000}


def parts(name: str) -> list[cifar.Part]:
    module = importlib.import_module(f"optnas.data.sets.{name}")
    (found,) = (value for value in vars(module).values() if isinstance(value, cifar.Cifar))
    return [found.train, found.test]


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "imagenet16-120"])
def test_every_reader_of_a_known_set_tells_a_part_of_it(name: str, tmp_path: Path) -> None:
    side = 16 if name == "imagenet16-120" else 32
    labels = [number % 9 + 1 for number in range(20)]
    write_files(tmp_path, archive_files(name, pixels(20, side), labels))
    assert "only " in registry.find("dataset", name)(folder=tmp_path).note


# --- halves -----------------------------------------------------------------------------------


def half(images_NHWC: np.ndarray) -> Images:
    images_NCHW = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).contiguous()
    labels_N = torch.zeros(len(images_NHWC), dtype=torch.int64)
    return Images(images_NCHW, labels_N, torch.zeros(3), torch.ones(3))


def test_images_of_both_halves_are_counted_told_and_refused_beyond_one_percent() -> None:
    images = pixels(400, side=4)
    train, valid = images[:200], images[200:].copy()
    assert shared_images(half(train), half(valid)) == ""
    valid[7] = train[3]
    assert "1 validation image stands" in shared_images(half(train), half(valid))
    valid[8] = train[3]
    assert "2 validation images stand" in shared_images(half(train), half(valid))
    valid[9] = train[5]
    with pytest.raises(UserError, match="3 of 200 images of the validation half") as raised:
        shared_images(half(train), half(valid))
    assert raised.value.key == "data.split"


def test_a_search_on_repeated_rows_is_refused(tmp_path: Path) -> None:
    images = [png(each) for each in pixels(12, side=8)]
    (tmp_path / "any.parquet").write_bytes(parquet_bytes(images * 2, LABELS * 2))
    settings = tiny_settings(
        data__name="parquet",
        data__path=str(tmp_path / "any.parquet"),
        data__split="halves",
        data__train_size=12,
        data__valid_size=12,
        search__batch_size=4,
    )
    with pytest.raises(UserError, match="12 of 12 images of the training half"):
        build_state(settings)


# --- pixels -----------------------------------------------------------------------------------


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def read_one(data: bytes, tmp_path: Path) -> np.ndarray:
    others = [png(each) for each in pixels(2, side=8)]
    (tmp_path / "one.parquet").write_bytes(parquet_bytes([*others, data], [0, 1, 1]))
    images_NHWC, _ = parquet(tmp_path / "one.parquet").read(np.array([2]))
    return images_NHWC[0]


def grey(values_HW: np.ndarray) -> np.ndarray:
    return np.repeat(values_HW[..., None], 3, axis=-1)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # a viewer turns it by 90 degrees, clockwise
    return encoded(Image.fromarray(BLACK_TO_WHITE), exif=exif)


def palette() -> Image.Image:
    return Image.fromarray(grey(BLACK_TO_WHITE)).quantize(64)


SHOWN = {
    "grey of 8 bits": (encoded(Image.fromarray(BLACK_TO_WHITE)), grey(BLACK_TO_WHITE)),
    "grey of 16 bits": (
        encoded(Image.fromarray(BLACK_TO_WHITE.astype(np.uint16) * 257)),
        grey(BLACK_TO_WHITE),
    ),
    "grey of 1 bit": (
        encoded(Image.fromarray(BLACK_TO_WHITE > 127)),
        grey(np.where(BLACK_TO_WHITE > 127, 255, 0).astype(np.uint8)),
    ),
    "a palette": (encoded(palette()), np.asarray(palette().convert("RGB"))),
    "an opaque alpha channel": (
        encoded(Image.fromarray(BLACK_TO_WHITE).convert("LA")),
        grey(BLACK_TO_WHITE),
    ),
    "turned": (turned(), grey(np.rot90(BLACK_TO_WHITE, -1))),
}


@pytest.mark.parametrize("case", SHOWN)
def test_an_image_is_read_as_it_is_shown(case: str, tmp_path: Path) -> None:
    data, expected = SHOWN[case]
    assert np.array_equal(read_one(data, tmp_path), expected)


def see_through() -> Image.Image:
    image = Image.fromarray(BLACK_TO_WHITE).convert("RGBA")
    image.putpixel((3, 3), (0, 0, 0, 128))
    return image


SQUARE = Image.fromarray(BLACK_TO_WHITE).convert("RGB")
REFUSED = {
    "transparent": (encoded(see_through()), "transparent", "background"),
    "a transparent grey": (encoded(Image.fromarray(BLACK_TO_WHITE), transparency=0), "transp", ""),
    "for print": (encoded(SQUARE.convert("CMYK"), "JPEG"), "printer", "convert the images to RGB"),
    "WEBP": (encoded(SQUARE, "WEBP"), "is WEBP", "convert the images to PNG"),
    "BMP": (encoded(SQUARE, "BMP"), "is BMP", "convert the images to PNG"),
    "GIF": (encoded(SQUARE, "GIF"), "is GIF", "convert the images to PNG"),
    "TIFF": (encoded(SQUARE, "TIFF"), "is TIFF", "convert the images to PNG"),
    "nothing": (b"", "cannot be decoded", "copy the file again"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_image_that_cannot_be_shown_is_refused_by_its_row(case: str, tmp_path: Path) -> None:
    data, reason, remedy = REFUSED[case]
    with pytest.raises(UserError, match=reason) as raised:
        read_one(data, tmp_path)
    assert raised.value.key == "img of row 2"
    assert remedy in str(raised.value.remedy)


def test_labels_in_words_are_told_to_be_numbered(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": png(each), "path": ""} for each in pixels(2, side=8)], kind)
    pq.write_table(pa.table({"img": column, "label": ["cat", "dog"]}), tmp_path / "words.parquet")
    with pytest.raises(UserError) as raised:
        parquet(tmp_path / "words.parquet")
    assert "number the classes: label is string" in str(raised.value.remedy)


@pytest.mark.parametrize("resolution", [6, 7, 9])
def test_a_resolution_that_cannot_be_halved_twice_is_refused(resolution: int) -> None:
    with pytest.raises(UserError, match="take sides that are multiples of 4") as raised:
        tiny_settings(data__resolution=resolution)
    assert raised.value.key == "data.resolution"


def test_what_guessing_is_worth_is_told_where_a_class_is_most_of_a_half() -> None:
    def told(*counts: int) -> str:
        labels_N = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        images_NCHW = torch.zeros(len(labels_N), 1, 2, 2, dtype=torch.uint8)
        of_half = Images(images_NCHW, labels_N, torch.zeros(1), torch.ones(1))
        return unbalanced(of_half, len(counts), "validation")

    assert (
        told(70, 20, 10)
        == "; guessing the largest class is right for 70.0 % of the validation images"
    )
    assert told(50, 25, 25) == told(20, 5, 0) == ""
