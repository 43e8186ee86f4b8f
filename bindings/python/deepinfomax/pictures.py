"""Pictures made of images: rows, the original's panel of neighbours, a map; written as PNG. Needs numpy alone.

Images come as the library takes them, float32 (n,3,32,32) in [0,1]; pictures are uint8 (height, width, 3).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

WHITE = 255
#: Ten colours, one a class: Okabe and Ito's, which stay apart for colour-blind eyes too, and others for their black.
COLOURS = np.array(
    [
        (0, 114, 178), (230, 159, 0), (0, 158, 115), (213, 94, 0), (204, 121, 167),
        (86, 180, 233), (240, 228, 66), (117, 60, 160), (150, 150, 150), (140, 86, 60),
    ],
    np.uint8,
)  # fmt: skip


def to_pixels(images: NDArray[np.floating[Any]]) -> Picture:
    """(n,3,h,w) in [0,1] -> (n,h,w,3) bytes; what lies outside becomes black or white."""
    pixels: Picture = np.rint(np.clip(np.moveaxis(images, 1, -1), 0, 1) * 255).astype(np.uint8)
    return pixels


def panel(rows: Sequence[NDArray[np.floating[Any]]], scale: int = 1, gap: int = 0) -> Picture:
    """Images side by side, one row under another; without a gap as the original's cluster.py shows them.

    rows: each (n,3,32,32) with the same n. scale: how many pixels wide an image's pixel is.
    """
    images = [_enlarged(image, scale) for row in rows for image in to_pixels(row)]
    return stack(images, len(rows[0]), gap)


def stack(pictures: Sequence[Picture], columns: int = 1, gap: int = 8) -> Picture:
    """Pictures of one size in a grid, row by row, with white between them."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    columns = min(columns, len(pictures))
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), WHITE, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def scatter(
    images: NDArray[np.floating[Any]],
    places: NDArray[np.floating[Any]],
    colours: Picture | None = None,
    size: int = 1200,
    thumbnail: int = 32,
) -> Picture:
    """A map: each image drawn where it stands, the later ones over the earlier.

    places: (n,2), any unit, x to the right and y upwards. colours: (n,3), the frames. size: of the longer side.
    """
    frame = 0 if colours is None else 2
    side = thumbnail + 2 * frame
    low = places.min(0)
    extent = np.maximum(places.max(0) - low, 1e-12)
    # One unit for both axes: distances on the map are distances.
    unit = (size - side) / extent.max()
    width, height = (np.ceil(extent * unit).astype(int) + side).tolist()
    sheet = np.full((height, width, 3), WHITE, np.uint8)
    left, top = ((places - low) * unit).astype(int).T
    top = height - side - top
    for number, picture in enumerate(_resized(to_pixels(images), thumbnail)):
        spot = sheet[top[number] : top[number] + side, left[number] : left[number] + side]
        if colours is not None:
            spot[:] = colours[number]
        spot[frame : frame + thumbnail, frame : frame + thumbnail] = picture
    return sheet


def png(picture: Picture) -> bytes:
    """The file's bytes: 8-bit RGB."""
    height, width = picture.shape[:2]
    # Each row begins with the number of its filter: 0, none.
    rows = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, width * 3)], axis=1)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _enlarged(picture: Picture, scale: int) -> Picture:
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def _resized(pictures: Picture, side: int) -> Picture:
    """(n,h,w,3) -> (n,side,side,3), the nearest pixel of each."""
    height, width = pictures.shape[1:3]
    rows, columns = (np.arange(side) + 0.5) * height // side, (np.arange(side) + 0.5) * width // side
    return pictures[:, rows.astype(int)][:, :, columns.astype(int)]
