"""CIFAR-100, from parquet files or from the folder ``cifar-100-python``.

Parquet has the columns ``img`` or ``image`` and ``fine_label`` or ``label``; the pickles have
``fine_labels``. The twenty coarse labels are not read.
"""

from __future__ import annotations

from pathlib import Path

from optnas.base.registry import register
from optnas.data.sets.base import Dataset
from optnas.data.sets.cifar import Cifar, Part

CIFAR100 = Cifar(
    name="cifar100",
    title="CIFAR-100",
    classes=100,
    mean=(0.50707516, 0.48654887, 0.44091784),
    std=(0.26733429, 0.25643846, 0.27615047),
    archive="cifar-100-python",
    label_key="fine_labels",
    label_columns=("fine_label", "label"),
    train=Part("train", ("train",), ((19, 29, 0, 11, 1),), 50_000),
    test=Part("test", ("test",), ((49, 33, 72, 51, 71),), 10_000),
)


@register("dataset", "cifar100")
def cifar100(folder: Path | None) -> Dataset:
    """CIFAR-100: colour images of 32 x 32 pixels, a hundred classes, 50,000 of them for training.

    ``mean`` and ``std`` are those of the training images, as search code that reads it writes them;
    the benchmark's own scripts have them rounded to a tenth of a grey level.

    Args:
        folder: the data folder, which holds ``cifar100`` or ``cifar-100-python``.

    Returns:
        The dataset. A missing or damaged folder or file is a `UserError`.
    """
    return CIFAR100.open(folder)
