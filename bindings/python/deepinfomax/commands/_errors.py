"""The message of an error for the user."""

from __future__ import annotations

import os

from ..errors import DimError
from . import UsageError


def explained(error: Exception) -> str | None:
    """The message of an error of a known kind; None for a kind that only a defect raises."""
    message = _message(error)
    if message is None:
        return None
    for name, option in _OPTIONS.items():
        message = message.replace(name, option)
    return message


#: Names that C and Python have, and those of commands.
_OPTIONS = {"`architecture`": "--architecture", '; Trainer.resume reads "': '; --resume reads "'}


def _message(error: Exception) -> str | None:
    if isinstance(error, DimError):
        return None if error.status_name == "DIM_INTERNAL" else error.message
    if isinstance(error, (UsageError, UnicodeError)):
        return str(error)
    if isinstance(error, MemoryError):
        return f"there is not enough memory: {error}" if str(error) else "there is not enough memory"
    if isinstance(error, FileNotFoundError) and error.filename is None and not _has_folder():
        return "the current folder was removed: change to one that is there, or to this one again if it is there by now"
    if isinstance(error, OSError):
        return f"{_name(error.filename)}: {error.strerror or error}" if error.filename or error.strerror else str(error)
    # The package's own checks of files and arguments are ValueErrors; a package that is missing is an ImportError.
    if isinstance(error, (ValueError, ImportError)):
        return str(error)
    return None


def _has_folder() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _name(filename: object) -> str:
    return "output" if filename is None else os.fsdecode(filename) if isinstance(filename, bytes) else str(filename)
