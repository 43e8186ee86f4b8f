"""docs/api.md is what the docstrings say, and everything public has one."""

import subprocess
import sys
from pathlib import Path

import deepinfomax
import pytest
from deepinfomax import data

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="an older Python writes some signatures otherwise")
def test_it_is_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "build" / "api_reference.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", [deepinfomax, data])
def test_every_public_name_has_a_docstring(module):
    missing = [name for name in module.__all__ if callable(getattr(module, name)) and not getattr(module, name).__doc__]
    assert not missing
