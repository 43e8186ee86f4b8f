"""HDF5 files, by h5py: rows are read when they are asked for, a chunk at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import images
from .errors import DataError, MissingPackage
from .parts import Parts

#: Decoded chunks that h5py keeps for each array: a shuffled epoch comes back to them.
_CHUNK_CACHE = 64 << 20


def open_parts(path: Path) -> Parts:
    try:
        import h5py
    except ImportError as error:
        raise MissingPackage("h5py", "reading HDF5 files needs") from error
    try:
        file = h5py.File(path, "r", rdcc_nbytes=_CHUNK_CACHE)
        names = [name for name in file if file.get(name, getclass=True, getlink=True) is h5py.HardLink]
        arrays = [name for name in names if isinstance(file[name], h5py.Dataset)]
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise DataError(f"{path}: not an HDF5 file, or damaged: {error}") from error
    wanted = images.choose(arrays, str(path))
    found = {}
    for key in wanted.keys:
        array = file[key]
        if array.is_virtual or array.external:
            raise DataError(f"{path}: {key}: its values are in other files, which are not read")
        if array.size and array.id.get_storage_size() == 0:
            raise DataError(f"{path}: {key}: nothing was ever written to it")
        found[key] = Array(array, f"{path}: {key}")
    return images.parts(path.name, str(path), found, wanted)


class Array:
    """An h5py.Dataset as `images.Rows`, whose errors name the file and the records."""

    def __init__(self, array: Any, where: str) -> None:
        self._array, self._where = array, where
        self.shape: tuple[int, ...] = array.shape or ()
        self.dtype: np.dtype[Any] = array.dtype

    def __getitem__(self, index: Any) -> Any:
        try:
            return self._array[index]
        except (OSError, RuntimeError, ValueError, MemoryError) as error:
            start, stop, _ = index.indices(self.shape[0] if self.shape else 0)
            if stop - start > 1:  # Which of them?
                for record in range(start, stop):
                    self[record : record + 1]
            records = f"record {start}" if stop - start == 1 else f"records {start} to {stop - 1}"
            raise DataError(f"{self._where}: {records} cannot be read: {error}") from error
