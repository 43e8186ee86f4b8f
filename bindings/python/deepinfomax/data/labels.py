"""Labels as people save them -> the numbers of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._text import cut
from .errors import DataError
from .rows import Rows

#: As an architecture's description allows it.
MOST_CLASSES = 1 << 16


@dataclass(frozen=True)
class Labels:
    """Those of one part of the data."""

    rows: Rows
    #: How many images there are.
    count: int
    #: For messages.
    where: str


def numbered(parts: Sequence[Labels], names: tuple[str, ...] | None) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """The number of each image's class, part by part, and the classes' names.

    With names, labels are places among them. Without, the different labels are the classes, in ascending order, and
    their values the names: labels 1 to 10 are ten classes, {3, 60} two.
    """
    values = [_values(part) for part in parts]
    if names is not None:
        for part, found in zip(parts, values, strict=True):
            _check_places(found, names, part.where)
        return [found.astype(np.int64) for found in values], names
    kinds = {found.dtype.kind in "iu" for found in values}
    if len(kinds) > 1:
        raise DataError(f"{parts[0].where}: the labels are integers in one part and text in another")
    for part, found in zip(parts, values, strict=True):
        wrong = np.flatnonzero(found < 0 if found.dtype.kind == "i" else np.zeros(len(found), bool))
        if len(wrong):
            raise DataError(f"{part.where}: record {wrong[0]} has the label {found[wrong[0]]}, expected 0 or more")
    distinct = [np.unique(found) for found in values]
    classes = sorted({value for found in distinct for value in found.tolist()})
    if len(classes) > MOST_CLASSES:
        raise DataError(f"{parts[0].where}: {len(classes):,} different labels; expected {MOST_CLASSES:,} classes at most")
    places = {value: place for place, value in enumerate(classes)}
    numbers = []
    for found, different in zip(values, distinct, strict=True):
        new = np.array([places[value] for value in different.tolist()], np.int64)
        numbers.append(new[np.searchsorted(different, found)] if len(found) else np.empty(0, np.int64))
    return numbers, tuple(map(str, classes))


def name_of(content: bytes) -> str:
    r"""Of a class, or of several lines of them: UTF-8; bytes that are not become \xNN, as in names of files, and stay different."""
    return content.decode("utf-8", "backslashreplace")


def names_in(content: bytes) -> list[str]:
    """Of a file with a class's name a line."""
    return [line.strip() for line in name_of(content).splitlines() if line.strip()]


def distinct_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Names of classes, none of which is two classes': files, tables and `--predict` know a class by its name."""
    if len(set(names)) < len(names):
        known: dict[str, int] = {}
        for place, name in enumerate(names):
            if known.setdefault(name, place) != place:
                raise DataError(f"{where}: classes {known[name]} and {place} have the same name, {cut(name, 40)!r}")
    return tuple(names)


def check_length(part: Labels) -> None:
    """Before anything is read: a small file may promise any number of labels."""
    shape = part.rows.shape
    if shape not in ((part.count,), (part.count, 1)):
        found = f"{shape[0]:,} labels" if len(shape) == 1 else f"the shape {shape}"
        raise DataError(f"{part.where}: expected {part.count:,} labels, one an image, found {found}")


def _values(part: Labels) -> NDArray[Any]:
    check_length(part)
    if part.rows.dtype.kind not in "iuSU":
        raise DataError(f"{part.where}: expected integers or text, found {part.rows.dtype}")
    values = np.asarray(part.rows[:]).reshape(-1)
    try:
        return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values.astype(values.dtype.newbyteorder("="))
    except UnicodeDecodeError as error:
        raise DataError(f"{part.where}: a label is not UTF-8: {error}") from error


def _check_places(values: NDArray[Any], names: tuple[str, ...], where: str) -> None:
    if values.dtype.kind not in "iu":
        raise DataError(f"{where}: expected integers, places among the {len(names)} names of classes, found text")
    numbers = values.astype(np.float64)  # Of int64 and uint64 alike; close enough to be compared with small numbers.
    wrong = np.flatnonzero((numbers < 0) | (numbers >= len(names)))
    if len(wrong):
        from_one = numbers.min() == 1 and numbers.max() == len(names)
        advice = "; they are counted from 1: subtract 1" if from_one else ""
        raise DataError(f"{where}: record {wrong[0]} has the label {values[wrong[0]]}, expected 0 to {len(names) - 1}{advice}")
