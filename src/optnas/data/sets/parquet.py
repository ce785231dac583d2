"""Any labelled images in parquet files, given by path."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from optnas.base.errors import UserError
from optnas.base.files import inside
from optnas.base.registry import register
from optnas.base.schema import Count
from optnas.data.sets import layouts
from optnas.data.sets.base import Dataset
from optnas.data.sets.encoded import (
    Encoded,
    class_names,
    first_image_size,
    read_labels,
    row_count,
)
from optnas.data.sets.pictures import Fit

PATTERN = "{}-*.parquet"
TEST = ("test", "validation")  # how files of test images begin, the first that are there
REMEDY = "set data.path to a parquet file, or to a folder with train-*.parquet"


@register("dataset", "parquet", own=True)
def parquet(
    folder: Path | None, path: str, label: str = "label", side: Count = 0, fit: Fit = "crop"
) -> Dataset:
    """Images with labels 0 to K - 1, as the hubs hand them out; the images define mean and std.

    Only labels and the first image's size are read here. Grey images are read as colour. Crops
    move by an eighth of the width, as on CIFAR-10; set ``augmentation.flip=false`` where a mirrored
    image no longer shows its class. Class names are read where Hugging Face's writer kept them.

    Args:
        folder: not used, the files are given by path.
        path: a parquet file, or a folder of which ``train-*.parquet`` are read, and
            ``test-*.parquet``, else ``validation-*.parquet``, as test images. Where it lies is no
            part of a run's identity; what it holds is.
        label: name of the label column; the image column is ``img`` or ``image``.
        side: height and width that images of any size are brought to; 0: all have one square size.
        fit: how, as in ``folder``.

    Raises:
        UserError: the files are missing or damaged, lack a column, or their labels or image sizes
            are not such.
    """
    place = Path(path)
    if place.is_dir():
        files = layouts.matching(place, PATTERN.format("train"), REMEDY)
    elif place.is_file():
        files = (place,)
    else:
        remedy = "write the whole path, without ~" if path.startswith("~") else REMEDY
        raise UserError("there is no such file", key="data.path", value=path, remedy=remedy)
    for each in files:
        row_count(each, (label,))
    classes, names = _classes(files, label), class_names(files[0], label)
    width = side or _native(files[0], label)

    def dataset(files: tuple[Path, ...], test: tuple[Path, ...]) -> Dataset:
        rows = Encoded(files, (label,), classes, width, fit if side else None)
        size = rows.size()
        return Dataset(
            name="parquet",
            classes=classes,
            channels=3,
            resolution=width,
            size=size,
            mean=(),
            std=(),
            crop_padding=width // 8,
            flip=True,
            note=_note(place, files, size, classes),
            files=files,
            decode=rows.decode,
            decoder=rows.decoder,
            test=functools.partial(dataset, test, ()) if test else None,
            class_names=names if len(names) == classes else (),
            inspect=rows.inspect,
        )

    return dataset(files, _test_files(place))


def _test_files(place: Path) -> tuple[Path, ...]:
    for name in TEST:
        pattern = PATTERN.format(name)
        if inside(place, pattern):
            return layouts.matching(place, pattern, REMEDY)
    return ()


def _native(path: Path, label: str) -> int:
    width, height = first_image_size(path, (label,))
    if width != height:
        raise UserError(
            "the image is not square",
            where=path,
            key="image of row 0",
            value=f"{width}x{height}",
            remedy="set data.side=32, or crop or pad all images to one square size",
        )
    return width


def _note(place: Path, files: Sequence[Path], size: int, classes: int) -> str:
    """What was read, so that a reader of the results can tell one folder from another."""
    names = ", ".join(path.name for path in (files if len(files) <= 3 else files[:2]))
    more = f" and {len(files) - 2} more files" if len(files) > 3 else ""
    return f"{size:,} images of {classes} classes from {place.resolve().name}, given by path" + (
        f" (read: {names}{more})" if place.is_dir() else ""
    )


def _classes(files: Sequence[Path], label: str) -> int:
    found: set[int] = set()
    for path in files:
        for row, value in enumerate(read_labels(path, (label,))):
            if value is None or value < 0:
                raise UserError(
                    "the label is not 0 or more",
                    where=path,
                    key=f"{label} of row {row}",
                    value="null" if value is None else value,
                    remedy="number the classes from 0",
                )
            found.add(value)
    absent = next(number for number in range(len(found) + 1) if number not in found)
    if absent <= max(found):
        raise UserError(
            f"no row has the label {absent}, and some have {max(found)}",
            where=files[0],
            key=label,
            remedy="number the classes 0 to K - 1 without gaps",
        )
    if len(found) < 2:
        raise UserError(
            "all rows have the same label",
            where=files[0],
            key=label,
            remedy="use images of two classes at least",
        )
    return len(found)
