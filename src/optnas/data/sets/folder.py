"""Images of one's own in a folder: a sub-folder for each class."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from optnas.base.errors import UserError
from optnas.base.escapes import for_shell, listed
from optnas.base.files import regular
from optnas.base.registry import register
from optnas.base.schema import AtLeastOne
from optnas.data.sets.base import Dataset, Rows, Seen
from optnas.data.sets.layouts import FIX_FILE
from optnas.data.sets.pictures import (
    UNDECODABLE,
    Fit,
    fitted,
    in_colour,
    look,
    opened,
    pillow,
)

NAME = "folder"
# Another number where decoding changes.
DECODING = "1"
LABELLED, TEST, VALID = "train", "test", ("val", "valid", "validation")
# Words for parts of a data set: classes are hardly called so.
PART_WORDS = {LABELLED, TEST, *VALID, "training", "testing"}
# What systems leave in folders of images, beside files whose names begin with a dot.
LEFT_BEHIND = {"Thumbs.db", "desktop.ini"}
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic")
LAYOUT = "a sub-folder of images for each class, or train/ and test/ with such sub-folders"
REMEDY = f"set data.path to a folder with {LAYOUT}"


@dataclass(frozen=True)
class Pictures:
    """Image files and their classes.

    Args:
        root: the folder that was named.
        classes: their names, in order of the labels.
        files: in order of their rows.
        labels: of the files.
        side: height and width of every image that is handed out.
        fit: how images are brought to it.
    """

    root: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: tuple[int, ...]
    side: int
    fit: Fit

    @property
    def layout(self) -> str:
        """The class and the length of each file: with all bytes, which image has which label."""
        lines = (
            f"{self.classes[label]}/{path.stat().st_size}"
            for path, label in zip(self.files, self.labels, strict=True)
        )
        return "\n".join((*self.classes, "", *lines))

    def decode(self, indices_N: np.ndarray) -> Rows:
        """Images, always in colour, and labels of the asked rows.

        Args:
            indices_N: rows, ``int64``.

        Returns:
            ``uint8 [N, side, side, 3]`` and ``int64 [N]``.

        Raises:
            UserError: an image is damaged, or has pixels without a meaning.
        """
        images_NHWC = np.empty((len(indices_N), self.side, self.side, 3), dtype=np.uint8)
        labels_N = np.array([self.labels[row] for row in indices_N], dtype=np.int64)
        for place, row in enumerate(indices_N):
            path = self.files[row]
            try:
                with opened(_bytes(path), path, None) as image:
                    images_NHWC[place] = fitted(in_colour(image, path, None), self.side, self.fit)
            except UserError as error:
                reason, remedy = _blamed(path, error.reason, error.remedy)
                also = f"{remedy}; optnas data check {for_shell(self.root)} names all such"
                raise UserError(reason, where=path, remedy=also) from error
        return images_NHWC, labels_N

    def inspect(self) -> Iterator[Seen]:
        """What each image is, in order.

        Yields:
            One for each file.
        """
        for path, label in zip(self.files, self.labels, strict=True):
            seen = look(_bytes(path), path, None, str(path.relative_to(self.root)), label)
            reason, _, remedy = seen.reason.partition("; ")
            yield replace(seen, reason="; ".join(_blamed(path, reason, remedy)) if reason else "")


@register("dataset", NAME, own=True)
def folder(
    folder: Path | None, path: str, side: AtLeastOne = 32, fit: Fit = "crop", test_every: int = 5
) -> Dataset:
    """Images of any size, a sub-folder for each class; the images define mean and std.

    Their names are those of the classes, in alphabetical order; images may lie deeper inside. A
    folder ``train`` and one of ``test``, ``val``, ``valid`` or ``validation`` hold such
    sub-folders, and the second the test images; of all three the images of ``val`` are labelled
    ones like those of ``train``. Else each fifth image of a class, by path, is a test image. Crops
    move by an eighth of the width, as on CIFAR-10; set ``augmentation.flip=false`` where a mirrored
    image no longer shows its class.

    Args:
        folder: not used, the images are given by path.
        path: the folder. Where it lies is no part of a run's identity; what it holds is.
        side: height and width that the images are brought to, in pixels.
        fit: ``crop`` cuts out and scales the middle square of each image, ``stretch`` scales height
            and width apart.
        test_every: each so many-th image of a class is a test image, 0 for none; of no effect where
            there is a folder of test images.

    Raises:
        UserError: there is no such folder, it has another layout, or a setting is out of range.
    """
    root = Path(path)
    _check_test_every(test_every)
    if not root.is_dir():
        reason = "is a file, and no folder" if root.exists() else "there is no such folder"
        remedy = "write the whole path, without ~" if path.startswith("~") else REMEDY
        raise UserError(reason, key="data.path", value=path, remedy=remedy)
    parts = {each.name for each in _folders(root)}
    remarks: tuple[str, ...] = ()
    beside = [name for name in (TEST, *VALID) if name in parts]
    if LABELLED in parts and beside:
        for name in sorted(parts - {LABELLED, *beside}):
            raise UserError(
                f"lies beside {LABELLED}/ and {beside[0]}/, and is neither",
                where=root / name,
                remedy="move it away, or rename these two if they are classes",
            )
        classes = tuple(each.name for each in _folders(root / LABELLED))
        *labelled, test = [LABELLED, *reversed(beside)]
        train_files = [each for part in labelled for each in _files(root / part, classes)]
        test_files = _files(root / test, classes)
        told = f"those of {test}/"
    else:
        classes = tuple(each.name for each in _folders(root))
        train_files, test_files = _shared_out(_files(root, classes), test_every)
        told = f"each {_ordinal(test_every)} of a class"
        remarks = _parts_as_classes(root, classes)
    if len(classes) < 2:
        raise UserError(
            f"has {'one class folder' if classes else 'no class folder'}, and two are needed",
            where=root,
            remedy=REMEDY,
        )
    _check_classes(root, classes, {label for _, label in train_files})

    def dataset(of: list[tuple[Path, int]], test: list[tuple[Path, int]]) -> Dataset:
        paths, labels = tuple(path for path, _ in of), tuple(label for _, label in of)
        pictures = Pictures(root, classes, paths, labels, side, fit)
        held = f" and {len(test):,} test images ({told})" if test else " and no test images"
        shown = "the middle square" if fit == "crop" else "stretched"
        return Dataset(
            name=NAME,
            classes=len(classes),
            channels=3,
            resolution=side,
            size=len(of),
            mean=(),
            std=(),
            crop_padding=side // 8,
            flip=True,
            note=f"{len(of):,} labelled images{held} of {len(classes)} classes from the folder "
            f"{root.resolve().name}, seen at {side}x{side} pixels ({shown})",
            files=paths,
            decode=pictures.decode,
            decoder=f"folder {DECODING}, {pillow()}, {fit} to {side}",
            test=functools.partial(dataset, test, []) if test else None,
            class_names=classes,
            layout=pictures.layout,
            remarks=remarks,
            split="random-halves",  # files are sorted by class
            inspect=pictures.inspect,
        )

    return dataset(train_files, test_files)


def _check_test_every(test_every: int) -> None:
    if test_every < 0 or test_every == 1:
        raise UserError(
            "would leave no image to learn from" if test_every == 1 else "is negative",
            key="data.test_every",
            value=test_every,
            remedy="use 0 for no test images, or 2 or more",
        )


def _parts_as_classes(root: Path, classes: tuple[str, ...]) -> tuple[str, ...]:
    """A remark where the class folders look like parts that hold the class folders."""
    if len(classes) < 2:
        return ()
    inside = [{each.name for each in (root / name).iterdir() if each.is_dir()} for name in classes]
    common = sorted(name for name in set.intersection(*inside) if not name.startswith("."))
    if len(common) >= 2:
        why = f"each of them holds folders of the same names, {listed(common)}"
    elif {name.lower() for name in classes} <= PART_WORDS:
        why = "their names are those of parts of a data set"
    else:
        return ()
    return (
        f"{root}: the classes are {listed(classes)}, and {why}; if these are parts of one data "
        f"set, call them {LABELLED}/ and {TEST}/ (and val/)",
    )


def _folders(root: Path) -> list[Path]:
    """Sub-folders by name; what is hidden is passed over, images beside them are refused."""
    found = []
    for path in sorted(root.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            found.append(path)
        elif path.suffix.lower() in SUFFIXES:
            raise UserError(
                "the image lies in no class folder",
                where=path,
                remedy="move it into the folder of its class, or away",
            )
    return found


def _all_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder; `Path.rglob` would pass over folders that may not be entered."""

    def refuse(error: OSError) -> None:
        raise error

    for place, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(place, name) for name in names)


