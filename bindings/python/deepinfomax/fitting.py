"""The loop of `Trainer.fit` and `ClassifierTrainer.fit`: epochs, orders, callbacks, a line in the log for each.

with dim.Trainer(model) as trainer:
    epochs = trainer.fit("photographs", epochs=20, callbacks=[lambda epoch: epoch.result.total < 0.1])
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import _arrays
from ._text import class_names, counted, shown
from .data import Augmentation, Dataset, Loader, open_dataset
from .data.dataset import numbered_by
from .data.order import dataloader_order
from .distributed import Solo
from .model import Model

if TYPE_CHECKING:
    from .distributed import SharedSteps

log = logging.getLogger("deepinfomax.fit")

R = TypeVar("R")


@dataclass(frozen=True)
class FittedEpoch(Generic[R]):
    """The result of an epoch, passed to callbacks."""

    #: From 0 on; of a resumed run, from where it stopped.
    number: int
    #: Means over the epoch's images, each of before its batch's update.
    result: R
    #: The same of the validation data after the epoch; None without such data.
    validation: R | None
    #: Updates of the run so far.
    steps: int
    seconds: float


#: What it returns ends the fit where it is True itself.
Callback = Callable[[FittedEpoch[Any]], object]


@dataclass(frozen=True)
class Steps(Generic[R]):
    """What a trainer can do."""

    model: Model
    labelled: bool
    count: Callable[[], int]
    #: images, labels -> result, images seen
    step: Callable[[Any, Any], R]
    evaluate: Callable[[Any, Any], R]
    #: Of results, each with its number of images.
    mean: Callable[[Sequence[tuple[R, int]]], R]
    #: Images that a batch has at least: 2 with in-batch negatives, more with so many drawn ones.
    fewest: int = 1
    #: With other processes, each of which has its part of every batch.
    shared: SharedSteps | None = None
    #: Into so many equal ones a step divides its batch.
    micro_batches: int = 1

    @property
    def part(self) -> tuple[int, int]:
        """This process's of a batch, and of how many."""
        return (0, 1) if self.shared is None else (self.shared.group.rank, self.shared.group.size)


def fit(
    run: Steps[R],
    data: Any,
    epochs: int,
    callbacks: Sequence[Callback] | Callback | None,
    batch: int,
    seed: int,
    validation: Any,
    augment: str | Augmentation | None = None,
) -> list[FittedEpoch[R]]:
    group = Solo() if run.shared is None else run.shared.group
    # Each process checks its own, and an error of one is everybody's.
    seed, heard, changes = group.call(lambda: _arguments(run, epochs, callbacks, batch, seed, augment))
    classes = _Classes(run.model.class_names, "the model") if run.labelled else _Classes()
    source = group.call(lambda: _source(run, data, batch, seed, "dataset", classes, changes))
    taken = classes if classes.names else _Classes(source.classes, "dataset")
    held_out = None if validation is None else group.call(lambda: _source(run, validation, batch, None, "validation", taken))
    group.require_same(
        epochs=epochs,
        batch=batch,
        seed=seed,
        augmentation=str(changes) or "none",
        batches=source.length,
        validation=validation is not None,
    )
    new_names = class_names(taken.names, run.model.sizes.classes) if taken.names and not classes.names else []
    length = source.length
    first, start = divmod(run.count(), length) if length else (0, 0)
    history: list[FittedEpoch[R]] = []
    for number in range(first, first + epochs):
        began = time.monotonic()
        batches = source.epoch(number, start)
        results = []
        for images, labels in batches if run.shared is None else run.shared.batches(batches):
            results.append((run.step(images, labels), len(images)))
            if new_names:  # Now its answers have names.
                run.model.class_names, new_names = new_names, []
        start = 0
        if not results:
            raise ValueError("dataset: expected one batch at least, found none")
        judged = None
        if held_out is not None:
            judged = group.call(lambda: _judged(run, held_out))
        done = FittedEpoch(number, run.mean(results), judged, run.count(), time.monotonic() - began)
        history.append(done)
        beside = "" if judged is None else f", validation {judged}"
        log.info("epoch %d: %s%s, %d steps, %.1f s", number, done.result, beside, done.steps, done.seconds)
        answers = group.call(lambda: [callback(done) for callback in heard])  # All of them hear of it.
        wanted = any(isinstance(answer, (bool, np.bool_)) and bool(answer) for answer in answers)
        if group.highest(wanted)[0]:
            log.info("a callback ended the fit after epoch %d", number)
            break
    return history


