"""Pictures made of images: rows, the original's panel of neighbours, a map; written as PNG. Needs numpy alone.

Images come as the library takes them, float32 (n,3,32,32) in [0,1]; pictures are uint8 (height, width, 3).
"""

from __future__ import annotations

import colorsys
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arrays import doubles, shaped, whole_number
from . import lettering

Picture = NDArray[np.uint8]

WHITE = 255
#: Of one picture: it takes 1.5 GB while it is written.
MOST_PIXELS = 1 << 28
#: Ten colours, one a class: Okabe and Ito's, which stay apart for colour-blind eyes too, and others for their black.
COLOURS = np.array(
    [
        (0, 114, 178),
        (230, 159, 0),
        (0, 158, 115),
        (213, 94, 0),
        (204, 121, 167),
        (86, 180, 233),
        (240, 228, 66),
        (117, 60, 160),
        (150, 150, 150),
        (140, 86, 60),
    ],
    np.uint8,
)


class PictureTooLarge(ValueError):
    """Of more pixels than MOST_PIXELS."""


def blank(height: int, width: int) -> Picture:
    """A white one."""
    check_size(height, width)
    return np.full((height, width, 3), WHITE, np.uint8)


def check_size(height: int, width: int) -> None:
    """Raises PictureTooLarge, before any work."""
    if height * width > MOST_PIXELS:
        raise PictureTooLarge(
            f"a picture of {width:,} x {height:,} pixels is too large: expected {MOST_PIXELS:,} at most; "
            "take fewer images, or smaller ones, or a smaller map"
        )


def colours(count: int) -> Picture:
    """(count,3): one a class, all different; the first ten are COLOURS."""
    found = [tuple(colour) for colour in COLOURS[:count].tolist()]
    taken = set(found)
    number = 0
    while len(found) < count:
        # Hues that divide the circle in the golden ratio stay apart however many they are; so do their shades.
        hue, shade = number * 0.6180339887 % 1, number // 7 * 0.381966 % 1
        red, green, blue = colorsys.hls_to_rgb(hue, 0.3 + 0.4 * shade, 0.55 + 0.4 * (number % 2))
        colour = (round(red * 255), round(green * 255), round(blue * 255))
        if colour not in taken:
            taken.add(colour)
            found.append(colour)
        number += 1
    return np.array(found, np.uint8).reshape(count, 3)


