"""The environment's variables: case and blanks do not matter; what is not understood is named and warned of."""

import os
import subprocess
import sys

import pytest
from cli_fixtures import dim


def loaded(code="", **variables):
    """Output and errors of a process that loads the library with these variables alone."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("DIM_ISA", "DIM_CONV", "DIM_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, *code.split(), "-c", "import deepinfomax as dim; print(dim.build_info())"],
        env=inherited | variables,
        capture_output=True,
        text=True,
    )
    return done.stdout, done.stderr, done.returncode


def test_no_number_of_threads_is_that_of_the_cores():
    assert loaded(DIM_NUM_THREADS="0") == loaded() and " thread" in loaded()[0]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"DIM_ISA": " Baseline\t"}, "baseline kernels"),
        ({"DIM_CONV": "DIRECT "}, "direct convolution"),
        ({"DIM_CONV": " Winograd"}, "winograd convolution"),
        ({"DIM_NUM_THREADS": " 3 "}, " 3 threads"),
        ({"DIM_NUM_THREADS": "1"}, " 1 thread, "),
        ({"DIM_NUM_THREADS": "5000"}, " 1024 threads"),
        ({"DIM_ISA": "", "DIM_CONV": "  ", "DIM_NUM_THREADS": ""}, "winograd convolution"),
    ],
)
def test_case_and_blanks_do_not_matter(variables, words):
    output, errors, status = loaded(**variables)
    assert status == 0 and words in output
    assert "not understood" not in output and errors == ""


@pytest.mark.parametrize(
    ("name", "value", "shown", "expected"),
    [
        ("DIM_ISA", "sse9", "DIM_ISA=sse9", "baseline"),
        ("DIM_CONV", "Fast", "DIM_CONV=fast", "direct or winograd"),
        ("DIM_NUM_THREADS", "two", "DIM_NUM_THREADS=two", "a number"),
        ("DIM_NUM_THREADS", "-1", "DIM_NUM_THREADS=-1", "a number"),
        ("DIM_NUM_THREADS", "99999999999999999999", "DIM_NUM_THREADS=99999999999999999999", "a number"),
        ("DIM_CONV", "a\nb\x1b[2J" + 100 * "c", "DIM_CONV=a?b?[2jccc", "direct or winograd"),
    ],
)
def test_what_is_not_understood_is_named(name, value, shown, expected):
    output, errors, status = loaded(**{name: value})
    assert status == 0 and output.count("\n") == 1
    for text in (output.partition("; not understood: ")[2], errors):
        assert shown in text and expected in text and len(text) < 300
    assert "RuntimeWarning" in errors


def test_all_of_them_at_once():
    output, _, _ = loaded(DIM_ISA="x", DIM_CONV="y", DIM_NUM_THREADS="z")
    assert all(f"DIM_{name}" in output for name in ("ISA=x", "CONV=y", "NUM_THREADS=z"))


def test_a_warning_can_be_an_error():
    _, errors, status = loaded("-W error::RuntimeWarning", DIM_CONV="fast")
    assert status != 0 and "ignores settings of the environment: DIM_CONV=fast" in errors


@pytest.mark.parametrize("more, notes", [([], 1), (["--json"], 1), (["--quiet"], 0)])
def test_commands_note_it(more, notes):
    done = dim("info", *more, environment={"DIM_ISA": "sse9"})
    assert done.returncode == 0 and len(done.stderr.splitlines()) == notes, done.stderr
    if notes:
        assert done.stderr.startswith("dim info: note: libdim ignores settings of the environment: DIM_ISA=sse9")
