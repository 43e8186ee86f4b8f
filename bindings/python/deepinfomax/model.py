"""The networks of Deep InfoMax as one object."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from ctypes import byref, c_bool, c_char_p, c_size_t, c_void_p, sizeof
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _copies, _library
from ._files import path_text
from ._handles import OwnedHandle, model_handle, new_handle
from ._library import ParameterInfo as _CParameterInfo
from ._library import SaveOptions, check, library, text
from ._opening import NETWORKS as NETWORKS
from ._opening import options as open_options
from ._text import shown
from .architecture import Architecture
from .data import inputs
from .errors import FileAccessError, TooLarge

log = logging.getLogger(__name__)

#: What `Model.encode` can give.
OUTPUTS = ("encoded", "features", "conv", "fc")

_DTYPES: dict[int, np.dtype[Any]] = {0: np.dtype(np.float32), 1: np.dtype(np.int64)}  # dim_dtype

#: What a file is saved as; the index is dim_format.
FORMATS = ("hdf5", "safetensors")
#: Endings of files that `dim convert` writes, and of all that are not written here.
_CONVERTED = (".pt", ".pth", ".onnx")
_OTHER_FORMATS = (
    *(*_CONVERTED, ".pkl", ".pickle", ".npz", ".npy", ".csv", ".tsv", ".txt", ".json"),
    *(".png", ".jpg", ".jpeg", ".svg", ".pdf", ".html"),
)

#: So many images are encoded at once at first, and more while that takes less than half of these seconds.
_PIECE, _PROMPT = 32, 0.2

Floats = NDArray[np.float32]
Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]


@dataclass(frozen=True)
class ParameterInfo:
    """One entry of the state_dict."""

    #: With its network's prefix: "encoder.c0.weight".
    name: str
    #: float32, or int64 for num_batches_tracked.
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    nbytes: int
    #: False for running statistics and counters.
    trainable: bool


@dataclass(frozen=True)
class Sizes:
    """Shapes of a model's arrays, without the leading n; None or 0 for what its architecture does not have."""

    #: (c, h, w)
    image: tuple[int, int, int]
    #: (c, h, w) of M.
    features: tuple[int, int, int]
    #: Numbers in y.
    encoded: int
    #: (h, w) of `score_local`.
    local: tuple[int, int] | None
    #: (c, h, w) of the map that `score_global` reads.
    global_map: tuple[int, int, int] | None
    #: (c, h, w) of the last map before it is flattened.
    conv: tuple[int, int, int] | None
    #: Numbers in the last hidden linear layer.
    fc: int
    classes: int


