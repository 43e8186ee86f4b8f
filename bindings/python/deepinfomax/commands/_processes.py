"""Commands that mpirun may start as several processes: one group, one message where something fails, data that is the same."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import numpy as np

from .. import _copies
from .._arrays import digest
from ..data import DataError, Dataset
from ..distributed import LAUNCHERS, Group, NotAnswering, PeerError, Solo, check_parts, kernels, launched, weights_digest
from ..model import Model
from ..run_folder import Settings
from ..trainer import Trainer
from . import UsageError, _output
from ._common import apply_general
from ._errors import explained

#: Bytes of pixels that are compared at the start; of larger data sets, images spread over them.
_COMPARED = 1 << 26
#: Seconds for another's notice that it ends all, after a signal that may be mpirun's answer to it. mpirun kills after one second,
#: and at once when a process has left.
_PATIENCE = 0.4


def run(arguments: argparse.Namespace, body: Callable[[Solo], int]) -> int:
    """The command in this process, which may be one of several. One of them tells what all know; who fails alone ends all."""
    if not launched():
        apply_general(arguments)
        return body(Solo())
    group = Group(timeout=arguments.timeout)
    if group.size == 1:
        raise UsageError(
            "started as one of several processes, but mpi4py sees only this one, and each would do all of the work: mpi4py was built "
            "for another MPI than that of mpirun or srun. Install mpi4py for that one (python -c 'import mpi4py.MPI "
            "as M; print(M.Get_library_version())' names its own). To run a single process, unset "
            + " and ".join(name for name in LAUNCHERS if name in os.environ)
        )
    try:
        group.call(lambda: apply_general(arguments))
        if arguments.threads is None:
            group.share_threads()
        code = body(group)
        if code >= 128:
            group.leave(code)
        return code
    except PeerError as error:
        if group.rank == 0:
            _output.error(arguments.command, str(error))
        return 2
    except BaseException as error:
        _alone(arguments.command, group, error)


def _alone(command: str, group: Group, error: BaseException) -> NoReturn:
    """The end of all processes, for a failure that the others do not know of."""
    # mpirun answers with SIGTERM to all: the message is out, and nothing else is to be said.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    code = 2 if isinstance(error, UsageError) else 1
    if (isinstance(error, NotAnswering) or not isinstance(error, Exception)) and group.ended(_PATIENCE):
        group.end()
        time.sleep(_PATIENCE)  # The other ends all, with its own code.
        os._exit(code)
    if isinstance(error, KeyboardInterrupt):
        text, code = "interrupted", 130
    elif not isinstance(error, Exception):
        number = int(getattr(error, "number", signal.SIGTERM))
        text, code = f"ended by {signal.Signals(number).name}", 128 + number
    else:
        text = explained(error) or str(error) or type(error).__name__
    _output.error(command, f"{group.name}: {text}; all processes end")
    group.abort(code)
    raise SystemExit(code)


# ---- Training


def agree(group: Solo, trainer: Trainer, settings: Settings, train: Dataset, validation: Dataset | None) -> None:
    """Begins to train together. Raises PeerError unless all processes have the same data, settings, weights and library."""
    group.call(lambda: check_parts(settings.micro_batches, group.size))
    if not isinstance(group, Group):
        return
    own = ("data", "weights", "command", "started", "digest", "kept")
    of_the_run = {name: value for name, value in asdict(settings).items() if name not in own}
    sets = {"training": train, "validation": validation}
    found = group.call(lambda: {name: _looked_at(data) for name, data in sets.items() if data is not None})
    group.require_same(settings=of_the_run, data=found)
    trainer.share(group)


def agree_on(group: Group, model: Model, data: Dataset, settings: dict[str, object]) -> None:
    """Of encoding: raises PeerError unless all processes have the same settings, data, weights and library."""
    found = group.call(lambda: _looked_at(data))
    group.require_same(library=kernels(), settings=settings, weights=weights_digest(model), data=found)


def _looked_at(data: Dataset) -> dict[str, object]:
    """What is compared."""
    return {"images": len(data), "size": tuple(data.image_size), "content": _digest(data)}


def _digest(data: Dataset) -> str:
    count = min(len(data), max(256, _COMPARED // int(np.prod(data.image_size))))
    chosen = np.unique(np.linspace(0, len(data) - 1, count).astype(np.int64))
    labels = b"" if data.labels is None else data.labels.tobytes()
    parts = [
        digest(
            repr((len(data), data.image_size, data.classes)).encode(), labels, "\0".join(data.ids).encode("utf-8", "replace")
        )
    ]
    for start in range(0, len(chosen), 256):
        try:
            parts.append(digest(data.pixels(chosen[start : start + 256])))
        except DataError as error:  # Told in its batch's turn, as in one process.
            parts.append(str(error))
    return digest("".join(parts).encode())


def resumed(group: Solo, path: Path, untrusted: bool) -> Trainer:
    """The trainer of rank 0's checkpoint, which other machines need not have."""
    if group.size == 1:
        return Trainer.resume(path, untrusted=untrusted)
    content = group.first(path.read_bytes)
    return group.call(lambda: _copies.opened(content, lambda copy: Trainer.resume(copy, untrusted=untrusted)))
