#!/usr/bin/env python3
"""A second opinion on the binary interface of libdim, from a tool that shares nothing with abi.py: libabigail.

    tools/check/abi/abigail.py dump       prints the interface as abidw sees it
    tools/check/abi/abigail.py update     writes it to tools/check/abi/libdim.abixml
    tools/check/abi/abigail.py check      exit code 1 if abidiff finds that the recorded interface was broken

The library itself is Swift, and stripped: it tells abidw no types of C. So a C library is compiled with debug information
that defines every function of the header, and that is what abidw reads. The functions do nothing, but the compiler holds
each against its declaration. --header, --map and --recorded name other files, as for abi.py.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from abi import GUARD, ROOT, Failure, declarations, run, version

RECORDED = ROOT / "tools" / "check" / "abi" / "libdim.abixml"

# What is the same on every machine: no folder, no line of the header, no instruction set. Types are named by what they are
# and not by their place, so one that is new changes no other line.
DUMP = (
    "--no-corpus-path",
    "--no-comp-dir-path",
    "--no-show-locs",
    "--no-elf-needed",
    "--no-architecture",
    "--no-parameter-names",
    "--type-id-style",
    "hash",
)
# Functions may be added. Nobody's ~/.abignore shall have a say.
DIFF = ("--no-added-syms", "--no-default-suppression", "--no-architecture", "--no-show-locs")


# ---- The dump


def dump(header: Path, version_script: Path) -> str:
    """The interface in abidw's words."""
    _need("abidw")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "libdim.c").write_text(_source(header))
        library = f"{folder}/libdim.so"
        run(
            [
                os.environ.get("CC", "cc"),
                "-std=c11",
                "-w",
                "-g",
                "-O0",
                "-shared",
                "-fPIC",
                f"-fdebug-prefix-map={folder}=.",
                f"-fdebug-prefix-map={header.resolve().parent}=.",
                f"{folder}/libdim.c",
                "-o",
                library,
                f"-Wl,-soname,libdim.so.{version(header)[0]}",
                f"-Wl,--version-script={version_script}",
            ]
        )
        return run(["abidw", *DUMP, library])


def _source(header: Path) -> str:
    """Every function of the header, defined. Parameters need no names: gcc and clang take that in C11 too."""
    lines = [f'#include "{header.resolve()}"']
    for kind, name, detail in declarations(header):
        if kind == "function":
            result, _, parameters = detail.partition("(")
            body = "" if result.strip() == "void" else f" return ({result.strip()}){{0}};"
            lines.append(f"{result}{name}({parameters} {{{body} }}")
    return "\n".join(lines) + "\n"


def _need(program: str) -> None:
    if not shutil.which(program):
        raise Failure(f"{program} is missing; it is in the Debian package abigail-tools, which make deps installs")


# ---- The comparison


def compare(recorded: str, current: str) -> str:
    """abidiff's report of what was broken; empty if nothing was."""
    _need("abidiff")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("recorded", recorded), ("current", without_growth(recorded, current))):
            (Path(folder) / name).write_text(text)
        # The code is a set of bits: 1 and 2, it could not compare; 4, there are changes; 8, they surely break programs.
        # 4 is a failure too: abidiff says it of a parameter's type and of a field's place.
        done = subprocess.run(["abidiff", *DIFF, "recorded", "current"], cwd=folder, capture_output=True, text=True)
    if done.returncode < 0 or done.returncode & 3:
        raise Failure(f"abidiff, exit code {done.returncode}:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout.strip() if done.returncode else ""


def without_growth(recorded: str, current: str) -> str:
    """The current interface, its structs with struct_size cut back to their recorded sizes.

    A suppression file for abidiff would say the same in three lines, but it also hides fields that were exchanged and
    enumerators that changed, as soon as the struct that holds them is one that may grow.
    """
    sizes = {struct.get("name"): int(struct.get("size-in-bits", 0)) for struct in _structs(recorded) if _guarded(struct)}
    tree = ElementTree.fromstring(current)
    for struct in tree.iter("class-decl"):
        size = sizes.get(struct.get("name"))
        new = [field for field in struct.findall("data-member") if size and int(field.get("layout-offset-in-bits", 0)) >= size]
        for field in new:
            struct.remove(field)
        if new:
            struct.set("size-in-bits", str(size))
    return ElementTree.tostring(tree, encoding="unicode")


def _structs(dumped: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(dumped).iter("class-decl"))


def _guarded(struct: ElementTree.Element) -> bool:
    first = struct.find("data-member[@layout-offset-in-bits='0']/var-decl")
    return first is not None and first.get("name") == GUARD


# ---- The command


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("dump", "update", "check"))
    parser.add_argument("--header", type=Path, default=ROOT / "include" / "dim.h")
    parser.add_argument("--map", type=Path, default=ROOT / "tools" / "build" / "libdim.map")
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    try:
        current = dump(options.header, options.map)
        if options.command == "dump":
            print(current, end="")
            return 0
        if options.command == "update":
            options.recorded.write_text(current)
            return 0
        if not options.recorded.exists():
            raise Failure(f"{options.recorded} is missing; make abi-update writes it")
        report = compare(options.recorded.read_text(), current)
    except Failure as failure:
        print(f"abigail: {failure}", file=sys.stderr)
        return 1
    if report:
        print(f"abigail: abidiff says that this breaks programs that are compiled; see docs/abi.md\n{report}", file=sys.stderr)
        return 1
    functions = len(re.findall(r"<function-decl ", current))
    print(f"abigail: abidiff finds nothing broken in {functions} functions")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