class Model:
    """Encoder, discriminators and classifier with their weights.

    Arrays. Numpy arrays and torch tensors (any strides, with or without a graph) go in, numpy float32 comes out.
    float64, float16 and bfloat16 are rounded to float32; other dtypes are a TypeError, except uint8 for images.
    Where the argument is one image or vector without the leading n, the results have no n either.

    Modes. A model is created in evaluation mode. In training mode, which the original notebook shows, batch norm uses
    the batch's statistics and each forward pass moves the running ones; `classify` then needs two vectors at least.

    Threads. One model may be used by several threads at once; libdim runs without the GIL. A call sees all old or all
    new weights; `encode` of more than 32 images in the main thread is several calls, so that Ctrl-C can interrupt it.
    After a fork the child may continue using the model. Closing, leaving a `with` block, collection and the
    interpreter's exit free it.

    Copies. `copy.copy`, `copy.deepcopy` and pickle give a model of its own with the same architecture, weights and mode.

    Errors of libdim are `DimError`s, each also a ValueError, OSError... (deepinfomax.errors). A failing call changes nothing.
    """

    def __init__(self, seed: int = 0, architecture: Any = "notebook") -> None:
        """The weights of `torch.manual_seed(seed)` and PyTorch's modules of the same description, bit for bit.

        As in PyTorch only the low 32 bits of the seed matter; 0 <= seed < 2**64. architecture: a preset's name, a dict,
        JSON text, a path or an Architecture (docs/architecture.md).
        """
        seed = _arrays.whole_number(seed, 0, 2**64, "seed", "0 <= seed < 2**64")
        made = architecture if isinstance(architecture, Architecture) else Architecture(architecture)
        self._handle = model_handle(library().dim_model_create_with, made._handle.pointer, seed)

    @classmethod
    def open(
        cls,
        path: Path,
        architecture: Any = None,
        networks: str | Sequence[str] | None = None,
        untrusted: bool = False,
        timeout: float | None = None,
    ) -> Model:
        """Opens a file by `save`, or a state_dict written with h5py or safetensors, as a model of its networks.

        architecture: required of the file, whatever `Model` takes. Without it, the one that the file names (files by libdim do),
        else the preset that fits its names and shapes. A file that names another architecture is refused.

        networks: names of those to read, "encoder" for instance; the others are not checked.

        untrusted: a child process without privileges reads the file, so that no file can harm this one; takes 20 ms longer,
        about 140 for all networks of the notebook. timeout: how long that may take, in seconds; 60 by default; of
        untrusted files alone.

        Raises FileAccessError (an OSError), FileFormatError or FileContentError (ValueErrors).
        """
        chosen = open_options(architecture, networks, untrusted, timeout)
        with c_path(path) as name:
            model = cls._of(model_handle(library().dim_model_open_with, name, byref(chosen)))
        log.info("opened %r: %s", path, ", ".join(model.networks))
        return model

    @classmethod
    def _of(cls, handle: OwnedHandle) -> Model:
        model = cls.__new__(cls)
        model._handle = handle
        return model

    def load(
        self, path: Path, networks: str | Sequence[str] | None = None, untrusted: bool = False, timeout: float | None = None
    ) -> None:
        """Replaces the networks that the file holds, all or nothing; names of classes too, where it has some.

        The file must be of the model's architecture. networks: names of those to read, the others are not compared, so
        that "encoder" reads a pretrained encoder into a model with another classifier. untrusted, timeout and what it
        raises: as `open`.
        """
        chosen = open_options(None, networks, untrusted, timeout)
        with c_path(path) as name:
            check(library().dim_model_load_with(self._handle.pointer, name, byref(chosen)))

    def save(self, path: Path, format: Literal["hdf5", "safetensors"] | None = None) -> None:
        """Writes all networks, atomically: in PyTorch's layout, one dataset or tensor per state_dict entry.

        format: "hdf5", in which every bit is under a checksum: `{k: torch.from_numpy(f[k][()]) for k in f}` on the opened
        file f is the state_dict. "safetensors": `safetensors.torch.load_file(path)` is. Without it the path decides:
        safetensors where it ends in ".safetensors", else HDF5. Raises FileAccessError; ValueError for an ending of another format.
        """
        if format is None:
            if other := other_format(path):
                raise ValueError(f"path: {other}")
            format = "safetensors" if os.fsencode(path).lower().endswith(b".safetensors") else "hdf5"
        if not isinstance(format, str) or format not in FORMATS:
            raise ValueError(f"format is {_arrays.briefly(format)}; expected {' or '.join(map(repr, FORMATS))}")
        options = SaveOptions(sizeof(SaveOptions), FORMATS.index(format))
        with c_path(path) as name:
            check(library().dim_model_save_with(self._handle.pointer, name, byref(options)))
        log.info("saved %r", path)

    # ---- Forward passes

    @overload
    def encode(self, images: Any, features: Literal[True] = True) -> tuple[Floats, Floats]: ...
    @overload
    def encode(self, images: Any, features: Literal[False]) -> Floats: ...
    @overload
    def encode(self, images: Any, features: bool) -> Floats | tuple[Floats, Floats]: ...
    @overload
    def encode(self, images: Any, *, outputs: Sequence[str]) -> tuple[Floats, ...]: ...

    def encode(
        self, images: Any, features: bool = True, *, outputs: Sequence[str] | None = None
    ) -> Floats | tuple[Floats, ...]:
        """The encoder: images -> y (n, encoded), M (n, *features); with features=False y alone, in less memory.

        images: floating point (n,c,h,w), taken as it is (pixels in [0,1]: the architecture's normalisation is applied by
        the library); or uint8 (n,h,w,c) or (n,c,h,w), divided by 255. Or an image file's path or a PIL image, which get the
        model's size as the architecture's `resize` says; or a list of any of these. One image without n gives results
        without n.
        `self.sizes` has the sizes; of the notebook's model images are 3x32x32, y has 64 numbers, M is 128x26x26.

        outputs: instead of features, the names of the outputs to return, of OUTPUTS: a tuple of arrays in that order. "conv" is the
        last map before it is flattened; "fc" the last hidden linear layer.
        """
        features = _arrays.flag(features, "features")
        names = outputs if outputs is not None else ("encoded", "features") if features else ("encoded",)
        shapes = self._shapes(names)
        x, single = self._images(images)
        arrays = {name: _empty(len(x), shapes[name]) for name in names}
        for start, stop in self._pieces(len(x)):
            wanted = _library.Outputs(struct_size=ctypes.sizeof(_library.Outputs))
            for name, array in arrays.items():
                setattr(wanted, name, _arrays.pointer(array[start:stop]))
            some = _arrays.pointer(x[start:stop])
            check(library().dim_encode_outputs(self._handle.pointer, some, stop - start, byref(wanted)))
        results = tuple(_result(arrays[name], single) for name in names)
        return results if outputs is not None or features else results[0]

    def _shapes(self, names: Any) -> dict[str, tuple[int, ...]]:
        """Of one image's outputs, once `names` are names of outputs that there are."""
        if not isinstance(names, Sequence) or _arrays.members(names) is None:
            raise TypeError(f"outputs: expected a tuple of names, found {_arrays.briefly(names)}")
        sizes = self.sizes
        shapes = {"encoded": (sizes.encoded,), "features": sizes.features, "conv": sizes.conv or (0,), "fc": (sizes.fc,)}
        for name in names:
            if not isinstance(name, str) or name not in shapes:
                raise ValueError(f"outputs: expected some of {', '.join(OUTPUTS)}, found {_arrays.briefly(name)}")
            if shapes[name] == (0,):
                raise ValueError(f"outputs: the model's architecture has no {name}")
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"outputs: expected different names, one at least, found {names!r}")
        return shapes

    def _images(self, images: Any) -> tuple[Floats, bool]:
        return inputs.images(images, self.sizes.image, lambda: str(self.architecture.as_dict()["image"]["resize"]))

    def _pieces(self, n: int) -> Iterator[tuple[int, int]]:
        """Beginnings and ends of what one call encodes: between two of them Python answers a signal, Ctrl-C for instance.

        Only where signals are answered, in the main thread; elsewhere one call sees all old or all new weights. In
        evaluation mode an image's bytes do not depend on its batch; in training mode they do, and all are one call's.
        """
        if n <= _PIECE or threading.current_thread() is not threading.main_thread() or self.training:
            yield 0, n
            return
        start, size = 0, _PIECE
        while start < n:
            began = time.monotonic()
            yield start, min(start + size, n)
            start += size
            if time.monotonic() - began < _PROMPT / 2:
                size *= 2

    def score_global(self, y: Any, M: Any) -> Floats:
        """The global score: y (n, encoded), M (n, *sizes.global_map) -> logits (n,1), high where both are of one image."""
        sizes = self.sizes
        vectors, features, single = _arrays.vectors_and_maps(y, M, (sizes.encoded,), sizes.global_map or sizes.features)
        return self._score(library().dim_score_global, (vectors, features), (1,), single)

    def score_local(self, y: Any, M: Any) -> Floats:
        """The local scores: y (n, encoded), M (n, *features) -> logits (n,1,h,w), one a location."""
        sizes = self.sizes
        vectors, features, single = _arrays.vectors_and_maps(y, M, (sizes.encoded,), sizes.features)
        return self._score(library().dim_score_local, (vectors, features), (1, *sizes.features[1:]), single)

    def score_local_pairs(self, y: Any, M: Any) -> Floats:
        """The local scores of all pairs: y (n, encoded), M (n, *features) -> logits (n,n,h,w).

        [i][j] has image i's locations against image j's vector.
        """
        sizes = self.sizes
        vectors, features, _ = _arrays.vectors_and_maps(y, M, (sizes.encoded,), sizes.features)
        n = len(vectors)
        return self._score(library().dim_score_local_pairs, (vectors, features), (n, *sizes.features[1:]), False)

    def score_prior(self, y: Any) -> Floats:
        """PriorDiscriminator: y (n, encoded) -> probabilities (n,1) that y comes from the uniform prior."""
        vectors, single = _arrays.vectors(y, (self.sizes.encoded,))
        return self._score(library().dim_score_prior, (vectors,), (1,), single)

    def classify(self, y: Any) -> Floats:
        """Classifier: y (n, encoded) -> class probabilities (n, classes).

        In training mode a single vector is an InvalidArgument where batch norm would see it alone, as in PyTorch.
        """
        sizes = self.sizes
        vectors, single = _arrays.vectors(y, (sizes.encoded,))
        return self._score(library().dim_classify, (vectors,), (sizes.classes,), single)

    def _score(self, function: Any, inputs: tuple[Floats, ...], item: tuple[int, ...], single: bool) -> Floats:
        """`function(model, input..., n, out)` with out (n, *item)."""
        n = len(inputs[0])
        out = _empty(n, item)
        check(function(self._handle.pointer, *map(_arrays.pointer, inputs), n, _arrays.pointer(out)))
        return _result(out, single)

    # ---- Architecture

    @property
    def architecture(self) -> Architecture:
        """The complete description of the model's networks."""
        return Architecture._of(
            new_handle("architecture", library().dim_architecture_free, library().dim_model_architecture, self._handle.pointer)
        )

    @property
    def sizes(self) -> Sizes:
        """Shapes of the model's arrays."""
        found = _library.Sizes(struct_size=ctypes.sizeof(_library.Sizes))
        check(library().dim_model_sizes(self._handle.pointer, byref(found)))
        local = (found.local_height, found.local_width)
        map_ = (found.global_channels, found.global_height, found.global_width)
        conv = (found.conv_channels, found.conv_height, found.conv_width)
        return Sizes(
            image=(found.image_channels, found.image_height, found.image_width),
            features=(found.features_channels, found.features_height, found.features_width),
            encoded=found.encoded,
            local=local if local[0] else None,
            global_map=map_ if map_[0] else None,
            conv=conv if conv[0] else None,
            fc=found.fc,
            classes=found.classes,
        )

    @property
    def class_names(self) -> list[str]:
        """Names of the classifier's classes, kept in weights files: a different one for each, or none at all. May be set."""
        names = [text(library().dim_model_class_name, self._handle.pointer, i) for i in range(self.sizes.classes)]
        return names if any(names) else []

    @class_names.setter
    def class_names(self, names: Sequence[str]) -> None:
        texts = None if isinstance(names, Set) else _arrays.members(names)
        if texts is None or not all(isinstance(name, str) for name in texts):
            raise TypeError(f"class_names: expected a list of texts, found {names!r:.60}")
        try:
            encoded = [name.encode() for name in texts]
        except UnicodeEncodeError as error:
            raise ValueError(f"class_names: {error.object!r:.60} is no UTF-8 text") from error
        if any(b"\0" in name for name in encoded):
            raise ValueError("class_names: a name holds a NUL character, where it would end")
        check(
            library().dim_model_set_class_names(
                self._handle.pointer, len(encoded), (c_char_p * len(encoded))(*encoded) if encoded else None
            )
        )

    # ---- Modes

    def train(self, mode: bool = True) -> Model:
        """PyTorch's train(): training mode, or evaluation mode with mode=False. Returns the model."""
        check(library().dim_model_set_training(self._handle.pointer, _arrays.flag(mode, "mode")))
        return self

    def eval(self) -> Model:
        """PyTorch's eval(): evaluation mode. Returns the model."""
        return self.train(False)

    @property
    def training(self) -> bool:
        """Whether the model is in training mode."""
        out = c_bool()
        check(library().dim_model_is_training(self._handle.pointer, byref(out)))
        return out.value

    # ---- Weights

    @property
    def networks(self) -> tuple[str, ...]:
        """Prefixes of the networks that the model holds, in state_dict order: "encoder", "global_d"..."""
        mask = library().dim_model_networks(self._handle.pointer)
        return tuple(name for bit, name in enumerate(NETWORKS) if mask >> bit & 1)

    def parameters_info(self) -> list[ParameterInfo]:
        """Every entry of the state_dict, in its order: name, dtype, shape, bytes, trainable."""
        count = library().dim_model_parameter_count(self._handle.pointer)
        return [self._parameter_info(index) for index in range(count)]

    def _parameter_info(self, index: int) -> ParameterInfo:
        info = _CParameterInfo(struct_size=ctypes.sizeof(_CParameterInfo))
        check(library().dim_model_parameter_info(self._handle.pointer, index, byref(info)))
        shape = tuple(info.shape[: info.ndim])
        return ParameterInfo(info.name.decode(), _DTYPES[info.dtype], shape, info.bytes, info.trainable)

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all parameters and running statistics, by their dotted names with the network's prefix.

        Names and order are those of the PyTorch modules. Entry by entry: while another thread changes the model, the
        entries may be of different moments.
        """
        return {info.name: self._parameter(info) for info in self.parameters_info()}

    def _parameter(self, info: ParameterInfo) -> NDArray[Any]:
        array = np.empty(info.shape, info.dtype)
        data = array.ctypes.data_as(c_void_p)
        check(library().dim_model_get_parameter(self._handle.pointer, info.name.encode(), data, info.nbytes))
        return array

    def load_state_dict(self, state: Mapping[str, Any], network: str | None = None) -> None:
        """Replaces the weights of one or more whole networks, all or nothing, at once for all later calls.

        state: numpy arrays or torch tensors by name, as `state_dict` gives them; other networks stay as they are.
        With `network`, "encoder" for instance, it is the state_dict of that network alone, its keys without prefix.
        Floating-point values are rounded to float32. Raises ValueError, which lists every missing, unknown or misshaped
        entry, or InvalidArgument for values that are not allowed (NaN, infinity, a negative running_var).
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state_dict: expected arrays by their names, found {type(state).__name__}")
        if network is not None:
            _arrays.one_of(network, self.networks, "network", ", ".join(self.networks))
            state = {f"{network}.{key}": value for key, value in state.items()}
        arrays = _checked(state, self.parameters_info())
        count = len(arrays)
        check(
            library().dim_model_set_parameters(
                self._handle.pointer,
                count,
                (c_char_p * count)(*(name.encode() for name in arrays)),
                (c_void_p * count)(*(array.ctypes.data for array in arrays.values())),
                (c_size_t * count)(*(array.nbytes for array in arrays.values())),
            )
        )

    # ---- Lifetime

    def close(self) -> None:
        """Frees the weights; later calls raise InvalidHandle. Closing twice does nothing."""
        self._handle.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._handle.closed:
            return "<deepinfomax.Model, closed>"
        mode = "training" if self.training else "evaluation"
        return f"<deepinfomax.Model of {', '.join(self.networks)}, in {mode} mode>"

    def __reduce__(self) -> Any:
        """A pickle holds architecture, names of classes, weights and mode; copy and deepcopy share no weights."""
        try:
            content = _copies.content(lambda path: self.save(path, "safetensors"))
        except TooLarge:  # More names of classes than its header takes.
            content = _copies.content(lambda path: self.save(path, "hdf5"))
        return _unpickled, (content, self.training)


