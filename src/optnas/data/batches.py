"""Images on the device, their split, their augmentation, and the order of batches.

Random numbers are drawn from named CPU generators (`optnas.base.seeds`), so that they are the same
on every device, as integers per image; what is done with them is a batched function of tensors that
lie where the images are.

Shape letters: N images held, B images of a batch, C channels, H height, W width, K numbers drawn
for an image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import interpolate, pad

from optnas.base import cache
from optnas.base.errors import UserError
from optnas.data.sets.base import Dataset, Moments

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
        images_NCHW: ``uint8``.
        labels_N: ``int64``.
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
    halves = {"training": _digests(train), "validation": _digests(valid)}
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


def _digests(images: Images) -> list[bytes]:
    pixels_NCHW = images.images_NCHW.cpu().numpy()
    return [hashlib.blake2b(each.tobytes(), digest_size=16).digest() for each in pixels_NCHW]


def crop(images_BCHW: torch.Tensor, padding: int, offsets_2B: torch.Tensor) -> torch.Tensor:
    """Pad with zeros and cut each image out at its own offset, at its old size.

    As in published code this acts on raw pixels: the border is black, and becomes -mean / std.

    Args:
        images_BCHW: raw pixels.
        padding: zeros added on each side, in pixels.
        offsets_2B: the vertical and the horizontal offset of each image, 0 to 2 padding.

    Returns:
        A new tensor of the same shape and type.
    """
    B, C, H, W = images_BCHW.shape
    device = images_BCHW.device
    rows_BH = offsets_2B[0][:, None] + torch.arange(H, device=device)
    columns_BW = offsets_2B[1][:, None] + torch.arange(W, device=device)
    places_BHW = rows_BH[:, :, None] * (W + 2 * padding) + columns_BW[:, None, :]
    padded_BCP = pad(images_BCHW, (padding,) * 4).flatten(2)
    return padded_BCP.gather(2, places_BHW.view(B, 1, -1).expand(B, C, -1)).view(B, C, H, W)


def flip(images_BCHW: torch.Tensor, mirrored_B: torch.Tensor) -> torch.Tensor:
    """Mirror left to right the images marked by another number than 0; a new tensor."""
    return torch.where(mirrored_B.bool()[:, None, None, None], images_BCHW.flip(-1), images_BCHW)


def normalise(
    images_BCHW: torch.Tensor, mean_C: torch.Tensor, std_C: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Pixels to numbers: (pixel / 255 - mean) / std, each step in the wanted type.

    Args:
        images_BCHW: ``uint8`` pixels.
        mean_C: mean of each channel, as in `Images`.
        std_C: standard deviation of each channel, as in `Images`.
        dtype: a floating type.

    Returns:
        A new tensor of the same shape, of that type, in the channels-last memory format.
    """
    pixels_BCHW = images_BCHW.to(dtype, memory_format=torch.channels_last) / 255
    mean_C11, std_C11 = (moment_C.to(dtype)[:, None, None] for moment_C in (mean_C, std_C))
    return (pixels_BCHW - mean_C11) / std_C11


def cutout(images_BCHW: torch.Tensor, length: int, centres_2B: torch.Tensor) -> torch.Tensor:
    """Fill a square of each normalised image with 0, the mean colour.

    With centre (y, x) the square is rows y - length//2 to y + length//2 - 1, columns likewise, less
    what lies beyond the border. As in the published code an odd length thus acts as the even one
    below it.

    Args:
        images_BCHW: normalised images.
        length: side of the square, in pixels.
        centres_2B: row and column of each image's centre, a pixel.

    Returns:
        A new tensor of the same shape and type.

    Reference: DeVries and Taylor, 2017, in the form of the DARTS code (Liu et al., ICLR 2019).
    """
    half = length // 2

    def covered(extent: int, centres_B: torch.Tensor) -> torch.Tensor:
        distances_BX = torch.arange(extent, device=centres_B.device) - centres_B[:, None]
        return (distances_BX >= -half) & (distances_BX < half)

    H, W = images_BCHW.shape[2:]
    rows_BH, columns_BW = covered(H, centres_2B[0]), covered(W, centres_2B[1])
    square_B1HW = rows_BH[:, None, :, None] & columns_BW[:, None, None, :]
    return images_BCHW.clone().masked_fill_(square_B1HW, 0)  # keeps the memory format


