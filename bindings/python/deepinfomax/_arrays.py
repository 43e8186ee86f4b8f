"""From what callers have (numpy arrays, torch tensors, PIL images) to what C takes: aligned, contiguous float32."""

from __future__ import annotations

import ctypes
import hashlib
import operator
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._library import Floats


def as_numpy(value: Any, what: str) -> NDArray[Any]:
    """`value` as a numpy array of its own dtype; a torch tensor loses its graph and its device.

    bfloat16, which numpy does not have, becomes float32. Raises TypeError for lists and other things that are no array.
    """
    torch = sys.modules.get("torch")  # A tensor can only come from a torch that is already imported.
    if torch is not None and isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        if tensor.dtype == torch.bfloat16:
            tensor = tensor.float()
        return tensor.resolve_conj().resolve_neg().numpy()  # type: ignore[no-any-return]
    _check_unmasked(value, what)
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array_interface__"):
        return np.asarray(value)
    raise TypeError(f"{what}: expected a numpy array or a torch tensor, found {type(value).__name__}")


def _check_unmasked(value: Any, what: str) -> None:
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(
            f"{what}: has masked values, which would be taken as if they were none; say what they are with filled()"
        )


Shape = tuple[int, ...]
#: Standardised images stay below; 0..255 in floating point is a frequent mistake.
LARGEST = 16.0


def whole_number(value: Any, least: int, below: int, what: str, text: str) -> int:
    """An integer of any kind in a range. `text`: the range, for the message. ctypes would cut a larger one."""
    try:
        number = operator.index(_no_flag(value))
    except TypeError:
        raise TypeError(f"{what}: expected an integer, {text}, found {type(value).__name__}") from None
    if not least <= number < below:
        most = f", at most {below - 1}" if number >= below and text.endswith((" or more", "at least 1")) else ""
        raise ValueError(f"{what}: expected {text}{most}, found {number}")
    return number