def _arguments(
    run: Steps[R], epochs: int, callbacks: Any, batch: int, seed: int, augment: str | Augmentation | None
) -> tuple[int, list[Callback], Augmentation]:
    for name, number, least in ("epochs", epochs, 0), ("batch", batch, 2):
        if not isinstance(number, (int, np.integer)) or isinstance(number, bool) or number < least:
            raise ValueError(f"{name}: expected a whole number of at least {least}, found {number!r}")
    seed = _arrays.whole_number(seed, 0, 2**64, "seed", "0 <= seed < 2**64")
    if not isinstance(augment, (str, Augmentation, type(None))):
        raise TypeError(
            f"augment: expected a text, 'crop=4,flip' for instance, or an Augmentation, found {type(augment).__name__}"
        )
    changes = Augmentation.parse(augment) if isinstance(augment, str) else augment or Augmentation()
    image = run.model.architecture.as_dict()["image"]
    changes.check(image["height"], image["width"])
    return seed, _heard(callbacks), changes


def _heard(callbacks: Sequence[Callback] | Callback | None) -> list[Callback]:
    """Functions alone, before an epoch is trained in vain."""
    if callbacks is None or callable(callbacks):
        return [] if callbacks is None else [callbacks]
    heard = _arrays.members(callbacks)
    for callback in [callbacks] if heard is None else heard:
        if not callable(callback):
            raise TypeError(f"callbacks: expected functions of one FittedEpoch, found {_arrays.briefly(callback)}")
    return heard or []


def _judged(run: Steps[R], source: _Source) -> R:
    found = [(run.evaluate(*some), len(some[0])) for some in source.epoch(0, 0) if len(some[0]) >= run.fewest]
    if not found:
        raise ValueError(f"validation: expected one batch of {run.fewest} images at least, found none")
    return run.mean(found)


@dataclass(frozen=True)
class _Source:
    #: Batches an epoch; 0 where nobody knows.
    length: int
    #: The (images, labels) of epoch `number`, from batch `start` on.
    epoch: Callable[[int, int], Iterator[tuple[Any, Any]]]
    #: Names of the classes, by number, as a model takes them; none where nobody knows.
    classes: Sequence[str] = ()


@dataclass(frozen=True)
class _Classes:
    """Whose numbers labels are to be; without names, the data's own."""

    names: Sequence[str] = ()
    whose: str = ""