def _unpickled(content: bytes, training: bool) -> Model:
    return _copies.opened(content, Model.open).train(training)


def _checked(state: Mapping[str, Any], infos: list[ParameterInfo]) -> dict[str, NDArray[Any]]:
    """`state` as contiguous arrays of the right dtypes, or a ValueError that lists all that is wrong with it."""
    if not state:
        raise ValueError("state_dict: expected the entries of one network at least, found none")
    if strange := [name for name in state if not isinstance(name, str)]:
        raise TypeError(f"state_dict: expected names as keys, found {strange[0]!r}")
    expected = {info.name: info for info in infos}
    touched = {name.split(".")[0] for name in state}
    wrong = [
        f"{name}: missing, expected {info.dtype} {info.shape}"
        for name, info in expected.items()
        if name not in state and name.split(".")[0] in touched
    ]
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in state.items():
        if name not in expected:
            wrong.append(f"{shown(name)}: unknown, the model has no such entry")
            continue
        try:
            arrays[name] = _entry(value, expected[name])
        except (TypeError, ValueError) as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("state_dict does not fit the model:\n  " + "\n  ".join(wrong))
    return arrays


def _entry(value: Any, info: ParameterInfo) -> NDArray[Any]:
    array = _arrays.as_numpy(value, info.name)
    if array.shape != info.shape:
        raise ValueError(f"{info.name}: expected shape {info.shape}, found {array.shape}")
    if info.dtype == np.float32:
        return _arrays.to_float32(array, info.name)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{info.name}: expected {info.dtype}, found {array.dtype}")
    return _arrays.to_int64(array, info.name)


def other_format(path: Path, expected: str = ".h5, .safetensors or format=") -> str | None:
    """What is wrong with the name of a file of weights: it ends as those of another format do."""
    name = path_text(path)
    if not name.lower().endswith(_OTHER_FORMATS):
        return None
    advice = "; `dim convert` writes PyTorch's files and ONNX" if name.lower().endswith(_CONVERTED) else ""
    return f"{shown(name)} has another format's ending; expected {expected}{advice}"


@contextmanager
def c_path(path: Path) -> Iterator[bytes]:
    """The path as C takes it. A FileAccessError of the block has it as its filename: messages show some bytes as escapes."""
    encoded = os.fsencode(path_text(path))
    if b"\0" in encoded:  # C would read the part before it.
        raise ValueError(f"path: embedded null byte in {path!r}")
    try:
        yield encoded
    except FileAccessError as error:
        if error.filename is not None or error.errno == errno.ENAMETOOLONG:
            error.filename = os.fsdecode(path)
        raise


def _empty(n: int, item: tuple[int, ...]) -> Floats:
    return np.empty((n, *item), np.float32)


def _result(array: Floats, single: bool) -> Floats:
    return array[0] if single else array
