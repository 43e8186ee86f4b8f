"""Where the package looks for libdim.so, without DIM_LIBRARY."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from deepinfomax import _library
from deepinfomax.errors import LibraryNotFound


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The package as if it were installed in a folder without a library, and an environment that names none."""
    monkeypatch.setattr(_library, "__file__", str(tmp_path / "site" / "deepinfomax" / "_library.py"))
    for name in "DIM_LIBRARY", "LD_LIBRARY_PATH", "CONDA_PREFIX":
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def put(folder, name="libdim.so.0"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"")
    return folder / name


@pytest.mark.parametrize("package", ["/deepinfomax", "/app/deepinfomax", "/srv/app/deepinfomax"])
def test_a_package_near_the_root(elsewhere, monkeypatch, package):
    monkeypatch.setattr(_library, "__file__", f"{package}/_library.py")
    assert _library._places()[0] == Path(package) / "libdim.so.0"


def test_beside_the_package_comes_first(elsewhere, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(put(elsewhere / "lib").parent))
    assert _library._find() == elsewhere / "lib" / "libdim.so.0"
    beside = put(elsewhere / "site" / "deepinfomax", "libdim.so")
    assert _library._find() == beside


def test_the_loaders_path(elsewhere, monkeypatch):
    put(elsewhere / "one", "libdim.so")
    put(elsewhere / "two", "libdim.so.0")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{elsewhere}/none:{elsewhere}/one:{elsewhere}/two")
    assert _library._find() == elsewhere / "one" / "libdim.so"


@pytest.mark.parametrize("path", ["", ":", "lib", ".", "/nonexistent:", "lib:/nonexistent"])
def test_nothing_of_the_present_folder_is_loaded(elsewhere, monkeypatch, path):
    """An empty entry means the present folder to the loader: weights that somebody sent may lie there, with a library."""
    monkeypatch.chdir(elsewhere)
    put(elsewhere)
    put(elsewhere / "lib")
    monkeypatch.setenv("LD_LIBRARY_PATH", path)
    assert all(place.is_absolute() for place in _library._places())
    assert not any(place.is_relative_to(elsewhere) for place in _library._places() if "site" not in place.parts)


def test_an_environments_folder(elsewhere, monkeypatch):
    library = put(elsewhere / "env" / "lib")
    monkeypatch.setenv("CONDA_PREFIX", str(elsewhere / "env"))
    assert _library._find() == library
    monkeypatch.delenv("CONDA_PREFIX")
    monkeypatch.setattr(sys, "prefix", str(elsewhere / "env"))
    assert _library._find() == library


def test_debians_folder_and_the_soname(elsewhere):
    """What libdim0 installs: no libdim.so, which is libdim-dev's."""
    places = list(map(str, _library._places()))
    folder = f"/usr/lib/{platform.machine()}-linux-gnu"
    assert f"{folder}/libdim.so.0" in places and "/usr/local/lib/libdim.so.0" in places
    assert places.index(f"{folder}/libdim.so.0") < places.index(f"{folder}/libdim.so")


def test_where_there_is_none_all_places_are_named(elsewhere, monkeypatch):
    monkeypatch.setattr(Path, "is_file", lambda self: False)
    with pytest.raises(LibraryNotFound) as caught:
        _library._find()
    assert all(str(place) in str(caught.value) for place in _library._places())


def test_found_by_its_soname_it_works(tmp_path):
    """A copy of the package with no library beside it, and a folder as `make install` makes it for programs alone."""
    library = Path(_library._find()).resolve()
    shutil.copytree(Path(_library.__file__).parent, tmp_path / "deepinfomax", ignore=shutil.ignore_patterns("*.so*"))
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libdim.so.0").symlink_to(library)
    environment = {k: v for k, v in os.environ.items() if k != "DIM_LIBRARY"}
    environment |= {"PYTHONPATH": str(tmp_path), "LD_LIBRARY_PATH": f"{tmp_path}/lib"}
    done = subprocess.run(
        [sys.executable, "-c", "import deepinfomax; print(deepinfomax._library.library()._name)"],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == f"{tmp_path}/lib/libdim.so.0", done.stderr
