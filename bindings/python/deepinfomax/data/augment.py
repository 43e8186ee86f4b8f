"""Random crops and mirrored images for training, from a stream that no order of reading changes.

What happens to an image in an epoch follows from the run's seed, the number of the epoch and the number of the image in its
data set alone: a run that was interrupted, that reads ahead, or that several processes share changes the images alike. With
mix the finaliser of SplitMix64 (Steele, Lea and Flood 2014), all modulo 2^64,

    mix(z):  z = (z xor z >> 30) * 0xbf58476d1ce4e5b9;  z = (z xor z >> 27) * 0x94d049bb133111eb;  z xor z >> 31
    key     = mix(mix(mix(seed) + epoch) + image)
    word(k) = mix(key + (k + 1) * 0x9e3779b97f4a7c15)

word(0) chooses the top of the crop, word(1) its left side, each (word >> 32) * places >> 32 of `places` ones; the image is
mirrored where the highest bit of word(2) is set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import _arrays
from .._text import decimal

_GAMMA = 0x9E3779B97F4A7C15
_HALF = np.uint64(32)


@dataclass(frozen=True)
class Augmentation:
    """crop: zeros added on each side of an image before a crop of its size is taken at random. flip: mirrors with probability 1/2."""

    crop: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "crop", _arrays.whole_number(self.crop, 0, 1025, "crop", "0 to 1024 pixels"))
        object.__setattr__(self, "flip", _arrays.flag(self.flip, "flip"))

    @classmethod
    def parse(cls, text: str) -> Augmentation:
        """Of "crop=4,flip", the form that str gives; "" or "none" for nothing."""
        crop, flip = 0, False
        for part in text.split(",") if text not in ("", "none") else ():
            name, equals, number = part.strip().partition("=")
            if name == "flip" and not equals and not flip:
                flip = True
            elif name == "crop" and not crop and number.isascii() and number.isdecimal() and 1 <= decimal(number) <= 1024:
                crop = int(number)
            else:
                raise ValueError(
                    f"augment: expected crop=PIXELS (1 to 1024), flip, or both with a comma between, found {text!r}"
                )
        return cls(crop, flip)

    def __str__(self) -> str:
        parts = [f"crop={self.crop}"] if self.crop else []
        return ",".join([*parts, "flip"] if self.flip else parts)

    def __bool__(self) -> bool:
        return bool(self.crop or self.flip)

    def check(self, height: int, width: int) -> None:
        """Raises ValueError for a crop that could lie beside an image of this size."""
        if self.crop >= min(height, width):
            raise ValueError(
                f"augment: expected a crop of fewer pixels than an image has on each side, {width}x{height}, found crop={self.crop}: "
                "some crops would be empty"
            )

    def apply(self, images: NDArray[np.float32], indices: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.float32]:
        """New images from images (n, c, h, w), which have the numbers `indices` in their data set."""
        if not self or len(images) == 0:
            return images
        key = _mix(_mix(_mix(_word(seed)) + _word(epoch)) + indices.astype(np.uint64))
        words = [_mix(key + _word((k + 1) * _GAMMA)) for k in range(3)]
        changed = images
        if self.crop:
            _, _, height, width = images.shape
            around = np.pad(images, ((0, 0), (0, 0), (self.crop, self.crop), (self.crop, self.crop)))
            places = np.uint64(2 * self.crop + 1)
            tops, lefts = (((word >> _HALF) * places >> _HALF).astype(np.intp) for word in words[:2])
            windows = np.lib.stride_tricks.sliding_window_view(around, (height, width), axis=(2, 3))
            changed = windows[np.arange(len(images)), :, tops, lefts]
        if self.flip:
            mirrored = (words[2] >> np.uint64(63)).astype(bool)
            changed = np.where(mirrored[:, None, None, None], changed[..., ::-1], changed)
        return np.ascontiguousarray(changed)


def _word(number: int) -> NDArray[np.uint64]:
    return np.array([number % 2**64], np.uint64)  # An array: numpy's scalars warn where they wrap.


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return z ^ z >> np.uint64(31)
