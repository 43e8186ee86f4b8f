"""safetensors files by hand, so that the tests need no package for them."""

import json
import struct

import numpy as np

TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}
NAMES = {np.dtype(dtype): name for name, dtype in TYPES.items()}


class Brain:
    """bfloat16, which numpy has not: the upper half of float32."""

    def __init__(self, array):
        self.shape = array.shape
        self.bits = (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype("<u2")

    def tobytes(self):
        return self.bits.tobytes()


def as_bfloat16(array):
    return Brain(array)


def pack(header, data, length=None):
    """A file of this header, a JSON value or its bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def layout(state, metadata=None):
    """Header and data of a state_dict, in its order."""
    header, data = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for key, array in state.items():
        raw = array.tobytes()
        name = "BF16" if isinstance(array, Brain) else NAMES[array.dtype]
        header[key] = {"dtype": name, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    return header, data


def write_safetensors(path, state, metadata=None):
    path.write_bytes(pack(*layout(state, metadata)))
    return path


def read_safetensors(path):
    """The tensors and the metadata of a sound file, which is checked to be one, as the format's own library checks it."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    assert raw[8:9] == b"{"
    header = json.loads(raw[8 : 8 + length])
    data = raw[8 + length :]
    metadata = header.pop("__metadata__", {})
    state, end = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = entry["data_offsets"]
        dtype = np.dtype(TYPES[entry["dtype"]])
        assert first == end and (8 + length + first) % dtype.itemsize == 0
        state[name] = np.frombuffer(data[first:last], dtype).reshape(entry["shape"])
        end = last
    assert end == len(data)
    return state, metadata
