"""CIFAR-10, from parquet files or from the folder ``cifar-10-batches-py``.

Parquet has the columns ``img`` or ``image`` (a struct with the encoded PNG or JPEG in ``bytes``)
and ``label`` (an integer). Test images are opened only for a split that names them.
"""

from __future__ import annotations

from pathlib import Path

from optnas.base.registry import register
from optnas.data.sets.base import Dataset
from optnas.data.sets.cifar import Cifar, Part

CIFAR10 = Cifar(
    name="cifar10",
    title="CIFAR-10",
    classes=10,
    mean=(0.49139968, 0.48215827, 0.44653124),
    std=(0.24703233, 0.24348505, 0.26158768),
    archive="cifar-10-batches-py",
    label_key="labels",
    label_columns=("label",),
    train=Part(
        "train",
        tuple(f"data_batch_{number}" for number in range(1, 6)),
        (
            (6, 9, 9, 4, 1, 1, 2, 7, 8, 3),
            (1, 6, 6, 8, 8, 3, 4, 6, 0, 6),
            (8, 5, 0, 6, 9, 2, 8, 3, 6, 2),
            (0, 6, 0, 2, 7, 2, 1, 2, 4, 1),
            (1, 8, 5, 1, 5, 7, 4, 3, 8, 2),
        ),
        10_000,
    ),
    test=Part("test", ("test_batch",), ((3, 8, 8, 0, 6, 6, 1, 6, 3, 1),), 10_000),
    class_names=(
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
)


@register("dataset", "cifar10")
def cifar10(folder: Path | None) -> Dataset:
    """CIFAR-10: colour images of 32 x 32 pixels, ten classes, 50,000 of them for training.

    ``mean`` and ``std`` are those of the published DARTS and SmoothDARTS code, written there with
    eight digits; rounded to four they are the often quoted 0.4914, 0.4822, 0.4465 and 0.2470,
    0.2435, 0.2616.

    Args:
        folder: the data folder, which holds ``cifar10`` or ``cifar-10-batches-py``.

    Returns:
        The dataset. A missing or damaged folder or file is a `UserError`.
    """
    return CIFAR10.open(folder)