def number(value: Any, what: str) -> float:
    """A real number of any kind. Its range is C's to check."""
    if isinstance(value, (str, bytes)):  # Which float() would read.
        raise TypeError(f"{what}: expected a number, found {value!r}")
    try:
        return float(_no_flag(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{what}: expected a number, found {type(value).__name__} ({error})") from None


def pair(value: Any, what: str) -> tuple[float, float]:
    """Two numbers."""
    try:
        first, second = value
    except (TypeError, ValueError, NotImplementedError):  # The last of a memoryview of two axes.
        raise TypeError(f"{what}: expected two numbers, found {value!r}") from None
    return number(first, what), number(second, what)


def flag(value: Any, what: str) -> bool:
    """True or False; a text would be true, whatever it says."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{what}: expected True or False, found {briefly(value)}")
    return bool(value)


def seconds(value: Any, what: str) -> float:
    """How long to wait: a number over 0."""
    try:
        found = number(value, what)
    except TypeError:
        found = 0.0
    if not found > 0:
        raise ValueError(f"{what}: expected a number of seconds over 0, found {briefly(value)}")
    return found


def one_of(value: Any, values: Sequence[str], what: str, text: str | None = None) -> int:
    """The number of a text among those that are accepted. `text`: these, for the message."""
    if not isinstance(value, str) or value not in values:  # An array would compare each of its numbers.
        raise ValueError(f"{what}: expected one of {text or ', '.join(map(repr, values))}, found {briefly(value)}")
    return values.index(value)


def members(value: Any) -> list[Any] | None:
    """Of a list, or of what else can be gone through. None for a text, for bytes, and for what only seems to: arrays of no axes, a
    memoryview of two."""
    if isinstance(value, (str, bytes, bytearray)) or not isinstance(value, Iterable):
        return None
    if isinstance(value, (np.ndarray, memoryview)) and value.ndim != 1:
        return None
    try:
        return list(value)
    except NotImplementedError:  # A memoryview of numbers that Python does not have.
        return None


def briefly(value: Any) -> str:
    """What was found instead, in one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def instance(value: Any, kind: type, what: str, text: str = "") -> None:
    """Raises TypeError for all but an instance of `kind`. `text`: what it is called in the message."""
    if not isinstance(value, kind):
        raise TypeError(f"{what}: expected {text or 'a ' + kind.__name__}, found {type(value).__name__}")


def _no_flag(value: Any) -> Any:
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{value} is no number")
    return value


def images(value: Any, item: Shape, what: str = "images") -> tuple[NDArray[np.float32], bool]:
    """Images as float32 (n, *item), item (c,h,w), and whether `value` was a single one without n.

    Floating point: (n,c,h,w) or (c,h,w), taken as they are. uint8: also (n,h,w,c) or (h,w,c), divided by 255. Of images
    with one channel c may be left out.
    """
    array = _images_in_order(value, item, what)
    if array.dtype == np.uint8:
        array = np.divide(array, np.float32(255), dtype=np.float32)
    elif array.dtype.kind == "f" and array.size and LARGEST < (largest := max(array.max(), -array.min())) < np.inf:
        warnings.warn(
            f"{what}: values up to {largest:g}; floating-point images are taken as they are and should be in [0,1]: divide by 255, "
            "or give uint8",
            stacklevel=5,
        )
    return _floats(array, item, what, _IMAGES)


def check_images(value: Any, item: Shape, what: str, single: bool = False) -> None:
    """What `images` raises, without its work, and of NaN and infinite numbers ValueError, which C would find in their batch.

    single: of one image (c,h,w), else of n. A file that is mapped is not read.
    """
    array = _images_in_order(value, item, what)
    _check_shape(array, item, what)
    if (array.shape == item) != single:
        expected = "one image" if single else _text(("n", *item))
        raise ValueError(f"{what}: expected {expected}, found {shape_text(array)}")
    if array.dtype == np.uint8 or isinstance(array, np.memmap):
        return
    whole = array[np.newaxis] if single else array
    to_float32(whole[:0], what, _IMAGES)
    for start in range(0, len(whole), _CHECKED):
        some = to_float32(whole[start : start + _CHECKED], what, _IMAGES)
        good = np.isfinite(some).all(axis=(1, 2, 3))
        if not good.all():
            place = "" if single else f"[{start + int(np.argmin(good))}]"
            raise ValueError(f"{what}{place}: expected finite numbers, found NaN or infinite ones")


_IMAGES = "floating point or uint8"
#: Images that are looked at together.
_CHECKED = 256


def _images_in_order(value: Any, item: Shape, what: str) -> NDArray[Any]:
    """(n,c,h,w) or (c,h,w), as far as the order of axes can be told from the shape."""
    array = as_numpy(value, what)
    c, h, w = item
    last = (h, w, c)
    if c == 1 and array.ndim in (2, 3) and array.shape[-2:] == (h, w) and array.shape != item:
        array = array[..., np.newaxis, :, :]
    if array.dtype == np.uint8:
        if array.ndim in (3, 4) and array.shape[-3:] == last and array.shape[-3:] != item:
            array = np.moveaxis(array, -1, -3)
        if array.shape[-3:] != item or array.ndim not in (3, 4):
            raise ValueError(
                f"{what}: expected uint8 of shape {_text(('n', *last))}, {_text(('n', *item))}, {_text(last)} or "
                f"{_text(item)}, found {shape_text(array)}"
            )
    elif array.ndim in (3, 4) and array.shape[-3:] == last and last != item:
        raise ValueError(
            f"{what}: expected {array.dtype} in the order {_text(('n', *item))}, found {shape_text(array)}; "
            "transpose with moveaxis(-1, -3), or give uint8"
        )
    return array


def vectors(value: Any, item: Shape) -> tuple[NDArray[np.float32], bool]:
    """y as float32 (n, *item), and whether `value` was a single vector."""
    return _floats(as_numpy(value, "y"), item, "y", "float32")


def vectors_and_maps(y: Any, M: Any, item: Shape, map_item: Shape) -> tuple[NDArray[np.float32], NDArray[np.float32], bool]:
    """y (n, *item) and M (n, *map_item) as float32, and whether both were of a single image."""
    found, single = vectors(y, item)
    maps, single_map = _floats(as_numpy(M, "M"), map_item, "M", "float32")
    if single != single_map or len(found) != len(maps):
        raise ValueError(
            "y and M: expected the same number of images, found shapes "
            f"{shape_text(found[0] if single else found)} and {shape_text(maps[0] if single_map else maps)}"
        )
    return found, maps, single


def labels(value: Any, n: int, single: bool) -> NDArray[np.int64]:
    """Labels as int64 (n,), from any integer dtype; () where the image is a single one. Their range is C's to check."""
    array = integers(value)
    if array.shape != (n,) and not (single and array.shape == ()):
        raise ValueError(f"labels: expected shape ({n},), one for each image, found {shape_text(array)}")
    return to_int64(array.reshape(n), "labels")


def check_classes(array: NDArray[Any], classes: int, what: str) -> None:
    """Raises ValueError for the first label that is no number of one of so many classes."""
    wrong = (array < 0) | (array >= classes)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise ValueError(f"{what}[{place}]: expected 0 to {classes - 1}, found {array[place]}")


def check_class_range(array: NDArray[Any], classes: int, what: str = "labels") -> None:
    """`check_classes` for numbers whose order is not the caller's: the message has their range."""
    if array.size and not (0 <= int(array.min()) and int(array.max()) < classes):
        raise ValueError(f"{what}: expected 0 to {classes - 1}, found {array.min()} to {array.max()}")


def integers(value: Any, what: str = "labels") -> NDArray[Any]:
    """Arrays, tensors, lists and what numpy can read (a pandas Series) as an array of some integer dtype."""
    _check_unmasked(value, what)
    if isinstance(value, (list, tuple, range)) or hasattr(value, "__array__") and not hasattr(value, "detach"):
        try:
            array = np.asarray(value)
        except (TypeError, ValueError) as error:  # A ragged list.
            raise TypeError(f"{what}: expected integers, one for each image: {error}") from error
    elif isinstance(value, int) and not isinstance(value, bool):
        array = np.asarray(value)
    else:
        array = as_numpy(value, what)
    if array.dtype.kind not in "iu":
        if not array.size and isinstance(value, (list, tuple)):
            return array.astype(np.int64)  # Numbers, of which there are none.
        if array.dtype.kind == "O" and array.ndim == 1 and all(_is_whole(one) for one in array):
            return array.astype(np.int64)  # A Series of pandas' own integers, Int64.
        if array.dtype.kind == "O" and array.ndim == 1 and all(isinstance(one, int) for one in array):
            raise ValueError(f"{what}: expected integers of 64 bits, found {max(array, key=abs)}")
        names = array.dtype.kind in "OUS"
        advice = "; names become numbers by numpy.unique(labels, return_inverse=True)[1]" if names else ""
        raise TypeError(f"{what}: expected integers, found {array.dtype}{advice}")
    return array


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and -(2**63) <= int(value) < 2**63


def to_int64(array: NDArray[Any], what: str) -> NDArray[np.int64]:
    """Any array of integers as aligned, contiguous int64. Raises ValueError where a value is beyond its range."""
    if array.dtype == np.uint64 and np.any(array > np.iinfo(np.int64).max):
        raise ValueError(f"{what}: {array.max()} is beyond the range of int64")
    return np.require(array, np.int64, ["C", "A"])


def pointer(array: NDArray[np.float32]) -> Any:
    """The address of a contiguous float32 array, to be used while the array lives."""
    return ctypes.cast(array.ctypes.data, Floats)


def to_float32(array: NDArray[Any], what: str, accepted: str = "float32") -> NDArray[np.float32]:
    """Any floating-point array as aligned, contiguous float32, rounded to nearest; float32 is not copied needlessly.

    Raises TypeError for another kind of dtype, ValueError where a finite value is beyond float32's range.
    """
    if array.dtype.kind != "f":
        raise TypeError(f"{what}: expected {accepted}, found {array.dtype}")
    with np.errstate(over="ignore"):
        result = np.require(array, np.float32, ["C", "A"])
    if array.dtype.itemsize > 4 and np.any(np.isinf(result) & ~np.isinf(array)):
        raise ValueError(f"{what}: {array.dtype} values beyond the range of float32, {np.finfo(np.float32).max:.3g}")
    return result


def shaped(value: Any, shape: tuple[int | str, ...], what: str, **sizes: int) -> NDArray[Any]:
    """Numbers of a shape, ("n", 3, "h", "w"): a letter is any size of 1 or more, or that of `sizes`."""
    array = _numeric(value, what, "fiub")
    expected = tuple(size if isinstance(size, int) else sizes.get(size, size) for size in shape)
    found = array.shape
    if len(found) != len(expected) or any(
        a < 1 if isinstance(b, str) else a != b for a, b in zip(found, expected, strict=True)
    ):
        raise ValueError(f"{what}: expected shape {_text(expected)}, found {shape_text(array)}")
    return array


def numbers(value: Any, what: str) -> NDArray[Any]:
    """Real numbers in an array of any shape, from all that numpy can read: no flags, texts, times or complex numbers."""
    return _numeric(value, what, "fiu")


def _numeric(value: Any, what: str, kinds: str) -> NDArray[Any]:
    _check_unmasked(value, what)
    try:
        array = as_numpy(value, what) if hasattr(value, "detach") else np.asarray(value)
    except (TypeError, ValueError) as error:  # A ragged list.
        raise TypeError(f"{what}: expected numbers: {error}") from error
    if array.dtype.kind not in kinds:
        raise TypeError(f"{what}: expected numbers, found {array.dtype}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        with np.errstate(over="ignore"):  # Which `finite` tells.
            array = array.astype(np.float64)
    return array


def doubles(value: Any, shape: tuple[int | str, ...], what: str) -> NDArray[np.float64]:
    """Finite numbers of a shape, as `shaped` takes them, in float64."""
    return finite(np.asarray(shaped(value, shape, what), np.float64), what)


def middling(*arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """The arrays times one power of two, which changes no digit, where the first one's numbers are all below 1e-9 or their
    squares might overflow; else as they are."""
    first = arrays[0]
    if first.dtype.kind != "f" or not first.size:
        return arrays
    exponent = int(np.frexp(max(first.max(), -first.min()))[1])
    if -30 < exponent <= np.finfo(first.dtype).maxexp // 3:
        return arrays
    with np.errstate(over="ignore"):  # Of another one whose numbers are far larger.
        return tuple(np.ldexp(array, -exponent) for array in arrays)


#: Of standardised numbers, whose squares and products, added up, stay far from float32's largest number.
_FAR = 1e15


def standardised(apart: NDArray[Any], scale: NDArray[Any]) -> NDArray[Any]:
    """apart * scale, apart: numbers (n, d) less their means (d). 0 where the scale is, and 1e15 at most: other vectors than those
    that the means and scales are of may be of any size, infinite by `middling`."""
    with np.errstate(over="ignore", invalid="ignore"):
        found: NDArray[Any] = apart * scale
    found[:, scale == 0] = 0
    return np.clip(found, -_FAR, _FAR, out=found)


def finite(array: NDArray[Any], what: str) -> NDArray[Any]:
    if not np.isfinite(array).all():
        raise ValueError(f"{what}: expected finite numbers, found NaN or infinite ones")
    return array


def _floats(array: NDArray[Any], item: tuple[int, ...], what: str, accepted: str) -> tuple[NDArray[np.float32], bool]:
    _check_shape(array, item, what)
    single = array.shape == item
    result = to_float32(array, what, accepted)
    return (result[np.newaxis] if single else result), single


def _check_shape(array: NDArray[Any], item: Shape, what: str) -> None:
    if array.shape != item and (array.ndim != len(item) + 1 or array.shape[1:] != item):
        raise ValueError(f"{what}: expected shape {_text(('n', *item))} or {_text(item)}, found {shape_text(array)}")


def shape_text(array: NDArray[Any]) -> str:
    return _text(array.shape)


def _text(shape: tuple[Any, ...]) -> str:
    return "(" + ",".join(str(size) for size in shape) + ("," if len(shape) == 1 else "") + ")"


def digest(*arrays: NDArray[Any] | bytes) -> str:
    """In hexadecimal, of their bytes."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(array if isinstance(array, bytes) else np.ascontiguousarray(array).data)
    return found.hexdigest()[:32]
