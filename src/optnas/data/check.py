"""Every image of a data set read once, and what the set is: sizes, colours, balance, duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from optnas.base.escapes import listed
from optnas.data.sets.base import Dataset, Seen
from optnas.data.sets.layouts import PARTS
from optnas.data.sets.pictures import digest_of

AT_ONCE = 1024
MODES = {1: "grey", 3: "colour"}
GROUPS = 20  # of equal images that are named


@dataclass
class Report:
    """What a data set is.

    Attributes:
        name: of it.
        note: its sentence.
        resolution: height and width at which its images are handed out.
        class_names: of each class, its number where it has no name.
        counts: by part (``train``, ``test``), images of each class, refused ones not counted.
        sizes: number of images by ``WIDTHxHEIGHT`` in their files.
        modes: number of images by their colours in words.
        refused: name and reason of each image that a search would refuse.
        small: number of images that are smaller than `resolution`, and are enlarged.
        odd: remarks of the data set itself.
        equal: names of images that are the same pixel for pixel, in groups, by part.
    """

    name: str
    note: str
    resolution: int
    class_names: tuple[str, ...]
    counts: dict[str, list[int]] = field(default_factory=dict)
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, str]] = field(default_factory=list)
    small: int = 0
    odd: tuple[str, ...] = ()
    equal: list[dict[str, list[str]]] = field(default_factory=list)

    @property
    def remarks(self) -> list[str]:
        """What is no fault and may not be meant, a sentence each."""
        told = list(self.odd)
        for part, counts in self.counts.items():
            none = [name for name, n in zip(self.class_names, counts, strict=True) if n == 0]
            if none:
                told.append(f"no {PARTS[part]} image of {listed(none)}")
        if self.small:
            side = f"{self.resolution}x{self.resolution}"
            told.append(f"{self.small:,} images are smaller than {side}, and are enlarged to it")
        return told

    @property
    def duplicates(self) -> dict[str, int]:
        """Images that need not be there: those of a part that it holds already, and across parts.

        ``within_train`` and ``within_test`` are images beyond the first of their group, ``across``
        are test images that are training images too.
        """
        within = {part: sum(len(g.get(part, [])[1:]) for g in self.equal) for part in self.counts}
        across = sum(len(g["test"]) for g in self.equal if g.get("train") and g.get("test"))
        return {**{f"within_{part}": count for part, count in within.items()}, "across": across}

    @property
    def largest(self) -> float:
        """Percent of the training images that are of the largest class: what a guess is worth."""
        counts = self.counts["train"]
        return 100 * max(counts) / max(sum(counts), 1)

    def document(self) -> dict[str, Any]:
        """All of it as strict JSON values."""
        named = {
            part: dict(zip(self.class_names, counts, strict=True))
            for part, counts in self.counts.items()
        }
        return {
            "name": self.name,
            "note": self.note,
            "resolution": self.resolution,
            "images": {part: sum(counts) for part, counts in self.counts.items()},
            "classes": list(self.class_names),
            "balance": named,
            "largest_class_percent": self.largest,
            "sizes": dict(self.sizes.most_common()),
            "modes": dict(self.modes.most_common()),
            "duplicates": {**self.duplicates, "groups": self.equal[:GROUPS]},
            "refused": self.refused,
            "remarks": self.remarks,
        }


def check(dataset: Dataset) -> Report:
    """Read every training and test image once.

    Args:
        dataset: the training images.

    Raises:
        UserError: a file that holds many images is damaged as a whole.
    """
    names = dataset.class_names or tuple(map(str, range(dataset.classes)))
    report = Report(dataset.name, dataset.note, dataset.resolution, names, odd=dataset.remarks)
    parts = {"train": dataset} | ({} if dataset.test is None else {"test": dataset.test()})
    groups: dict[bytes, dict[str, list[str]]] = {}
    for part, of in parts.items():
        counts = report.counts[part] = [0] * dataset.classes
        for seen in _decoded(of, part) if of.inspect is None else of.inspect():
            if seen.mode != "none":
                report.modes[seen.mode] += 1
                report.sizes[f"{seen.size[0]}x{seen.size[1]}"] += 1
            if seen.reason:
                report.refused.append({"path": seen.name, "reason": seen.reason})
                continue
            counts[seen.label] += 1
            report.small += min(seen.size) < dataset.resolution
            groups.setdefault(seen.digest, {}).setdefault(part, []).append(seen.name)
    report.equal = [each for each in groups.values() if sum(map(len, each.values())) > 1]
    return report


def _decoded(dataset: Dataset, part: str) -> Iterator[Seen]:
    """The images of a set that are in their files as they are handed out."""
    side, mode = dataset.resolution, MODES.get(dataset.channels, f"{dataset.channels} channels")
    for start in range(0, dataset.size, AT_ONCE):
        rows = np.arange(start, min(start + AT_ONCE, dataset.size))
        images_NHWC, labels_N = dataset.read(rows)
        for row, pixels_HWC, label in zip(rows, images_NHWC, labels_N, strict=True):
            name = f"{part} row {row}"
            yield Seen(name, int(label), (side, side), mode, digest_of(pixels_HWC))
