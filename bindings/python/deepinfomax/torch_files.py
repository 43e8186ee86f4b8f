"""State_dicts in PyTorch's files. Needs torch, which is imported when it is needed and not before.

Which network an entry belongs to is decided by the library's own reader, the one that decides it for HDF5 files: here
only the state_dicts in a file are found, and handed over.
"""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _copies
from ._files import size_text, write_whole
from ._text import lines, valid
from .errors import DimError
from .architecture import Architecture
from ._opening import NETWORKS
from .data.options import MAX_BYTES
from .model import Model

State = dict[str, NDArray[Any]]
#: Twice the parameters that an architecture may have.
_MOST_VALUES = 1 << 29
#: Bytes of a state_dict's tensors: so many times those of the file, in which tied weights are once, and some more.
_TIED, _SLACK = 4, 64 << 20
#: Of a file by torch.save: a zip archive, or before PyTorch 1.6 a pickle of protocol 2 or later.
_BEGINNINGS = (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
#: Dictionaries within dictionaries that are looked into.
_DEEPEST = 100


class TorchFileError(ValueError):
    """A file that torch cannot read without running code, or without a state_dict of ours; the message says which.

    Names come from untrusted files: what a terminal would act on is escaped.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(lines(str(message)))


def read(path: str | os.PathLike[str], entry: str | None = None, architecture: Any = None) -> State:
    """`read_with`, the entries alone."""
    return read_with(path, entry, architecture)[0]


def read_with(path: str | os.PathLike[str], entry: str | None = None, architecture: Any = None) -> tuple[State, Architecture]:
    """The networks in a file by torch.save: entries by their canonical names ("encoder.c0.weight").

    The file may hold the state_dict of one network or of several, or dictionaries of them (a checkpoint with its
    optimiser, whose state is passed over); prefixes that wrappers leave ("module.") are taken off. Loading is
    weights-only: no code of the file runs. An archive may unpack to 2 GiB more than the file has, a state_dict's tensors may have four
    times the bytes of the file and 64 MiB: one stored value may be shown as many.

    architecture: what they are of, where names and shapes are not a preset's; the second that is returned.

    entry: of a file with several, "ema" for instance, the one to take; dotted where it is within another.

    Raises TorchFileError, a DimError for entries that do not fit, OSError, ImportError without torch or h5py.
    """
    import torch

    _check_unpacked(path)
    try:
        with warnings.catch_warnings():  # Of what is then refused, or harmless.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        if error.filename is not None:
            raise
        raise TorchFileError(f"{path}: damaged or cut short: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        with open(path, "rb") as file:
            start = file.read(2)
        if start not in _BEGINNINGS:  # What torch says of it is about pickles, and advises to trust the file.
            raise TorchFileError(
                f"{path}: expected a file by torch.save, found other content: {start!r} at its beginning"
            ) from error
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f", found {named[1]}" if named else ""
        raise TorchFileError(
            f"{path}: expected only tensors{what}. Loading a whole module or other Python objects would run code of the file; if "
            "you trust it, load it in PyTorch and save its state_dict()"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # Of a damaged file there are as many kinds as torch has lines that read it.
        raise TorchFileError(f"{path}: torch cannot read it: {_first_line(error)}") from error
    if not isinstance(content, Mapping):
        raise TorchFileError(f"{path}: expected a state_dict, found {type(content).__name__}")
    states = dict(_state_dicts(content, torch.Tensor))
    chosen = {place: state for place, state in states.items() if entry is None or f"{place}.".startswith(f"{entry}.")}
    if states and not chosen:
        raise TorchFileError(f"{path}: no entry {entry!r} with a state_dict; there are {', '.join(map(_named, states))}")
    found: State = {}
    of: Architecture | None = None
    places: dict[str, str] = {}
    for place, state in chosen.items():
        named_entries, of = _resolved(path, place, state, architecture if of is None else of)
        twice = found.keys() & named_entries.keys()
        if twice:
            first = min(twice)
            raise TorchFileError(
                f"{path}: two state_dicts hold {first}: {_named(places[first])} and {_named(place)}; choose one of them with --entry"
            )
        found |= named_entries
        places |= dict.fromkeys(named_entries, place)
    if of is None or not found:
        raise TorchFileError(f"{path}: no state_dict in it: {_contents(content, torch.Tensor)}")
    return found, of


def raw(path: str | os.PathLike[str]) -> State:
    """A file by `write`, its entries as they are named in it."""
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    return {name: _arrays.as_numpy(value, name) for name, value in content.items()}


def write(path: str | os.PathLike[str], state: Mapping[str, NDArray[Any]]) -> None:
    """Writes a state_dict for `torch.load(path, weights_only=True)`, as one file, whole or not at all.

    Raises OSError, ImportError without torch.
    """
    import torch

    buffer = BytesIO()
    torch.save({name: torch.from_numpy(np.array(value)) for name, value in state.items()}, buffer)
    write_whole(path, buffer.getbuffer())


# ---- State_dicts in a file


def _check_unpacked(path: str | os.PathLike[str]) -> None:
    """An archive by torch.save is not compressed; one that is would be unpacked within torch.load, however large."""
    if not os.path.isfile(path):  # A pipe cannot be read again.
        return
    try:
        with zipfile.ZipFile(path) as archive:
            held = sum(member.file_size for member in archive.infolist())
    except MemoryError:
        raise
    except Exception:  # torch says what it is.
        return
    if held > (size := os.path.getsize(path)) + MAX_BYTES:
        raise TorchFileError(
            f"{path}: unpacks to {size_text(held)}, the file has {size_text(size)}; {size_text(MAX_BYTES)} more than it has are "
            "allowed; save it with torch.save, which does not compress"
        )


def _state_dicts(
    content: Mapping[Any, Any], tensor: type, place: str = "", seen: set[int] | None = None, depth: int = 0
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The dictionaries of tensors within dictionaries, each with the dotted path of keys that leads to it."""
    if content and all(isinstance(key, str) and isinstance(value, tensor) for key, value in content.items()):
        yield place, content
        return
    seen = set() if seen is None else seen
    if id(content) in seen or depth > _DEEPEST:  # As many paths may lead to one as there is time.
        return
    seen.add(id(content))
    if "param_groups" in content:  # An optimiser's: its state is not weights.
        return
    for key, value in content.items():
        if isinstance(value, Mapping) and isinstance(key, str):
            yield from _state_dicts(value, tensor, f"{place}.{key}" if place else key, seen, depth + 1)


def _resolved(
    path: str | os.PathLike[str], place: str, state: Mapping[str, Any], architecture: Any
) -> tuple[State, Architecture]:
    """Canonical names for one state_dict. `place`: where it stood; its last key may name the network."""
    import h5py

    inside = f"{path}: {place + '.' if place else ''}"
    # Before their values are asked for: of any number of values, a file may hold a single one.
    for key, value in state.items():
        _check_kind(value, f"{inside}{key}")
    count = sum(value.numel() for value in state.values())
    if count > _MOST_VALUES:
        raise TorchFileError(f"{path}: tensors of {count:,} values; a state_dict has {_MOST_VALUES:,} at most")
    held, size = sum(value.numel() * value.element_size() for value in state.values()), os.path.getsize(path)
    if held > _TIED * size + _SLACK:
        raise TorchFileError(
            f"{path}: tensors of {size_text(held)}, the file has {size_text(size)}: some of their values are stored once for many; "
            "save clone() of expanded tensors"
        )
    arrays = {key: _array(value, f"{inside}{key}") for key, value in state.items()}
    network = place.rpartition(".")[2]
    prefix = f"{network}." if network in NETWORKS else ""
    found: State = {}

    def write(part: State, file: str) -> None:
        with h5py.File(file, "w") as f:
            for key, value in part.items():
                try:
                    f[prefix + key] = value
                except OSError as error:
                    if (
                        error.errno is not None
                    ):  # Of the file: a full disk. h5py's words are of its own calls, on several lines.
                        raise OSError(error.errno, os.strerror(error.errno), os.path.dirname(os.path.dirname(file))) from error
                    raise TorchFileError(f"{path}: {valid(key)!r} is not the name of an entry beside the others") from error
                except (ValueError, TypeError, RuntimeError, KeyError) as error:
                    raise TorchFileError(f"{path}: {valid(key)!r} is not the name of a network's entry") from error

    def open_(file: str) -> Model:
        try:
            return Model.open(file, architecture=architecture)
        except DimError as error:
            where = f"{path}: {place}" if place else f"{path}"
            raise TorchFileError(error.message.replace(file, where)) from error

    for part in _parts(arrays):
        with _copies.through(partial(write, part), open_) as model:
            found |= model.state_dict()
            architecture = model.architecture
    return found, architecture


def _parts(arrays: State) -> list[State]:
    """nn.Sequential(Encoder(), Classifier()) numbers its members: "0.c0.weight". Each becomes a state_dict of its own."""
    if not all(key.split(".")[0].isdecimal() for key in arrays):
        return [arrays]
    parts: dict[str, State] = {}
    for key, value in arrays.items():
        number, _, rest = key.partition(".")
        parts.setdefault(number, {})[rest] = value
    return list(parts.values())


def _kind(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _check_kind(tensor: Any, where: str) -> None:
    """Raises TorchFileError for a kind of tensor that has no values, or none that numpy can hold."""
    import torch

    kind = _kind(tensor)
    if tensor.device.type == "meta":
        raise TorchFileError(f"{where}: a tensor on the device meta, which has a shape and no values; save the loaded weights")
    if tensor.layout != torch.strided:
        raise TorchFileError(f"{where}: a sparse tensor ({str(tensor.layout).removeprefix('torch.')}); save its to_dense()")
    if kind.startswith("float8") or tensor.is_quantized:
        raise TorchFileError(
            f"{where}: a tensor of {kind}; save it as float32 ({'dequantize()' if tensor.is_quantized else 'float()'})"
        )


def _array(tensor: Any, where: str) -> NDArray[Any]:
    """Its values. Raises TorchFileError where torch or numpy cannot give them."""
    try:
        return _arrays.as_numpy(tensor, where)
    except (TypeError, RuntimeError, ValueError, NotImplementedError) as error:
        raise TorchFileError(f"{where}: a tensor of {_kind(tensor)} that cannot be read: {_first_line(error)}") from error


def _named(place: str) -> str:
    return repr(place) if place else "the file itself"


def _contents(content: Mapping[Any, Any], tensor: type) -> str:
    """What is in it instead. A dictionary of tensors and one other thing is close: the thing is named."""
    if any(isinstance(value, tensor) for value in content.values()):
        others = [(key, value) for key, value in content.items() if not isinstance(value, tensor)]
        if not others:
            key = next(key for key in content if not isinstance(key, str))
            return f"its tensors have no names: {key!r} is of type {type(key).__name__}"
        key, value = others[0]
        return f"{key!r} is a {type(value).__name__} and not a tensor"
    for key, value in content.items():
        if (
            isinstance(value, Mapping)
            and any(isinstance(item, tensor) for item in value.values())
            and "param_groups" not in value
        ):
            return f"in {key!r}, {_contents(value, tensor)}"
    names = [str(key) for key in content]
    return "it is empty" if not names else f"its keys are {', '.join(names[:8])}" + ("..." if len(names) > 8 else "")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
