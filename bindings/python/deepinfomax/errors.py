"""What can go wrong, as exceptions. Each is also the built-in exception that Python code would expect in its place."""

from __future__ import annotations

import errno
import os
import re
from typing import Any


class DimError(Exception):
    """A call of libdim failed: the outputs are untouched, the model is as it was before."""

    #: The C status, one of dim_status in dim.h, and its name ("DIM_IO").
    status: int
    status_name: str

    def __init__(self, message: str, status: int, status_name: str) -> None:
        super().__init__(message, status, status_name)
        self.message = message
        self.status = status
        self.status_name = status_name

    def __str__(self) -> str:
        return self.message


class InvalidArgument(DimError, ValueError):
    """A value outside its range: no images, one vector for batch norm in training mode..."""


class InvalidHandle(DimError, ValueError):
    """The model or trainer has been closed."""


class TooLarge(DimError, ValueError):
    """More images than one call takes."""


class UnknownName(DimError, KeyError):
    """No parameter of that name."""


class SizeMismatch(DimError, ValueError):
    """A byte count that is not the parameter's."""


class MissingNetwork(DimError, LookupError):
    """The model holds no weights for the network that was asked for."""


class FileAccessError(DimError, OSError):
    """The operating system refused: no such file, no permission, disk full.

    As of any OSError: `errno`, `strerror` and `filename`; each is None where the message gives none. What is a
    FileNotFoundError, a PermissionError, an IsADirectoryError... can be caught as that.
    """

    def __new__(cls, message: str = "", status: int = 0, status_name: str = "") -> FileAccessError:
        kind = _KINDS.get(_errno(message)) if cls is FileAccessError else cls
        return OSError.__new__(kind or cls)

    def __init__(self, message: str, status: int, status_name: str) -> None:
        DimError.__init__(self, message, status, status_name)
        self.args = (message, status, status_name)
        self.errno = _errno(message)
        self.strerror = None if self.errno is None else os.strerror(self.errno)
        named = None if self.errno is None else _FILENAME.match(message.rpartition(": ")[0])
        #: As the message shows it, with escapes; `c_path` sets the path itself.
        self.filename = None if named is None else named[1]

    def __reduce__(self) -> Any:
        own = {name: getattr(self, name) for name in ("errno", "strerror", "filename", "filename2")}
        return FileAccessError, self.args, vars(self) | own  # Notes, too.


def _errno(message: str) -> int | None:
    """libdim's messages end with what strerror says, or what it says itself of folders."""
    found = _ERRNOS.get(message.rpartition(": ")[2])
    return errno.ENAMETOOLONG if found is None and message.startswith(_TOO_LONG) else found


_FILENAME = re.compile(
    r"cannot (?:open|examine|read|write|save to|keep the permissions of|put the new file in the place of|"
    r"take over what was read of) (.+?)(?:: folder .*|: a new file in its folder| to the disk| in a separate process(?:, for which .*)?)?$",
    re.S,
)
#: Of a path that is not looked at, which the message leaves out.
_TOO_LONG = f"path: {os.strerror(errno.ENAMETOOLONG)}: "
#: The first of equal texts is the number that Linux gives: EAGAIN before EWOULDBLOCK.
_ERRNOS: dict[str, int] = {}
for _number in sorted(errno.errorcode):
    _ERRNOS.setdefault(os.strerror(_number), _number)
for _text in "it is a directory, not a regular file", "it names a folder, not a file":
    _ERRNOS[_text] = errno.EISDIR
#: errno -> the exception that is also Python's own for it.
_KINDS: dict[int | None, type[FileAccessError]] = {
    _number: type(_kind.__name__, (FileAccessError, _kind), {"__module__": __name__})
    for _number, _kind in (
        (errno.ENOENT, FileNotFoundError),
        (errno.EACCES, PermissionError),
        (errno.EPERM, PermissionError),
        (errno.EISDIR, IsADirectoryError),
        (errno.ENOTDIR, NotADirectoryError),
        (errno.EEXIST, FileExistsError),
        (errno.EINTR, InterruptedError),
    )
}


class FileFormatError(DimError, ValueError):
    """Neither HDF5 nor safetensors, damaged, or it uses a feature that is refused."""


class FileContentError(DimError, ValueError):
    """A sound file whose names, shapes, types or values do not fit; the message lists all that is wrong."""


class OutOfMemory(DimError, MemoryError):
    """No memory for the batch or the weights."""

    def __new__(cls, *arguments: object) -> OutOfMemory:
        # MemoryError's own, which pickling by tblib would find, refuses a class whose first base is another.
        return Exception.__new__(cls, *arguments)


class NotFinite(DimError, ArithmeticError):
    """A loss or gradient became NaN or infinite: the step was not applied."""


class Cancelled(DimError):
    """The gradient callback asked to stop: the step was not applied."""


class InternalError(DimError, RuntimeError):
    """A defect of libdim; please report it."""


#: dim_status of dim.h -> its exception.
BY_STATUS: dict[int, type[DimError]] = {
    10: InvalidArgument,
    11: InvalidHandle,
    12: TooLarge,
    13: UnknownName,
    14: SizeMismatch,
    20: MissingNetwork,
    30: FileAccessError,
    31: FileFormatError,
    32: FileContentError,
    40: OutOfMemory,
    50: NotFinite,
    51: Cancelled,
    90: InternalError,
}
INVALID_HANDLE = 11
SIZE_MISMATCH = 14


class LibraryNotFound(ImportError):
    """No libdim was found, or one of another version; the message lists the places that were searched."""