@dataclass(frozen=True)
class Augmentation:
    """What is done to a batch before the network sees it; the default is to normalise only.

    Args:
        crop_padding: padding of random crops in pixels, 0 for none.
        flip: mirror images at random.
        cutout: side of the erased square in pixels, 0 for none.
    """

    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0

    def draw(
        self, count: int, resolution: tuple[int, int], generator: torch.Generator
    ) -> torch.Tensor:
        """The numbers that decide what happens to each image of a batch.

        With cropping two offsets, uniform on 0 to 2 padding; with flipping 1 with probability one
        half, else 0; with cutout a uniform row and column.

        Args:
            count: B.
            resolution: H and W.
            generator: this half's augmentation stream; moved only by what is switched on: by all
                vertical offsets, all horizontal ones, a uniform number per image (mirrored below
                0.5), all rows, all columns.

        Returns:
            ``int64 [K, B]`` on the CPU, K from 0 to 5.
        """
        rows = [torch.empty(0, count, dtype=torch.int64)]
        if self.crop_padding:
            rows.append(torch.randint(2 * self.crop_padding + 1, (2, count), generator=generator))
        if self.flip:
            draws_1B = torch.rand(1, count, generator=generator, dtype=torch.float32)
            rows.append((draws_1B < 0.5).long())
        if self.cutout:
            rows += [torch.randint(each, (1, count), generator=generator) for each in resolution]
        return torch.cat(rows)

    def apply(
        self,
        images_BCHW: torch.Tensor,
        mean_C: torch.Tensor,
        std_C: torch.Tensor,
        draws_KB: torch.Tensor,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """Crop, flip, normalise, cut out, in this order.

        Args:
            images_BCHW: ``uint8`` pixels; not changed.
            mean_C: mean of each channel, as in `Images`.
            std_C: standard deviation of each channel, as in `Images`.
            draws_KB: what `draw` returned for such a batch, where the images are.
            dtype: a floating type.

        Returns:
            Normalised images, ``[B, C, H, W]`` in the channels-last memory format.
        """
        if self.crop_padding:
            images_BCHW = crop(images_BCHW, self.crop_padding, draws_KB[:2])
        if self.flip:
            images_BCHW = flip(images_BCHW, draws_KB[2 if self.crop_padding else 0])
        inputs_BCHW = normalise(images_BCHW, mean_C, std_C, dtype)
        return cutout(inputs_BCHW, self.cutout, draws_KB[-2:]) if self.cutout else inputs_BCHW


def send(tensors: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """Tensors of eight bytes per entry from the CPU to a device, in one copy nobody waits for.

    Args:
        tensors: ``int64`` or ``float64``, of any shapes.
        device: where to.

    Returns:
        The same values there; the tensors themselves if that is the CPU.
    """
    if device.type == "cpu":
        return list(tensors)
    joined = join(tensors)
    # Only from page-locked memory does a copy run beside the program.
    joined = joined.pin_memory() if device.type == "cuda" else joined
    return split(joined.to(device, non_blocking=True), tensors)


def join(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """The bits of tensors of eight bytes per entry one after the other, as ``int64``."""
    return torch.cat([each.reshape(-1).view(torch.int64) for each in tensors])


def split(joined: torch.Tensor, like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """What `join` joined, in the shapes and types of the tensors it was given; views."""
    parts = joined.split([each.numel() for each in like])
    return [part.view(each.dtype).view(each.shape) for part, each in zip(parts, like, strict=True)]


def epoch_batches(
    size: int, batch_size: int, generator: torch.Generator, *, drop_last: bool = False
) -> list[torch.Tensor]:
    """One pass over all positions in random order, cut into batches.

    Args:
        size: number of images.
        batch_size: positions in a batch.
        generator: draws one permutation.
        drop_last: leave out a short last batch; published loaders keep it.

    Returns:
        Batches of positions, ``int64 [B]`` each; none if all of them are left out.

    Example:
        >>> [len(batch) for batch in epoch_batches(10, 4, torch.Generator())]
        [4, 4, 2]
    """
    batches = list(torch.randperm(size, generator=generator).split(batch_size))
    return batches[:-1] if drop_last and size % batch_size else batches


def fresh_batch(size: int, batch_size: int, generator: torch.Generator) -> torch.Tensor:
    """The first batch of a new random order: no repeats inside it, repeats from call to call.

    This is what published code does by asking for ``next(iter(loader))`` at every step. A whole
    permutation is drawn for it: 0.2 ms for 25,000 images, little beside a step.

    Args:
        size: number of images.
        batch_size: positions in a batch.
        generator: draws one permutation.

    Returns:
        Positions, ``int64 [min(batch_size, size)]``.
    """
    return torch.randperm(size, generator=generator)[:batch_size].clone()


class CyclingBatches:
    """Batches without replacement, pass after pass; a new random order when one is used up.

    Each pass has the batches of `epoch_batches`, the short last one included.

    Args:
        size: number of images.
        batch_size: positions in a batch.
        generator: draws one permutation per pass, when its first batch is asked for.
    """

    def __init__(self, size: int, batch_size: int, generator: torch.Generator):
        self.size, self.batch_size, self.generator = size, batch_size, generator
        self._order_N = torch.empty(0, dtype=torch.int64)
        self._cursor = 0

    def next_batch(self) -> torch.Tensor:
        """Positions of the next batch, ``int64 [B]``."""
        if self._cursor >= len(self._order_N):
            self._order_N = torch.randperm(self.size, generator=self.generator)
            self._cursor = 0
        start, self._cursor = self._cursor, self._cursor + self.batch_size
        return self._order_N[start : self._cursor].clone()

    def state_dict(self) -> dict[str, Any]:
        """All that later batches depend on: the order, the position in it, the generator."""
        generator = self.generator.get_state()
        return {"order": self._order_N, "cursor": self._cursor, "generator": generator}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a saved state left off.

        Args:
            state: what `state_dict` returned, for the same size and batch size.
        """
        self._order_N, self._cursor = state["order"], state["cursor"]
        self.generator.set_state(state["generator"])
