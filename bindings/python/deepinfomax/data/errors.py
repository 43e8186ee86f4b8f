"""What can be wrong with data."""

from __future__ import annotations

from functools import partial
from typing import Any

from .._text import shown

#: What to do about damaged and about very large images, at the end of messages. A run that goes on has other advice.
SKIP_DAMAGED = "skip_damaged=True (--skip-damaged) leaves such images out"
MORE_PIXELS = "max_pixels= of open_dataset (--max-pixels) allows more"


class DataError(ValueError):
    """Data that cannot be used: missing, damaged, cut short, of another shape. Names the file and, where there is one,
    the record.

    Names come from untrusted files: what a terminal would act on is escaped.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))


class Shortage(DataError):
    """Memory or open files that the machine lacks: what could not be read is not damaged, and is not left out as such."""


class MissingPackage(ImportError):
    """An optional package that this needs is not installed; the message says how to get it.

    purpose: "reading image files needs"; advice: what else could be done.
    """

    def __init__(self, package: str, purpose: str, *, extra: str = "data", advice: str = "") -> None:
        super().__init__(
            f'{purpose} {package}, which is not installed: pip install "deepinfomax[{extra}]"'
            + (f"; {advice}" if advice else "")
        )
        self._made = partial(MissingPackage, package, purpose, extra=extra, advice=advice)

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception's own way calls the class with the message alone: a pool's other side then waits for ever.
        return self._made, (), vars(self)


def printable(text: str) -> str:
    """Control characters, line ends, marks that change the direction of writing and bytes that are no text as escapes."""
    return shown(text)


def listed(items: list[str], most: int = 10) -> str:
    """The first ones, and how many more there are."""
    more = len(items) - most
    return "; ".join(items[:most]) + (f"; and {more:,} more" if more > 0 else "")