def _files(root: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """The files of each class and their labels; every file is meant as an image."""
    found = []
    for folder in _folders(root):
        if folder.name not in classes:
            raise UserError(
                f"there is no class of this name in {LABELLED}/",
                where=folder,
                remedy=f"the classes are {', '.join(classes)}",
            )
        label = classes.index(folder.name)
        for path in sorted(_all_below(folder)):
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.is_file() and not hidden and path.name not in LEFT_BEHIND:
                found.append((path, label))
    return found


def _shared_out(
    files: list[tuple[Path, int]], every: int
) -> tuple[list[tuple[Path, int]], list[tuple[Path, int]]]:
    """Labelled images and test images: each so many-th of a class."""
    parts: tuple[list[tuple[Path, int]], list[tuple[Path, int]]] = ([], [])
    ranks: dict[int, int] = {}
    for path, label in files:
        ranks[label] = ranks.get(label, 0) + 1
        parts[every > 0 and ranks[label] % every == 0].append((path, label))
    return parts


def _check_classes(root: Path, classes: tuple[str, ...], labels: set[int]) -> None:
    for label, name in enumerate(classes):
        if label not in labels:
            raise UserError(
                "the class has no image to learn from",
                where=root,
                key=name,
                remedy="add images, or remove the folder",
            )


def _blamed(path: Path, reason: str, remedy: str | None) -> tuple[str, str]:
    """What to say of a file that cannot be decoded and is not called like an image."""
    if reason == UNDECODABLE and path.suffix.lower() not in SUFFIXES:
        return "is no image, and every file in a class folder is meant as one", "move it away"
    return reason, remedy or FIX_FILE


def _ordinal(number: int) -> str:
    return f"{number}{ {2: 'nd', 3: 'rd'}.get(number, 'th') }"


def _bytes(path: Path) -> bytes:
    try:
        return regular(path).read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read it ({error.strerror})", where=path, remedy=FIX_FILE
        ) from error
