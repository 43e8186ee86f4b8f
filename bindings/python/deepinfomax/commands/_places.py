"""What a command reads and what it writes: no command writes over what it reads, no data set contains its own run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ..architecture import PRESETS
from ..data.known import is_read
from ..data.opening import is_sample
from ..data.pictures import SUFFIXES
from .._files import is_among, is_same
from ..run_folder import FILES, RunFolder
from . import UsageError

#: Arguments that name what is read, and those that name a file that is written, by their names in argparse. Arguments of
#: other kinds are named by the command's own `places(arguments)`.
READS = ("data", "weights", "architecture", "config", "vectors", "predict", "images", "index")
WRITES = ("output", "coordinates", "picture", "predictions", "save", "html")


@dataclass
class Places:
    """Each with the option that names it."""

    reads: list[tuple[str, str]] = field(default_factory=list)
    files: list[tuple[str, str]] = field(default_factory=list)
    #: Folders that are written to, and the names of what is written there.
    folders: list[tuple[str, str, Sequence[str]]] = field(default_factory=list)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Places:
        places = cls()
        for names, found in ((READS, places.reads), (WRITES, places.files)):
            for name in names:
                value = getattr(arguments, name, None)
                values = value if isinstance(value, list) else [value]
                # `images` of other commands are a count or numbers in the data.
                paths = (path for path in values if isinstance(path, str) and not (name == "images" and path.isdecimal()))
                found += [(_option(name), path) for path in paths]
        return places

    def check(self) -> None:
        """Raises UsageError for an output that is an input, is among the images that are read, is one of a run's files, or
        is named twice; and for an empty name, which a variable of a shell that is not set leaves, and which would mean this
        folder."""
        for option, path, *_ in (*self.reads, *self.files, *self.folders):
            if not path:
                raise UsageError(f"{option}: expected a name, found an empty one")
        reads = [_Read(option, path) for option, path in self.reads if os.path.exists(path) and not _is_name(option, path)]
        for number, (option, path) in enumerate(self.files):
            for read in reads:
                if is_same(path, read.path) or read.has(path):
                    raise UsageError(f"{option}: {path} is what {read.option} reads; name another file")
                if read.would_have(path):
                    raise UsageError(
                        f"{option}: {path} is beside the images that {read.option} reads, {read.path}, and would become one of "
                        "the files of this data; name a file elsewhere"
                    )
            run = _run_of(path)
            if run is not None:
                raise UsageError(f"{option}: {path} is one of the files of the run in {run}; name another file")
            for other, written in self.files[:number]:
                if is_same(path, written):
                    raise UsageError(f"{option}: {path} is what {other} writes; name another file")
        for option, folder, names in self.folders:
            for read in reads:
                if read.contains(folder):
                    raise UsageError(
                        f"{option}: {folder} is inside {read.path}, which {read.option} reads, and would become part of the data; "
                        "name a folder elsewhere"
                    )
                if is_among(read.path, folder, names):
                    raise UsageError(
                        f"{option}: {read.path}, which {read.option} reads, would be written over; name another folder"
                    )
            for other, written in self.files:
                if is_among(written, folder, names):
                    raise UsageError(f"{other}: {written} is among what {option} writes; name another file")


class _Read:
    """A file or folder that is read, with what its loader takes from around it."""

    def __init__(self, option: str, path: str) -> None:
        self.option, self.path = option, path
        self._is_folder = os.path.isdir(path)
        #: `open_dataset` takes the labels of NAME.npy from the file beside it; of a link, those of both names are data.
        forms = {os.path.abspath(path), os.path.realpath(path)}
        labels = [form[:-4] + "_labels.npy" for form in forms if form.lower().endswith(".npy")]
        self._labels = {(_identity(os.path.dirname(form)), os.path.basename(form)) for form in labels}
        self._is_published = is_read(os.path.basename(path))
        #: Folders by device and inode, since links in data are followed: all below a folder, and the one that holds a file.
        self._folders: set[tuple[int, int]] = set()
        #: Files there whose names are those of data.
        self._files = {identity for identity in map(_identity, labels) if identity is not None}
        if self._is_folder or self._is_published:
            self._look(path if self._is_folder else os.path.dirname(path) or ".")

    def has(self, path: str) -> bool:
        return _identity(path) in self._files

    def would_have(self, path: str) -> bool:
        forms = map(os.path.split, (os.path.abspath(path), os.path.realpath(path)))
        found = [(_identity(folder), name) for folder, name in forms]
        return any(place in self._labels or place[0] in self._folders and self._is_data(place[1]) for place in found)

    def contains(self, folder: str) -> bool:
        """Whether a folder is, or would be, inside."""
        place = os.path.realpath(folder)
        while self._is_folder and place != os.path.dirname(place):
            if _identity(place) in self._folders:
                return True
            place = os.path.dirname(place)
        return False

    def _is_data(self, name: str) -> bool:
        if self._is_folder:
            return name.lower().endswith((*SUFFIXES, ".bin")) or is_read(name)
        return self._is_published and is_read(name)

    def _look(self, start: str) -> None:
        folders = [start]
        while folders:
            folder = folders.pop()
            identity = _identity(folder)
            if identity is None or identity in self._folders:
                continue
            self._folders.add(identity)
            with suppress(OSError), os.scandir(folder) as entries:  # What cannot be read is the loader's to tell.
                for entry in entries:
                    if self._is_folder and entry.is_dir():
                        folders.append(entry.path)
                    elif self._is_data(entry.name):
                        found = _identity(entry.path) if entry.is_symlink() else (identity[0], entry.inode())
                        self._files.update(() if found is None else (found,))


def _run_of(path: str) -> str | None:
    """The folder of the training run whose file it is, or would be."""
    for form in (os.path.abspath(path), os.path.realpath(path)):
        folder = os.path.dirname(form)
        if is_among(path, folder, FILES) and os.path.exists(RunFolder(folder).settings_file):
            return folder
        # What `dim classify --checkpoint` keeps: two files of a seed.
        name, ending = os.path.splitext(form)
        other = {".h5": ".json", ".json": ".h5"}.get(ending)
        if other is not None and is_among(path, folder, ("end-to-end-*",)) and os.path.exists(name + other):
            return folder
    return None


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _is_name(option: str, path: str) -> bool:
    """Of sample data or of a preset, whatever file has it."""
    return path in PRESETS if option == "--architecture" else is_sample(path)


def _option(name: str) -> str:
    return "IMAGE" if name == "images" else f"--{name}"
