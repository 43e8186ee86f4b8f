"""Running `dim` as a user does: another process, with or without a terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import deepinfomax
import numpy as np
from data_fixtures import random_images

PACKAGE = str(Path(deepinfomax.__file__).parent.parent)
COMMAND = [sys.executable, "-m", "deepinfomax"]
ENVIRONMENT = os.environ | {"PYTHONPATH": PACKAGE}


def dim(*arguments, cwd=None, **options):
    """The finished process, with stdout and stderr as text."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, **options
    )


def start(*arguments, **options):
    """The process, running, with pipes."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*COMMAND, *map(str, arguments)], env=ENVIRONMENT, **(pipes | options))


def events(text):
    return [json.loads(line) for line in text.splitlines()]


def write_images(path, n, labels=False):
    """An .npz or .npy of n random images."""
    images = random_images(n)
    if path.suffix == ".npy":
        np.save(path, images)
    elif labels:
        np.savez(path, images=images, labels=np.arange(n) % 3)
    else:
        np.savez(path, images=images)
    return path


def losses(folder):
    """metrics.csv without what depends on the clock."""
    return [line.split(",")[:8] for line in (folder / "metrics.csv").read_text().splitlines()]
