#!/usr/bin/env python3
"""The binary interface of libdim: what a program that was compiled against an older dim.h relies on.

    tools/check/abi/abi.py dump                     prints it, from the header and the version script
    tools/check/abi/abi.py update                   writes it to tools/check/abi/libdim.abi, and tells what changed
    tools/check/abi/abi.py check [--library FILE]   exit code 1 if the recorded interface was broken, or if the library exports
                                              other names or versions than header and version script say

--header, --map and --recorded name other files. Clang reads the header (it comes with Swift), the C compiler measures
sizes, offsets and values; so nothing here parses C. docs/abi.md tells what counts as broken.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
GUARD = "struct_size"  # a struct that begins with this field may grow

HEAD = """# The binary interface of libdim, written by `make abi-update`; docs/abi.md tells how to read and to change it.
"""


class Failure(Exception):
    """The interface could not be found out: a compiler is missing, the header does not compile."""


# ---- What the header declares


def interface(header: Path, version_script: Path) -> dict[str, str]:
    """One entry a fact, in the header's order: {"struct dim_losses": "size 32, alignment 8", ...}."""
    declared = list(declarations(header))
    measured = _measure(header, declared)
    nodes = _nodes(version_script)
    found = {"soname libdim": f"libdim.so.{measured['macro DIM_VERSION_MAJOR']}"}
    for kind, name, detail in declared:
        key = f"{kind} {name}"
        if kind == "function":
            if name not in nodes:
                raise Failure(f"{name} is declared in {header.name} and is in no node of {version_script.name}")
            found[key] = f"{nodes.pop(name)}: {detail}"
        elif kind == "macro":
            if key in measured and not name.startswith("DIM_VERSION_"):
                found[key] = measured[key]
        elif kind == "field":
            found[key] = f"{detail}, {measured[key]}"
        else:
            found[key] = measured.get(key, detail)
    if nodes:
        raise Failure(f"in {version_script.name}, not declared in {header.name}: {' '.join(sorted(nodes))}")
    return found


def declarations(header: Path) -> Iterator[tuple[str, str, str]]:
    """(kind, name, what clang says of it)."""
    for name in re.findall(r"^#define (DIM_\w+) .", run([_clang(), "-E", "-dM", "-x", "c", str(header)]), re.M):
        yield "macro", name, ""
    tree = json.loads(run([_clang(), "-std=c11", "-fsyntax-only", "-Xclang", "-ast-dump=json", "-x", "c", str(header)]))
    defined = set()
    for node in tree["inner"]:
        name, kind = node.get("name", ""), node["kind"]
        inner = [part for part in node.get("inner", ()) if not part.get("isImplicit")]
        if kind == "EnumDecl" and any(part.get("name", "").startswith("DIM_") for part in inner):
            if name:
                yield "enum", name, ""
            for part in inner:
                if part["kind"] == "EnumConstantDecl":
                    yield "constant", part["name"], ""
        elif not name.startswith("dim_"):
            continue
        elif kind == "RecordDecl" and node.get("completeDefinition"):
            defined.add(name)
            yield "struct", name, ""
            for part in inner:
                if part["kind"] == "FieldDecl":
                    yield "field", f"{name}.{part['name']}", part["type"]["qualType"]
        elif kind == "FunctionDecl":
            yield "function", name, node["type"]["qualType"]
        elif kind == "TypedefDecl" and node["type"]["qualType"] == f"struct {name}":
            if name not in defined:
                yield "handle", name, f"struct {name}"
        elif kind == "TypedefDecl" and node["type"]["qualType"] != f"enum {name}":
            yield "type", name, node["type"]["qualType"]


def _measure(header: Path, declared: list[tuple[str, str, str]]) -> dict[str, str]:
    """Sizes, offsets and values, by a program that prints them."""
    lines = []
    for kind, name, _ in declared:
        key = f"{kind} {name}"
        if kind in ("macro", "constant"):
            lines.append(f'    printf("{key}\\t%lld\\n", (long long)({name}));')
        elif kind == "enum":
            lines.append(f'    printf("{key}\\t%zu bytes\\n", sizeof(enum {name}));')
        elif kind == "struct":
            lines.append(f'    printf("{key}\\tsize %zu, alignment %zu\\n", sizeof(struct {name}), _Alignof(struct {name}));')
        elif kind == "field":
            struct, field = name.split(".")
            lines.append(
                f'    printf("{key}\\toffset %zu, size %zu\\n", offsetof(struct {struct}, {field}), '
                f"sizeof(((struct {struct} *)0)->{field}));"
            )
    source = f'#include "{header.resolve()}"\n#include <stdio.h>\nint main(void) {{\n' + "\n".join(lines) + "\n}\n"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "measure.c").write_text(source)
        program = f"{folder}/measure"
        run([os.environ.get("CC", "cc"), "-std=c11", "-w", f"{folder}/measure.c", "-o", program])
        return dict(line.split("\t") for line in run([program]).splitlines())


def _nodes(version_script: Path) -> dict[str, str]:
    """Function -> its node of the version script."""
    text = re.sub(r"/\*.*?\*/", "", version_script.read_text(), flags=re.S)
    found: dict[str, str] = {}
    for node, body in re.findall(r"(\w+(?:\.\d+)*)\s*\{(.*?)\}", text, re.S):
        for name in re.findall(r"(dim_\w+)\s*;", body):
            if name in found:
                raise Failure(f"{name} is in {found[name]} and in {node}")
            found[name] = node
    return found


