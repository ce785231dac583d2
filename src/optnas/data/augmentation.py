"""What is done to the images of a batch before the network sees them.

Random numbers are drawn on the CPU (`optnas.base.seeds`), as integers per image, so that they are
the same on every device; what is done with them is a batched function of tensors that lie where the
images are.

Shape letters: B images of a batch, C channels, H height, W width, K numbers drawn for an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import pad


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
