"""Damaged image data sets in every format; see Tests/fuzz/data_mutants.py. DIM_FUZZ_MUTANTS and DIM_FUZZ_SEED make it a long run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from weights_fixtures import CHILD

HERE = Path(__file__).resolve().parent


def test_mutants_are_read_or_refused():
    """In child processes: libhdf5 (of h5py) and libjpeg are C, and a crash of theirs is no fault of ours."""
    pytest.importorskip("h5py")
    pytest.importorskip("PIL")
    count, seed = int(os.environ.get("DIM_FUZZ_MUTANTS", "1200")), int(os.environ.get("DIM_FUZZ_SEED", "1"))
    environment = {**CHILD, "PYTHONPATH": os.pathsep.join([CHILD["PYTHONPATH"], str(HERE)])}
    outcomes, first, crashes = {}, 0, 0
    while first < count:
        command = [sys.executable, str(HERE.parent / "fuzz" / "data_mutants.py"), "--seed", str(seed), "--first", str(first)]
        command += ["--count", str(min(2000, count - first))]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        lines = done.stdout.splitlines()
        if done.returncode == 0:
            for key, number in json.loads(lines[-1]).items():
                outcomes[key] = outcomes.get(key, 0) + number
            first += 2000
            continue
        # A signal: a C library's own crash, one in a thousand at most; anything else is an exception that got out.
        assert done.returncode < 0, f"{lines[-1:]}\n{done.stderr[-4000:]}"
        crashes += 1
        first = int(lines[-1].split()[1]) + 1
        assert crashes <= 1 + count / 1000, f"seed {seed}, {lines[-1]}: signal {-done.returncode}"
    print(f"{count} mutants, seed {seed}: {outcomes}, {crashes} crashes of C libraries")
    # Neither is the damage without effect, nor does it spoil everything.
    assert sum(n for key, n in outcomes.items() if key.endswith("refused")) > count / 10
    assert sum(n for key, n in outcomes.items() if key.endswith("read")) > count / 10
