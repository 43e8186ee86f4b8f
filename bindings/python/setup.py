"""Puts the repository's libdim.so into the package: an installed package then finds its library.

Where it has not been built, `make lib` builds it first, if Swift, make and libhdf5 are there; else the package comes without it,
says so, and looks for an installed one (docs/install.md).

Everything else is in pyproject.toml. DIM_LIBRARY names another library to put in, DIM_WHEEL_PLATFORM the platform that a
wheel is for (tools/release/wheel.sh does both).
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent.parent.parent
LIBRARY = Path(os.environ.get("DIM_LIBRARY") or ROOT / "build" / "libdim.so")


def build_library() -> None:
    """Takes minutes. pip shows what is printed with -v, or where it fails."""
    if os.environ.get("DIM_LIBRARY") or LIBRARY.is_file() or not (ROOT / "Package.swift").is_file():
        return
    missing = [name for name in ("swift", "make") if shutil.which(name) is None]
    if not missing and subprocess.run(["make", "-C", str(ROOT), "lib"]).returncode == 0:
        return
    why = f"{' and '.join(missing)} not found" if missing else "make lib failed, see above"
    print(f"deepinfomax: libdim.so was not built ({why}); the package will look for an installed one", file=sys.stderr)


class BuildWithLibrary(build_py):
    def run(self) -> None:
        super().run()
        if LIBRARY.is_file() and not self.editable_mode:
            shutil.copy2(LIBRARY, Path(self.build_lib) / "deepinfomax" / "libdim.so")


class OfOnePlatform(Distribution):
    """With the library inside it goes where packages with compiled parts go."""

    def has_ext_modules(self) -> bool:
        return LIBRARY.is_file()


class OfAnyPython(bdist_wheel):
    """The library knows nothing of Python: one wheel serves every version."""

    def get_tag(self) -> tuple:
        _, _, platform = super().get_tag()
        return "py3", "none", os.environ.get("DIM_WHEEL_PLATFORM") or platform


if any(word in ("bdist_wheel", "build", "build_py", "install", "editable_wheel") for word in sys.argv):
    build_library()  # Before setuptools asks whether anything is compiled.
setup(distclass=OfOnePlatform, cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": OfAnyPython})
