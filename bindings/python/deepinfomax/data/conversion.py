"""Images of one size and number of channels made of others: the same rule for files and for arrays.

Channels: grey to RGB by repetition, RGB to grey by the luminance 0.299 R + 0.587 G + 0.114 B (ITU-R 601), before an image
is made smaller. Other numbers of channels are not converted.

Sizes: Pillow's bicubic filter, which averages over all pixels that a new one covers. `fit` scales both axes alike so that
the image just fits inside and pads with black (0); `crop` scales so that it just covers and takes the middle; `stretch`
scales each axis by itself; `none` refuses. Each channel of a floating-point image stays within
its own smallest and largest value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._text import counted
from .errors import DataError, MissingPackage
from .options import Size, shown


@dataclass(frozen=True)
class Conversion:
    """To `size`, as `resize` says."""

    size: Size
    resize: str

    def check(self, found: Size, where: str) -> None:
        """Whether an image of this size can become one of that. Raises DataError, MissingPackage."""
        if found[0] != self.size[0] and {found[0], self.size[0]} != {1, 3}:
            raise DataError(
                f"{where}: expected {counted(self.size[0], 'channel')}, found {found[0]}; only grey and RGB are converted into each other"
            )
        if found[1:] == self.size[1:]:
            return
        if self.resize == "none":
            raise DataError(
                f"{where}: expected images of {shown(self.size)}, found {shown(found)}; "
                "resize= (--resize) fit, crop or stretch converts them"
            )
        pillow()

    def picture(self, image: Any) -> NDArray[np.uint8]:
        """Of a Pillow image in mode L or RGB: uint8 (c, h, w)."""
        channels, height, width = self.size
        if image.mode == "RGB" and channels == 1:
            image = image.convert("L")
        pixels = np.asarray(self._resized(image), np.uint8)
        if pixels.ndim == 2:
            return np.broadcast_to(pixels, (channels, height, width))
        return np.moveaxis(pixels, -1, 0)

    def arrays(self, images: NDArray[Any]) -> NDArray[Any]:
        """(n, c, h, w), uint8 or float32, into the same of `size`. The size has been checked."""
        channels, height, width = self.size
        if images.shape[1] == 3 and channels == 1:
            images = _luminance(images)
        if images.shape[2:] != (height, width):
            resized = np.empty((*images.shape[:2], height, width), images.dtype)
            for image, result in zip(images, resized, strict=True):
                self._resize_array(image, result)
            images = resized
        if images.shape[1] != channels:
            images = np.broadcast_to(images, (len(images), channels, height, width))
        return images

    def _resize_array(self, image: NDArray[Any], result: NDArray[Any]) -> None:
        """(c, h, w) -> (c, h, w)"""
        fromarray = pillow().fromarray
        if image.dtype == np.uint8 and len(image) == 3:
            picture = fromarray(np.ascontiguousarray(np.moveaxis(image, 0, -1)))
            result[...] = np.moveaxis(np.asarray(self._resized(picture)), -1, 0)
            return
        for channel, place in zip(image, result, strict=True):
            place[...] = np.asarray(self._resized(fromarray(np.ascontiguousarray(channel))))

    def _resized(self, image: Any) -> Any:
        """A Pillow image in mode L, RGB or F."""
        _, height, width = self.size
        if image.size == (width, height):
            return image
        if self.resize == "crop":
            return _scaled(image, (width, height), _middle(image.size, (width, height)))
        if self.resize == "stretch":
            return _scaled(image, (width, height))
        scale = min(width / image.width, height / image.height)
        inner_width = max(1, min(width, round(image.width * scale)))
        inner_height = max(1, min(height, round(image.height * scale)))
        padded = pillow().new(image.mode, (width, height))
        place = (width - inner_width) // 2, (height - inner_height) // 2
        padded.paste(_scaled(image, (inner_width, inner_height)), place)
        return padded


def _scaled(image: Any, size: tuple[int, int], box: tuple[float, float, float, float] | None = None) -> Any:
    result = image.resize(size, pillow().Resampling.BICUBIC, box=box)
    if image.mode != "F":
        return result
    # The filter swings over at edges; what is not finite stays so, and is refused where it is read.
    values = np.asarray(image)
    return pillow().fromarray(np.clip(np.asarray(result), values.min(), values.max()))


def _middle(found: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest rectangle of the wanted form in the middle of the found one: left, top, right, bottom."""
    ratio = wanted[0] / wanted[1]
    width, height = float(found[0]), float(found[1])
    if width / height >= ratio:
        width = ratio * height
    else:
        height = width / ratio
    left, top = (found[0] - width) * 0.5, (found[1] - height) * 0.5
    return left, top, left + width, top + height


def _luminance(images: NDArray[Any]) -> NDArray[Any]:
    """(n, 3, h, w) -> (n, 1, h, w). Of bytes as Pillow computes it: a file and an array give the same."""
    red, green, blue = images[:, 0], images[:, 1], images[:, 2]
    if images.dtype == np.uint8:
        sums = np.multiply(red, 19595, dtype=np.uint32)
        sums += np.multiply(green, 38470, dtype=np.uint32)
        sums += np.multiply(blue, 7471, dtype=np.uint32)
        sums = (sums + np.uint32(0x8000)) >> np.uint32(16)
        return np.asarray(sums, np.uint8)[:, np.newaxis]
    grey = np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue
    return np.asarray(grey, np.float32)[:, np.newaxis]


def pillow() -> Any:
    """PIL.Image"""
    try:
        from PIL import Image
    except ImportError as error:
        purpose, advice = "images of another size and image files need", "or give an .npy file of the right size"
        raise MissingPackage("Pillow", purpose, advice=advice) from error
    return Image
