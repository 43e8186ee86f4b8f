"""One image file -> bytes of pixels, by Pillow. What a file's pixels mean is decided here, or the file is refused.

- Only the formats that are named here are tried, whatever a file's name says: no other decoder of Pillow's runs, and none
  of the programs that some of these start (EPS: ghostscript).
- The orientation that a camera notes (EXIF) is applied. Of an animation or a file of several pages, the first picture.
- Transparency of any kind is composited on white; a transparent colour of 3x16 bits, which Pillow cannot tell from its
  neighbours, is refused.
- 16 bits of grey become 8: the upper ones. White is the largest value, also where a TIFF file counts the other way.
- TIFF files with a plane for each channel that Pillow decodes to other pixels, or without the transparency: refused. These are
  uncompressed ones with 16 bits a channel, and grey or a palette with a plane of transparency.
- What the first picture of a GIF file leaves free is white, as if transparent.
- Signed and 32-bit integers and floating-point pixels have no scale that is known, Lab and others no conversion: refused.
- More pixels than allowed: refused before they are decoded.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .conversion import Conversion, pillow
from .errors import MORE_PIXELS, DataError, Shortage
from .options import MAX_PIXELS, Options, Size

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM", "TIFF")
#: First bytes of formats of which Pillow knows some kinds only.
_FIRST = {b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF", b"BM": "BMP"}
#: Pixels in width or height.
MOST_SIDE = 1 << 20
#: What Pillow's decoders raise on damaged files.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    ZeroDivisionError,
    OverflowError,
    RuntimeError,
    NotImplementedError,
    AssertionError,
    struct.error,
)
#: Bytes that a pixel takes while it is decoded and converted: 16 bits for each of four channels, several times.
_BYTES = 32
#: What the system says where the machine lacks something.
_SHORTAGES = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)
#: Modes whose pixels are known; the numbers of channels that are left when transparency is gone.
_CHANNELS = {
    "1": 1,
    "L": 1,
    "LA": 1,
    "La": 1,
    "I;16": 1,
    "I;16L": 1,
    "I;16B": 1,
    "I;16N": 1,
    "P": 3,
    "PA": 3,
    "RGB": 3,
    "RGBA": 3,
    "RGBa": 3,
    "RGBX": 3,
    "CMYK": 3,
    "YCbCr": 3,
}
_IMAGE_WIDTH, _BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION, _PLANES, _SAMPLE_FORMAT = 256, 258, 262, 274, 284, 339
_WHITE_IS_ZERO, _PLANE_EACH, _SIGNED = 0, 2, 2
_NO_SCALE = "has 32-bit or signed integers, whose scale is not known; save it with 8 or 16 bits"
_limit = threading.Lock()
if hasattr(os, "register_at_fork"):  # A child must not inherit it from a thread that it does not have.
    os.register_at_fork(before=_limit.acquire, after_in_parent=_limit.release, after_in_child=_limit.release)


def is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


class Unreadable(Exception):
    """What is the matter with a file: "is damaged: ..."; whoever knows its number makes it a DataError.

    advice: what to do, which is the same for all files with this fault; behind the message, and apart for lists of faults.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(f"{message}; {advice}" if advice else message)
        self.message, self.advice = message, advice


class Short(Unreadable):
    """What the machine lacks to read a file, which is not damaged."""


def error_of(fault: Unreadable, where: str) -> DataError:
    """What callers hear of: where, and what is the matter."""
    return (Shortage if isinstance(fault, Short) else DataError)(f"{where} {fault}")


