"""Files of encoded images. They are written piece by piece; a file appears whole under its name or not at all.

    .npy   one output, float32: encoded (n, numbers), unless another is asked for
    .npz   encoded, and other outputs on demand (features, conv, fc); ids (n); labels (n) int64 and classes where the data has
           labels; fingerprint (1), of the images
    .csv   a header, then a line an image: id, label and class where there are labels, y0, y1 and so on
    .h5    as .npz, and the attributes `data` and `weights`

Names are written as `_text.valid` has them, in CSV as `_text.cell` has them.
"""

from __future__ import annotations

import csv
import errno
import io
import math
import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import islice, zip_longest
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ._arrays import briefly
from ._files import path_text, size_text, whole
from ._text import cell, counted, csv_line, shown, valid
from .data import Dataset, MissingPackage
from .data.dataset import fingerprint
from .data.options import MAX_BYTES

FORMATS = (".npy", ".npz", ".csv", ".h5", ".hdf5")
#: What `dim encode` writes besides the vectors.
_OUTPUTS = ("features", "conv", "fc")
#: Numbers of a vector: what an architecture can have.
_MOST = 65_536
#: A vector's number in the header of CSV.
_NUMBERED = re.compile(r"y\d+")
#: Bytes of names that are read at once.
_PIECE = 1 << 20
Floats = NDArray[np.float32]
#: Names of outputs and the shapes of one image's, in the order in which they are written.
Shapes = Mapping[str, tuple[int, ...]]


class Writer(Protocol):
    def write(self, *outputs: Floats) -> None:
        """The next images' outputs, each (n, ...), in the order in which they were asked for."""


@contextmanager
def writer(path: Path, file_format: str, data: Dataset, weights: str, shapes: Shapes) -> Iterator[Writer]:
    """A file for all images of `data`, one of FORMATS. It takes its name when the block ends well. Files of .npy and .csv
    hold one output, those of .csv a vector.

    Raises OSError that names `path` where it cannot be written.
    """
    makers = {".npy": _npy, ".npz": _npz, ".csv": _csv, ".h5": _hdf5, ".hdf5": _hdf5}
    with whole(path) as temporary:
        _check_space(path, len(data), shapes)
        with makers[file_format](temporary, data, weights, shapes) as file:
            yield file


def _check_space(path: Path, count: int, shapes: Shapes) -> None:
    floats = sum(math.prod(shape) for shape in shapes.values())
    needed, free = count * floats * 4, shutil.disk_usage(path.parent).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{size_text(needed)} are needed, {size_text(free)} are free", str(path))


# ---- npy, npz


class _Array:
    """An .npy file of known length, written from its beginning to its end."""

    def __init__(self, file: IO[bytes], shape: tuple[int, ...]) -> None:
        self._file = file
        npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})

    def write(self, *outputs: Floats) -> None:
        (values,) = outputs
        self._file.write(np.ascontiguousarray(values, "<f4").tobytes())


@contextmanager
def _npy(path: str, data: Dataset, _weights: str, shapes: Shapes) -> Iterator[Writer]:
    (shape,) = shapes.values()
    with open(path, "wb") as file:
        yield _Array(file, (len(data), *shape))


class _Arrays:
    """Each output into an array of its own."""

    def __init__(self, arrays: list[_Array]) -> None:
        self._arrays = arrays

    def write(self, *outputs: Floats) -> None:
        for array, values in zip(self._arrays, outputs, strict=True):
            array.write(values)


class _Stream:
    """A pipe or a device as one that cannot tell its place: what /dev/null tells is always 0."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write, self.flush = file.write, file.flush


@contextmanager
def _npz(path: str, data: Dataset, _weights: str, shapes: Shapes) -> Iterator[Writer]:
    # Opened here, once: ZipFile tries it to read and write first, and the reader of a pipe would see that one end.
    with open(path, "wb") as whole_file, ExitStack() as opened:
        target: Any = whole_file if stat.S_ISREG(os.fstat(whole_file.fileno()).st_mode) else _Stream(whole_file)
        archive = opened.enter_context(zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True))
        for name, values in _beside(data).items():
            with archive.open(name + ".npy", "w") as member:
                npy.write_array(member, values, allow_pickle=False)
        # An archive takes one member at a time: all but the largest output wait in files of their own.
        largest = max(shapes, key=lambda name: math.prod(shapes[name]))
        with ExitStack() as stack:
            waiting = {
                name: stack.enter_context(tempfile.TemporaryFile(dir=os.path.dirname(path) or "."))
                for name in shapes
                if name != largest
            }
            with archive.open(f"{largest}.npy", "w", force_zip64=True) as member:
                files = {**waiting, largest: member}
                yield _Arrays([_Array(files[name], (len(data), *shape)) for name, shape in shapes.items()])
            for name, file in waiting.items():
                file.seek(0)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    shutil.copyfileobj(file, member)


def _beside(data: Dataset) -> dict[str, NDArray[Any]]:
    """Data beside the vectors: the source of each, its label, the labels' names."""
    arrays: dict[str, NDArray[Any]] = {"ids": np.array([valid(name) for name in data.ids], np.str_)}
    if data.labels is not None and data.classes is not None:
        arrays["labels"] = data.labels
        arrays["classes"] = np.array([valid(name) for name in data.classes], np.str_)
    if found := fingerprint(data):
        arrays["fingerprint"] = np.array([found])
    return arrays


