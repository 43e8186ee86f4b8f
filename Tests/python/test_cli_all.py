"""What holds for every command: --help, a terminal and none, Ctrl-C, outputs that cannot be written, a full disk."""

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys

import deepinfomax
import deepinfomax.search
import numpy as np
import pytest
from cli_fixtures import COMMAND, ENVIRONMENT, PATIENCE, SMALL_NETWORK, Terminal, dim, write_images
from deepinfomax import cli
from deepinfomax.commands import _progress

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="writes PyTorch's files")
#: Enough images to be interrupted at; a few for the rest.
MANY, FEW = 2500, 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """few.npz and many.npz, labelled; weights.h5; index.npz, of few.npz."""
    folder = tmp_path_factory.mktemp("data")
    write_images(folder / "few.npz", FEW, labels=True)
    write_images(folder / "many.npz", MANY, labels=True)
    with deepinfomax.Model(5) as model:
        model.save(folder / "weights.h5")
    deepinfomax.search.Index(np.random.default_rng(0).normal(size=(FEW, 8))).save(folder / "index.npz")
    return folder


# ---- --help


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help(command):
    done = dim(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: dim {command} ") and "examples:" in done.stdout
    parser = argparse.ArgumentParser()
    cli.module_of(command).add_arguments(parser)
    assert all(action.help for action in parser._actions), [a.dest for a in parser._actions if not a.help]
    assert {"--json", "--threads"} <= {option for action in parser._actions for option in action.option_strings}
    assert all(f"dim {command} " in line for line in parser.epilog.splitlines() if line.startswith("  dim"))


def test_help_of_all():
    done = dim("--help")
    assert done.returncode == 0 and all(f"\n    {command}" in done.stdout for command in cli.COMMANDS)
    assert dim().returncode == 2 and "COMMAND" in dim().stderr
    assert deepinfomax.__version__ in dim("--version").stdout


# ---- Terminals

ON_IMAGES = [
    ("encode", "--output", "out.npz", "--batch", "4"),
    ("neighbours", "--output", "out.png"),
    ("map", "--output", "out.png", "--size", "200"),
    ("classify", "--arms", "untrained", "--epochs", "3"),
]
names = pytest.mark.parametrize("arguments", ON_IMAGES, ids=lambda arguments: arguments[0])


@names
def test_a_terminal_shows_a_bar(folder, tmp_path, arguments):
    pytest.importorskip("tqdm")
    with contextlib.closing(Terminal(*arguments, "--data", folder / "few.npz", cwd=tmp_path)) as terminal:
        assert terminal.end() == 0, terminal.text
    assert "\r" in terminal.text and "images/s" in terminal.text and f"/{FEW} [" in terminal.text


@names
def test_no_terminal_no_bar(folder, tmp_path, arguments):
    done = dim(*arguments, "--data", folder / "few.npz", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout and "\r" not in done.stdout and "\x1b" not in done.stdout


@names
def test_json_is_one_object_and_nothing_else(folder, tmp_path, arguments):
    done = dim(*arguments, "--json", "--threads", "1", "--seed", "3", "--data", folder / "few.npz", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert isinstance(json.loads(done.stdout, parse_constant=pytest.fail), dict)


def test_plain_lines(monkeypatch, capsys):
    now = 100.0
    monkeypatch.setattr(_progress.time, "monotonic", lambda: now)
    with _progress.Progress(4000, 1000) as progress:
        for now in (104.0, 112.5, 114.0, 125.0):
            progress.advance(500, "loss 2.1")
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines() == [
        " 50%  2,000 of 4,000 images, 80.0 a second, 0:25 left  loss 2.1",
        " 75%  3,000 of 4,000 images, 80.0 a second, 0:12 left  loss 2.1",
    ]


def test_durations():
    assert [_progress.duration(seconds) for seconds in (0, 61, 3723)] == ["0:00", "1:01", "1:02:03"]


# ---- Ctrl-C


@names
def test_ctrl_c(folder, tmp_path, arguments):
    """Leaves what stood there before, and no half of a file."""
    pytest.importorskip("tqdm")
    output = [name for name in arguments if name.startswith("out.")]
    for name in output:
        (tmp_path / name).write_text("from before")
    with contextlib.closing(Terminal(*arguments, "--data", folder / "many.npz", cwd=tmp_path)) as terminal:
        terminal.wait_for("images/s]")
        terminal.type("\x03")
        assert terminal.end() == 130, terminal.text
    assert "interrupted" in terminal.text and "Traceback" not in terminal.text
    assert os.listdir(tmp_path) == output and all((tmp_path / name).read_text() == "from before" for name in output)


def test_ctrl_c_is_tested_under_nohup_too():
    """Many CI runners and `nohup make test &` ignore SIGINT and SIGHUP, which children inherit."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::test_ctrl_c[encode]", "--shuffle", "1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        preexec_fn=lambda: [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)],
    )
    assert done.returncode == 0 and ("1 passed" in done.stdout or "1 skipped" in done.stdout), done.stdout


# ---- Packages

HIDES = """
import importlib.util, os, sys
hidden, found = os.environ["HIDDEN"], importlib.util.find_spec
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == hidden: raise ModuleNotFoundError(name, name=name)
importlib.util.find_spec = lambda name, *more: None if name == hidden else found(name, *more)
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    "command, package, told",
    [
        ("classify --picture c.png --data nothing.npz", "matplotlib", "--picture needs matplotlib, which"),
        ("evaluate --picture a.png --data nothing.npz", "matplotlib", "--picture needs matplotlib, which"),
        ("evaluate --data nothing.npz", "sklearn", "dim evaluate needs scikit-learn, which"),
        ("map --method tsne --data nothing.npz", "sklearn", "--method tsne needs scikit-learn, which"),
        ("train --tensorboard --data nothing.npz", "tensorboard", "--tensorboard: the package tensorboard"),
        ("convert nothing.h5 a.onnx", "onnx", "a.onnx needs onnx, which"),
        ("convert nothing.h5 a.pt", "torch", "torch is not installed, which"),
    ],
)
def test_missing_packages_are_reported_first(tmp_path, command, package, told):
    """Before there is a look at the data, which is not there."""
    (tmp_path / "sitecustomize.py").write_text(HIDES)
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    done = dim(*command.split(), cwd=tmp_path, environment={"PYTHONPATH": path, "HIDDEN": package})
    assert done.returncode == 2 and told in done.stderr and "is not installed" in done.stderr and not done.stdout, done


def test_a_run_without_matplotlib_says_so(folder, tmp_path):
    """It has no curves; its report draws its own."""
    (tmp_path / "sitecustomize.py").write_text(HIDES)
    (tmp_path / "small.json").write_text(json.dumps(SMALL_NETWORK | {"local": {"score": "dot", "net": "light", "units": 16}}))
    how = ("--architecture", "small.json", "--data", folder / "few.npz", "--epochs", 1, "--batch", 4, "--report")
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    done = dim("train", *how, "--output", "run", cwd=tmp_path, environment={"PYTHONPATH": path, "HIDDEN": "matplotlib"})
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and "no curves will be drawn: matplotlib is not installed" in lines[4], done
    assert "<svg" in (tmp_path / "run" / "report.html").read_text() and not (tmp_path / "run" / "curves.png").exists()


# ---- Outputs

#: Commands, {} being the output that they are given; run in `folder`.
OUTPUTS = {
    "encode": "encode --data few.npz --output {}.npz",
    "neighbours": "neighbours --data few.npz --output {}.png",
    "map": "map --data few.npz --size 200 --output {}.png",
    "map coordinates": "map --data few.npz --size 200 --output map.png --coordinates {}.csv",
    "classify picture": "classify --data few.npz --arms untrained --epochs 1 --picture {}.png",
    "classify save": "classify --data few.npz --arms untrained --epochs 1 --save {}.h5",
    "classify predictions": "classify --data few.npz --arms untrained --epochs 1 --predict few.npz --predictions {}.csv",
    "index": "index --data few.npz --architecture basic28 --output {}.npz",
    "search page": "search 0 --index index.npz --data few.npz --architecture basic28 --html {}.html",
    "search sheet": "search 0 --index index.npz --data few.npz --architecture basic28 --picture {}.png",
    "evaluate picture": "evaluate --rows pixels --judges knn --train-limit 20 --limit 10 --picture {}.png",
    "convert to HDF5": "convert weights.h5 {}.h5",
    "convert to safetensors": "convert weights.h5 {}.safetensors",
    "convert to PyTorch": "convert weights.h5 {}.pt",
}
outputs = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[needs_torch] if "PyTorch" in name else []) for name in OUTPUTS]
)