def open_file(path: Path) -> IO[bytes]:
    """A regular file: opening a FIFO would wait for its writer, a device might do anything. Raises Unreadable."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise Unreadable("is a folder, expected an image file")
        if not stat.S_ISREG(mode):
            raise Unreadable("is neither a file nor a folder")
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        file = os.fdopen(descriptor, "rb")
    except (OSError, ValueError) as error:
        kind = Short if getattr(error, "errno", None) in _SHORTAGES else Unreadable
        raise kind(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Unreadable("is neither a file nor a folder")
    return file


def size(path: Path, options: Options) -> Size:
    """(channels, height, width) as the header tells them. Raises Unreadable."""
    with open_file(path) as file, _opened(file, path, options) as image:
        channels = _channels(image)
        width, height = image.size
        # Pillow decodes a PNG to look for what follows its pixels.
        known = image.format != "PNG" or (width != height and _has_notes(path))
        # Of a TIFF file it tells the size as turned already, if it turns it.
        done = image.format == "TIFF" and image.tag_v2.get(_IMAGE_WIDTH) != width
        if known and not done and _orientation(image) >= 5:
            width, height = height, width
        return channels, height, width


def decode(path: Path, options: Options, wanted: Conversion | None) -> NDArray[np.uint8]:
    """uint8 (c, h, w), as `wanted` or as the file has it. Raises Unreadable."""
    with open_file(path) as file, _opened(file, path, options) as image:
        return converted(image, wanted, path)


def converted(image: Any, wanted: Conversion | None, path: Path | None = None) -> NDArray[np.uint8]:
    """The same of a Pillow image, which `path` is the file of. Raises Unreadable."""
    grey = _channels(image) == 1
    try:
        if path is not None and wanted is not None and wanted.size[1:] != (image.height, image.width):
            # A JPEG decoder can leave out detail that scaling would drop: several times as fast for photographs.
            longest = max(wanted.size[1:])
            image.draft(None, (4 * longest, 4 * longest))
        _scale_transparent_colour(image)
        covered = image.tile[0][1] if getattr(image, "format", None) == "GIF" and image.tile else None
        image.load()
        _check_palette(image)
        orientation = _orientation(image)
        if grey and image.mode == "RGBA":
            image = image.convert("LA")
        plain = _turned(_alone(_plain(image), covered), orientation)
        if wanted is not None:
            return wanted.picture(plain)
        pixels = np.asarray(plain, np.uint8)
        return pixels[np.newaxis] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    except MemoryError as error:
        if _has_room(image):  # It asks for more than an image of its size needs.
            raise Unreadable("is damaged: it asks for more memory than its size needs") from error
        raise Short(f"cannot be read: there is not enough memory to decode {image.width}x{image.height} pixels") from error
    except (*_DAMAGE, pillow().DecompressionBombError) as error:
        raise Unreadable(f"is damaged: {_reason(error, path)}") from error


def _has_room(image: Any) -> bool:
    """Whether there is memory for several copies of its pixels."""
    try:
        return bool(np.empty(image.width * image.height * _BYTES, np.uint8).size)
    except MemoryError:
        return False


def _opened(file: IO[bytes], path: Path, options: Options) -> Any:
    """Its header read, its number of pixels checked."""
    image_module = pillow()
    most = options.max_pixels
    try:
        with _limit:
            # Pillow's limit is a global: its warnings and errors would come before ours, which says what to do.
            pillows = image_module.MAX_IMAGE_PIXELS
            image_module.MAX_IMAGE_PIXELS = None
            try:
                image = image_module.open(file, formats=FORMATS)
            finally:
                image_module.MAX_IMAGE_PIXELS = pillows
    except image_module.UnidentifiedImageError as error:
        raise Unreadable(f"cannot be read: {_unidentified(file)}") from error
    except MemoryError as error:
        raise Short("cannot be read: there is not enough memory to read its header") from error
    except _DAMAGE as error:
        raise Unreadable(f"cannot be read: {_reason(error, path)}") from error
    if most is None:
        most = min(MAX_PIXELS, pillows or MAX_PIXELS)
    if max(image.size) > MOST_SIDE:  # Resizing needs 32 bytes and more for each pixel of a side.
        found = f"{image.width}x{image.height} pixels"
        image.close()
        raise Unreadable(f"has {found}; expected at most {MOST_SIDE:,} in width and height")
    if image.width * image.height > most:
        found = f"{image.width}x{image.height} = {image.width * image.height:,} pixels"
        image.close()
        raise Unreadable(f"has {found}, {most:,} are decoded at most", MORE_PIXELS)
    return image


def _unidentified(file: IO[bytes]) -> str:
    file.seek(0)
    start = file.read(4)
    name = next((name for first, name in _FIRST.items() if start.startswith(first)), None)
    if name is None:
        return f"expected one of {', '.join(FORMATS)}, found another format or a damaged header"
    return (
        f"expected one of the kinds of {name} that are decoded, 8 bits a channel in grey or RGB for instance, found another kind "
        "(by its bits, channels or byte order) or a damaged header"
    )


def _channels(image: Any) -> int:
    mode = image.mode
    if _SIGNED in _tags(image, _SAMPLE_FORMAT):
        raise Unreadable(_NO_SCALE)
    planes = _PLANE_EACH in _tags(image, _PLANES)
    if planes and mode in ("LA", "La", "PA"):  # Of compressed ones Pillow leaves the second out, in silence.
        raise Unreadable("has a plane for its transparency; save it with its channels side by side, or without transparency")
    if planes and any(tile[0] == "raw" and set(_tags(image, _BITS_PER_SAMPLE)) != {8} for tile in image.tile):
        raise Unreadable("has 16 bits a channel and a plane for each; save it with its channels side by side, or with 8 bits")
    if mode == "I" and image.format in ("PNG", "PPM"):  # Older versions of Pillow: 16 bits of grey.
        return 1
    if mode == "F":
        raise Unreadable("has floating-point pixels, whose scale is not known; save it with 8 or 16 bits")
    if mode.startswith("I") and mode not in _CHANNELS:
        raise Unreadable(_NO_SCALE)
    if any(tile[3] == "LA;16B" for tile in getattr(image, "tile", ())):  # A PNG file's 16 bits of grey and alpha: mode RGBA.
        return 1
    if mode not in _CHANNELS:
        raise Unreadable(f"has pixels of the kind {mode}, which is not known; save it in RGB")
    return _CHANNELS[mode]


def _plain(image: Any) -> Any:
    """In mode L or RGB, eight bits each, without transparency."""
    grey = _channels(image) == 1
    if image.mode.startswith("I"):
        return pillow().fromarray(_upper_bits(image))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        white = pillow().new("RGBA", image.size, (255, 255, 255, 255))
        image = pillow().alpha_composite(white, image).convert("RGB")
        return image.getchannel(0) if grey else image
    mode = "L" if grey else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _check_palette(image: Any) -> None:
    """Of a PNG file, whose colours beyond its palette, or without one, Pillow has as black. Raises Unreadable."""
    if getattr(image, "format", None) != "PNG" or image.mode != "P":
        return
    largest, colours = image.getextrema()[1], len(image.getpalette() or ()) // 3
    if largest >= colours:
        raise Unreadable(f"is damaged: it has the colour {largest}, its palette has {colours:,}")


def _alone(plain: Any, box: tuple[int, int, int, int] | None) -> Any:
    """White around `box`, which the picture covers of its canvas; None: all of it."""
    if box is None or box == (0, 0, *plain.size):
        return plain
    white = pillow().new(plain.mode, plain.size, "white")
    white.paste(plain.crop(box), box)
    return white


def _tags(image: Any, number: int) -> tuple[Any, ...]:
    """The values of a TIFF tag; none of other files."""
    found = getattr(image, "tag_v2", {}).get(number, ())
    return found if isinstance(found, tuple) else (found,)


def _scale_transparent_colour(image: Any) -> None:
    """Before its pixels are decoded: Pillow has the transparent colour of a PNG file in the file's units, pixels in eight bits."""
    colour, tiles = image.info.get("transparency"), getattr(image, "tile", None)
    kind = tiles[0][3] if tiles else None  # Of the file's pixels; known until they are decoded.
    if kind == "RGB;16B" and isinstance(colour, tuple):
        raise Unreadable("has 16 bits a channel and a transparent colour; save it with an alpha channel or with 8 bits")
    most = {"L;2": 3, "L;4": 15}.get(kind) if isinstance(kind, str) else None
    if most is not None and isinstance(colour, int) and colour <= most:
        image.info["transparency"] = colour * (255 // most)


def _upper_bits(image: Any) -> NDArray[np.uint8]:
    """16 bits of grey -> 8, (h, w)"""
    values = np.asarray(image).astype(np.int64)
    bits = int((_tags(image, _BITS_PER_SAMPLE) or (16,))[0])
    values = np.clip(values >> (bits - 8 if 8 <= bits <= 16 else 8), 0, 255)
    if _tags(image, _PHOTOMETRIC) == (_WHITE_IS_ZERO,):
        values = 255 - values
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values[np.asarray(image) == transparent] = 255
    grey: NDArray[np.uint8] = values.astype(np.uint8)
    return grey


#: Chunks of a PNG file that hold a key and a text, and the keys of those that Pillow reads an orientation from.
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PNG_NOTES = (b"XML:com.adobe.xmp\0", b"xmp\0", b"Raw profile type exif\0")
_LONGEST_KEY = 80


def _orientation(image: Any) -> int:
    """1 to 8; of notes that cannot be read, 1: every program shows such pictures as they are."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except _DAMAGE:
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _has_notes(path: Path) -> bool:
    """Whether a PNG file has notes that may tell an orientation, EXIF or XMP, wherever they are."""
    with open_file(path) as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            length = int.from_bytes(head[:4], "big")
            start = file.read(min(length, _LONGEST_KEY)) if head[4:] in _PNG_TEXTS else b""
            if head[4:] == b"eXIf" or start.startswith(_PNG_NOTES):
                return True
            file.seek(length - len(start) + 4, os.SEEK_CUR)
    return False


def _turned(image: Any, orientation: int) -> Any:
    turns = pillow().Transpose
    turn = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)


def _reason(error: BaseException, path: Path | None) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).replace(repr(str(path)), "it").replace(str(path), "it")
    return text or type(error).__name__