# ---- CSV


class _Lines:
    def __init__(self, file: IO[str], data: Dataset, count: int) -> None:
        self._data, self._file, self._next = data, file, 0
        label = [] if data.labels is None else ["label", "class"]
        self._file.write(csv_line(["id", *label, *(f"y{i}" for i in range(count))]))

    def write(self, *outputs: Floats) -> None:
        (vectors,) = outputs
        for vector in vectors:
            number = self._next
            labels = self._data.labels
            label = [] if labels is None else [int(labels[number]), self._data.class_name(number)]
            # Nine digits tell every float32 from its neighbours.
            # Not by `csv_line`: a number's minus sign begins no formula.
            vector_cells = ",".join(f"{value:.9g}" for value in vector.tolist())
            self._file.write(f"{csv_line([self._data.ids[number], *label])[:-1]},{vector_cells}\n")
            self._next += 1


@contextmanager
def _csv(path: str, data: Dataset, _weights: str, shapes: Shapes) -> Iterator[Writer]:
    ((count,),) = shapes.values()
    with open(path, "w", newline="", encoding="utf-8") as file:
        yield _Lines(file, data, count)


# ---- HDF5


class _Datasets:
    def __init__(self, datasets: list[Any], sink: _Sink) -> None:
        self._datasets, self._sink, self._next = datasets, sink, 0

    def write(self, *outputs: Floats) -> None:
        place = slice(self._next, self._next + len(outputs[0]))
        for dataset, values in zip(self._datasets, outputs, strict=True):
            dataset[place] = values
        self._next = place.stop
        self._sink.check()


class _Sink(io.FileIO):
    """A file that keeps its errors from HDF5, which crashes when told of a full disk, and raises them later."""

    error: OSError | None = None

    def write(self, content: Any) -> int:
        size = memoryview(content).nbytes
        done = 0
        while done < size and self.error is None:
            try:
                done += super().write(memoryview(content).cast("B")[done:])
            except OSError as error:
                self.error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def check(self) -> None:
        if self.error is not None:
            raise self.error


@contextmanager
def _hdf5(path: str, data: Dataset, weights: str, shapes: Shapes) -> Iterator[Writer]:
    try:
        import h5py
    except ImportError as error:
        raise MissingPackage("h5py", "writing HDF5 files needs") from error
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.ESPIPE, "is a pipe or a device; HDF5 needs a regular file, .npy, .npz and .csv do not")
    beside = _beside(data)
    for name, values in beside.items():
        if values.dtype.kind == "U" and (bad := [text for text in values.ravel().tolist() if "\0" in text]):
            raise ValueError(f"{shown(data.name)}: {name}: {bad[0]!r} has a NUL, which HDF5's text cannot hold; write .npz")
    with _Sink(path, "w+") as sink:
        with h5py.File(sink, "w") as file:
            file.attrs["data"], file.attrs["weights"] = valid(data.name), valid(weights)
            for name, values in beside.items():
                text = values.dtype.kind == "U"
                file.create_dataset(
                    name, data=values.astype(object) if text else values, dtype=h5py.string_dtype() if text else None
                )
            datasets = [file.create_dataset(name, (len(data), *shape), np.float32) for name, shape in shapes.items()]
            yield _Datasets(datasets, sink)
        sink.check()


# ---- Reading


class NotVectors(ValueError):
    """A file of arrays, but not of so many vectors; the message says what it holds. What a terminal would act on is escaped."""

    def __init__(self, message: object = "") -> None:
        super().__init__(shown(str(message)))


