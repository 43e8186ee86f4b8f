"""The order of the Python package's levels is checked: tools/check/python_levels.py finds what breaks it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECK = ROOT / "tools" / "check" / "python_levels.py"


@pytest.fixture
def package(tmp_path):
    """A copy of the package's sources, and what the check says of it."""
    source = ROOT / "bindings" / "python"
    shutil.copytree(
        source / "deepinfomax",
        tmp_path / "deepinfomax",
        ignore=lambda _, names: [name for name in names if "." in name and not name.endswith(".py")],
    )
    shutil.copy(source / "pyproject.toml", tmp_path)
    return tmp_path / "deepinfomax"


def said(package):
    done = subprocess.run([sys.executable, CHECK, package], capture_output=True, text=True)
    assert done.stderr == "" and done.returncode == bool(done.stdout)
    return done.stdout


def test_the_package_keeps_the_order(package):
    assert said(package) == ""


@pytest.mark.parametrize(
    ("module", "line", "levels"),
    [
        ("_text.py", "from .data import errors", "foundation imports data"),
        ("data/options.py", "from ..model import Model", "data imports model"),
        ("data/options.py", "def f(): from .. import Model", "data imports model"),
        ("model.py", "from . import report", "model imports report"),
        ("model.py", "import deepinfomax.plots.maps", "model imports plots"),
        ("plots/maps.py", "from deepinfomax.commands import UsageError", "plots imports commands"),
        ("compare/walk.py", "if TYPE_CHECKING: from .. import torch", "compare imports torch"),
    ],
)
def test_an_import_upwards(package, module, line, levels):
    with open(package / module, "a") as file:
        file.write(f"\n{line}\n")
    (found,) = said(package).splitlines()
    assert found.startswith(f"deepinfomax/{module}:") and levels in found


def test_a_module_without_a_room_and_a_folder_outside_the_wheel(package):
    (package / "added").mkdir()
    (package / "added" / "__init__.py").write_text("from ..commands import UsageError\n")
    first, second = said(package).splitlines()
    assert first.startswith("added: in no level") and second.startswith("deepinfomax.added: differs")
