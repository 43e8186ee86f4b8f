"""Puts the repository's libdim.so, if it has been built, into the package: an installed package then finds its library.

Everything else is in pyproject.toml. DIM_LIBRARY names another library to put in, DIM_WHEEL_PLATFORM the platform that a
wheel is for (tools/wheel.sh does both).
"""

import os
import shutil
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

LIBRARY = Path(os.environ.get("DIM_LIBRARY") or Path(__file__).resolve().parents[2] / "build" / "libdim.so")


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


setup(distclass=OfOnePlatform, cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": OfAnyPython})
