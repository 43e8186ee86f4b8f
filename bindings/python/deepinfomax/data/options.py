"""What the caller of `open_dataset` asks for, checked."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsIndex

from .. import _arrays

Size = tuple[int, int, int]

RESIZES = ("fit", "crop", "stretch", "none")
LAYOUTS = ("auto", "nchw", "nhwc")
LABELS = ("fine", "coarse")
#: 8,192 x 8,192: a camera's picture. Pillow keeps four bytes of each, and composites take as much again.
MAX_PIXELS = 1 << 26
#: What an archive may hold, unpacked, where it has to be held in memory.
MAX_BYTES = 2 << 30
#: As an architecture's description allows it.
_MOST_CHANNELS, _MOST_VALUES = 1 << 16, 1 << 26


@dataclass(frozen=True)
class Options:
    """See `open_dataset`."""

    image: Size | None = None
    resize: str = "fit"
    part: str | None = None
    labels: str = "fine"
    layout: str = "auto"
    #: None: MAX_PIXELS, or Pillow's own limit where the program has set a smaller one.
    max_pixels: int | None = None
    max_bytes: int = MAX_BYTES
    skip_damaged: bool = False

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("resize", self.resize, RESIZES),
            ("labels", self.labels, LABELS),
            ("layout", self.layout, LAYOUTS),
        ):
            _arrays.one_of(value, allowed, name, ", ".join(allowed))
        if self.max_pixels is not None:
            _arrays.whole_number(self.max_pixels, 1, 2**63, "max_pixels", "at least 1")
        _arrays.whole_number(self.max_bytes, 1, 2**63, "max_bytes", "at least 1")
        _arrays.flag(self.skip_damaged, "skip_damaged")

    @property
    def pixels(self) -> int:
        """So many may an image have."""
        return MAX_PIXELS if self.max_pixels is None else self.max_pixels


def image_size(image: Sequence[SupportsIndex] | None) -> Size | None:
    """(channels, height, width) as integers that can be an image's. Raises ValueError."""
    if image is None:
        return None
    try:
        if any(isinstance(value, bool) for value in image):
            raise TypeError
        channels, height, width = (operator.index(value) for value in image)
    except (TypeError, ValueError, NotImplementedError) as error:  # The last of a memoryview of two axes.
        raise ValueError(f"image: expected (channels, height, width), found {image!r}") from error
    if min(channels, height, width) < 1 or channels > _MOST_CHANNELS or channels * height * width > _MOST_VALUES:
        raise ValueError(
            f"image: expected (channels, height, width) of at least 1 each, {_MOST_CHANNELS:,} channels and "
            f"{_MOST_VALUES:,} values at most, found {image!r}"
        )
    return channels, height, width


def shown(size: Sequence[int]) -> str:
    """(3, 48, 64) -> "64x48 in RGB"."""
    channels, height, width = size
    colours = {1: "in grey", 3: "in RGB"}.get(channels, f"with {channels} channels")
    return f"{width}x{height} {colours}"
