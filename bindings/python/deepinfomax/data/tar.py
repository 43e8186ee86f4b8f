"""Some files of a .tar or .tar.gz, in memory."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError


def read(path: Path, wanted: Callable[[str], bool], max_bytes: int) -> tuple[list[str], dict[str, Any]]:
    """The names of all files, without their folders, and the bytes of those that are wanted: uint8 arrays.

    Raises DataError for a damaged archive, and for one that unpacks to more than is allowed.
    """
    files: dict[str, Any] = {}
    names: list[str] = []
    held = 0
    try:
        # tarfile's own way of reading gzip does not verify the checksum; this one does, at the end.
        with _decompressed(path) as whole:
            stream = _Bounded(whole, max_bytes, path)
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as archive:  # type: ignore[call-overload]
                for number, member in enumerate(archive):
                    if number == _MOST_MEMBERS:
                        raise DataError(
                            f"{path}: holds more than {_MOST_MEMBERS:,} files and folders; unpack it, and name a folder"
                        )
                    archive.members = []  # Which it would keep.
                    name = os.path.basename(member.name)
                    if not member.isfile():
                        if not member.isdir() and wanted(name):  # A link, which may lead to a file that is gone by.
                            what = f"a link to {member.linkname}" if member.islnk() or member.issym() else "no file"
                            raise DataError(f"{path}: {member.name} is {what}; unpack the archive, and name the folder")
                        continue
                    names.append(name)
                    if name in files:
                        raise DataError(
                            f"{path}: holds two files {name}, {member.name} is one of them; unpack it, and name a folder"
                        )
                    if wanted(name):
                        file = archive.extractfile(member)
                        assert file is not None
                        held += member.size  # A sparse file's zeros are not in the stream.
                        if held > max_bytes:
                            raise stream.too_large()
                        files[name] = _content(file, member.size)
            while stream.read(1 << 20):
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        where = f" after {names[-1]}" if names else ""
        raise DataError(f"{path}: the archive is damaged or cut short{where}: {error}; download it again") from error
    return names, files


def _content(file: IO[bytes], size: int) -> NDArray[np.uint8]:
    """A file's bytes, each once in memory. A length that the archive promises and does not hold takes no memory: pages that
    are not written are not there."""
    content = np.empty(size, np.uint8)
    at = 0
    while at < size:
        piece = file.read(min(1 << 20, size - at))
        if not piece:
            raise EOFError("the file ends early")
        content[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)
    return content


class _Member(tarfile.TarInfo):
    """tarfile's, without long extended headers. It reads them at once, keeps what they say, and gives a copy of what a global
    one says to each member; archives of data have none, or one of some bytes a member, for a long name or a time."""

    _MOST = 1 << 14
    _MOST_GLOBAL = 1 << 10
    #: A global one, one of the member, and GNU's for two long names.
    _MOST_IN_A_ROW = 4

    def _proc_member(self, archive: Any) -> Any:
        if self.type in _EXTENDED:
            most = self._MOST_GLOBAL if self.type == tarfile.XGLTYPE else self._MOST
            if self.size > most:
                raise tarfile.ReadError(f"an extended header of {self.size:,} bytes; expected at most {most:,}")
            archive.in_a_row = getattr(archive, "in_a_row", 0) + 1
            if archive.in_a_row > self._MOST_IN_A_ROW:  # Each is read inside the one before it.
                raise tarfile.ReadError(f"more than {self._MOST_IN_A_ROW} extended headers in a row")
        else:
            archive.in_a_row = 0
        return super()._proc_member(archive)  # type: ignore[misc]


#: Of an archive. Those of data have ten or so.
_MOST_MEMBERS = 10_000
_EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


class _Bounded:
    """A stream that ends with an error when more comes out of it than is allowed."""

    def __init__(self, stream: IO[bytes] | io.BufferedIOBase, most: int, path: Path) -> None:
        self._stream, self._left, self._most, self._path = stream, most, most, path

    def read(self, count: int) -> bytes:
        content = self._stream.read(count)
        self._left -= len(content)
        if self._left < 0:
            raise self.too_large()
        return content

    def too_large(self) -> DataError:
        return DataError(
            f"{self._path}: unpacks to more than {self._most:,} bytes, which are allowed; unpack it yourself, or, in "
            "Python, allow more: max_bytes="
        )


def _decompressed(path: Path) -> io.BufferedIOBase:
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if compressed else open(path, "rb")
