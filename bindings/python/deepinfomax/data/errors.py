"""What can be wrong with data."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be used: missing, damaged, cut short, of another shape. Names the file and, where there is one,
    the record."""


class MissingPackage(ImportError):
    """An optional package that this needs is not installed; the message says how to get it.

    purpose: "reading image files needs"; advice: what else could be done.
    """

    def __init__(self, package: str, purpose: str, *, extra: str = "data", advice: str = "") -> None:
        super().__init__(
            f'{purpose} {package}, which is not installed: pip install "deepinfomax[{extra}]"'
            + (f"; {advice}" if advice else "")
        )
