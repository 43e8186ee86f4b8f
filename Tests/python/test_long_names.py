"""Names with many combining marks: to bring one into canonical order takes time that grows with the square of their number."""

import ctypes
import json
import struct
import subprocess
import sys

import deepinfomax as dim
import h5py
import numpy as np
import pytest
from deepinfomax._library import check, library
from weights_fixtures import CHILD

MARKS = "\u0301\u0323"
EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
#: The seconds are those of a machine that is busy with other things: what is opened takes one, and took hours.
SECONDS = 60
OPENED = """
import sys, deepinfomax
try:
    deepinfomax.Model.open(sys.argv[1])
except deepinfomax.DimError as error:
    print(error.status_name)
"""


def refused(path):
    done = subprocess.run([sys.executable, "-c", OPENED, path], capture_output=True, text=True, env=CHILD, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "header",
    [
        {"encoder.e" + MARKS * 500_000: EMPTY},
        {f"encoder.e{number}" + MARKS * 100: EMPTY for number in range(5000)},
        {"__metadata__": {"x" + MARKS * 500_000: "a", "y": "b"}, "a": EMPTY},
        {"a": {**EMPTY, "dtype": "F" + MARKS * 500_000}},
        {"a": {**EMPTY, "dtyp" + MARKS * 500_000: "F32"}},
    ],
    ids=["name", "names", "metadata", "dtype", "key"],
)
def test_safetensors(tmp_path, header):
    text = json.dumps(header, ensure_ascii=False).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    assert refused(tmp_path / "x.safetensors") in ("DIM_FILE_CONTENT", "DIM_FILE_FORMAT")


def test_hdf5(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for number in range(100):
            file.create_dataset(f"encoder.c{number}" + MARKS * 7000, data=np.zeros(3, "f4"))
    assert refused(tmp_path / "x.h5") == "DIM_FILE_CONTENT"


@pytest.mark.parametrize(
    "call",
    [
        "check(library().dim_architecture_preset(('x' + marks * 500_000).encode(), ctypes.byref(ctypes.c_void_p())))",
        "[deepinfomax.Architecture(json.dumps({'preset': 'x' + marks * 14_000}, ensure_ascii=False)) for _ in range(100)]",
        "[deepinfomax.Architecture(json.dumps({'y' + marks * 14_000: 1}, ensure_ascii=False)) for _ in range(100)]",
        "check(library().dim_model_get_parameter(model._handle.pointer, ('x' + marks * 500_000).encode(), value, 4))",
    ],
    ids=["preset", "value", "key", "parameter"],
)
def test_names_by_callers(call):
    program = f"""
import ctypes, deepinfomax, json
from deepinfomax._library import check, library
marks, value = {MARKS!r}, (ctypes.c_float * 1)()
model = deepinfomax.Model(0)
class Other:
    def __init__(self, text):
        try:
            Architecture(text)
        except deepinfomax.DimError:
            return
        raise SystemExit(1)
Architecture, deepinfomax.Architecture = deepinfomax.Architecture, Other
try:
    {call}
except deepinfomax.DimError as error:
    print(error.status_name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=CHILD, timeout=SECONDS)
    assert done.returncode == 0, done.stderr


def test_equal_texts_of_other_bytes_are_other_names():
    with dim.Model(0) as model:
        value = (ctypes.c_float * 64)()
        for name in "encoder.c0.bias\u0301", "encoder.c0.bia\u017f":
            with pytest.raises(dim.UnknownName):
                check(library().dim_model_get_parameter(model._handle.pointer, name.encode(), value, 256))
