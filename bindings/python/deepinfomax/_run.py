"""What the two trainers have in common: an owned C object, its model, checkpoints, the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import byref
from typing import Any, ClassVar, TypeVar

from . import _copies
from ._files import path_text
from ._handles import OwnedHandle, model_handle, new_handle
from ._library import check, library
from ._opening import options as open_options
from ._text import shown
from .errors import InvalidArgument
from .model import Model, Path, c_path, other_format

Self = TypeVar("Self", bound="Run")

#: Fields of C's options, and the arguments that they are here.
ARGUMENTS = {
    "encoder_learning_rate": "encoder_lr",
    "discriminator_learning_rate": "discriminator_lr",
    "learning_rate": "lr",
    "adam_beta1": "betas[0]",
    "adam_beta2": "betas[1]",
    "epsilon": "eps",
}
#: A value of an enumeration in C, and one behind its own name.
_VALUE = re.compile(r"\bDIM_(?:PRIOR|NEGATIVES|COORDINATES|PRECISION|ENCODER|LOSS|MEASURE)_([A-Z0-9_]+)")
_NAMED = re.compile(rf" \({_VALUE.pattern}\)")


class Run:
    """A training run, behind the C functions whose names begin with `_PREFIX`."""

    _PREFIX: ClassVar[str]
    _handle: OwnedHandle
    _model: Model | None

    @classmethod
    def resume(cls: type[Self], path: Path, untrusted: bool = False, timeout: float | None = None) -> Self:
        """Continues the run of a checkpoint, with a model of its own.

        The run continues bit for bit as if it had never stopped. Any architecture is accepted. untrusted and
        timeout: as `Model.open` has them. Raises FileAccessError (an OSError), FileFormatError or FileContentError
        (ValueErrors): no checkpoint, or one of another kind, of other shapes, or by a newer version.
        """
        run = cls.__new__(cls)
        chosen = open_options(untrusted=untrusted, timeout=timeout)
        with c_path(path) as name:
            run._start(None, cls._function("resume_with"), name, byref(chosen))
        return run

    def _start(self, model: Model | None, make: Callable[..., int], *arguments: Any) -> None:
        self._model = model
        with python_names():
            self._handle = new_handle("trainer", self._function("free"), make, *arguments)

    @classmethod
    def _function(cls, name: str) -> Any:
        return getattr(library(), f"{cls._PREFIX}_{name}")

    def _call(self, name: str, *arguments: Any) -> None:
        """Calls `<prefix>_<name>(trainer, arguments...)` and raises what it failed with."""
        with python_names():
            check(self._function(name)(self._pointer, *arguments))

    @property
    def _pointer(self) -> int:
        return self._handle.pointer

    @property
    def model(self) -> Model:
        """The model that is trained: the one that was given, or the checkpoint's. Its weights move with each step."""
        if self._model is None or self._model._handle.closed:
            self._model = Model._of(model_handle(self._function("model"), self._pointer))
        return self._model

    @property
    def steps(self) -> int:
        """How many updates the run has made, those before a checkpoint included."""
        return int(self._function("step_count")(self._pointer))

    def save(self, path: Path) -> None:
        """Writes a checkpoint, atomically: all networks' weights, the optimisers, random state and options.

        It is a weights file as well: `Model.open` opens it. Raises FileAccessError, or InvalidArgument while
        there are accumulated gradients; ValueError for an ending of another format than HDF5.
        """
        name = path_text(path)
        if name.lower().endswith(".safetensors") or other_format(name):
            raise ValueError(f"path: {shown(name)} has another format's ending; a checkpoint is an HDF5 file: expected .h5")
        with c_path(path) as encoded:
            self._call("save", encoded)

    def close(self) -> None:
        """Frees the optimisers' memory, not the model; later calls raise InvalidHandle. Twice does nothing."""
        self._handle.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        """A pickle is a checkpoint's bytes: copies continue bit for bit, each with a model of its own.

        Raises InvalidArgument while accumulated gradients wait. A gradient callback is not part of it.
        """
        return _unpickled, (type(self), _copies.content(self.save), self.model.training)


def _unpickled(kind: type[Self], content: bytes, training: bool) -> Self:
    run = _copies.opened(content, kind.resume)
    run.model.train(training)
    return run


@contextmanager
def python_names(**own: str) -> Iterator[None]:
    """Messages about an option have the name of the argument, and values as Python has them. own: other names of arguments, of
    one that stands for several for instance."""
    try:
        yield
    except InvalidArgument as error:
        name, word, rest = error.message.partition(" ")
        message = f"{own.get(name) or ARGUMENTS.get(name, name)}{word}{_VALUE.sub(_value, _NAMED.sub('', rest))}"
        if message == error.message:
            raise
        raise InvalidArgument(message, error.status, error.status_name) from None


def _value(found: re.Match[str]) -> str:
    return repr(found[1].lower())
