"""The package itself: what an import costs, how the library is found, how a missing or foreign one is reported."""

import os
import re
import subprocess
import sys
from pathlib import Path

import deepinfomax as dim
from deepinfomax import _library

PACKAGE = Path(dim.__file__).parent.parent


def python(code, **environment):
    environment = os.environ | {"PYTHONPATH": str(PACKAGE)} | environment
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600)


def test_import_is_quick_and_light():
    done = python(
        "import numpy, sys, time; start = time.process_time(); import deepinfomax as dim;"
        "dim.Model().classify(numpy.zeros((2, 64), 'f4'));"
        "print(time.process_time() - start, [m for m in ('torch', 'h5py', 'sklearn', 'PIL') if m in sys.modules])"
    )
    seconds, modules = done.stdout.split(maxsplit=1)
    assert modules.strip() == "[]", done.stderr
    assert float(seconds) < 5, "weights included; a second of the processor, as a rule"


def test_an_import_takes_well_under_a_second():
    """Of processor time, numpy included: what else the machine does must not count."""
    code = "import time; import deepinfomax, deepinfomax.data, deepinfomax.cli; print(time.process_time())"
    assert min(float(python(code).stdout) for _ in range(3)) < 0.8


def test_versions():
    assert dim.version().split(".")[:2] == dim.__version__.split(".")[:2]
    assert dim.version() in dim.build_info() and "\n" not in dim.build_info()


def test_thread_numbers():
    for n in (-1, 1025, 2**32):
        try:
            dim.set_num_threads(n)
        except ValueError:
            continue
        raise AssertionError(n)


def test_a_missing_library_is_an_import_error_at_first_use():
    done = python("import deepinfomax as dim; dim.Model()", DIM_LIBRARY="/nothing/libdim.so")
    assert done.stderr.splitlines()[-1].startswith("deepinfomax.errors.LibraryNotFound: DIM_LIBRARY names /nothing")


def test_another_library_is_recognised():
    other = sys.modules["numpy"].linalg._umath_linalg.__file__  # Some shared object that is surely there.
    done = python("import deepinfomax as dim; dim.Model()", DIM_LIBRARY=other)
    assert "cannot be loaded as libdim" in done.stderr.splitlines()[-1]


def test_the_interpreter_may_exit_with_open_models():
    done = python("import deepinfomax as dim; a = dim.Model(); b = [dim.Model()]; b.append(b)")
    assert (done.returncode, done.stderr) == (0, "")


def test_every_function_of_the_header_is_declared():
    """dim.h and _library.py name the same functions (those that this package has use for)."""
    header = (PACKAGE.parent.parent / "include" / "dim.h").read_text()
    declared = Path(_library.__file__).read_text()
    model_part = header.split("/* ---- Training")[0]
    for name in re.findall(r"^\w[\w ]* \*?(dim_\w+)\s*\(", model_part, re.MULTILINE):
        assert f"lib.{name}.argtypes" in declared, name
