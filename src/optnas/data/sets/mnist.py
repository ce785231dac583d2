"""MNIST, in idx files as distributed."""

from __future__ import annotations

from pathlib import Path

from optnas.base.registry import register
from optnas.data.sets.base import Dataset
from optnas.data.sets.idx import Idx

MNIST = Idx(
    name="mnist",
    title="MNIST",
    folders=("mnist", "MNIST/raw"),
    elsewhere=(),
    class_names=tuple("0123456789"),
    mean=0.1307,
    std=0.3081,
    flip=False,
)


@register("dataset", MNIST.name)
def mnist(folder: Path | None) -> Dataset:
    """MNIST: grey images of 28 x 28 pixels, ten classes, 60,000 training, 10,000 test.

    ``mean`` and ``std`` are those published everywhere. A mirrored digit is another sign.

    Args:
        folder: the data folder, which holds ``mnist`` or torchvision's ``MNIST``.

    Raises:
        UserError: the files are not there, damaged or of another form.
    """
    return MNIST.open(folder)
