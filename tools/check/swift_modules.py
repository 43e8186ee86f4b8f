#!/usr/bin/env python3
"""Prints where Package.swift's dependencies, the imports of the sources and CONTRIBUTING.md's table of modules differ.
`make lint` calls it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_TARGET = r'\.(\w+)\(\s*name: "([\w-]+)"(?:,\s*dependencies: \[(.*?)\])?([^.]*)'
_KINDS = ("target", "testTarget", "executableTarget", "systemLibrary")
#: Linked: nothing imports it.
LINKED = {"CReserve"}


class Target(NamedTuple):
    kind: str
    declared: set[str]
    folder: Path


def targets() -> dict[str, Target]:
    found = {}
    for kind, name, listed, rest in re.findall(_TARGET, (ROOT / "Package.swift").read_text("utf-8"), re.S):
        if kind in _KINDS:
            path = re.search(r'path: "([^"]+)"', rest)
            folder = path[1] if path else ("Tests/" if kind == "testTarget" else "Sources/") + name
            found[name] = Target(kind, set(re.findall(r'"(\w+)"', listed)), ROOT / folder)
    return found


def imports(name: str, folder: Path) -> set[str]:
    found = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        if name == "DimKernels":
            folders.clear()  # Sources, which other targets compile.
        for file in files:
            if file.endswith(".swift"):
                text = Path(root, file).read_text("utf-8")
                found |= set(re.findall(r"^(?:@\w+ )*import (?:[a-z]+ )?(\w+)", text, re.M))
    return found


def faults() -> Iterator[str]:
    every = targets()
    for name, target in every.items():
        used = imports(name, target.folder) & every.keys()
        if used != target.declared - LINKED:
            yield f"{name}: Package.swift declares {sorted(target.declared)}, the sources import {sorted(used)}"
    # The table has no row for system libraries, which are headers of C.
    rows = re.findall(r"^\| `(\w+)` \|(.*?)\| .* \|$", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M)
    order = [name for name, _ in rows]
    table = {name: set(re.findall(r"`(\w+)`", uses)) for name, uses in rows if name in every}
    own = {name for name, target in every.items() if target.kind == "target"}
    for name in sorted(own ^ table.keys()):
        yield f"{name}: a module of the library, or of CONTRIBUTING.md's table, and not of both"
    for name in sorted(own & table.keys()):
        declared = every[name].declared & own
        if table[name] != declared:
            yield f"{name}: Package.swift declares {sorted(declared)}, CONTRIBUTING.md's table says {sorted(table[name])}"
        if above := [use for use in declared if use in order and order.index(use) < order.index(name)]:
            yield f"{name}: uses {sorted(above)}, above it in CONTRIBUTING.md's table"


if __name__ == "__main__":
    wrong = list(faults())
    print("\n".join(wrong), end="\n" if wrong else "")
    sys.exit(1 if wrong else 0)
