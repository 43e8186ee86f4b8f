"""From a path, or none, to a data set."""

from __future__ import annotations

import dataclasses
import errno
import importlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np

from .. import _arrays
from .._files import path_text
from . import cifar, idx, known, stl10
from .conversion import Conversion
from .dataset import Converted, Dataset, Joined, without_damaged
from .errors import DataError
from .options import MAX_BYTES, Options, image_size
from .parts import Parts
from .pictures import SUFFIXES

log = logging.getLogger(__name__)

#: Every n-th image is held out where the data has no test set of its own.
HELD_OUT = 10
#: Sources that are names, where there is no file or folder of that name.
SAMPLES = ("photographs", "digits")
SPLITS = {"all": "all", "train": "train", "validation": "validation", "test": "validation"}

_BY_SUFFIX = {
    ".npy": "arrays",
    ".npz": "arrays",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".hdf": "hdf5",
    ".bin": "cifar",
    ".tar.gz": "cifar",
    ".tgz": "cifar",
    ".tar": "cifar",
    "-ubyte": "idx",
    "-ubyte.gz": "idx",
    **dict.fromkeys(SUFFIXES, "folder"),
}


def open_dataset(
    source: str | bytes | os.PathLike[Any] | None = None,
    *,
    labelled: bool = False,
    split: str = "all",
    image: Sequence[SupportsIndex] | None = None,
    resize: str = "fit",
    part: str | None = None,
    labels: str = "fine",
    layout: str = "auto",
    max_pixels: int | None = None,
    max_bytes: int = MAX_BYTES,
    skip_damaged: bool = False,
) -> Dataset:
    """Opens images, and checks what can be checked without decoding them all.

    source: a folder of images, whose subfolders are the classes; one image; an .npy, .npz or HDF5 file; MNIST's idx files,
      CIFAR-10 and CIFAR-100 (binary or Python version, also as .tar.gz), STL-10: their folder, torchvision's root, or one
      file. None: patches of scikit-learn's two sample photographs, or, with `labelled`, its handwritten digits.
      "photographs" and "digits" name these, where no file is called so.
    labelled: labels are asked for; it is an error if there are none.
    split: "all"; "train"; "validation" (or "test"): the data's own test set (test_batch.bin, a folder `test`, arrays
      x_test, y_test), else every tenth image. "train" is what is not "validation". Of idx files and STL-10, the training
      images alone are split; "test" is the part `test`.
    image: (channels, height, width) to make of every image; None: the size that all have, or an error that says which
      sizes there are.
    resize: how: "fit" inside, padded with black; "crop" the middle; "stretch"; "none": another size is an error. See
      docs/data.md.
    part: of data that comes in parts, one alone: "train", "test" (or "t10k"), "unlabeled" (STL-10).
    labels: CIFAR-100's "fine" or "coarse" ones.
    layout: of arrays whose shape leaves it open, "nchw" or "nhwc". Where the data leaves nothing open, `labels`, `layout`
      and `resize` change nothing.
    max_pixels: images of more are refused before they are decoded; None: 67,108,864, or Pillow's own limit if that was
      set lower. max_bytes: what compressed files may unpack to in memory.
    skip_damaged: reads every image once, and leaves out those that cannot be read; `skipped` of the data set names them.

    Raises DataError, which names the file and the record; MissingPackage where the format needs a package that is not
    installed; ValueError for unknown options.
    """
    if source is not None:
        source = path_text(source, "source")
        if not source:
            raise DataError("the path is empty; expected a file or a folder")
        if os.path.isdir(source) and not os.access(source, os.R_OK | os.X_OK):  # Else a file is blamed that need not be there.
            raise DataError(f"{source}: {os.strerror(errno.EACCES)}")
    labelled = _arrays.flag(labelled, "labelled")
    _arrays.one_of(split, list(SPLITS), "split", ", ".join(SPLITS))
    if not isinstance(part, (str, type(None))):
        raise TypeError(f"part: expected a name or None, found {_arrays.briefly(part)}")
    options = Options(image_size(image), resize, part, labels, layout, max_pixels, max_bytes, skip_damaged)
    try:
        parts, whole = _open(source, labelled, split, options)
    except OSError as error:
        raise DataError(f"{error.filename or source}: {error.strerror or error}") from error
    except MemoryError as error:
        raise DataError(f"{source}: there is not enough memory to read it{error and f': {error}'}") from error
    dataset = _split(parts, "all" if whole else SPLITS[split])
    if labelled and dataset.labels is None:
        raise DataError(f"{source}: there are no labels; {parts.labels_advice}")
    if len(dataset) == 0:
        raise DataError(f"{source}: no images" + ("" if split == "all" else f" for the split {split!r}"))
    if skip_damaged:
        dataset = without_damaged(dataset)
        if len(dataset) == 0:
            raise DataError(f"{source}: every image is damaged; the first: {dataset.skipped[0][1]}")
    log.info("opened %r", dataset)
    for note in dataset.notes:
        log.warning("%s: %s", dataset.name, note)
    return dataset