def given(name, output):
    if "picture" in name:
        pytest.importorskip("matplotlib")
    if "evaluate" in name:
        pytest.importorskip("sklearn")
    return OUTPUTS[name].format(output).split()


@outputs
@pytest.mark.parametrize("place", ["nothing/a", "weights.h5/a", "/proc/a"])
def test_an_output_that_cannot_be_written(folder, name, place):
    done = dim(*given(name, place), cwd=folder)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert f"{place}." in done.stderr and ("there is no folder" in done.stderr or "cannot be written" in done.stderr)
    assert done.stdout == "", "found out before the work"


@outputs
def test_a_full_disk(folder, small_disk, name):
    """What stood there before is kept, and nothing else is left."""
    arguments = given(name, small_disk / "a")
    path = small_disk / f"a.{OUTPUTS[name].rpartition('{}.')[2]}"
    path.write_text("from before")
    (small_disk / "ballast").write_bytes(bytes(shutil.disk_usage(small_disk).free))
    try:
        done = dim(*arguments, cwd=folder)
        assert done.returncode in (1, 2) and "Traceback" not in done.stderr, done.stderr
        assert str(path) in done.stderr, done.stderr
        assert "No space left" in done.stderr or "are needed" in done.stderr, done.stderr
        assert path.read_text() == "from before" and sorted(os.listdir(small_disk)) == [path.name, "ballast"]
    finally:
        (small_disk / "ballast").unlink()
        path.unlink()


@pytest.mark.parametrize("arguments", [["info"], ["info", "--help"], ["--version"]])
def test_a_full_disk_behind_stdout(arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, *arguments], env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr == f"dim {arguments[0]}: output: No space left on device\n"


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_closed_streams(tmp_path, closed):
    """`>&-`: nothing to write to is no error, and no file gets the stream's number."""
    write_images(tmp_path / "few.npz", 4)

    def close():
        for number in closed:
            os.close(number)

    wrong = "encode --output a.csv --data x"
    for arguments, code in ("info", 0), ("encode --data few.npz --output a.csv", 0), ("info --nosuch", 2), (wrong, 2):
        done = dim(*arguments.split(), cwd=tmp_path, preexec_fn=close)
        assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert len(lines) == 5 and lines[0].startswith("id,y0")