def beside_names(entries: Sequence[tuple[str, NDArray[np.uint8]]], width: int, most: int = 60) -> Picture | None:
    """A legend: names beside squares of their colours, in as many columns as fit. None without Pillow's letters."""
    if not lettering.available():
        return None
    shown, rest = list(entries[:most]), len(entries) - most
    size, square, gap = 13, 12, 8
    texts = [lettering.text(name, size, 240) for name, _ in shown]
    if rest > 0:
        texts.append(lettering.text(f"and {rest} more", size, 240))
    cell = min(width, max(text.shape[1] for text in texts) + square + 3 * gap)
    line = max(max(text.shape[0] for text in texts), square) + 4
    columns = max(1, width // cell)
    sheet = blank(-(-len(texts) // columns) * line + 2 * gap, width)
    for number, text in enumerate(texts):
        top, left = gap + number // columns * line, gap + number % columns * cell
        if number < len(shown):
            sheet[top + 2 : top + 2 + square, left : left + square] = shown[number][1]
        paste(sheet, text, top, left + square + gap)
    return sheet


def paste(sheet: Picture, picture: Picture, top: int, left: int) -> None:
    """What does not fit is cut off."""
    spot = sheet[top : top + picture.shape[0], left : left + picture.shape[1]]
    spot[:] = picture[: spot.shape[0], : spot.shape[1]]


def captioned(
    rows: Sequence[NDArray[np.floating[Any]]], captions: Sequence[Sequence[Sequence[str]]], scale: int = 1, gap: int = 4
) -> Picture:
    """Rows of images, each (n,3,h,w), with lines of text under each image: captions[row][column]. Needs Pillow."""
    _check_rows(rows, scale, gap)
    if [len(row) for row in captions] != [len(row) for row in rows]:
        raise ValueError("captions: expected lines for each image, found other numbers of images and of captions")
    letters = [[[lettering.text(line, 11, 150) for line in lines] for lines in row] for row in captions]
    flat = [line for row in letters for lines in row for line in lines]
    side = max(rows[0].shape[2:]) * scale
    width = max([side, *(line.shape[1] for line in flat)]) + 2 * gap
    line_height = max((line.shape[0] for line in flat), default=0)
    height = side + max(len(lines) for row in letters for lines in row) * line_height + 2 * gap
    sheet = blank(len(rows) * height, max(map(len, rows)) * width)
    for number, row in enumerate(rows):
        for column, image in enumerate(to_pixels(row)):
            top, left = number * height + gap, column * width + gap
            paste(sheet, _enlarged(image, scale), top, left)
            for place, text in enumerate(letters[number][column]):
                paste(sheet, text, top + side + place * line_height, left)
    return sheet


def to_pixels(images: NDArray[np.floating[Any]]) -> Picture:
    """(n,3,h,w) in [0,1] -> (n,h,w,3) bytes; values outside become black or white."""
    images = shaped(images, ("n", "c", "h", "w"), "images")
    if images.shape[1] != 3:  # Grey, or the first three of many channels; of two the first.
        images = images[:, :3] if images.shape[1] > 3 else np.repeat(images[:, :1], 3, axis=1)
    pixels: Picture = np.rint(np.clip(np.moveaxis(images, 1, -1), 0, 1) * 255).astype(np.uint8)
    return pixels


def panel(rows: Sequence[NDArray[np.floating[Any]]], scale: int = 1, gap: int = 0) -> Picture:
    """Images side by side, one row under another; without a gap as the original's cluster.py shows them.

    rows: each (n,3,32,32) with the same n. scale: how many pixels wide an image's pixel is.
    """
    _check_rows(rows, scale, gap)
    for row in rows:
        shaped(row, ("n", "c", "h", "w"), "rows", n=len(rows[0]), h=rows[0].shape[2], w=rows[0].shape[3])
    images = [_enlarged(image, scale) for row in rows for image in to_pixels(row)]
    return stack(images, len(rows[0]), gap)


def stack(pictures: Sequence[Picture], columns: int = 1, gap: int = 8) -> Picture:
    """Pictures of one size in a grid, row by row, with white between them."""
    if not len(pictures):
        raise ValueError("pictures: expected one or more, found none")
    columns = whole_number(columns, 1, 2**31, "columns", "1 or more")
    gap = whole_number(gap, 0, 2**31, "gap", "0 or more")
    height, width = shaped(pictures[0], ("h", "w", 3), "pictures").shape[:2]
    for picture in pictures:
        shaped(picture, (height, width, 3), "pictures")
    rows = -(-len(pictures) // columns)
    columns = min(columns, len(pictures))
    sheet = blank(rows * (height + gap) - gap, columns * (width + gap) - gap)
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
    """A map: each image drawn at its place, later ones over earlier ones.

    places: (n,2), any unit, x to the right and y upwards. colours: (n,3), the frames. size: of the longer side.
    """
    n = len(shaped(images, ("n", "c", "h", "w"), "images"))
    places = doubles(places, (n, 2), "places")
    places = np.ldexp(places, -int(np.frexp(np.abs(places).max())[1]))  # Any unit: of those at most 1, no difference overflows.
    frame = 0 if colours is None else 2
    if colours is not None:
        colours = shaped(colours, (n, 3), "colours")
    side = whole_number(thumbnail, 1, 2**20, "thumbnail", "1 or more") + 2 * frame
    size = whole_number(size, side, 2**31, "size", f"{side} or more, a thumbnail's")
    low = places.min(0)
    extent = np.maximum(places.max(0) - low, np.finfo(np.float64).tiny)
    # One unit for both axes: distances on the map are distances.
    unit = (size - side) / extent.max()
    width, height = (np.ceil(extent * unit).astype(int) + side).tolist()
    sheet = blank(height, width)
    left, top = ((places - low) * unit).astype(int).T
    top = height - side - top
    for number, picture in enumerate(_resized(to_pixels(images), thumbnail)):
        spot = sheet[top[number] : top[number] + side, left[number] : left[number] + side]
        if colours is not None:
            spot[:] = colours[number]
        spot[frame : frame + thumbnail, frame : frame + thumbnail] = picture
    return sheet


def png(picture: Picture) -> bytes:
    """The file's bytes: 8-bit RGB. picture: (h,w,3), uint8."""
    height, width = shaped(picture, ("h", "w", 3), "picture").shape[:2]
    if picture.dtype != np.uint8:
        raise TypeError(f"picture: expected uint8, found {picture.dtype}")
    packed, deflate = [], zlib.compressobj(9)
    block = max(1, (1 << 24) // (3 * width))
    for start in range(0, height, block):  # In blocks: a copy of a large picture would be as large.
        rows = picture[start : start + block].reshape(-1, width * 3)
        # Each row begins with the number of its filter: 0, none.
        packed.append(deflate.compress(np.insert(rows, 0, 0, axis=1).tobytes()))
    packed.append(deflate.flush())
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
            _chunk(b"IDAT", b"".join(packed)),
            _chunk(b"IEND", b""),
        )
    )


def _check_rows(rows: Sequence[NDArray[np.floating[Any]]], scale: int, gap: int) -> None:
    if not len(rows):
        raise ValueError("rows: expected one or more, found none")
    for row in rows:
        shaped(row, ("n", "c", "h", "w"), "rows")
    whole_number(scale, 1, 2**16, "scale", "1 or more")
    whole_number(gap, 0, 2**31, "gap", "0 or more")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _enlarged(picture: Picture, scale: int) -> Picture:
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def _resized(pictures: Picture, side: int) -> Picture:
    """(n,h,w,3) -> (n,side,side,3), the nearest pixel of each; images that are not square are centred on grey."""
    height, width = pictures.shape[1:3]
    if height != width:
        longer = max(height, width)
        square = np.full((len(pictures), longer, longer, 3), 128, np.uint8)
        top, left = (longer - height) // 2, (longer - width) // 2
        square[:, top : top + height, left : left + width] = pictures
        pictures, height, width = square, longer, longer
    rows, columns = (np.arange(side) + 0.5) * height // side, (np.arange(side) + 0.5) * width // side
    return pictures[:, rows.astype(int)][:, :, columns.astype(int)]
