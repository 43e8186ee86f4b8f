"""The package under test is the checkout's own; libdim.so is found as the package finds it (DIM_LIBRARY, build/)."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).resolve().parent.parent
PACKAGE = str(TESTS.parent / "bindings" / "python")
sys.path[:0] = [PACKAGE, str(TESTS / "golden"), str(TESTS / "fuzz")]
# Of the caller: what a user's mistake looks like is tested. DIM_ISA and DIM_CONV say what is to be tested.
os.environ.pop("DIM_TRACEBACK", None)
# For the processes that tests start, hundreds of them: the package is compiled once, not by each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (PACKAGE, os.environ.get("PYTHONPATH"))))

import cases  # noqa: E402
import deepinfomax as dim  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--shuffle", type=int, metavar="SEED", help="files, and the tests of each, in an order by chance")


def pytest_collection_modifyitems(config, items):
    """Tests of one file stay together: they share what is costly to make."""
    seed = config.getoption("--shuffle")
    if seed is None:
        return
    chance = random.Random(seed)
    files = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    for tests in files.values():
        chance.shuffle(tests)
    items[:] = [item for tests in chance.sample(list(files.values()), len(files)) for item in tests]


@pytest.fixture
def model():
    """Seed 0, a new one for each test."""
    with dim.Model(seed=0) as model:
        yield model


@pytest.fixture(scope="session")
def inputs():
    """The arrays of Tests/golden/inputs.npz."""
    with np.load(cases.FOLDER / "inputs.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def photos(inputs):
    """64 patches of photographs, float32 (64,3,32,32)."""
    return cases.images(inputs, "photos64", seed=0)


@pytest.fixture(scope="session")
def small_disk(tmp_path_factory):
    """A folder on a file system of its own, of 4 MB. Needs root."""
    folder = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)
