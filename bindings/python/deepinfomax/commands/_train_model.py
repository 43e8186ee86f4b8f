"""The model and the trainer of `dim train`, and the data as it takes it."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from typing import Any

import numpy as np

from .. import evaluation
from .._text import class_names, shown
from ..architecture import Architecture
from ..data import DataError, Dataset, adapted
from ..data.options import Size
from ..data.reading import Reading
from ..errors import DimError, InvalidArgument
from ..model import Model
from ..run_data import open_data
from ..trainer import Trainer
from . import UsageError, _output
from ._common import opened

#: Hidden units of the network of --coordinates where the architecture describes none: the paper's score networks'.
_COORDINATES = 512
#: Images that tell whether data is grey, where its files are of several sizes.
_LOOKED_AT = 256
#: Names in a message.
_SHOWN = 10


def model_and_data(arguments: argparse.Namespace, values: dict[str, Any]) -> tuple[Model, Dataset, Dataset | None, bool]:
    """The model that the settings ask for and the data as it takes it: what neither says the other does. And whether the
    images' own size, one for all, was taken."""
    named = values["architecture"]
    size, channels = values["image_size"], values["channels"]
    source, count = values["data"], values["validation_images"]
    if isinstance(named, str):
        named = adapted.read(named)
    if named is None and values["weights"] is not None:
        with opened(values["weights"], None, arguments.untrusted) as model:
            named = model.architecture
    reading = Reading(values["resize"] or "fit", values["max_pixels"], bool(values["skip_damaged"]))
    data: tuple[Dataset, Dataset | None] | None = None
    one_size = False
    if named is None:
        if size is None or channels is None:
            try:
                data = open_data(source, count, reading)
                found = data[0].image_size
                one_size = size is None and values["resize"] is None
            except DataError:  # Of several sizes, for instance, none of which is asked for.
                if size is None:
                    raise
                found = (_channels(replace(reading, image=(3, *size)).open(source)), *size)
        else:
            found = (channels, *size)
        image: Size = (channels or found[0], *(size or found[1:]))
        if data is not None and image != found:
            data = None
        named = adapted.DEFAULT
    else:
        try:
            image = adapted.image_size(adapted.described(named))
        except InvalidArgument as error:
            raise UsageError(f"--architecture: {_source(values['architecture'])}{error.message}") from error
        image = (channels or image[0], *(size or image[1:]))
    try:
        architecture = adapted.described(named, image=image, resize=values["resize"])
    except InvalidArgument as error:
        if values["architecture"] is not None:
            raise UsageError(f"--architecture: {_source(values['architecture'])}{error.message}") from error
        raise UsageError(
            f"{error.message}\n{adapted.DEFAULT}'s layers do not fit images of {image[2]}x{image[1]}; make them another size "
            "with --image-size 64 for instance, or name another --architecture"
        ) from error
    way = "none" if one_size else adapted.resize(architecture)
    if data is None or not one_size and reading.resize != way:
        data = open_data(source, count, replace(reading, image=image, resize=way))
    train, validation = data
    names = _names(train)
    fixed = adapted.is_notebook(architecture) or adapted.names_classes(named) or values["weights"]
    described = architecture.as_dict()
    if _with_coordinates(values) and described["coordinates"] is None:
        if values["weights"]:
            raise UsageError(
                f"--coordinates: {values['weights']} has no coordinates network to continue with; expected weights of a run with "
                "--coordinates, or no --weights"
            )
        architecture = adapted.described(described | {"coordinates": {"hidden": [_COORDINATES]}})
    if names is not None and not fixed and 2 <= len(names) <= adapted.MOST_CLASSES:
        architecture = adapted.with_classes(architecture, len(names))
    if values["weights"] is not None and values["architecture"] is not None and not adapted.names_classes(named):
        architecture = _as_in_the_file(architecture, values["weights"], arguments.untrusted)
    model = Model(values["seed"], architecture=architecture)
    # The notebook's files stay what they were: its ten classes have no names.
    if names is not None and model.sizes.classes == len(names) and not adapted.is_notebook(architecture):
        model.class_names = names
    if values["weights"] is not None:
        with opened(
            values["weights"],
            architecture,
            arguments.untrusted,
            "without --architecture, --image-size, --channels and --resize, the file's own is used",
        ) as start:
            if "encoder" not in start.networks:
                raise UsageError(f"{values['weights']}: holds {', '.join(start.networks)}; an encoder is needed")
            model.load_state_dict(start.state_dict())
            if "classifier" in start.networks:  # It may have been trained: its outputs mean its own classes.
                model.class_names = start.class_names
    return model, train, validation, one_size