def _source(
    run: Steps[Any],
    data: Any,
    batch: int,
    seed: int | None,
    what: str,
    classes: _Classes,
    augment: Augmentation = Augmentation(),
) -> _Source:
    """seed: of the order and the augmentation; None for the data's own order, with a last batch that may be smaller."""
    if isinstance(data, (str, bytes, os.PathLike)):
        image = run.model.architecture.as_dict()["image"]
        data = open_dataset(data, labelled=run.labelled, image=run.model.sizes.image, resize=image["resize"])
    if isinstance(data, Dataset):
        return _of_dataset(run, data, batch, seed, what, classes, augment)
    has_labels = run.labelled and isinstance(data, tuple) and len(data) == 2 and not _is_batch(data[1])
    images, labels = data if has_labels else (data, None)
    is_listed = not has_labels and _are_batches(data, what)
    if (
        hasattr(images, "__array_interface__")
        or hasattr(images, "detach")
        or isinstance(images, (list, tuple))
        and not is_listed
    ):
        return _of_arrays(run, images, labels, batch, seed, what, augment)
    torch = sys.modules.get("torch.utils.data")
    if torch is not None and isinstance(data, torch.Dataset):
        raise TypeError(
            f"{what}: a torch Dataset gives single images: give DataLoader(dataset, batch_size={batch}, shuffle=True)"
        )
    if isinstance(data, Iterator):
        raise TypeError(
            f"{what}: {type(data).__name__} can be gone through once only; expected a data set, an array, a DataLoader"
        )
    if isinstance(data, Iterable) and not isinstance(data, (Mapping, Set)):
        if augment:
            raise ValueError(f"augment: {what} gives whole batches, whose images have no numbers: let it change them itself")
        fewest = 0 if seed is None else max(2, run.fewest)
        if is_listed:
            _check_listed(run, data, fewest, what, 1 if seed is None else run.micro_batches // run.part[1])
        _check_loader(data, fewest, what)
        if seed is None:
            _check_largest(data, run.fewest, what)
        return _Source(0, lambda number, start: _checked(data, fewest, run.labelled, what))
    raise TypeError(
        f"{what}: expected a path, a deepinfomax data set, an array{' with labels' if run.labelled else ''}, or batches as a "
        f"DataLoader gives them; found {type(data).__name__}"
    )


def _of_dataset(
    run: Steps[Any], data: Dataset, batch: int, seed: int | None, what: str, classes: _Classes, augment: Augmentation
) -> _Source:
    if data.image_size != run.model.sizes.image:
        raise ValueError(
            f"{what}: {shown(data.name)} has images of {data.image_size}, the model takes {run.model.sizes.image}; "
            f"open_dataset(..., image={run.model.sizes.image}) makes them so"
        )
    if run.labelled and data.labels is None:
        raise ValueError(f"{what}: expected images with labels, found {shown(data.name)} without")
    names: Sequence[str] = ()
    if run.labelled:
        data = numbered_by(data, classes.names, classes.whose, f"{what}: ")
        names = class_names(data.classes or ())
        most = run.model.sizes.classes
        found = int(data.labels.max()) + 1 if data.labels is not None and len(data) else 0
        if found > most:
            raise ValueError(
                f"{what}: {shown(data.name)} has {counted(found, 'class', 'classes')}, the model's classifier {most:,}; "
                'give the model an architecture with more: {"preset": .., "classifier": {"classes": ..}}'
            )
        if data.labels is not None:
            _arrays.check_classes(data.labels, most, f"{what}: labels")
        names = names[:most]
    size = _size(run, batch, len(data), seed, what)
    ordered = seed is not None
    part = run.part if ordered else (0, 1)
    loader = Loader(data, size, seed or 0, shuffle=ordered, drop_last=ordered, augment=augment, part=part)
    return _Source(len(loader), lambda number, start: ((one.images, one.labels) for one in loader.epoch(number, start)), names)


def _of_arrays(
    run: Steps[Any], images: Any, labels: Any, batch: int, seed: int | None, what: str, augment: Augmentation
) -> _Source:
    if run.labelled and labels is None:
        raise ValueError(f"{what}: expected (images, labels), found images alone")
    _check_images(run, images, f"{what}: ")
    n = len(images)
    numbers = None if labels is None else _checked_labels(run, labels, n, f"{what}: ")
    size = _size(run, batch, n, seed, what)
    length = n // size if seed is not None else -(-n // size)
    part, parts = run.part if seed is not None else (0, 1)

    def epoch(number: int, start: int) -> Iterator[tuple[Any, Any]]:
        order = np.arange(n) if seed is None else dataloader_order(n, seed, number)
        for at in range(start, length):
            whole = order[at * size : (at + 1) * size]
            chosen = whole[part * len(whole) // parts : (part + 1) * len(whole) // parts]
            some = [images[i] for i in chosen.tolist()] if isinstance(images, (list, tuple)) else images[chosen]
            if augment:
                some = augment.apply(run.model._images(some)[0], chosen, seed or 0, number)
            yield some, None if numbers is None else numbers[chosen]

    return _Source(length, epoch)


def _size(run: Steps[Any], batch: int, n: int, seed: int | None, what: str) -> int:
    least = run.fewest if seed is None else max(2, run.fewest)
    if n < least:
        raise ValueError(f"{what}: expected {least} images at least, found {n}")
    if batch < least:
        raise ValueError(f"batch: expected {least} at least, an image and its {least - 1} negatives, found {batch}")
    size = min(batch, n)
    if seed is not None and size % run.micro_batches:
        found = f"{batch}" if batch <= n else f"{batch}, of which {what} has {counted(n, 'image')}"
        raise ValueError(f"batch: expected a multiple of micro_batches, which is {run.micro_batches}, found {found}")
    return size


# ---- Before a step is made in vain


def _check_images(run: Steps[Any], images: Any, where: str) -> None:
    """Of what is in memory: shapes and finite numbers."""
    item = run.model.sizes.image
    if isinstance(images, (list, tuple)):
        for number, one in enumerate(images):
            if isinstance(one, np.ndarray) or hasattr(one, "detach"):  # Not a path or a picture, read in its turn.
                _arrays.check_images(one, item, f"{where}images[{number}]", single=True)
    else:
        _arrays.check_images(images, item, f"{where}images")


def _checked_labels(run: Steps[Any], labels: Any, n: int, where: str) -> NDArray[Any]:
    """Integers, numbers of the model's classes, one for each image."""
    numbers = _arrays.integers(labels, f"{where}labels")
    if numbers.shape != (n,):
        raise ValueError(f"{where}expected {n} labels, one for each image, found shape {numbers.shape}")
    _arrays.check_classes(numbers, run.model.sizes.classes, f"{where}labels")
    return numbers


def _check_listed(run: Steps[Any], data: Any, fewest: int, what: str, parts: int) -> None:
    """parts: into which a step divides this process's batch."""
    largest = 0
    for number, (images, labels) in enumerate(_checked(data, fewest, run.labelled, what)):
        where = f"{what}: batch {number}: "
        _check_images(run, images, where)
        if len(images) % max(1, parts):
            raise ValueError(f"{where}expected a multiple of {parts} images, micro_batches, found {len(images)}")
        if run.labelled:
            _checked_labels(run, labels, len(images), where)
        largest = max(largest, len(images))
    if largest < run.fewest:
        raise ValueError(f"{what}: expected one batch of {run.fewest} images at least, found {largest} in the largest")


def _check_largest(loader: Any, fewest: int, what: str) -> None:
    """Of validation data: smaller batches are left out."""
    if (known := _loader_sizes(loader)) and min(known) < fewest:
        raise ValueError(f"{what}: expected one batch of {fewest} images at least, found {min(known)} in the largest")


# ---- Batches


def _is_batch(some: Any) -> bool:
    """Whether it is images (n, c, h, w), alone or with labels. With fewer axes it may be a single image."""
    return getattr(_pair(some)[0], "ndim", 0) == 4


def _are_batches(data: Any, what: str) -> bool:
    """Whether a list or a tuple is one of batches, and not of single images. Raises TypeError where some of it is."""
    if not isinstance(data, (list, tuple)):
        return False
    found = [_is_batch(some) for some in data]
    if any(found) and not all(found):
        number = found.index(False)
        raise TypeError(
            f"{what}: a {type(data).__name__} with arrays (n, c, h, w), alone or in pairs with labels, is one of batches; found "
            f"{_described(data[number])} in its place {number}"
        )
    return bool(found) and all(found)


def _described(one: Any) -> str:
    return f"an array of shape {tuple(one.shape)}" if hasattr(one, "shape") else type(one).__name__


def _check_loader(loader: Any, fewest: int, what: str) -> None:
    """Where a DataLoader tells how large its batches are."""
    known = _loader_sizes(loader)
    if known is None:
        return
    size, n = known
    if size < fewest:
        raise ValueError(f"{what}: expected a DataLoader of a batch_size of {fewest} at least, found {size}")
    if 0 < n % size < fewest and not loader.drop_last:
        raise ValueError(
            f"{what}: the last batch has {counted(n % size, 'image')} of {n:,}, expected {fewest} at least: give the DataLoader "
            f"drop_last=True, or another batch_size than {size}"
        )


def _loader_sizes(loader: Any) -> tuple[int, int] | None:
    """Images in a batch and in all of a DataLoader, where it tells."""
    size, drops, collate = (getattr(loader, name, None) for name in ("batch_size", "drop_last", "collate_fn"))
    if not isinstance(size, int) or not isinstance(drops, bool):
        return None
    if collate is not None and not str(getattr(collate, "__module__", "")).startswith("torch."):
        return None  # Which may make any number of images of one.
    try:
        return size, len(loader.sampler if hasattr(loader, "sampler") else loader.dataset)
    except (AttributeError, TypeError, NotImplementedError):
        return None


def _checked(batches: Iterable[Any], fewest: int, labelled: bool, what: str) -> Iterator[tuple[Any, Any]]:
    for number, some in enumerate(batches):
        images, labels = _pair(some)
        if labelled and labels is None:
            raise ValueError(f"{what}: expected (images, labels), found images alone in batch {number}")
        if (isinstance(images, list) or getattr(images, "ndim", 0) == 4) and len(images) < fewest:
            raise ValueError(
                f"{what}: batch {number} of the epoch has {counted(len(images), 'image')}, expected {fewest} at least; where it is "
                "the last one, leave it out: drop_last=True of a DataLoader"
            )
        yield images, labels


def _pair(some: Any) -> tuple[Any, Any]:
    """A batch of a DataLoader: images, or images and labels."""
    if isinstance(some, (tuple, list)) and len(some) == 2 and hasattr(some[0], "__len__"):
        return some[0], some[1]
    if isinstance(some, (tuple, list)) and len(some) == 1:
        return some[0], None
    return getattr(some, "images", some), getattr(some, "labels", None)
