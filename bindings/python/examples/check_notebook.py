#!/usr/bin/env python3
"""The notebook's five networks through libdim.so, with ctypes and numpy alone, beside PyTorch.

    python check_notebook.py                 the weights of seed 0
    python check_notebook.py weights.h5      those of a file (PyTorch has to be installed)

Each network works on what the encoder here gave, once in training mode, which the notebook shows, and once in evaluation
mode. It is compared with PyTorch where that can be imported, else with numbers recorded from it. Exit code 1: one differs.
"""

import ctypes
import json
import os
import sys
from ctypes import POINTER, byref, c_bool, c_char_p, c_float, c_size_t, c_uint64, c_void_p
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[3]
TOLERANCE = 1e-4  # Of each output's root mean square.
FLOATS = POINTER(c_float)

# ---- libdim.so: a few declarations of dim.h

dim = ctypes.CDLL(os.environ.get("DIM_LIBRARY") or str(ROOT / "build" / "libdim.so"))
for name, arguments in {
    "dim_model_create": [c_uint64, POINTER(c_void_p)],
    "dim_model_open": [c_char_p, POINTER(c_void_p)],
    "dim_model_save": [c_void_p, c_char_p],
    "dim_model_set_training": [c_void_p, c_bool],
    "dim_encode": [c_void_p, FLOATS, c_size_t, FLOATS, FLOATS],
    "dim_score_global": [c_void_p, FLOATS, FLOATS, c_size_t, FLOATS],
    "dim_score_local": [c_void_p, FLOATS, FLOATS, c_size_t, FLOATS],
    "dim_score_prior": [c_void_p, FLOATS, c_size_t, FLOATS],
    "dim_classify": [c_void_p, FLOATS, c_size_t, FLOATS],
}.items():
    getattr(dim, name).argtypes = arguments
dim.dim_last_error.restype = c_char_p
dim.dim_model_free.argtypes, dim.dim_model_free.restype = [c_void_p], None


def call(function, *arguments):
    """A libdim function on numbers, handles and float32 arrays; its message where it fails."""
    given = [a.ctypes.data_as(FLOATS) if isinstance(a, np.ndarray) else a for a in arguments]
    if getattr(dim, function)(*given) != 0:
        raise ValueError(f"{function}: {dim.dim_last_error().decode()}")


def here(model, images, training):
    """name -> array of one pass through the notebook's cells; images (n,3,32,32)."""
    n = len(images)
    y, M = np.empty((n, 64), np.float32), np.empty((n, 128, 26, 26), np.float32)
    score, local, prior = (np.empty(shape, np.float32) for shape in ((n, 1), (n, 1, 26, 26), (n, 1)))
    call("dim_model_set_training", model, training)
    call("dim_encode", model, images, n, y, M)
    call("dim_score_global", model, y, M, n, score)
    call("dim_score_local", model, y, M, n, local)
    call("dim_score_prior", model, y, n, prior)
    found = {"encoder.encoded": y, "encoder.features": M, "global_d": score, "local_d": local, "prior_d": prior}
    if n > 1 or not training:  # In training mode the classifier's batch norm has no statistics of one vector.
        found["classifier"] = np.empty((n, 10), np.float32)
        call("dim_classify", model, y, n, found["classifier"])
    return found


# ---- The other side


def live(model):
    """PyTorch's networks with the model's weights: a function from (input, mode, found here) to name -> array."""
    import tempfile

    sys.path.insert(0, str(ROOT / "bindings" / "python"))
    import deepinfomax
    from deepinfomax.compare.notebook import TorchModel  # The notebook's classes, in float64.

    there = TorchModel(0)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "weights.h5")
        call("dim_model_save", model, path.encode())
        there.load_state_dict(deepinfomax.Model.open(path).state_dict())

    def expected(_input, mode, images, found):
        there.train() if mode == "training" else there.eval()
        y, M = found["encoder.encoded"], found["encoder.features"]
        result = dict(zip(("encoder.encoded", "encoder.features"), there.encode(images), strict=True))
        result |= {"global_d": there.score_global(y, M), "local_d": there.score_local(y, M)}
        result["prior_d"] = there.score_prior(y)
        return result | ({"classifier": there.classify(y)} if "classifier" in found else {})

    return expected


def error_live(array, expected):
    return float(np.abs(array - expected).max() / np.sqrt(np.mean(np.square(expected))))


def error_recorded(array, recorded):
    """Recorded are shape, root mean square and 128 entries: one of each of 128 equal stretches of the flat array."""
    entry, sample = recorded
    flat, i = array.reshape(-1), np.arange(len(sample))
    if array.size > 128:
        i = i * array.size // 128 + i * 7919 % (array.size // 128)
    return float(np.abs(flat[i] - sample).max() / entry["rms"]) if list(array.shape) == entry["shape"] else np.inf


def main(weights=None):
    with np.load(ROOT / "bindings" / "python" / "deepinfomax" / "compare" / "recorded" / "check.npz") as file:
        recording = dict(file)
    photographs = np.moveaxis(recording["photographs"].astype(np.float32) / np.float32(255), 3, 1)
    inputs = {"notebook": recording["notebook/0"], "photographs": np.ascontiguousarray(photographs)}

    model = c_void_p()
    call("dim_model_open" if weights else "dim_model_create", weights.encode() if weights else 0, byref(model))
    try:
        expected, error, other = live(model), error_live, "PyTorch in float64, live"
    except ImportError:
        if weights:
            sys.exit("PyTorch is not installed, and numbers are recorded for the weights of seed 0 alone")
        entries = {entry["key"]: entry for entry in json.loads(str(recording["index"]))}
        samples = {k: recording["samples"][e["offset"] : e["offset"] + e["count"]] for k, e in entries.items()}

        def expected(name, mode, _images, found):
            return {output: (entries[f"0/{name}/{mode}/{output}"], samples[f"0/{name}/{mode}/{output}"]) for output in found}

        error, other = error_recorded, f"numbers recorded from {recording['version']}"

    print(f"weights {weights or 'of seed 0'}; compared with {other}\n")
    print(f"{'output':<17} {'input':<12} {'mode':<11} {'shape':<17} {'error/rms':>9}")
    misses = 0
    for name, images in inputs.items():
        for mode in "training", "evaluation":  # What training mode moves, evaluation mode uses.
            found = here(model, images, mode == "training")
            there = expected(name, mode, images, found)
            for output, array in found.items():
                deviation = error(array, there[output])
                missed = not deviation <= TOLERANCE  # Also where it is nan.
                misses += missed
                print(f"{output:<17} {name:<12} {mode:<11} {array.shape!s:<17} {deviation:>9.1e}{'  MISS' * missed}")
    dim.dim_model_free(model)
    print(f"\n{misses} of the outputs differ" if misses else "\nall agree")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
