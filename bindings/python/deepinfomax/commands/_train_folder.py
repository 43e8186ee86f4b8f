"""Where `dim train` reads and writes: the images of a run, new or resumed, and its folder."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import report
from .._files import is_among
from .._text import counted, cut, shell
from ..architecture import Architecture
from ..data import Dataset
from ..data.opening import is_sample
from ..data.reading import Reading, has_test_set
from ..model import Model
from ..run_folder import FILES, RunFolder, Settings, kept_of
from ..trainer import Trainer, TrainerOptions
from . import UsageError
from ._common import check_folder, check_room, claimed, make_folder
from ._places import Places
from ._train_options import checked_run


def lasting(source: str | None) -> str | None:
    """As settings keep it: a resumed run may be started from another folder."""
    return source if source is None or is_sample(source) else os.path.abspath(source)


#: Of the folder where none is named; the second is dim-run-2.
_NAME = "dim-run"


def free_name() -> str:
    """The first that nothing has: what the run's folder will be called, unless another run takes it first."""
    candidates = (_NAME if number == 1 else f"{_NAME}-{number}" for number in range(1, 10_000))
    return next(candidate for candidate in candidates if not os.path.lexists(candidate))


def check_run_room(folder: RunFolder, model: Model, epochs: int, values: dict[str, Any]) -> None:
    """Finds out before anything is read what would otherwise be found out after hours. Makes nothing. epochs: still to come."""
    place = check_folder(folder.path)
    # Both Adams keep two values beside each weight.
    weights = sum(info.nbytes for info in model.parameters_info())
    checkpoints, what = (
        1 if folder.checkpoint.exists() else 2,
        "a checkpoint, the next one while it is written, and the weights",
    )
    if values["keep_all"]:  # The newest is one of them.
        kept = -(-epochs // values["checkpoint_every"])
        checkpoints, what = checkpoints + kept - 1, f"{what}; --keep-all keeps {counted(kept, 'checkpoint')}"
    best = 2 if values["early_stopping"] else 0  # The one before is there while the next is written.
    check_room(place, (3 * checkpoints + 1 + best) * weights, what)


def check_new(folder: RunFolder) -> None:
    results = folder.results
    if results:
        whole = folder.settings_file.exists() and folder.checkpoint.exists()
        way = f"continue it with --resume {shell(str(folder.path))}, or name another folder" if whole else "name another folder"
        raise UsageError(f"{folder.path}: holds {'a run' if whole else results[0].name} already; {way}")
    check_folder(folder.path)
    check_files(folder)
    check_links(folder)
    for path in _present(folder):
        if path.name != report.NAME and not folder.begins(path):  # That one is looked at where one is asked for.
            raise UsageError(f"{path}: is there already, of no run, and a run writes a file of this name; name another folder")


def _present(folder: RunFolder) -> list[Path]:
    """What is there under the names of the run's files."""
    there = sorted(folder.path.iterdir()) if folder.path.is_dir() else []
    return [path for path in there if is_among(path, folder.path, FILES)]


def check_links(folder: RunFolder) -> None:
    """A new run does not write through a link into another one."""
    for path in _present(folder):
        if path.is_symlink():
            raise UsageError(f"{path}: is a link, and the run writes a file of this name; remove it, or name another folder")


def check_files(folder: RunFolder) -> None:
    """What is written in the end can be: nothing that is no file has a name of the run's files."""
    for path in _present(folder):
        if not path.is_file():
            raise UsageError(f"{path}: is no file, and the run writes one of this name; move it, or name another folder")


def settings_of(folder: RunFolder, arguments: argparse.Namespace) -> Settings:
    for path in folder.settings_file, folder.checkpoint:
        if os.path.lexists(path) and not path.is_file():
            found = (
                "a link to nothing" if path.is_symlink() and not path.exists() else "a folder" if path.is_dir() else "no file"
            )
            raise UsageError(f"{path}: expected the run's file, found {found}")
    if not folder.settings_file.exists():
        raise UsageError(f"{folder.path}: no run to resume: there is no {folder.settings_file.name}")
    if not folder.checkpoint.exists():
        why = "; it stopped before its first checkpoint"
        if folder.results:
            kept = folder.results[0]
            why = f", which was removed; to start a run from its weights: dim train --weights {shell(str(kept))} --output NEW"
        raise UsageError(f"{folder.path}: no run to resume: there is no {folder.checkpoint.name}{why}")
    try:
        settings = checked_run(folder.read_settings(), str(folder.settings_file))
    except ValueError as error:
        raise UsageError(str(error)) from error
    check_files(folder)
    settings = replace(settings, epochs=arguments.epochs or settings.epochs)
    if arguments.data is not None:
        settings = replace(settings, data=lasting(arguments.data))
    if settings.data is not None:
        Places([("--data", settings.data)], folders=[("--resume", arguments.resume, ())]).check()
        if arguments.data is None and not is_sample(settings.data) and not os.path.exists(settings.data):
            raise UsageError(f"{settings.data}: the run's data is no longer there; if it was moved, name it with --data")
    return settings


#: What settings and checkpoint both say.
_IN_BOTH = tuple(field.name for field in fields(Settings) if field.name in {other.name for other in fields(TrainerOptions)})


def check_same_run(folder: RunFolder, settings: Settings, trainer: Trainer) -> None:
    """That settings.json and the checkpoint are of one run, and the settings those that it began with."""
    where, other = folder.settings_file, folder.checkpoint.name
    for name in _IN_BOTH:
        ours, its = getattr(settings, name), getattr(trainer.options, name)
        if ours != (list(its) if isinstance(its, tuple) else its):
            raise UsageError(f"{where}: {name} is {ours}, {other} has {its}: they are of different runs")
    if trainer.model.architecture != Architecture(settings.architecture):
        raise UsageError(f"{where}: its architecture is not that of {other}: they are of different runs")
    kept = kept_of(settings)
    for name, began in (settings.kept or {}).items():
        if kept.get(name, began) != began:
            raise UsageError(
                f"{where}: was edited: {name} is {cut(json.dumps(getattr(settings, name)), 80)}, expected what the run began with; a "
                "resumed run keeps its settings"
            )


def prepare(
    folder: RunFolder, settings: Settings, held: ExitStack, check: Callable[[RunFolder], None] = lambda folder: None
) -> None:
    make_folder(folder.path)
    held.enter_context(claimed(folder.path))
    check(folder)  # Again: another run may have come in between.
    folder.write_settings(settings)


def prepare_free(settings: Settings, held: ExitStack) -> RunFolder:
    """A folder of the first free name. Runs that start together have one each: only one of them can make it."""
    while True:
        folder = RunFolder(free_name())
        try:
            folder.path.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise UsageError(f"{folder.path}: cannot be written: {error.strerror}") from error
        prepare(folder, settings, held)
        return folder


def link(existing: Path, new: Path) -> None:
    """A second name; a copy where the file system has no links."""
    new.unlink(missing_ok=True)
    try:
        os.link(existing, new)
    except OSError:
        shutil.copy2(existing, new)