def read_encoded(
    path: str | bytes | os.PathLike[Any], count: int | None = None, numbers: int | None = None, data: Dataset | None = None
) -> Floats:
    """The vectors (n, numbers) of such a file, all of them finite; `count`: how many there have to be; numbers: of each;
    data: what they have to be of, as far as the file says it: .npy holds vectors alone.

    Shape and type are checked before the values are read: a small file may promise many. Where nobody says how many there
    have to be, at most 2 GiB more than the file has. Raises ValueError for one that
    is not such a file, or is of other images, OSError that names the file, and MissingPackage for HDF5 without h5py.
    """
    name = path_text(path)
    readers = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv, ".h5": _read_hdf5, ".hdf5": _read_hdf5}
    reader = next((readers[ending] for ending in FORMATS if name.lower().endswith(ending)), None)
    if reader is None:
        raise ValueError(f"{shown(name)}: expected a file by `dim encode`, whose name ends in {', '.join(FORMATS)}")
    if not stat.S_ISREG(os.stat(name).st_mode):  # A pipe would be waited for.
        raise ValueError(f"{shown(name)}: not a file")
    count = count if data is None else len(data)
    try:
        found = reader(name, lambda shape, dtype: _check(name, shape, dtype, count, numbers), _Images(name, data))
    except (NotVectors, MissingPackage, MemoryError):
        raise
    except Exception as error:  # Of a damaged file there are as many kinds as its readers have lines.
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ValueError(f"{shown(name)}: not a file by `dim encode`, or damaged") from error
    with np.errstate(over="ignore", invalid="ignore"):
        vectors = np.ascontiguousarray(found, np.float32)
    if not np.isfinite(vectors).all():
        raise NotVectors(f"{name}: holds values that are NaN, infinite or beyond float32's range")
    return vectors


Check = Callable[[tuple[int, ...], np.dtype[Any]], None]


def _check(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], count: int | None, numbers: int | None) -> None:
    fits = len(shape) == 2 and (1 <= shape[1] <= _MOST if numbers is None else shape[1] == numbers)
    if not fits or dtype.kind != "f":
        width = "numbers" if numbers is None else numbers
        raise NotVectors(f"{name}: expected floats of shape (n,{width}), found {dtype} {shape}")
    held = math.prod(shape) * dtype.itemsize
    if count is None and held > os.path.getsize(name) + MAX_BYTES:
        raise NotVectors(
            f"{name}: unpacks to {size_text(held)} in memory, {size_text(MAX_BYTES)} more than the file has are allowed; "
            "save it uncompressed"
        )
    if count is not None and shape[0] != count:
        raise NotVectors(f"{name}: holds {counted(shape[0], 'vector')}; the data has {counted(count, 'image')}")


class _Images:
    """Compares the images that a file's vectors are of with those of the data: as many others would be shown in their place."""

    def __init__(self, name: str, data: Dataset | None) -> None:
        self._name, self._data = name, data
        self.wanted = data is not None

    def compare(
        self,
        ids: Iterable[str] | None,
        classes: Iterable[str] | None,
        write: Callable[[str], str] = valid,
        made_of: Iterable[str] | None = None,
    ) -> None:
        """ids, the name of each image's class, the fingerprint of all; None where the file has none."""
        data = self._data
        if data is None:
            return
        if ids is not None:
            self._same("name", ids, (write(one) for one in data.ids))
        if classes is not None and data.labels is not None and data.classes is not None:
            names = [write(one) for one in data.classes]
            self._same("class", classes, (names[label] for label in data.labels.tolist()))
        # Names may be numbers alone, the same for any data.
        if made_of is not None and (own := fingerprint(data)) and list(islice(made_of, 1)) != [own]:
            raise NotVectors(
                f"{self._name}: of other images than the data, with the same names; name the data that was encoded"
            )

    def _same(self, what: str, found: Iterable[str], expected: Iterable[str]) -> None:
        for number, (one, other) in enumerate(zip_longest(found, expected)):
            if one != other:
                raise NotVectors(
                    f"{self._name}: of other images than the data: vector {number} is of an image of {what} {shown(str(one))}, "
                    f"image {number} of the data is of {what} {shown(str(other))}; name the data that was encoded"
                )


def _read_npy(path: str, check: Check, _images: _Images) -> NDArray[Any]:
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # Its length is compared with the file's.
    check(mapped.shape, mapped.dtype)
    return np.array(mapped)


