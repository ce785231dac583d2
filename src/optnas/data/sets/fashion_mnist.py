"""Fashion-MNIST, in idx files as distributed, such as those of Debian's package."""

from __future__ import annotations

from pathlib import Path

from optnas.base.registry import register
from optnas.data.sets.base import Dataset
from optnas.data.sets.idx import Idx

FASHION_MNIST = Idx(
    name="fashion-mnist",
    title="Fashion-MNIST",
    folders=("fashion-mnist", "FashionMNIST/raw"),
    elsewhere=(Path("/usr/share/datasets/fashion-mnist"),),
    class_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    mean=0.2860,
    std=0.3530,
    flip=True,
)


@register("dataset", FASHION_MNIST.name)
def fashion_mnist(folder: Path | None) -> Dataset:
    """Fashion-MNIST: grey images of 28 x 28 pixels, ten classes, 60,000 training, 10,000 test.

    ``mean`` and ``std`` were measured over the training images (Xiao, Rasul and Vollgraf, 2017).

    Args:
        folder: the data folder, which holds ``fashion-mnist`` or torchvision's ``FashionMNIST``;
            the files of Debian's package are read where it does not.

    Raises:
        UserError: the files are nowhere, damaged or of another form.
    """
    return FASHION_MNIST.open(folder)
