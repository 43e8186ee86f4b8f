"""The wheel as pip makes it of bindings/python, with the library inside. `make check-wheel` tests the one to be given away."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import deepinfomax
import pytest
from deepinfomax import _library

PACKAGE = Path(deepinfomax.__file__).parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy: setuptools leaves folders of its own behind.
    source = shutil.copytree(PACKAGE.parent, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "dist", source],
        env=os.environ | {"DIM_LIBRARY": str(Path(_library._find()).resolve())},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (folder / "dist").iterdir()
    return found


def test_it_is_of_a_platform_and_of_any_python(wheel):
    version = re.escape(deepinfomax.__version__)
    assert re.fullmatch(rf"deepinfomax-{version}-py3-none-linux_\w+\.whl", wheel.name), wheel.name


def test_what_is_in_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (info,) = {name.partition("/")[0] for name in names if ".dist-info" in name}
        metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    sources = {f"deepinfomax/{path.relative_to(PACKAGE)}" for path in PACKAGE.rglob("*.py")}
    assert sources | {"deepinfomax/libdim.so", "deepinfomax/py.typed"} <= names
    assert {"deepinfomax/compare/recorded/check.npz", "deepinfomax/compare/recorded/training.npz"} <= names
    assert "dim = deepinfomax.cli:main" in entry_points
    required = metadata.get_all("Requires-Dist")
    assert [re.split(r"[<>=]", line)[0] for line in required if "extra ==" not in line] == ["numpy"]
    assert {"data", "plot", "cli"} <= set(metadata.get_all("Provides-Extra"))


def test_its_own_library_is_the_one_that_is_used(wheel, tmp_path):
    shutil.unpack_archive(wheel, tmp_path, "zip")
    environment = {name: value for name, value in os.environ.items() if name != "DIM_LIBRARY"}
    code = "import deepinfomax as dim; from deepinfomax import _library; print(dim.Model(0).networks, _library._find())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("('encoder'") and done.stdout.rstrip().endswith(f"{tmp_path}/deepinfomax/libdim.so")


def built_by_pip(tmp_path, makefile, **environment):
    """A wheel from a tree as git has it, where nothing was built; `make lib` is what `makefile` says."""
    tree = tmp_path / "tree"
    shutil.copytree(PACKAGE.parent, tree / "bindings" / "python", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    (tree / "Package.swift").touch()
    (tree / "Makefile").write_text(makefile)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "swift").write_text("#!/bin/sh\n")
    (tools / "swift").chmod(0o755)
    usual = {name: value for name, value in os.environ.items() if name != "DIM_LIBRARY"}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-v",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            tmp_path / "dist",
            tree / "bindings" / "python",
        ],
        env=usual | {"PATH": f"{tools}:{os.environ['PATH']}"} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (tmp_path / "dist").iterdir()
    return found, done.stdout + done.stderr


def test_pip_builds_the_library_where_nobody_has(tmp_path):
    library = Path(_library._find()).resolve()
    wheel, _ = built_by_pip(tmp_path, f"lib:\n\tmkdir -p build\n\tcp {library} build/libdim.so\n")
    assert "py3-none-linux_" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("deepinfomax/libdim.so") == library.read_bytes()


def test_without_a_library_the_package_says_so(tmp_path):
    wheel, output = built_by_pip(tmp_path, "lib:\n\tfalse\n")
    assert "py3-none-any" in wheel.name and "libdim.so was not built (make lib failed" in output
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]
