"""Words in pictures, by Pillow, in a font that has their letters; CJK needs a font that is installed for it.

A letter that no installed font has is written as its number, \\u732b, and not as an empty box.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._text import cut, shown

#: Where fonts are installed.
FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")
#: Of fonts with many letters: they are tried first.
_LARGE = ("cjk", "wqy", "fallback", "unifont", "uming", "ukai", "ipa", "takao", "nanum", "dejavusans.")
_MOST_FONTS = 400


def available() -> bool:
    """Whether Pillow is there, which draws the letters."""
    return importlib.util.find_spec("PIL") is not None


def text(line: str, size: int = 13, most: int | None = None) -> NDArray[np.uint8]:
    """One line in black on white, (height,width,3), as wide as it is; `most`: pixels, of which the end is kept, since it
    tells files apart."""
    from PIL import Image, ImageDraw

    end = line if most is None else line[-most:]  # A letter takes a pixel at least.
    path, written = face(shown(end))
    font = _font(path, size)
    if most is not None and (len(end) < len(line) or font.getlength(written) > most):
        fits, beyond = 0, len(written) + 1  # Letters of the end.
        while beyond - fits > 1:
            middle = (fits + beyond) // 2
            if font.getlength(".." + written[len(written) - middle :]) > most:
                beyond = middle
            else:
                fits = middle
        written = ".." + written[len(written) - fits :]
    width = max(1, int(np.ceil(font.getlength(written))))
    image = Image.new("L", (width, int(size * 1.4)), 255)
    ImageDraw.Draw(image).text((0, 0), written, 0, font=font)
    grey: NDArray[np.uint8] = np.repeat(np.asarray(image)[:, :, np.newaxis], 3, axis=2)
    return grey


@functools.lru_cache(4096)
def face(line: str) -> tuple[str | None, str]:
    """The file of a font that has the line's letters, None for Pillow's own, and the line as it can write it."""
    unusual = {letter for letter in line if not 32 <= ord(letter) < 127}
    best: tuple[int, str | None, set[str]] = (len(unusual) + 1, None, unusual)
    for path in _fonts() if unusual else iter((None,)):
        missing = {letter for letter in unusual if not _has(path, letter)}
        if len(missing) < best[0]:
            best = (len(missing), path, missing)
        if not missing:
            break
    _, path, missing = best
    return path, "".join(_numbered(letter) if letter in missing else letter for letter in line)


def write(label: Any, text: str, size: int, most: int = 0) -> None:
    """Sets the text of a label of matplotlib's, of one line or several, in a font that has its letters. most: columns of a line."""
    faces = [face(shown(line)) for line in text.split("\n")]
    label.set_text("\n".join(cut(written, most) if most else written for _, written in faces))
    set_font(label, next((path for path, _ in faces if path is not None), None), size)


def set_font(label: Any, path: str | None, size: int) -> None:
    """That of `face`. A dollar sign in a name is not the beginning of a formula."""
    from matplotlib.font_manager import FontProperties

    label.set_parse_math(False)
    label.set_fontsize(size)
    if path is not None:
        label.set_fontproperties(FontProperties(fname=path, size=size))


def _numbered(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"


def _fonts() -> Iterator[str | None]:
    """Pillow's own, matplotlib's, those that are installed."""
    yield None
    yield from _installed(FOLDERS)


@functools.lru_cache(4)
def _installed(folders: tuple[str, ...]) -> tuple[str, ...]:
    found: list[str] = []
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        found.append(str(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"))
    others = [
        os.path.join(where, name)
        for folder in folders
        for where, _, names in os.walk(os.path.expanduser(folder))
        for name in names
        if name.lower().endswith((".ttf", ".ttc", ".otf"))
    ]
    others.sort(key=lambda path: (not any(part in os.path.basename(path).lower() for part in _LARGE), path))
    return tuple(path for path in found + others if os.path.isfile(path))[:_MOST_FONTS]


@functools.lru_cache(1024)
def _font(path: str | None, size: int) -> Any:
    from PIL import ImageFont

    if path is not None:
        return ImageFont.truetype(path, size)
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Before Pillow 10.1 there is one size.
        return ImageFont.load_default()


@functools.lru_cache(65536)
def _has(path: str | None, letter: str) -> bool:
    """Whether the font draws anything else for it than for a character that no font has."""
    try:
        font = _font(path, 20)
        drawn, none = (font.getmask(character) for character in (letter, "\U0010fffe"))
    except (OSError, ValueError):  # A font that is damaged or of a kind that Pillow does not read.
        return False
    return drawn.size != none.size or bytes(drawn) != bytes(none)
