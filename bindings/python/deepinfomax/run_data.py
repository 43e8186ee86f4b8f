"""The data of a run: what it trains on, what it holds out, and whether data is what a run was started with."""

from __future__ import annotations

import json

import numpy as np

from ._arrays import digest
from ._text import counted, cut, shown
from .data import DataError, Dataset
from .data.errors import MORE_PIXELS, SKIP_DAMAGED
from .data.reading import Reading, has_test_set
from .run_folder import Settings

#: Images of each part of the data that a digest is of.
_COMPARED = 32


def open_data(source: str | None, validation_images: int, reading: Reading) -> tuple[Dataset, Dataset | None]:
    """Training images, and those for validation: that many, spread over the held-out ones.

    Where nothing is validated nothing is held out; images that the data itself calls its test set are never trained on.
    """
    train = reading.open(source, split="train")
    own_test = has_test_set(train)
    held_out = reading.open(source, split="validation") if validation_images and (own_test or len(train) >= 10) else None
    count = 0 if held_out is None else min(len(held_out), validation_images)
    if count < 2 and not own_test:
        train = reading.open(source)
    if len(train) < 2:
        raise DataError(f"{source}: one image; training needs two at least")
    if held_out is None or count < 2:
        return train, None
    return train, held_out.subset(np.linspace(0, len(held_out) - 1, count).astype(np.int64))


def data_of(settings: Settings, advice: str = "") -> tuple[Dataset, Dataset | None]:
    """What `open_data` opened when the run was started. Raises DataError where other data is there by now; `advice` for a
    caller who has as many other images."""
    try:
        train, validation = open_data(settings.data, settings.validation_images, settings.reading)
    except DataError as error:
        message = str(error)
        for other in SKIP_DAMAGED, MORE_PIXELS:  # Which a run that goes on refuses.
            message = message.replace(f"; {other}", "")
        if message == str(error):
            raise
        raise DataError(f"{message}; the run needs the images that it was started with: repair them") from error
    for images, before in ((train, settings.images), (validation, settings.validation_images)):
        found = 0 if images is None else len(images)
        if found != before:
            raise DataError(
                f"{_name(settings.data)}: not the data that the run was started with: {counted(found, 'image')} "
                f"{'to train on' if images is train else 'for validation'}, expected {before:,}, as its settings.json says"
            )
    found_digest = digest_of(train, validation) if settings.digest else ""
    if found_digest and found_digest != settings.digest:
        raise DataError(
            f"{_name(settings.data)}: not the data that the run was started with: as many images, but others, or in another "
            f"order{advice}"
        )
    if settings.classes and classes_digest(train) != settings.classes:
        names = ", ".join(map(shown, train.classes or ("none",)))
        raise DataError(
            f"{_name(settings.data)}: not the data that the run was started with: the classes are {cut(names, 200)}, the run began "
            f"with others{advice}"
        )
    return train, validation


def classes_digest(data: Dataset) -> str:
    """Of the classes' names; "" where there are none."""
    return "" if data.classes is None else digest(json.dumps(data.classes).encode())


def _name(data: str | None) -> str:
    return "the sample photographs" if data is None else data


def digest_of(*parts: Dataset | None) -> str:
    """Of labels and of a few images from everywhere: what other data of as many images does not have. "" where one of these
    cannot be read."""
    found = []
    for data in parts:
        if data is None:
            continue
        few = np.unique(np.linspace(0, len(data) - 1, _COMPARED).astype(np.int64))
        try:
            found.append(digest(data.read(few), b"" if data.labels is None else data.labels.tobytes()))
        except DataError:
            return ""
    return digest(" ".join(found).encode())
