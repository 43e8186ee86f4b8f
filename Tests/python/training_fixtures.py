"""Photographs and labels to train on, and comparisons byte for byte."""

import h5py
import numpy as np
from deepinfomax.compare import runs
from deepinfomax.data import photographs

PHOTOS = photographs.pixels(runs.Recorded().photographs)
LABELS = runs.labels(np.arange(len(PHOTOS)))


def content(path):
    """All that an HDF5 file holds: name -> (type, shape, bytes), groups as None."""
    found = {}

    def visit(name, item):
        found[name] = (str(item.dtype), item.shape, item[()].tobytes()) if isinstance(item, h5py.Dataset) else None

    with h5py.File(path) as file:
        file.visititems(lambda name, item: visit(name, item))
    return found


def assert_same_state(found, expected):
    assert found.keys() == expected.keys()
    different = [name for name in expected if found[name].tobytes() != expected[name].tobytes()]
    assert not different
