"""Pickles that hold nothing but numpy arrays, bytes, text, integers, lists, tuples and dicts. No code is run.

Python's own unpickler calls what the file names. This one is a stack and a table: it knows the few names that an array of
numbers is written with, and none of them is called; an array is made here, from the bytes that the file holds. Any other
name is refused.
"""

from __future__ import annotations

import math
import pickletools
from typing import Any

import numpy as np
from numpy.typing import NDArray


class NotPlain(ValueError):
    """Something else, or damage."""


class _Name(str):
    """A function or class that the file names."""


class _Mark:
    pass


class _Dtype:
    def __init__(self, code: str) -> None:
        self.code, self.order = code, "|"


class _Array:
    """An array under construction, with its values once BUILD has brought them."""

    values: NDArray[Any] | None = None


_RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_FROMBUFFER = {"numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer"}
_ENCODE, _NDARRAY, _DTYPE = "_codecs encode", "numpy ndarray", "numpy dtype"
#: How the older protocols write b"".
_BYTES = "__builtin__ bytes"
_KNOWN = _RECONSTRUCT | _FROMBUFFER | {_ENCODE, _NDARRAY, _DTYPE, _BYTES}
_MARK = _Mark()
#: Integers and bytes; an array of objects would need a stack of its own.
_CODES = frozenset(("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8", "b1"))
_VALUES = frozenset(
    (
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    )
)
#: Python 2's strings: bytes, as everybody reads them since.
_STRINGS = frozenset(("STRING", "BINSTRING", "SHORT_BINSTRING"))
#: Ten times what the published files take. A list of nothing takes 60 times the memory of its byte in the file.
_MOST_STEPS = 1 << 22
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