def is_sample(source: str | Path) -> bool:
    """Whether it names sample data and not a path."""
    return str(source) in SAMPLES and not Path(source).exists()


def _open(source: str | None, labelled: bool, split: str, options: Options) -> tuple[Parts, bool]:
    """The parts, converted, and whether they are what the split asks for already."""
    whole = False
    if source is None or is_sample(source):
        from . import samples

        digits = labelled if source is None else str(source) == "digits"
        sample = (samples.digits if digits else samples.photographs)(options)
        parts = _part(Parts(sample), options.part, sample.name)
    else:
        path = Path(source)
        path, module = _format(Path(os.path.abspath(path)) if path.name in ("", "..") else path)  # "." has no name.
        if module in ("idx", "stl10") and split == "test" and options.part is None and path.is_dir():
            options, whole = dataclasses.replace(options, part="test"), True
        parts = importlib.import_module(f".{module}", __package__).open_parts(path, options)
        if module not in ("idx", "stl10"):
            parts = _part(parts, options.part, str(path))
    if options.image is None:
        return parts, whole
    conversion = Conversion(options.image, options.resize)
    converted = [
        part if part is None or part.image_size == conversion.size else Converted(part, conversion)
        for part in (parts.train, parts.test)
    ]
    assert converted[0] is not None
    return Parts(converted[0], converted[1], parts.labels_advice), whole


def _format(path: Path) -> tuple[Path, str]:
    """What to open, and the module that does."""
    name = path.name.lower()
    if path.is_dir():
        return known.find(path) or (path, "folder")
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if not path.is_file():
        raise DataError(f"{path}: neither a file nor a folder")
    if stl10.is_file(path):
        return path, "stl10"
    for suffix, module in _BY_SUFFIX.items():
        if name.endswith(suffix):
            return path, module
    if idx.is_file(path):
        return path, "idx"
    if cifar.is_file(path):
        return path, "cifar"
    raise DataError(f"{path}: expected a folder or one of *{', *'.join(_BY_SUFFIX)}; the name's ending tells the format")


def _part(parts: Parts, part: str | None, where: str) -> Parts:
    """The one that is asked for, of formats that open both."""
    part = "test" if part == "t10k" else part
    there = {"train": parts.train} if parts.test is None else {"train": parts.train, "test": parts.test}
    if part is None:
        return parts
    if part not in there:
        raise DataError(f"{where}: no images of the part {part!r}; found {', '.join(there)}")
    return Parts(there[part], labels_advice=parts.labels_advice)


def _classes(data: Dataset, most: int = 5) -> str:
    """The first classes that its images have."""
    assert data.labels is not None and data.classes is not None
    found = np.unique(data.labels)
    names = ", ".join(data.classes[label] for label in found[:most].tolist())
    return names + (f" and {len(found) - most:,} more" if len(found) > most else "")


def _split(parts: Parts, split: str) -> Dataset:
    train, test = parts.train, parts.test
    if split == "all":
        return train if test is None else Joined(train.name, (train, test))
    if test is not None:
        if train.labels is not None and test.labels is not None and not np.isin(test.labels, train.labels).any():
            unknown, known = (_classes(part) for part in (test, train))
            note = f"{train.name}: no class of the test part is one of train: {unknown}; train has {known}"
            train.notes, test.notes = (*train.notes, note), (*test.notes, note)
        return train if split == "train" else test
    numbers = np.arange(len(train))
    held_out = numbers % HELD_OUT == HELD_OUT - 1
    return train.subset(numbers[held_out if split == "validation" else ~held_out])
