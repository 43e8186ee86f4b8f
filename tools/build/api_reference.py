#!/usr/bin/env python3
"""Writes docs/api.md, the Python API's reference, from the package's docstrings.

    .venv/bin/python tools/build/api_reference.py            writes it
    .venv/bin/python tools/build/api_reference.py --check    exit code 1 if it is not what would be written

Needs numpy; neither libdim.so nor any optional package.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "api.md"
#: What is public and needs no package but numpy to be imported.
MODULES = (
    "",
    ".data",
    ".evaluation",
    ".neighbours",
    ".search",
    ".judges",
    ".plots.maps",
    ".plots.pictures",
    ".plots.charts",
    ".report",
    ".torch_files",
)
HEAD = """# Python API

Made from the docstrings by `tools/build/api_reference.py`; a test checks that it is up to date. n is the number of images.

Public, besides, with pages of their own, since importing them takes another package: `deepinfomax.sklearn`
([sklearn.md](sklearn.md)), `deepinfomax.torch` ([compared.md](compared.md)), `deepinfomax.onnx_export` ([onnx.md](onnx.md)),
`deepinfomax.dask` ([distributed.md](distributed.md)). Other modules may change in any version.
"""


def reference() -> str:
    sys.path.insert(0, str(ROOT / "bindings" / "python"))
    modules = [importlib.import_module("deepinfomax" + name) for name in MODULES]
    contents = [f"- [{module.__name__}](#{module.__name__.replace('.', '')})" for module in modules]
    sections = ["\n".join(_module(module)) for module in modules]
    return "\n".join([HEAD, *contents, "", *sections]).rstrip() + "\n"


def _module(module: ModuleType) -> Iterator[str]:
    yield f"## {module.__name__}\n"
    yield _text(module) + "\n"
    exceptions = []
    for name, value in _public(module):
        if inspect.isclass(value) and issubclass(value, BaseException):
            exceptions.append((name, value))
        elif inspect.isclass(value):
            yield from _class(name, value)
        elif isinstance(value, FunctionType):
            yield f"### {name}\n"
            yield _function(name, value)
    if exceptions:
        yield "### Exceptions\n"
        yield "| exception | also a | |"
        yield "|---|---|---|"
        for name, value in exceptions:
            also = ", ".join(base.__name__ for base in value.__bases__)
            yield f"| `{name}` | {also} | {' '.join(_text(value).split())} |"
        yield ""


def _public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """What __all__ names, or what the module itself defines; in the source's order for the latter."""
    if hasattr(module, "__all__"):
        yield from ((name, getattr(module, name)) for name in module.__all__)
        return
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
            yield name, value


def _class(name: str, value: type) -> Iterator[str]:
    yield f"### {name}\n"
    if dataclasses.is_dataclass(value) or hasattr(value, "_fields"):
        yield _fields(name, value)
    elif "__init__" in vars(value):
        yield _function(name, value.__init__, prefix=_text(value) + "\n\n")
    else:
        yield _text(value) + "\n"
    for member, attribute in _members(value):
        full = f"{name}.{member}"
        if isinstance(attribute, property):
            yield f"**`{full}`** {_text(attribute)}\n"
        else:
            yield _function(full, attribute)


def _members(value: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that have a docstring, a parent's of this package after its own."""
    seen = set()
    for owner in value.__mro__:
        if not owner.__module__.startswith("deepinfomax"):
            continue
        for name, attribute in vars(owner).items():
            function = attribute.__func__ if isinstance(attribute, (classmethod, staticmethod)) else attribute
            if name.startswith("_") or name in seen or not isinstance(function, (FunctionType, property)):
                continue
            seen.add(name)
            if function.__doc__:
                yield name, function


def _fields(name: str, value: type) -> str:
    lines = [f"```python\n{name}({', '.join(inspect.signature(value).parameters)})\n```\n", _text(value), ""]
    return "\n".join(lines)


def _function(name: str, function: Any, prefix: str = "") -> str:
    text = f"```python\n{_signature(name, function)}\n```\n\n{prefix}{_text(function)}"
    return text.rstrip() + "\n"


def _signature(name: str, function: Any) -> str:
    """As in the source, without `self`; on a line for each argument where it is long."""
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    signature = signature.replace(parameters=parameters)
    if function.__name__ == "__init__":
        signature = signature.replace(return_annotation=inspect.Signature.empty)
    # Annotations are strings here, which Python quotes.
    text = re.sub(r"(?<=: )'([^']*)'|(?<=-> )'([^']*)'", lambda m: m[1] or m[2], str(signature))
    text = re.sub(r"<function <lambda> at 0x[0-9a-f]+>", "...", text)
    return name + text if len(name + text) <= 100 else name + _broken(text)


def _broken(text: str) -> str:
    """(a, b) -> result, a line an argument; commas inside brackets do not count."""
    depth, parts, current = 0, [], ""
    end = text.rindex(")") if ") -> " not in text else text.index(") -> ")
    for character in text[1:end]:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += character
    parts.append(current.strip())
    return "(\n    " + ",\n    ".join(parts) + ",\n" + text[end:]


def _text(value: Any) -> str:
    """The docstring, which is Markdown but for its indented blocks: those it is, too."""
    return inspect.cleandoc(value.__doc__ or "")


def main() -> int:
    found = reference()
    if "--check" in sys.argv[1:]:
        if TARGET.is_file() and TARGET.read_text("utf-8") == found:
            return 0
        print(f"{TARGET.relative_to(ROOT)} is out of date: run tools/build/api_reference.py", file=sys.stderr)
        return 1
    TARGET.write_text(found, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
