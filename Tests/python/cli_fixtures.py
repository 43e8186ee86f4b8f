"""Running `dim` as a user does: another process, with or without a terminal."""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import deepinfomax
import numpy as np
from data_fixtures import random_images

PACKAGE = str(Path(deepinfomax.__file__).parent.parent)
COMMAND = [sys.executable, "-m", "deepinfomax"]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (PACKAGE, os.environ.get("PYTHONPATH"))))}

#: A small network, quick to encode with and to train.
SMALL_NETWORK = {
    "version": 1,
    "image": {"channels": 1, "height": 16, "width": 16},
    "encoder": {
        "layers": [
            {
                "op": "conv",
                "name": "c0",
                "out": 8,
                "kernel": 4,
                "stride": 2,
                "padding": 1,
                "norm": "batch",
                "activation": "relu",
            },
            {"op": "flatten"},
            {"op": "linear", "name": "l0", "out": 32, "norm": "batch", "activation": "relu"},
            {"op": "linear", "name": "l1", "out": 12},
        ],
        "features": "c0",
    },
}

#: Seconds that a command may take: generous, since other work may load the machine.
PATIENCE = 600


def usual_signals():
    """For the child: what the tests' own parent ignores, as nohup and shells without job control do, is not ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _in_child(also=None):
    def prepare():
        usual_signals()
        if also is not None:
            also()

    return prepare


def dim(*arguments, cwd=None, environment=None, **options):
    """The finished process, with stdout and stderr as text. `environment` is added to the usual one."""
    options["preexec_fn"] = _in_child(options.get("preexec_fn"))
    return subprocess.run(
        [*COMMAND, *(os.fspath(word) if isinstance(word, bytes) else str(word) for word in arguments)],
        cwd=cwd,
        env=ENVIRONMENT | (environment or {}),
        **{"capture_output": True, "text": True, "timeout": PATIENCE} | options,
    )


def start(*arguments, **options):
    """The process, running, with pipes."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    options["preexec_fn"] = _in_child(options.get("preexec_fn"))
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


class Terminal:
    """`dim` on a terminal of 100 columns, which is also its controlling one: what is typed there reaches it as it would."""

    def __init__(self, *arguments, cwd=None):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, b"\x18\0\x64\0\0\0\0\0")
        self._process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=cwd,
            env=ENVIRONMENT | {"TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_in_child(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
        )
        os.close(slave)
        self.text = ""

    def wait_for(self, text, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < deadline, f"{text!r} did not appear in {self.text!r}"
            assert self._read(), f"ended without {text!r}: {self.text!r}"

    def type(self, text):
        os.write(self._master, text.encode())

    def end(self, seconds=PATIENCE):
        """The exit code."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, self.text
        return self._process.wait(timeout=PATIENCE)

    def hang_up(self):
        """The window is closed: the kernel sends SIGHUP, and what is written fails. Returns the exit code."""
        os.close(self._master)
        self._master = None
        return self._process.wait(timeout=PATIENCE)

    def close(self):
        self._process.kill()
        self._process.wait()
        if self._master is not None:
            os.close(self._master)

    def _read(self):
        """Whether there may be more to come."""
        if select.select([self._master], [], [], 0.1)[0]:
            with contextlib.suppress(OSError):  # The other end is closed.
                if piece := os.read(self._master, 4096):
                    self.text += piece.decode(errors="replace")
                    return True
            return False
        return True
