"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: bytes | memoryview) -> None:
    """Writes a file, or replaces it, in one go: what stood there before stays until all is on the disk.

    Raises OSError that names `path`.
    """
    with whole(path) as temporary, open(temporary, "wb") as file:
        file.write(content)


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[str]:
    """The name of an empty file to write to, which becomes `path` when the block ends well and goes when it does not.

    A link stays, and the file that it leads to is replaced. What is no file, /dev/null or a pipe, is written to as it is.
    Raises OSError that names `path` where it cannot be written; those of other files pass as they are.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file() and not target.is_dir():
        yield str(target)
        return
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(descriptor)
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
        temporary = None
    except OSError as error:
        if error.filename not in (None, temporary) and not _is_beside(error.filename, target):
            raise
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
    finally:
        if temporary is not None:
            os.unlink(temporary)


def size_text(count: int) -> str:
    """Of a file, for people: "297.8 MB", "812 bytes"."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count:,} bytes"


def _is_beside(name: object, target: Path) -> bool:
    """Whether it is the temporary file that could not be made: mkstemp's error names it."""
    return os.path.basename(str(name)).startswith(f".{target.name}.")


def _mode(path: Path) -> int:
    """Of the file that is replaced, else as the umask wants it: mkstemp lets nobody else read."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
