"""What a command reads and what it writes: no command writes over what it reads, no data set contains its own run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..architecture import PRESETS
from ..data.pictures import SUFFIXES
from ..data.opening import is_sample
from .._files import is_among, is_in, is_same
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
        """Raises UsageError for an output that is an input, is among the images that are read, or is named twice; and
        for an empty name, which a variable of a shell that is not set leaves, and which would mean this folder."""
        for option, path, *_ in (*self.reads, *self.files, *self.folders):
            if not path:
                raise UsageError(f"{option}: expected a name, found an empty one")
        reads = [(option, path) for option, path in self.reads if os.path.exists(path) and not _is_name(option, path)]
        # `open_dataset` takes the labels of NAME.npy from this file.
        reads += [(option, path[:-4] + "_labels.npy") for option, path in reads if path.endswith(".npy")]
        for number, (option, path) in enumerate(self.files):
            for other, read in reads:
                if is_same(path, read):
                    raise UsageError(f"{option}: {path} is what {other} reads; name another file")
                if os.path.isdir(read) and is_in(path, read) and path.lower().endswith((*SUFFIXES, ".bin")):
                    raise UsageError(
                        f"{option}: {path} is inside {read}, whose images {other} reads, and would become one of them; "
                        "name a file outside of it"
                    )
            for other, written in self.files[:number]:
                if is_same(path, written):
                    raise UsageError(f"{option}: {path} is what {other} writes; name another file")
        for option, folder, names in self.folders:
            for other, read in reads:
                if os.path.isdir(read) and (is_same(folder, read) or is_in(folder, read)):
                    raise UsageError(
                        f"{option}: {folder} is inside {read}, which {other} reads, and would become part of the data; "
                        "name a folder elsewhere"
                    )
                if is_among(read, folder, names):
                    raise UsageError(f"{option}: {read}, which {other} reads, would be written over; name another folder")
            for other, written in self.files:
                if is_among(written, folder, names):
                    raise UsageError(f"{other}: {written} is among what {option} writes; name another file")


def _is_name(option: str, path: str) -> bool:
    """Of sample data or of a preset, whatever file has it."""
    return path in PRESETS if option == "--architecture" else is_sample(path)


def _option(name: str) -> str:
    return "IMAGE" if name == "images" else f"--{name}"
