"""Which files `read_encoded` takes for vectors, and what it says of the others."""

import struct
import sys
import zipfile
import zlib

import numpy as np
import pytest
from deepinfomax.data import MissingPackage
from deepinfomax.encoded_files import NotVectors, read_encoded

NO_FILE = "not a file by `dim encode`, or damaged"


@pytest.mark.parametrize(
    "text, message",
    [
        ("id,y0,y1,score\na,1,2,9\n", "expected a header that ends in y0, y1 and so on, found 'score' for y2"),
        ("id,y1,y0\na,1,2\n", "found 'y1' before y0"),
        ("id,y0,y2\na,1,2\n", "found 'y2' for y1"),
        ("y0,y0\n1,2\n", "found 'y0' for y1"),
        ("id,y0, y1\na,1,2\n", "found ' y1' for y1"),
        ("id,y0," + "y" * 1000 + "\na,1,2\n", r"found 'y{56}\.\.\. for y1"),
        ("id,y0,y1\na,1,2,3\n", "line 2: expected 3 cells, as the header has, found 4"),
        ("id,y0,y1\na,1,2\nb,1\n", "line 3: expected 3 cells, as the header has, found 2"),
        ("id,y0,y1\n1,2\n", "line 2: expected 3 cells, as the header has, found 2"),
        ("id,y0,y1\na,1,2\n\n", "line 3: expected 3 cells, as the header has, found 0"),
        ("", NO_FILE),
        ("id\na\n", NO_FILE),
        ("id,y0\na,one\n", NO_FILE),
    ],
)
def test_other_tables(tmp_path, text, message):
    """A column that somebody added was a number of the vectors, and those before y0 were cut off."""
    path = tmp_path / "y.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"y.csv: .*({message})"):
        read_encoded(path)


def test_tables_as_they_are_written(tmp_path):
    path = tmp_path / "y.csv"
    path.write_text('id,label,class,y0,y1\na,0,"x,y",1,-2\nb,1,"c ""d""",3e-45,4\n')
    assert read_encoded(path).tolist() == [[1, -2], [float(np.float32(3e-45)), 4]]
    path.write_text("y0\n")
    assert read_encoded(path).shape == (0, 1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("ending", ["csv", "npy", "npz", "h5"])
@pytest.mark.parametrize(
    "value", [1e39, -1e300, np.frombuffer(b"\1\0\0\0\0\0\xf0\x7f")[0]], ids=["1e39", "-1e300", "signalling"]
)
def test_numbers_beyond_float32_without_a_warning(tmp_path, ending, value):
    path, vectors = tmp_path / f"y.{ending}", np.array([[1, value]], np.float64)
    if ending == "csv":
        path.write_text(f"id,y0,y1\na,1,{value}\n")
    elif ending == "npy":
        np.save(path, vectors)
    elif ending == "npz":
        np.savez(path, encoded=vectors)
    else:
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["encoded"] = vectors
    with pytest.raises(NotVectors, match="holds values that are NaN, infinite or beyond float32's range"):
        read_encoded(path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("compressed", [None, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["npy", "npz", "deflated"])
@pytest.mark.parametrize(
    "shape, count",
    [
        ((2**70, 3), 2**70),
        ((2**70, 3), None),
        ((True, 3), None),
        ((True, 3), 1),
        ((-1, 3), None),
        ("(3L, 3L)", None),
        ("[3]", None),
    ],
    ids=str,
)
def test_headers_that_promise_what_cannot_be(tmp_path, compressed, shape, count):
    """Some were an OverflowError, a TypeError or a warning of numpy's."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}\n"
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + bytes(36)
    if compressed is None:
        path = tmp_path / "y.npy"
        path.write_bytes(content)
    else:
        path = tmp_path / "y.npz"
        with zipfile.ZipFile(path, "w", compressed) as archive:
            archive.writestr("encoded.npy", content)
    with pytest.raises(
        ValueError, match=r"y.np[yz]: (not a file by `dim encode`, or damaged|unpacks to .* MB|expected floats)"
    ):
        read_encoded(path, count)


@pytest.mark.parametrize(
    "error", [OverflowError, TypeError, AttributeError, AssertionError, zlib.error, RecursionError, Warning]
)
def test_whatever_a_reader_raises_of_a_file(tmp_path, monkeypatch, error):
    path = tmp_path / "y.npy"
    np.save(path, np.zeros((2, 3), np.float32))

    def load(*arguments, **options):
        raise error

    monkeypatch.setattr(np, "load", load)
    with pytest.raises(ValueError, match=f"y.npy: {NO_FILE}"):
        read_encoded(path)


@pytest.mark.parametrize("error", [OSError(22, "Invalid argument"), OSError("damaged")])
def test_an_error_of_a_file_that_names_none(tmp_path, monkeypatch, error):
    np.save(tmp_path / "y.npy", np.zeros((2, 3), np.float32))
    monkeypatch.setattr(np, "load", lambda *arguments, **options: (_ for _ in ()).throw(error))
    with pytest.raises(ValueError, match=f"y.npy: {NO_FILE}"):
        read_encoded(tmp_path / "y.npy")


def test_what_is_not_the_file_s_fault_stays(tmp_path, monkeypatch):
    path = tmp_path / "y.npy"
    np.save(path, np.zeros((2, 3), np.float32))
    with pytest.raises(FileNotFoundError):
        read_encoded(tmp_path / "z.npy")
    for error in MemoryError(), PermissionError(13, "Permission denied", str(path)), KeyboardInterrupt():
        with monkeypatch.context() as patched:
            patched.setattr(np, "load", lambda *arguments, error=error, **options: (_ for _ in ()).throw(error))
            with pytest.raises(type(error)):
                read_encoded(path)
    (tmp_path / "y.h5").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingPackage):
        read_encoded(tmp_path / "y.h5")
