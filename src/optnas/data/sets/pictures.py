"""One encoded image: read as a viewer shows it or refused, brought to one size, described.

docs/data.md has the table of what becomes of a pixel. Shape letters as in `optnas.data.sets.base`.
"""

from __future__ import annotations

import functools
import hashlib
import io
from importlib import metadata
from typing import TYPE_CHECKING, Literal

import numpy as np

from optnas.base.errors import UserError
from optnas.data.sets.base import Seen
from optnas.data.sets.layouts import FIX_FILE

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG")
# How files of formats begin that are known and not read: byte offset, bytes, name.
OTHERS = (
    *((8, b"WEBP", "WEBP"), (0, b"BM", "BMP"), (0, b"GIF8", "GIF"), (4, b"ftyp", "AVIF or HEIF")),
    *((0, b"II*\0", "TIFF"), (0, b"MM\0*", "TIFF"), (0, b"\0\0\0\x0cjP", "JPEG 2000")),
)
UNDECODABLE = "the image cannot be decoded"
WHITE_16 = 65535
PRINTED = ("CMYK", "YCCK", "LAB")
# What the modes of Pillow are called; 16 bits per grey begin with I.
WORDS = {
    **{"1": "grey", "L": "grey", "LA": "grey with alpha", "P": "palette", "RGB": "colour"},
    **{"RGBA": "colour with alpha", "CMYK": "CMYK", "YCCK": "CMYK", "LAB": "LAB"},
}
ORIENTATION = 0x0112  # of EXIF; 1 is upright
# How an image of another size is brought to a square: its middle square scaled, or both its sides.
Fit = Literal["crop", "stretch"]


@functools.cache  # asked for every run of a study
def pillow() -> str:
    """The version of what decodes and scales; others may round otherwise."""
    return f"pillow {metadata.version('pillow')}"


def opened(data: bytes | None, where: object, key: str | None) -> Image:
    """An image file whose description is read and whose pixels are not.

    Args:
        data: the file's bytes.
        where: the file it is or lies in, for the error.
        key: its place in that file.

    Raises:
        UserError: it is no PNG or JPEG.
    """
    from PIL import Image

    try:
        return Image.open(io.BytesIO(data or b""), formats=FORMATS)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        for offset, mark, name in OTHERS:
            if (data or b"").startswith(mark, offset):
                raise UserError(
                    f"the image is {name}, and {' and '.join(FORMATS)} are read",
                    where=where,
                    key=key,
                    remedy="convert the images to PNG",
                ) from error
        raise UserError(UNDECODABLE, where=where, key=key, remedy=FIX_FILE) from error


def in_colour(image: Image, where: object, key: str | None) -> np.ndarray:
    """An image as a viewer shows it, ``uint8 [H, W, 3]``; what has no such meaning is refused.

    Turned as its orientation says; grey in three equal channels; 16 bits to 8 by
    round(255 v / 65535); a palette by its colours; an alpha channel dropped where all of it is
    opaque.

    Args:
        image: what `opened` returned.
        where: as of `opened`.
        key: as of `opened`.

    Raises:
        UserError: it is damaged, has transparent pixels, or the colours of a printer.
    """
    try:
        return _in_colour(image, where, key)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(UNDECODABLE, where=where, key=key, remedy=FIX_FILE) from error


def _in_colour(image: Image, where: object, key: str | None) -> np.ndarray:
    from PIL import ImageOps

    def refused(reason: str, remedy: str) -> UserError:
        return UserError(reason, where=where, key=key, value=image.mode, remedy=remedy)

    if image.mode in PRINTED:
        raise refused("its colours are those of a printer", "convert the images to RGB")
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        if "transparency" in upright.info:
            raise refused("it has a transparent grey", "store the images without transparency")
        grey_HW = np.asarray(upright).astype(np.int64)
        return np.repeat(np.rint(grey_HW * 255 / WHITE_16).astype(np.uint8)[..., None], 3, axis=-1)
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        if upright.getchannel("A").getextrema() != (255, 255):
            raise refused("it has transparent pixels", "put the images on one background colour")
    return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))


def fitted(pixels_HWC: np.ndarray, side: int, fit: Fit) -> np.ndarray:
    """An image of any size as a square.

    Scaled by Pillow's bilinear filter, which averages where it shrinks.

    Args:
        pixels_HWC: ``uint8``.
        side: wanted height and width, in pixels.
        fit: ``crop`` cuts the middle square out and scales that, so nothing is distorted;
            ``stretch`` scales height and width apart, so nothing is lost.

    Returns:
        ``uint8 [side, side, C]``; the image itself where it has this size.
    """
    from PIL import Image

    H, W = pixels_HWC.shape[:2]
    if fit == "crop":
        short = min(H, W)
        top, left = (H - short) // 2, (W - short) // 2
        pixels_HWC = pixels_HWC[top : top + short, left : left + short]
    if pixels_HWC.shape[:2] == (side, side):
        return pixels_HWC
    return np.asarray(Image.fromarray(pixels_HWC).resize((side, side), Image.Resampling.BILINEAR))


def look(data: bytes | None, where: object, key: str | None, told: str, label: int) -> Seen:
    """What an image file is; one that is refused says why.

    Args:
        data: as of `opened`.
        where: as of `opened`.
        key: as of `opened`.
        told: what to call it.
        label: its class.
    """
    size, mode = (0, 0), "none"
    try:
        image = opened(data, where, key)
        size, mode = image.size, _words(image)
        pixels_HWC = in_colour(image, where, key)
    except UserError as error:
        return Seen(told, label, size, mode, b"", f"{error.reason}; {error.remedy}")
    return Seen(told, label, size, mode, digest_of(pixels_HWC))


def digest_of(pixels: np.ndarray) -> bytes:
    """What two images have in common that are the same pixel for pixel."""
    content = str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()
    return hashlib.blake2b(content, digest_size=16).digest()


def _words(image: Image) -> str:
    word = WORDS.get(image.mode, image.mode)
    if image.mode.startswith("I"):
        word = "grey of 16 bits"
    try:
        turned = image.getexif().get(ORIENTATION, 1) != 1
    except (OSError, SyntaxError, ValueError, EOFError):
        return word
    return f"{word}, turned by EXIF" if turned else word
