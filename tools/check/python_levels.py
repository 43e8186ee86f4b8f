#!/usr/bin/env python3
"""Prints each import in the Python package that points upwards in LEVELS, each module that no level lists, and each folder
that pyproject.toml leaves out of the wheel. `make lint` calls it.

    python3 tools/check/python_levels.py [PACKAGE]
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "bindings" / "python" / "deepinfomax"

#: From the bottom: a module may import its own level and those before it, also inside a function and for types alone.
#: A folder means all modules in it; `__init__` is the package's own, whose names every level from there on may use.
LEVELS = (
    (
        "foundation",
        "_arrays _copies _files _handles _library _opening _starting _structures _text _version architecture errors",
    ),
    ("data", "data"),
    ("model", "__init__ _run classifier_trainer distributed fitting model trainer"),
    ("vectors", "dask encoded_files evaluation neighbours onnx_export run_data run_folder search sklearn torch_files"),
    ("plots", "plots"),
    ("judges", "judges"),
    ("compare", "compare"),
    ("torch", "torch"),
    ("report", "report"),
    ("commands", "commands cli __main__"),
)
RANK = {name: rank for rank, (_, names) in enumerate(LEVELS) for name in names.split()}


def faults(package: Path) -> Iterator[str]:
    modules = sorted(package.rglob("*.py"))
    found = {module.relative_to(package).parts[0].removesuffix(".py") for module in modules}
    yield from (f"{name}: in no level of {Path(__file__).name}" for name in sorted(found - RANK.keys()))
    yield from (f"{name}: in a level of {Path(__file__).name}, but not in the package" for name in sorted(RANK.keys() - found))
    for module in modules:
        own = module.relative_to(package).parts[0].removesuffix(".py")
        for line, name in imports(module, package) if own in RANK else ():
            if RANK[own] < RANK[name]:
                levels = f"{LEVELS[RANK[own]][0]} imports {LEVELS[RANK[name]][0]}"
                yield f"{module.relative_to(package.parent)}:{line}: {levels}, a level above it ({name})"
    project = (package.parent / "pyproject.toml").read_text(encoding="utf-8")
    listed = set(re.findall(r'"([\w.]+)"', re.search(r"^packages = (\[[^]]*\])", project, re.M)[1]))
    folders = {".".join(module.parent.relative_to(package.parent).parts) for module in modules}
    yield from (f"{name}: differs between the folders and `packages` in pyproject.toml" for name in sorted(listed ^ folders))


def imports(module: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line and top name in the package ("data", "_text", "__init__") of all that a module imports from it."""
    inside = (package.name, *module.relative_to(package).parent.parts)
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            full = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else ()
            base += tuple((node.module or "").split(".")) if node.module else ()
            full = [(*base, alias.name) for alias in node.names]
        else:
            continue
        for parts in full:
            if parts[0] == package.name:
                name = parts[1] if len(parts) > 1 else "__init__"
                yield node.lineno, name if name in RANK else "__init__"


if __name__ == "__main__":
    wrong = list(faults(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else PACKAGE))
    print("\n".join(wrong), end="\n" if wrong else "")
    sys.exit(1 if wrong else 0)
