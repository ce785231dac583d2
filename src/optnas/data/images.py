"""The two halves of a search's images: which rows, decoded, resized, on the device.

Shape letters: N images held, B images of a batch, C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn.functional import interpolate

from optnas.base import cache
from optnas.base.errors import UserError
from optnas.data.sets.base import Dataset, Moments
from optnas.data.sets.pictures import digest_of

RESIZE_CHUNK = 4096
# Another one where `resize` changes: images in the cache were resized by the one that they name.
RESIZED = "resized-1"


def split_indices(
    kind: Literal["halves", "random-halves"],
    size: int,
    train_size: int | None,
    valid_size: int | None,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Disjoint rows for the inner (training) and the outer (validation) problem.

    Args:
        kind: ``halves`` trains on the rows up to the middle and validates on the others, as
            published; ``random-halves`` does so after a random permutation of the rows.
        size: number of labelled images; if odd, the extra one is a validation image.
        train_size: keep that many rows of the training half, its first; None keeps all.
        valid_size: keep that many rows of the validation half, its first; None keeps all.
        generator: stream ``split``; not moved by ``halves``.

    Returns:
        Training rows and validation rows, ``int64 [train_size]`` and ``int64 [valid_size]``.

    Raises:
        UserError: a half cannot give that many rows.
    """
    order_N = torch.arange(size)
    if kind == "random-halves":
        order_N = torch.randperm(size, generator=generator)
    halves = order_N[: size // 2], order_N[size // 2 :]
    asked = {"data.train_size": train_size, "data.valid_size": valid_size}
    for half, (key, count) in zip(halves, asked.items(), strict=True):
        if count is not None and not 1 <= count <= len(half):
            raise UserError(
                f"its half of the {size} labelled images has {len(half)}",
                key=key,
                value=count,
                remedy=f"set it from 1 to {len(half)}",
            )
    return halves[0][:train_size].clone(), halves[1][:valid_size].clone()


def resize(images_NHWC: torch.Tensor, resolution: int) -> torch.Tensor:
    """Square images at another resolution, rounded to the nearest of 0 to 255 (halves to even).

    Shrinking by an integer factor averages the pixels of each block, so no pixel counts twice;
    any other change is bilinear, antialiased when it shrinks.

    Args:
        images_NHWC: ``uint8``, with equal height and width.
        resolution: the wanted height and width, in pixels.

    Returns:
        ``uint8 [N, resolution, resolution, C]``; the images themselves if they have it already.
    """
    if images_NHWC.shape[1] == resolution:
        return images_NHWC
    shape, by_blocks = (resolution, resolution), images_NHWC.shape[1] % resolution == 0
    mode = "area" if by_blocks else "bilinear"
    resized = []
    for chunk_NHWC in images_NHWC.split(RESIZE_CHUNK):
        pixels_NCHW = chunk_NHWC.permute(0, 3, 1, 2).to(torch.float64)
        pixels_NCHW = interpolate(pixels_NCHW, size=shape, mode=mode, antialias=not by_blocks)
        resized.append(pixels_NCHW.round().to(torch.uint8).permute(0, 2, 3, 1))
    return torch.cat(resized)


@dataclass(frozen=True, eq=False)
class Images:
    """A half of the data, decoded and on the device.

    Args:
        images_NCHW: pixels, ``uint8 [N, C, H, W]``.
        labels_N: their classes, ``int64 [N]``.
        mean_C: mean of each channel, of pixel values in 0 to 1.
        std_C: standard deviation of each channel, of pixel values in 0 to 1.
    """

    images_NCHW: torch.Tensor
    labels_N: torch.Tensor
    mean_C: torch.Tensor
    std_C: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels_N)

    def to_batch(self, indices_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images ``uint8 [B, C, H, W]`` and labels ``int64 [B]`` at positions of any device."""
        indices_B = indices_B.to(self.labels_N.device)
        return self.images_NCHW[indices_B], self.labels_N[indices_B]


def load_images(
    dataset: Dataset,
    indices_N: torch.Tensor,
    resolution: int,
    moments: Moments,
    device: torch.device | str = "cpu",
) -> Images:
    """Decode rows of a dataset, resize them, and put them on the device.

    Args:
        dataset: where the rows come from.
        indices_N: the rows, in the order in which batches will count them.
        resolution: the wanted height and width, in pixels.
        moments: mean and std of each channel of the training images.
        device: where the tensors live from now on.

    Returns:
        The images; position i is row ``indices_N[i]``.
    """
    images_NCHW, labels_N = (
        torch.from_numpy(each) for each in _decoded(dataset, indices_N, resolution)
    )
    return Images(
        images_NCHW.to(device),
        labels_N.to(device),
        *(torch.tensor(each, dtype=torch.float64, device=device) for each in moments),
    )


def _decoded(dataset: Dataset, indices_N: torch.Tensor, resolution: int) -> list[np.ndarray]:
    """Images ``[N, C, H, W]`` and labels, from the cache if these rows were decoded before."""
    count = len(indices_N)
    shape = (count, dataset.channels, resolution, resolution)

    def good(found: cache.Arrays) -> bool:
        return (
            found.keys() == {"images", "labels"}
            and (found["images"].dtype, found["images"].shape) == (np.uint8, shape)
            and (found["labels"].dtype, found["labels"].shape) == (np.int64, (count,))
        )

    def decode() -> cache.Arrays:
        images, labels = dataset.read(indices_N.numpy())
        images_NHWC = resize(torch.from_numpy(images), resolution)
        images_NCHW = images_NHWC.permute(0, 3, 1, 2).contiguous()
        return {"images": images_NCHW.numpy(), "labels": labels}

    if dataset.decoder:
        # Whatever decides pixels: who decodes, bytes of the files, rows, and size.
        rows = indices_N.numpy().tobytes()
        made_from = (dataset.decoder, dataset.fingerprint(), rows, str(resolution), RESIZED)
        name = f"{dataset.name}-{cache.digest(*made_from)}"
        found = cache.cached("halves", name, good, decode)
    else:
        found = decode()
    return [found["images"], found["labels"]]


# Genuine sets hold a few images twice; more than this share of a half is a fault of the files.
SHARED_AT_MOST = 0.01


def shared_images(train: Images, valid: Images) -> str:
    """Count the images that stand in both halves, pixel for pixel, and refuse more than a few.

    What the network weights have seen in training says little of architectures in validation.

    Returns:
        A clause for the note of the run, empty where no image is shared.

    Raises:
        UserError: more than 1 % of a half stand in the other one too.
    """
    halves = {
        name: [digest_of(pixels) for pixels in half.images_NCHW.cpu().numpy()]
        for name, half in (("training", train), ("validation", valid))
    }
    both = set(halves["training"]) & set(halves["validation"])
    counts = {name: sum(each in both for each in half) for name, half in halves.items()}
    for name, count in counts.items():
        size = len(halves[name])
        if count > SHARED_AT_MOST * size:
            raise UserError(
                f"{count:,} of {size:,} images of the {name} half stand in the other half too, "
                "pixel for pixel",
                key="data.split",
                remedy="look for repeated files and rows in the data, or use another split",
            )
    count = counts["validation"]
    images = f"image{'s stand' if count > 1 else ' stands'}"
    return f"; {count} validation {images} in the training half too" if count else ""


def unbalanced(half: Images, classes: int, name: str) -> str:
    """Tell what guessing is worth where an accuracy may be taken for more than that.

    Args:
        half: images that an accuracy is measured on.
        classes: of the data set.
        name: of the half, such as ``validation``.

    Returns:
        A clause for a note. Empty where the largest class has at most twice an equal share, and for
        fewer than ten images per class, among which it easily has more.
    """
    size, largest = len(half), int(half.labels_N.bincount().max())
    if size < 10 * classes or largest * classes <= 2 * size:
        return ""
    share = 100 * largest / size
    return f"; guessing the largest class is right for {share:.1f} % of the {name} images"
