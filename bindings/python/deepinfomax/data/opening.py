"""From a path, or none, to a data set."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np

from .dataset import Dataset, Joined
from .errors import DataError, MissingPackage
from .parts import Parts

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
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"), "folder"),
}


def open_dataset(source: str | Path | None = None, *, labelled: bool = False, split: str = "all") -> Dataset:
    """Opens images, and checks what can be checked without decoding them all.

    source: a folder with CIFAR-10's binary files or their .tar.gz; a folder of images, whose subfolders are the
      classes; one image; an .npy, .npz or HDF5 file. None: patches of scikit-learn's two sample photographs, or, with
      `labelled`, its handwritten digits. "photographs" and "digits" name these, where no file is called so.
    labelled: labels are asked for; it is an error if there are none.
    split: "all"; "train"; "validation" (or "test"): the data's own test set (test_batch.bin, a folder `test`, arrays
      x_test, y_test), else every tenth image. "train" is what is not "validation".

    Raises DataError, which names the file and the record; MissingPackage where the format needs a package that is not
    installed; ValueError for another split.
    """
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(SPLITS)}, found {split!r}")
    parts = _open(source, labelled)
    dataset = _split(parts, SPLITS[split])
    if labelled and dataset.labels is None:
        raise DataError(f"{source}: there are no labels; {parts.labels_would_be}")
    if len(dataset) == 0:
        raise DataError(f"{source}: no images" + ("" if split == "all" else f" for the split {split!r}"))
    return dataset


def is_sample(source: str | Path) -> bool:
    """Whether it names sample data and not a path."""
    return str(source) in SAMPLES and not Path(source).exists()


def _open(source: str | Path | None, labelled: bool) -> Parts:
    if source is None or is_sample(source):
        from . import samples

        digits = labelled if source is None else str(source) == "digits"
        return Parts(samples.digits() if digits else samples.photographs())
    path = Path(source)
    try:
        return _module(path).open_parts(path)  # type: ignore[no-any-return]
    except (DataError, MissingPackage):
        raise
    except OSError as error:
        raise DataError(f"{error.filename or path}: {error.strerror or error}") from error
    except MemoryError as error:
        raise DataError(f"{path}: there is not enough memory to read it: {error}") from error


def _module(path: Path) -> ModuleType:
    name = path.name.lower()
    if path.is_dir():
        from . import cifar

        kind = "cifar" if cifar.is_folder(path) else "folder"
    elif not path.exists():
        raise DataError(f"{path}: no such file or folder")
    elif not path.is_file():
        raise DataError(f"{path}: neither a file nor a folder")
    else:
        found = next((module for suffix, module in _BY_SUFFIX.items() if name.endswith(suffix)), None)
        if found is None:
            raise DataError(
                f"{path}: expected a folder or one of *{', *'.join(_BY_SUFFIX)}; the name's ending tells the format"
            )
        kind = found
    return importlib.import_module(f".{kind}", __package__)


def _split(parts: Parts, split: str) -> Dataset:
    train, test = parts.train, parts.test
    if split == "all":
        return train if test is None else Joined(train.name, (train, test))
    if test is not None:
        return train if split == "train" else test
    numbers = np.arange(len(train))
    held_out = numbers % HELD_OUT == HELD_OUT - 1
    return train.subset(numbers[held_out if split == "validation" else ~held_out])

