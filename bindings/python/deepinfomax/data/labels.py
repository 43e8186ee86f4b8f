"""Labels as people save them -> the numbers of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._text import class_name, cut
from .errors import DataError
from .rows import Rows

#: As an architecture's description allows it.
MOST_CLASSES = 1 << 16
#: Characters of a label, and of a class's name.
LONGEST = 4096


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
    for part in parts:
        _check_kind(part)
    if names is not None:
        return [_places_among(names, part) for part in parts], names
    if len({_is_text(part) for part in parts}) > 1:
        raise DataError(f"{parts[0].where}: the labels are integers in one part and text in another")
    found = [_text_numbers(part) if _is_text(part) else _integer_numbers(part) for part in parts]
    classes = sorted({value for different, _ in found for value in different})
    if len(classes) > MOST_CLASSES:
        raise DataError(f"{parts[0].where}: {len(classes):,} different labels; expected {MOST_CLASSES:,} classes at most")
    places = {value: place for place, value in enumerate(classes)}
    numbers = [np.array([places[value] for value in different], np.int64)[own] for different, own in found]
    return numbers, distinct_names([*map(str, classes)], parts[0].where)


def name_of(content: bytes) -> str:
    r"""Of a class, or of several lines of them: UTF-8; bytes that are not become \xNN, as in names of files, and stay different."""
    return content.decode("utf-8", "backslashreplace")


def names_in(content: bytes) -> list[str]:
    """Of a file with a class's name a line."""
    return [line.strip() for line in name_of(content).splitlines() if line.strip()]


def distinct_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Names of classes, none of which is two classes': files, tables and `--predict` know a class by its name, as it is written."""
    known: dict[str, int] = {}
    for place, name in enumerate(names):
        written = class_name(name)
        other = known.setdefault(written, place)
        if other != place:
            how = (
                f"the same name, {cut(name, 40)!r}"
                if names[other] == name
                else f"names that are both written {cut(written, 40)}"
            )
            raise DataError(f"{where}: classes {other} and {place} have {how}")
    return tuple(names)


def check_longest(longest: int, where: str) -> None:
    """Of labels or of classes' names: characters of the longest."""
    if longest > LONGEST:
        raise DataError(f"{where}: expected texts of up to {LONGEST:,} characters, found up to {longest:,}")


def check_text(kind: np.dtype[Any], where: str) -> None:
    """Before anything is read: texts of a fixed length take it, however short they are."""
    if kind.kind in "SU":
        check_longest(kind.itemsize // np.dtype(f"{kind.kind}1").itemsize, where)


def check_length(part: Labels) -> None:
    """Before anything is read: a small file may promise any number of labels."""
    shape = part.rows.shape
    if shape not in ((part.count,), (part.count, 1)):
        found = f"{shape[0]:,} labels" if len(shape) == 1 else f"the shape {shape}"
        raise DataError(f"{part.where}: expected {part.count:,} labels, one an image, found {found}")


def _check_kind(part: Labels) -> None:
    check_length(part)
    if part.rows.dtype.kind not in "iuSU":
        raise DataError(f"{part.where}: expected integers or text, found {part.rows.dtype}")


def _is_text(part: Labels) -> bool:
    return part.rows.dtype.kind in "SU"


def _integers(part: Labels) -> NDArray[Any]:
    values = np.asarray(part.rows[:]).reshape(-1)
    return values.astype(values.dtype.newbyteorder("="))


def _integer_numbers(part: Labels) -> tuple[list[int], NDArray[np.int64]]:
    """The different labels, and the place among them of each image's."""
    values = _integers(part)
    wrong = np.flatnonzero(values < 0 if values.dtype.kind == "i" else np.zeros(len(values), bool))
    if len(wrong):
        raise DataError(f"{part.where}: record {wrong[0]} has the label {values[wrong[0]]}, expected 0 or more")
    different = np.unique(values)
    return different.tolist(), np.searchsorted(different, values)


def _text_numbers(part: Labels) -> tuple[list[str], NDArray[np.int64]]:
    """As `_integer_numbers`. Without copies of the array, which has every text in the length of the longest."""
    values = np.asarray(part.rows[:]).reshape(-1)
    places: dict[str, int] = {}
    numbers = np.empty(len(values), np.int64)
    for number, value in enumerate(values.flat):
        try:
            text = value.decode() if isinstance(value, bytes) else str(value)
        except UnicodeDecodeError as error:
            raise DataError(f"{part.where}: a label is not UTF-8, {cut(repr(bytes(value)), 60)} of record {number}") from error
        numbers[number] = places.setdefault(text, len(places))
    return list(places), numbers


def _places_among(names: tuple[str, ...], part: Labels) -> NDArray[np.int64]:
    if _is_text(part):
        raise DataError(f"{part.where}: expected integers, places among the {len(names)} names of classes, found text")
    values = _integers(part)
    numbers = values.astype(np.float64)  # Of int64 and uint64 alike; close enough to be compared with small numbers.
    wrong = np.flatnonzero((numbers < 0) | (numbers >= len(names)))
    if len(wrong):
        from_one = numbers.min() == 1 and numbers.max() == len(names)
        advice = "; they are counted from 1: subtract 1" if from_one else ""
        raise DataError(
            f"{part.where}: record {wrong[0]} has the label {values[wrong[0]]}, expected 0 to {len(names) - 1}{advice}"
        )
    return values.astype(np.int64)