def load(content: bytes) -> Any:
    """The value. Raises NotPlain."""
    try:
        return _Machine().run(content)
    except NotPlain:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise NotPlain(f"damaged: {error}") from error
    except RecursionError as error:
        raise NotPlain("nested too deep") from error


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        for step, (code, argument, _) in enumerate(pickletools.genops(content)):
            if code.name == "STOP":
                return _finished(self.stack.pop(), {})
            if step > _MOST_STEPS:
                raise NotPlain("it has millions of values outside of arrays")
            self._do(code.name, argument)
        raise NotPlain("cut short")

    def _do(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _STRINGS:
            stack.append(argument.encode("latin-1") if isinstance(argument, str) else argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("POP", "POP_MARK"):
            self._above_mark() if name == "POP_MARK" else stack.pop()
        elif name.startswith("EMPTY_") and name in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_TUPLE"):
            stack.append({"EMPTY_LIST": [], "EMPTY_DICT": {}, "EMPTY_TUPLE": ()}[name])
        elif name in ("LIST", "TUPLE"):
            items = self._above_mark()
            stack.append(items if name == "LIST" else tuple(items))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            items = [stack.pop() for _ in range(count)]
            stack.append(tuple(reversed(items)))
        elif name in ("APPEND", "APPENDS"):
            items = self._above_mark() if name == "APPENDS" else [stack.pop()]
            self._target(list).extend(items)
        elif name in ("SETITEM", "SETITEMS", "DICT"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._above_mark()
            if name == "DICT":
                stack.append({})
            self._target(dict).update(_pairs(items))
        elif name == "GLOBAL":
            self._name(argument)
        elif name == "STACK_GLOBAL":
            attribute, module = stack.pop(), stack.pop()
            self._name(f"{module} {attribute}")
        elif name == "REDUCE":
            arguments, function = stack.pop(), stack.pop()
            stack.append(_made(function, arguments))
        elif name == "BUILD":
            state = stack.pop()
            _build(stack[-1], state)
        elif name not in ("PROTO", "FRAME"):
            raise NotPlain(f"it holds {name}, which is neither an array nor bytes, text, integers, lists or dicts")

    def _above_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _target(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise NotPlain(f"damaged: a {kind.__name__} is expected")
        return self.stack[-1]

    def _name(self, name: str) -> None:
        if name not in _KNOWN:
            raise NotPlain(f"it names {name.replace(' ', '.')}, which could run code")
        self.stack.append(_Name(name))


def _pairs(items: list[Any]) -> list[tuple[Any, Any]]:
    if len(items) % 2 or not all(isinstance(key, (bytes, str, int)) for key in items[::2]):
        raise NotPlain("damaged: keys of a dict are expected")
    return list(zip(items[::2], items[1::2], strict=True))


def _made(function: Any, arguments: Any) -> Any:
    if not isinstance(function, _Name) or type(arguments) is not tuple:
        raise NotPlain("damaged: it calls what is no function")
    if function in _RECONSTRUCT:
        return _Array()
    if function == _DTYPE:
        return _dtype(arguments[0])
    if function == _ENCODE:
        text, encoding = arguments
        if encoding not in ("latin1", "latin-1"):
            raise NotPlain("damaged: bytes in an unknown encoding")
        return text.encode("latin-1")
    if function == _BYTES and not arguments:
        return b""
    if function in _FROMBUFFER:
        content, dtype, shape, order = arguments
        array = _Array()
        array.values = _values(shape, dtype, order == "F", content)
        return array
    raise NotPlain(f"it calls {function.replace(' ', '.')}")


def _dtype(code: Any) -> _Dtype:
    code = code.decode("latin-1") if isinstance(code, bytes) else code
    if code not in _CODES:
        raise NotPlain(f"it holds an array of {code!r}, which is no array of numbers")
    return _Dtype(code)


def _build(target: Any, state: Any) -> None:
    if isinstance(target, _Dtype):
        order = state[1].decode("latin-1") if isinstance(state[1], bytes) else state[1]
        if order not in ("|", "<", ">", "="):
            raise NotPlain("damaged: the order of bytes")
        target.order = order
    elif isinstance(target, _Array) and target.values is None:
        _, shape, dtype, fortran, content = state
        target.values = _values(shape, dtype, bool(fortran), content)
    else:
        raise NotPlain("damaged: it sets the state of what has none")


def _values(shape: Any, dtype: Any, fortran: bool, content: Any) -> NDArray[Any]:
    if not isinstance(dtype, _Dtype) or not isinstance(content, (bytes, bytearray)) or type(shape) is not tuple:
        raise NotPlain("damaged: an array without type, shape or values")
    kind = np.dtype(dtype.code).newbyteorder(dtype.order)  # type: ignore[arg-type]
    if any(type(length) is not int or length < 0 for length in shape) or math.prod(shape) * kind.itemsize != len(content):
        raise NotPlain(f"damaged: an array of the shape {shape} and {len(content):,} bytes")
    return np.frombuffer(content, kind).reshape(shape, order="F" if fortran else "C")


def _finished(value: Any, done: dict[int, Any], depth: int = 0) -> Any:
    """Arrays in place of their makings, in lists and dicts. Each list is visited once, however often it is named.

    Text for text: that of Python 2 stays bytes.
    """
    if value is None or isinstance(value, (bytes, bytearray, int)) or type(value) is str:
        return value
    if depth > 20:
        raise NotPlain("nested too deep")
    if isinstance(value, _Array):
        if value.values is None:
            raise NotPlain("damaged: an array without values")
        return value.values
    if not isinstance(value, (dict, list, tuple)):
        raise NotPlain("damaged: a value without sense")
    if id(value) in done:
        if done[id(value)] is None:
            raise NotPlain("a list or dict that holds itself")
        return done[id(value)]
    done[id(value)] = None
    found: Any
    if isinstance(value, dict):
        found = {key: _finished(item, done, depth + 1) for key, item in value.items()}
    else:
        found = [_finished(item, done, depth + 1) for item in value]
    done[id(value)] = found
    return found