def _read_npz(path: str, check: Check, images: _Images) -> NDArray[Any]:
    with zipfile.ZipFile(path) as archive, ExitStack() as stack:
        _check_has_vectors(path, [name.removesuffix(".npy") for name in archive.namelist()])
        with archive.open("encoded.npy") as member:
            shape, dtype = _npy_header(member)
            check(shape, dtype)
        with archive.open("encoded.npy") as member:
            found = np.asarray(npy.read_array(member, allow_pickle=False))
        if images.wanted:
            names = archive.namelist()
            ids = _npy_items(stack.enter_context(archive.open("ids.npy")), "U") if "ids.npy" in names else None
            classes = None
            if "labels.npy" in names and "classes.npy" in names:
                known = list(islice(_npy_items(stack.enter_context(archive.open("classes.npy")), "U"), _MOST))
                classes = (known[label] for label in _npy_items(stack.enter_context(archive.open("labels.npy")), "i"))
            made_of = None
            if "fingerprint.npy" in names:
                made_of = _npy_items(stack.enter_context(archive.open("fingerprint.npy")), "U")
            images.compare(ids, classes, made_of=made_of)
        return found


def _check_has_vectors(path: str, names: list[str]) -> None:
    others = [name for name in _OUTPUTS if name in names]
    if "encoded" not in names and others:
        raise NotVectors(f"{path}: holds {' and '.join(others)}, but not the vectors; expected a file with the output encoded")


def _npy_header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(member)
    shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(member)
    return shape, dtype


def _npy_items(member: IO[bytes], kind: str) -> Iterator[Any]:
    """The items of an array of one axis, read piece by piece."""
    shape, dtype = _npy_header(member)
    if len(shape) != 1 or dtype.kind != kind or not 0 < dtype.itemsize <= _PIECE:
        raise ValueError(f"expected an array of kind {kind}, found {dtype} {shape}")
    step = _PIECE // dtype.itemsize
    for start in range(0, shape[0], step):
        some = min(step, shape[0] - start)
        yield from np.frombuffer(member.read(some * dtype.itemsize), dtype, some).tolist()


def _read_csv(path: str, check: Check, images: _Images) -> NDArray[Any]:
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        lines = csv.reader(file)
        header = next(lines, [])
        first = header.index("y0")
        numbers = len(header) - first
        if other := next((text for text in header[:first] if _NUMBERED.fullmatch(text)), None):
            raise NotVectors(f"{path}: expected a header that ends in y0, y1 and so on, found {briefly(other)} before y0")
        for number, text in enumerate(header[first:]):
            if text != f"y{number}":
                raise NotVectors(
                    f"{path}: expected a header that ends in y0, y1 and so on, found {briefly(text)} for y{number}"
                )
        kept: dict[str, list[str]] = {name: [] for name in ("id", "class") if images.wanted and name in header[:first]}
        places = [(header.index(name), texts) for name, texts in kept.items()]
        found = []
        with np.errstate(over="ignore"):  # Of what is then refused.
            for line in lines:
                if len(line) != len(header):
                    raise NotVectors(
                        f"{path}: line {lines.line_num}: expected {counted(len(header), 'cell')}, as the header has, found "
                        f"{len(line):,}"
                    )
                found.append(np.array([float(value) for value in line[first:]], np.float32))
                for place, texts in places:
                    texts.append(line[place])
    vectors = np.stack(found) if found else np.empty((0, numbers), np.float32)
    check(vectors.shape, vectors.dtype)
    images.compare(kept.get("id"), kept.get("class"), cell)
    return vectors


def _read_hdf5(path: str, check: Check, images: _Images) -> NDArray[Any]:
    try:
        import h5py
    except ImportError as error:
        raise MissingPackage("h5py", "reading HDF5 files needs") from error
    with open(path, "rb"):  # h5py has its own words for a file that is not there.
        pass
    try:
        with h5py.File(path, "r") as file:
            _check_has_vectors(path, [name for name in ("encoded", *_OUTPUTS) if name in file])
            check(file["encoded"].shape, file["encoded"].dtype)
            if images.wanted:
                ids = _hdf5_texts(file["ids"]) if "ids" in file else None
                classes = None
                if "labels" in file and "classes" in file:
                    known = list(islice(_hdf5_texts(file["classes"]), _MOST))
                    classes = (known[label] for label in _hdf5_items(file["labels"]))
                images.compare(ids, classes, made_of=_hdf5_texts(file["fingerprint"]) if "fingerprint" in file else None)
            return np.asarray(file["encoded"][()])
    except NotVectors:
        raise
    except (OSError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(str(error)) from error


def _hdf5_texts(array: Any) -> Iterator[str]:
    return _hdf5_items(array.asstr())


def _hdf5_items(array: Any) -> Iterator[Any]:
    for start in range(0, len(array), 1024):
        yield from array[start : start + 1024].tolist()
