"""Starting tests' processes by mpirun."""

import os
import shutil
import subprocess
import sys

import pytest

#: More processes than cores, as root: what a cluster's mpirun would refuse.
ENVIRONMENT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OPENBLAS_NUM_THREADS": "1"}
DIGITS8 = os.path.join(os.path.dirname(os.path.abspath(__file__)), "digits8.json")
DIM = (sys.executable, "-m", "deepinfomax")


def mpirun(processes, *command):
    """The command line; for one process that without MPI."""
    return [*command] if processes == 1 else ["mpirun", "--oversubscribe", "-n", str(processes), *command]


def start(command, **options):
    return subprocess.Popen(
        command, env=os.environ | ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def run(command, code=0, timeout=170, **options):
    """(stdout, stderr) of a command that ends with `code`; None: with anything but 0."""
    process = start(command, **options)
    try:
        out, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()
        raise
    assert process.returncode != 0 if code is None else process.returncode == code, (process.returncode, out, errors)
    return out, errors


needs_mpi = pytest.mark.skipif(shutil.which("mpirun") is None, reason="needs mpirun: make deps")
