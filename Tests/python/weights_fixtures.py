"""State dicts of the five networks as numpy arrays, and ways in which people write them to HDF5 files."""

import os
from pathlib import Path

import deepinfomax
import h5py
import numpy as np

#: The environment of child processes that import the same package. glibc fills fresh memory with a pattern there: what is
#: used before it is set does not pass for zeros.
CHILD = {**os.environ, "PYTHONPATH": str(Path(deepinfomax.__file__).parent.parent), "MALLOC_PERTURB_": "165"}


def _conv(name, out, into, kernel):
    return {f"{name}.weight": (out, into, kernel, kernel), f"{name}.bias": (out,)}


def _linear(name, out, into):
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _norm(name, channels):
    vectors = {f"{name}.{leaf}": (channels,) for leaf in ("weight", "bias", "running_mean", "running_var")}
    return {**vectors, f"{name}.num_batches_tracked": ()}


# The notebook's networks, written down a second time: the library's own table is what is tested.
SHAPES = {
    "encoder": {
        **_conv("c0", 64, 3, 4),
        **_conv("c1", 128, 64, 4),
        **_conv("c2", 256, 128, 4),
        **_conv("c3", 512, 256, 4),
        **_linear("l1", 64, 512 * 20 * 20),
        **_norm("b1", 128),
        **_norm("b2", 256),
        **_norm("b3", 512),
    },
    "global_d": {
        **_conv("c0", 64, 128, 3),
        **_conv("c1", 32, 64, 3),
        **_linear("l0", 512, 32 * 22 * 22 + 64),
        **_linear("l1", 512, 512),
        **_linear("l2", 1, 512),
    },
    "local_d": {**_conv("c0", 512, 192, 1), **_conv("c1", 512, 512, 1), **_conv("c2", 1, 512, 1)},
    "prior_d": {**_linear("l0", 1000, 64), **_linear("l1", 200, 1000), **_linear("l2", 1, 200)},
    "classifier": {
        **_linear("l1", 15, 64),
        **_norm("bn1", 15),
        **_linear("l2", 10, 15),
        **_norm("bn2", 10),
        **_linear("l3", 10, 10),
        **_norm("bn3", 10),
    },
}


def state_of(*networks, seed=0):
    """Prefixed keys to arrays. Values are exact in float16, so that every float type carries them."""
    random = np.random.default_rng(seed)
    state = {}
    for network in networks:
        for key, shape in SHAPES[network].items():
            name = f"{network}.{key}"
            if key.endswith("num_batches_tracked"):
                state[name] = np.array(random.integers(1, 1 << 30), np.int64)
            else:
                low = 0 if key.endswith("running_var") else -1024
                state[name] = (random.integers(low, 1024, shape) / 1024).astype(np.float32)
    return state


def write(path, state, rename=lambda key: key, convert=lambda array: array, **options):
    """One dataset per entry. `options` (chunks, compression...) go to every dataset that has axes."""
    with h5py.File(path, "w") as file:
        for key, array in state.items():
            array = convert(array)
            file.create_dataset(rename(key), data=array, **(options if array.ndim else {}))
    return str(path)


def assert_same(found, expected):
    assert set(found) == set(expected)
    for key, array in expected.items():
        value = np.asarray(found[key])
        assert value.dtype == array.dtype and value.shape == array.shape, key
        assert value.tobytes() == array.tobytes(), key
