"""A folder of image files, decoded as they are asked for. Subfolders are classes.

What is taken: files with the endings of images, in a class's folder at any depth. Names that begin with a dot are left out
wherever they are; files with other endings are left out and counted in `notes`. Symbolic links are followed, to files
and to folders; a folder that a class reaches twice, a link whose target is missing, and what is neither a file nor a
folder (a FIFO, a device) are errors.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._text import name_of, text_of
from . import pictures
from .conversion import Conversion, pillow
from .dataset import Dataset, Indices
from .errors import SKIP_DAMAGED, DataError, listed
from .labels import MOST_CLASSES, distinct_names
from .options import Options, Size, shown
from .parts import Parts
from .pictures import SUFFIXES, is_image

__all__ = ["SUFFIXES", "Folder", "open_parts"]

_TEST_NAMES = ("test", "validation", "val", "valid")
#: So many headers are read on opening (a second or two), spread over the folder; the others when their turn comes.
_CHECKED = 20_000
_LABELS = "put the images of each class into a subfolder of its name"
_SIZE = "image=(channels, height, width); commands: --image-size and --channels"


def open_parts(path: Path, options: Options) -> Parts:
    pillow()
    if path.is_file():
        return Parts(Folder(path.name, path.parent, [path.name], None, None, options), labels_advice=_LABELS)
    below: dict[str, str] = {}
    for name in sorted(os.listdir(path)):
        if not (path / name).is_dir():
            continue
        other = below.setdefault(name.lower(), name)
        if other != name and name.lower() in ("train", *_TEST_NAMES):
            raise DataError(f"{path}: holds {other} and {name}, and capital letters do not matter in these names; rename one")
    test = [below[name] for name in _TEST_NAMES if name in below]
    train = below.get("train", "")
    if train and test:
        train_set, test_set = (_folder(path, path.name, options, below=part) for part in (train, test[0]))
        if train_set.classes != test_set.classes:
            raise DataError(
                f"{path}: train and {test[0]} have different classes: "
                f"{', '.join(train_set.classes or ('none',))}; {', '.join(test_set.classes or ('none',))}; to use one alone, "
                f"name {path / train}"
            )
        beside = _Found()
        _list(path, "", beside)
        unused = [f"{name}/" for name in beside.folders if name not in (train, test[0])] + beside.images
        if unused:
            note = f"{path.name}: left out, since train and {test[0]} are the data: {listed(unused, 5)}"
            train_set.notes, test_set.notes = (*train_set.notes, note), (*test_set.notes, note)
        return Parts(train_set, test_set, _LABELS)
    named = [name for name in os.listdir(path) if not name.startswith(".")]
    if named == [train] and any(entry.is_dir() and not entry.name.startswith(".") for entry in os.scandir(path / train)):
        return Parts(_folder(path / train, path.name, options), labels_advice=_LABELS)  # Of a set whose test part is elsewhere.
    return Parts(_folder(path, path.name, options), labels_advice=_LABELS)


class Folder(Dataset):
    """Image files, each converted as the options say."""

    def __init__(
        self,
        name: str,
        root: Path,
        files: Sequence[str],
        labels: NDArray[np.int64] | None,
        classes: tuple[str, ...] | None,
        options: Options,
    ) -> None:
        self.name, self.labels, self.classes = text_of(name), labels, classes
        self.ids = [text_of(file) for file in files]
        # Files are read later, maybe in another working folder or process; messages have the name that the user gave.
        self._named, self._root, self._options = root, Path(os.path.abspath(root)), options
        sizes = self._checked()
        if options.image is not None:
            self.image_size = options.image
            self._conversion = Conversion(options.image, options.resize)
            for size, (_, first) in sizes.items():
                self._conversion.check(size, str(root / self.ids[first]))
        else:
            self.image_size = self._common(sizes)
            self._conversion = Conversion(self.image_size, "none")

    def __len__(self) -> int:
        return len(self.ids)

    def _path(self, index: int) -> Path:
        return self._root / name_of(self.ids[index])

    def _pixels(self, indices: Indices) -> NDArray[Any]:
        result = np.empty((len(indices), *self.image_size), np.uint8)
        for place, index in enumerate(indices.tolist()):
            result[place] = self._decode(index)
        return result

    def _marks(self, indices: Indices) -> list[bytes]:
        """The files: what a decoder makes of them may change with its version."""
        found = []
        for index in indices.tolist():
            try:
                found.append(hashlib.sha256(self._path(index).read_bytes()).digest())
            except OSError as error:
                raise DataError(f"{self._named / self.ids[index]}: {error.strerror}") from error
        return found

    def _checked(self) -> dict[Size, tuple[int, int]]:
        """Reads headers: how often each size is there, and the number of the first such image. All faults at once."""
        sizes: dict[Size, tuple[int, int]] = {}
        faults: list[str] = []
        advice: dict[str, None] = {}  # Once, however many faults it is for.
        chosen = np.unique(np.linspace(0, len(self.ids) - 1, min(len(self.ids), _CHECKED)).astype(np.int64))
        for index in chosen.tolist():
            try:
                size = pictures.size(self._path(index), self._options)
            except pictures.Short as error:
                raise pictures.error_of(error, f"{self._named / self.ids[index]}: image {index}") from error
            except pictures.Unreadable as error:
                faults.append(f"{self._named / self.ids[index]}: image {index} {error.message}")
                advice |= {error.advice: None} if error.advice else {}
                continue
            count, first = sizes.get(size, (0, index))
            sizes[size] = count + 1, first
        if faults and not (self._options.skip_damaged and sizes):
            if len(self.ids) > len(faults):
                advice[SKIP_DAMAGED] = None
            found = f"{len(faults):,} of the {len(chosen):,} images whose headers were read: " if len(faults) > 1 else ""
            raise DataError("; ".join((found + listed(faults), *advice)))
        return sizes

    def _common(self, sizes: dict[Size, tuple[int, int]]) -> Size:
        """The size that all have; grey ones among images in RGB become RGB."""
        if len({size[1:] for size in sizes}) > 1:
            often = sorted(sizes.items(), key=lambda item: -item[1][0])
            found = [f"{count:,} of {shown(size)} ({self.ids[first]}, ...)" for size, (count, first) in often]
            raise DataError(
                f"{self._named}: images of different sizes: {listed(found, 5)}; say the size to make of them: {_SIZE}"
            )
        return max(sizes)

    def _decode(self, index: int) -> NDArray[np.uint8]:
        """uint8 (c, h, w)"""
        path = self._named / self.ids[index]
        given = self._options.image is not None
        try:
            pixels = pictures.decode(self._path(index), self._options, self._conversion if given else None)
        except pictures.Unreadable as error:
            raise pictures.error_of(error, f"{path}: image {index}") from error
        if pixels.shape == self.image_size:
            return pixels
        if pixels.shape[1:] == self.image_size[1:] and len(pixels) == 1:
            return np.broadcast_to(pixels, self.image_size)
        size = (pixels.shape[0], pixels.shape[1], pixels.shape[2])
        raise DataError(
            f"{path}: image {index} is {shown(size)}, others are {shown(self.image_size)}; say the size to make of "
            f"them: {_SIZE}"
        )


# ---- What is in a folder


@dataclass
class _Found:
    """Names are relative to the root."""

    images: list[str] = field(default_factory=list)
    #: Files with other endings.
    others: Counter[str] = field(default_factory=Counter)
    #: What cannot be an image though it should be.
    faults: list[tuple[str, str]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)


def _folder(path: Path, name: str, options: Options, below: str = "") -> Folder:
    """below: of a part, whose files are named with its folder, so that no two of the data have one name."""
    root, path, top = path, path / below, _Found()
    _list(path, "", top)
    if not top.folders:
        if not top.images:
            raise DataError(
                f"{path}: no images; expected files *{', *'.join(SUFFIXES)}, or subfolders of them{_left_out(top.others, '; ')}"
            )
        return _with_notes(Folder(name, root, _named(below, _sound(path, top, options)), None, None, options), top, below)
    if len(top.folders) > MOST_CLASSES:
        raise DataError(f"{path}: {len(top.folders):,} subfolders; expected {MOST_CLASSES:,} classes at most")
    classes = distinct_names([text_of(name) for name in top.folders], str(path))
    everything = _Found(others=top.others, faults=top.faults)
    labels: list[int] = []
    for label, class_name in enumerate(top.folders):
        own = _Found()
        _walk(path, class_name, own)
        if not own.images:
            reason = listed([f"{name} {why}" for name, why in own.faults], 3) if own.faults else ""
            raise DataError(
                f"{path / class_name}: no images in the folder of this class{_left_out(own.others, '; ')}"
                + (f"; {reason}" if reason else "")
            )
        everything.images += sorted(own.images, key=text_of)
        everything.others += own.others
        everything.faults += own.faults
        labels += [label] * len(own.images)
    if top.images:
        raise DataError(
            f"{path / top.images[0]}: an image beside the folders of classes ({', '.join(top.folders[:3])}...): "
            f"move it into one of them"
        )
    files = _named(below, _sound(path, everything, options))
    return _with_notes(Folder(name, root, files, np.array(labels, np.int64), classes, options), everything, below)


def _named(below: str, files: list[str]) -> list[str]:
    return [os.path.join(below, file) for file in files]


def _walk(root: Path, folder: str, found: _Found) -> None:
    """All levels below root/folder."""
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            status = os.stat(root / here)
        except OSError as error:
            raise DataError(f"{root / here}: {error.strerror}") from error
        if (status.st_dev, status.st_ino) in seen:
            raise DataError(f"{root / here}: a symbolic link leads to a folder that is already in this class; remove it")
        seen.add((status.st_dev, status.st_ino))
        _list(root, here, found)
        waiting += found.folders
        found.folders = []


def _list(root: Path, folder: str, found: _Found) -> None:
    """One level, in the order of names."""
    for entry in sorted(os.scandir(root / folder), key=lambda entry: text_of(entry.name)):
        if entry.name.startswith("."):
            continue
        name = os.path.join(folder, entry.name)
        try:
            mode = entry.stat().st_mode  # Of what a link leads to.
        except OSError as error:
            link = entry.is_symlink()
            found.faults.append((name, "is a symbolic link that leads nowhere" if link else str(error.strerror)))
            continue
        if stat.S_ISDIR(mode):
            found.folders.append(name)
        elif not is_image(entry.name):
            found.others[os.path.splitext(entry.name)[1].lower() or "no ending"] += 1
        elif stat.S_ISREG(mode):
            found.images.append(name)
        else:
            found.faults.append((name, "is neither a file nor a folder"))


def _sound(path: Path, found: _Found, options: Options) -> list[str]:
    if found.faults and not options.skip_damaged:
        faults = [f"{path / name} {why}" for name, why in found.faults]
        raise DataError(f"{listed(faults)}; {SKIP_DAMAGED}")
    return found.images


def _with_notes(folder: Folder, found: _Found, below: str) -> Folder:
    if found.others:
        folder.notes += (f"{folder.name}: " + _left_out(found.others),)
    if found.faults:
        folder.skipped = tuple((os.path.join(below, name), why) for name, why in found.faults)
        folder.notes += (f"{folder.name}: left out: " + listed([f"{name} {why}" for name, why in folder.skipped], 5),)
    return folder


def _left_out(others: Counter[str], before: str = "") -> str:
    """The endings of the files that are no images."""
    if not others:
        return ""
    endings = ", ".join(f"{ending} ({count:,})" for ending, count in others.most_common(8))
    more = len(others) - 8
    files = "1 file" if others.total() == 1 else f"{others.total():,} files"
    of = "ending is not an image's" if others.total() == 1 else "endings are not images'"
    return f"{before}{files} left out, whose {of}: {endings}" + (f" and {more} more" if more > 0 else "")
