"""libdim beside h5py and torch in one process: each with a libhdf5 of its own, in whatever order they are imported."""

import importlib.util
import subprocess
import sys

import pytest
from cli_fixtures import ENVIRONMENT

_OURS = """
import deepinfomax as dim
dim.Model(0).save(folder + "/ours.h5")
dim.Model.open(folder + "/ours.h5")
"""
_H5PY = """
import h5py
with h5py.File(folder + "/theirs.h5", "w") as file:
    file["x"] = [1, 2, 3]
"""
_TORCH = "import torch; torch.ones(3).sum()\n"
_BOTH = """
with h5py.File(folder + "/ours.h5") as file:
    with h5py.File(folder + "/plain.h5", "w") as plain:
        for name in file:
            if isinstance(file[name], h5py.Dataset):
                plain[name] = file[name][()]
model = dim.Model.open(folder + "/plain.h5")
assert model.state_dict()["encoder.c0.weight"].tobytes() == dim.Model(0).state_dict()["encoder.c0.weight"].tobytes()
"""


@pytest.mark.parametrize("order", ["ours first", "h5py first", "torch first", "torch last"])
def test_orders(tmp_path, order):
    pytest.importorskip("h5py")
    if "torch" in order and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    code = {
        "ours first": _OURS + _H5PY,
        "h5py first": _H5PY + _OURS,
        "torch first": _TORCH + _H5PY + _OURS,
        "torch last": _OURS + _H5PY + _TORCH,
    }[order]
    done = subprocess.run(
        [sys.executable, "-c", f"folder = {str(tmp_path)!r}\n" + code + _BOTH],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
