"""What can go wrong, as exceptions. Each is also the built-in exception that Python code would expect in its place."""

from __future__ import annotations


class DimError(Exception):
    """A call of libdim that did not end well: the outputs are untouched, the model is as it was before."""

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
    """The operating system refused: no such file, no permission, disk full."""


class FileFormatError(DimError, ValueError):
    """Not an HDF5 file, damaged, or it uses a feature that is refused."""


class FileContentError(DimError, ValueError):
    """A sound HDF5 file whose names, shapes, types or values do not fit; the message lists all that is wrong."""


class OutOfMemory(DimError, MemoryError):
    """No memory for the batch or the weights."""


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
    """No libdim was found, or one of another version; the message says where was looked."""