def tell_classes(arguments: argparse.Namespace, model: Model, data: Dataset) -> None:
    """Where the classes of the model, which has a classifier, are not the data's."""
    names = _names(data)
    if names is None or not model.sizes.classes or model.class_names == names or adapted.is_notebook(model.architecture):
        return
    if model.class_names:
        note = f"the classifier of --weights keeps its classes, {_listed(model.class_names)}; the data's are {_listed(names)}"
    elif model.sizes.classes == len(names):
        note = "the classifier of --weights has no class names, and gets none: it may have been trained on others"
    else:
        note = f"the architecture has {model.sizes.classes:,} classes, the data {len(names):,}: the weights will not name them"
    _output.note(arguments, note)


def _names(data: Dataset) -> list[str] | None:
    return None if data.labels is None or data.classes is None else class_names(data.classes)


def _listed(names: list[str]) -> str:
    return ", ".join(map(shown, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")


def _as_in_the_file(architecture: Architecture, path: str, untrusted: bool) -> Architecture:
    """With the file's networks that a run adds to what --architecture names: a classifier for its classes, coordinates."""
    try:
        with opened(path, None, untrusted) as start:
            own = start.architecture
    except (UsageError, DimError):  # It is opened again, as of the architecture: what is wrong is said then.
        return architecture
    added = {name: own.as_dict()[name] for name in ("classifier", "coordinates")}
    return own if architecture.as_dict() | added == own.as_dict() else architecture


def _with_coordinates(values: dict[str, Any]) -> bool:
    """Whether the architecture needs a network for it: as asked, else where nobody has named the networks."""
    if values["coordinates"] is not None:
        return bool(values["coordinates"] != "none")
    return values["architecture"] is None and values["weights"] is None


def _source(named: Any) -> str:
    """Of an architecture, for messages: its file, if it is from one."""
    return f"{named}: " if isinstance(named, str) and os.path.exists(named) else ""


def _channels(data: Dataset) -> int:
    """1 where a few hundred images from all over the data are grey, opened as RGB."""
    some = np.unique(np.linspace(0, len(data) - 1, _LOOKED_AT).astype(np.int64))
    for start in range(0, len(some), evaluation.BATCH):
        images = data.read(some[start : start + evaluation.BATCH])
        if not (images == images[:, :1]).all():
            return 3
    return 1


def trainer_of(model: Model, values: dict[str, Any]) -> Trainer:
    """What is None is as the preset of the model's architecture has it."""
    if values["gradient_penalty"] and values["prior"] not in (None, "adversarial"):
        raise UsageError("--gradient-penalty: has no effect without --prior adversarial")
    if values["locations"] and values["beta"] == 0:
        raise UsageError("--locations: has no effect with --beta 0: expected a beta over 0, or no --locations")
    coordinates = values["coordinates"]
    if coordinates is None and values["architecture"] is None and "coordinates_d" in model.networks:
        coordinates = "absolute"  # By default, and where --weights are of a run that was so.
    try:
        return _made(model, values, coordinates)
    except ValueError as error:  # The library's InvalidArgument as well.
        name = str(error).partition(" ")[0].rstrip(":")
        rest = str(error)[len(name) :].replace("None, for all, or ", "")  # Python's word for an option that is not given.
        if name == "gradient_penalty" and "not adversarial" in rest:  # The preset's prior.
            raise UsageError("--gradient-penalty: has no effect without --prior adversarial") from None
        if name not in values:
            raise
        raise UsageError(f"--{name.replace('_', '-')}{rest}") from None


def _made(model: Model, values: dict[str, Any], coordinates: Any) -> Trainer:
    return Trainer(
        model,
        values["prior"],
        values["seed"],
        values["lr"],
        measure=values["measure"],
        negatives=values["negatives"],
        alpha=values["alpha"],
        beta=values["beta"],
        gamma=values["gamma"],
        gradient_penalty=values["gradient_penalty"],
        gradient_clip=values["gradient_clip"],
        betas=None if values["betas"] is None else tuple(values["betas"]),
        weight_decay=values["weight_decay"],
        coordinates=coordinates,
        coordinates_weight=values["coordinates_weight"],
        occlusion=values["occlusion"],
        locations=values["locations"],
        micro_batches=values["micro_batches"],
        precision=values["precision"],
    )
