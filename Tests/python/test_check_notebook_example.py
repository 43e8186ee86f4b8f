"""bindings/python/examples/check_notebook.py: one short file with ctypes and numpy alone, which finds what differs."""

import ast
import os
import subprocess
import sys
from pathlib import Path

from deepinfomax import _library

SCRIPT = Path(__file__).resolve().parents[2] / "bindings" / "python" / "examples" / "check_notebook.py"


def run(script, *arguments, without_torch=True):
    """As a user would; PyTorch is hidden, so that the recorded numbers are used."""
    hide = "import sys; sys.modules['torch'] = None; " if without_torch else "import sys; "
    code = f"{hide}sys.argv = {['check_notebook.py', *arguments]!r}; import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
    environment = os.environ | {"DIM_LIBRARY": _library.library()._name}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=600)


def test_it_is_one_short_file_of_ctypes_and_numpy():
    text = SCRIPT.read_text()
    assert len(text.splitlines()) <= 150
    top = [node for node in ast.parse(text).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {(node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name for node in top}
    assert names <= {*sys.stdlib_module_names, "numpy"}


def test_all_five_networks_agree_with_the_recorded_numbers():
    done = run(SCRIPT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "recorded" in done.stdout and "all agree" in done.stdout
    for network in "encoder.encoded", "global_d", "local_d", "prior_d", "classifier":
        assert done.stdout.count(f"\n{network} ") >= 3


def test_a_miss_is_exit_code_1(tmp_path):
    """Seed 1's networks are not those that seed 0's numbers were recorded from."""
    changed = SCRIPT.read_text().replace("weights.encode() if weights else 0,", "weights.encode() if weights else 1,")
    changed = changed.replace("Path(__file__).resolve().parents[3]", f"Path({str(SCRIPT.parents[3])!r})")
    assert changed != SCRIPT.read_text()
    script = tmp_path / "changed.py"
    script.write_text(changed)
    done = run(script)
    assert done.returncode == 1 and "MISS" in done.stdout and "outputs differ" in done.stdout


def test_a_file_that_is_none_is_said(tmp_path):
    done = run(SCRIPT, str(tmp_path / "none.h5"))
    assert done.returncode == 1 and "dim_model_open" in done.stderr