def exported(library: Path) -> dict[str, str]:
    """Function -> version, as the dynamic linker sees them."""
    found = {}
    for line in run(["nm", "-D", "--defined-only", "--with-symbol-versions", str(library)]).splitlines():
        name, _, node = line.split()[-1].partition("@")
        if name != node.strip("@") and line.split()[-2] != "A":
            found[name] = node.strip("@")
    return found


def _clang() -> str:
    found = shutil.which("clang")
    if not found and (swift := shutil.which("swift")):
        found = shutil.which("clang", path=str(Path(swift).resolve().parent))
    if not found:
        raise Failure("there is no clang on PATH and none beside swift")
    return found


def run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise Failure(f"{command[0]} is missing") from None
    if done.returncode != 0:
        raise Failure(f"{' '.join(command)}:\n{done.stderr.strip()}")
    return done.stdout


# ---- What has become of a recorded interface


def compare(old: dict[str, str], new: dict[str, str], header_version: tuple[int, int, int]) -> tuple[list[str], list[str]]:
    """(what breaks programs, what is new and does not)."""
    breaks, additions = [], []
    for key, before in old.items():
        now = new.get(key)
        if now is None:
            breaks.append(f"{key} is gone")
        elif now != before and not (key.startswith("struct ") and _grown(key, before, now, old)):
            breaks.append(f"{key}: was {before}; is {now}")
    for key in new:
        if key in old:
            continue
        kind, name = key.split(" ")
        broken = None
        if kind == "field" and f"struct {name.split('.')[0]}" in old:
            broken = _field_breaks(name, old, new)
        elif kind == "function":
            broken = _function_breaks(new[key], header_version)
        (breaks if broken else additions).append(f"{key} is new: {broken}" if broken else f"{key} is new")
    return breaks, additions


def _size(struct: str) -> int:
    return int(re.search(r"\bsize (\d+)", struct)[1])


def _grown(key: str, before: str, now: str, old: dict[str, str]) -> bool:
    """A struct that tells its size, has become larger, and is aligned as before."""
    name = key.split(" ")[1]
    same_alignment = before.split(", ")[1] == now.split(", ")[1]
    return _guarded(name, old) and _size(now) > _size(before) and same_alignment


def _guarded(name: str, interface: dict[str, str]) -> bool:
    return ", offset 0," in interface.get(f"field {name}.{GUARD}", "")


def _field_breaks(field: str, old: dict[str, str], new: dict[str, str]) -> str | None:
    name = field.split(".")[0]
    size = _size(old[f"struct {name}"])
    if not _guarded(name, old):
        return f"{name} does not begin with {GUARD}, so it cannot grow"
    if int(re.search(r"offset (\d+)", new[f"field {field}"])[1]) < size:
        return f"it begins within the {size} bytes that {name} had, so {GUARD} cannot tell whether a caller knows of it"
    return None


def _function_breaks(detail: str, version: tuple[int, int, int]) -> str | None:
    node = detail.split(":")[0]
    if version[2] > 0:
        return f"{'.'.join(map(str, version))} is a patch release, which adds nothing"
    if node != f"LIBDIM_{version[0]}.{version[1]}":
        return f"it is in the node {node}; of this version is LIBDIM_{version[0]}.{version[1]}"
    return None


# ---- The command


def _text(interface: dict[str, str]) -> str:
    return HEAD + "".join(f"{key} = {value}\n" for key, value in interface.items())


def _read(recorded: Path) -> dict[str, str]:
    lines = recorded.read_text().splitlines()
    return dict(line.split(" = ", 1) for line in lines if line and not line.startswith("#"))


def version(header: Path) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"^#define DIM_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header.read_text(), re.M)))


def _check_library(library: Path, current: dict[str, str]) -> list[str]:
    expected = {key.split(" ")[1]: value.split(":")[0] for key, value in current.items() if key.startswith("function ")}
    found = exported(library)
    return [
        f"{library.name}: {name} has the version {found.get(name) or 'none'}; expected {expected.get(name) or 'none'}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]


def _parse(arguments: list[str]) -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("dump", "update", "check"))
    parser.add_argument("--header", type=Path, default=ROOT / "include" / "dim.h")
    parser.add_argument("--map", type=Path, default=ROOT / "tools" / "build" / "libdim.map")
    parser.add_argument("--recorded", type=Path, default=ROOT / "tools" / "check" / "abi" / "libdim.abi")
    parser.add_argument("--library", type=Path)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = _parse(arguments)
    try:
        current = interface(options.header, options.map)
        if options.command == "dump":
            print(_text(current), end="")
            return 0
        recorded = _read(options.recorded) if options.recorded.exists() else {}
        breaks, additions = compare(recorded, current, version(options.header))
        wrong = _check_library(options.library, current) if options.library else []
    except Failure as failure:
        print(f"abi: {failure}", file=sys.stderr)
        return 1
    if options.command == "update":
        options.recorded.write_text(_text(current))
        for line in [f"broken: {line}" for line in breaks] + additions:
            print(f"abi: {line}")
        return 0
    for line in additions:
        print(f"abi: {line} (make abi-update records it)")
    for line in wrong + breaks:
        print(f"abi: {line}", file=sys.stderr)
    if breaks:
        print("abi: this breaks programs that are compiled; see docs/abi.md", file=sys.stderr)
    if not wrong + breaks:
        print(f"abi: {len(recorded)} facts as recorded, {len(additions)} new")
    return 1 if wrong + breaks else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
