#!/usr/bin/env python3
"""Writes the manual from include/dim.h: dim(7), one page in section 3 for each part of the header, and a page for each
function's name that leads to its part.

    tools/release/man.py FOLDER         -> FOLDER/man7/dim.7, FOLDER/man3/*.3

The header's comments are the text; nothing is said here that is not said there. Python's standard library alone.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

HEADER = Path(__file__).resolve().parents[2] / "include" / "dim.h"

# Pages that are not simply called after the part's title.
PAGES = {
    "Forward passes": "dim_forward",
    "Training: the Deep InfoMax objective": "dim_trainer",
    "Training: the classifier": "dim_classifier_trainer",
}


@dataclass
class Item:
    """Declarations that share a comment."""

    text: str
    declarations: list[str] = field(default_factory=list)

    @property
    def functions(self) -> list[str]:
        return [name for declaration in self.declarations if (name := function_name(declaration))]


@dataclass
class Part:
    title: str
    text: str = ""
    items: list[Item] = field(default_factory=list)

    @property
    def page(self) -> str:
        return PAGES.get(self.title) or "dim_" + re.sub(r"\W+", "_", self.title.lower())

    @property
    def functions(self) -> list[str]:
        return [name for item in self.items for name in item.functions]


def function_name(declaration: str) -> str | None:
    found = re.match(r"(?!typedef)[\w\s*]*?\b(dim_\w+)\(", declaration)
    return found[1] if found else None


# ---- Reading the header


def read(header: str) -> tuple[str, list[Part]]:
    """The opening comment, and the parts; the first part, without a title, holds the constants."""
    comment, rest = re.match(r"/\*(.*?)\*/(.*)", header, re.S).groups()
    rest = rest[rest.index("#define DIM_VERSION_MAJOR") : rest.rindex("#ifdef __cplusplus")]
    parts = [Part("")]
    item = None
    # Comments that begin a line, macros, and declarations up to the semicolon that ends them.
    token = re.compile(r"/\*.*?\*/|#define[^\n]*|\w(?:[^;{/]|\{.*?\}|/\*.*?\*/)*;|\n[ \t]*\n", re.S)
    for text in token.findall(rest):
        if not text.strip():
            item = None
        elif title := re.match(r"/\* -+ (.*?) -+ \*/", text):
            parts.append(Part(title[1]))
            item = None
        elif text.startswith("/*"):
            item = Item(plain(text))
            parts[-1].items.append(item)
        else:
            if item is None:
                item = Item("")
                parts[-1].items.append(item)
            item.declarations.append(text.strip())
    for part in parts:
        part.text = "\n\n".join(item.text for item in part.items if not item.declarations)
        part.items = [item for item in part.items if item.declarations]
    return plain("/*" + comment + "*/"), parts


def plain(comment: str) -> str:
    """A comment's text without its stars."""
    lines = comment.strip().removeprefix("/*").removesuffix("*/").split("\n")
    return "\n".join([lines[0].strip()] + [re.sub(r"^ \*? ?", "", line).rstrip() for line in lines[1:]]).strip("\n")


# ---- Writing pages


def escaped(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    return "\\&" + text if text.startswith((".", "\\(aq")) else text


def verbatim(text: str) -> list[str]:
    return [".nf", *map(escaped, text.split("\n")), ".fi"]


def prose(text: str) -> list[str]:
    """Paragraphs. Lines indented by four, or by two after an empty line, are kept; "Name. ..." gets a bold name."""
    lines: list[str] = []
    block: list[str] = []
    indent = 0

    def flush() -> None:
        if block:
            lines.extend([".PP", ".RS 4", *verbatim("\n".join(block)), ".RE"])
            block.clear()

    fresh = True
    for line in text.split("\n"):
        if line.startswith("    ") or (line.startswith("  ") and (fresh or block)):
            block.append(line.strip() if not block else line[indent:])
            indent = len(line) - len(line.lstrip()) if len(block) == 1 else indent
            continue
        flush()
        if not line.strip():
            fresh = True
            continue
        lead = re.match(r"([A-Z\"][\w\" ]*)\. (?=\S)", line) if fresh else None
        if line.startswith(("Errors:", "Errors of")):
            fresh = True
        if fresh:
            lines.append(".PP")
        if lead and not line.startswith("  ") and len(lead[1]) < 16:
            lines += [f".B {escaped(lead[1])}.", escaped(line[lead.end() :])]
        else:
            lines.append(escaped(line.strip()))
        fresh = False
    flush()
    return lines


def heading(page: str, section: int, version: str) -> list[str]:
    return [
        '.\\" Made from dim.h by tools/release/man.py of libdim.',
        f'.TH {page.upper()} {section} "" "libdim {version}" "libdim"',
        ".nh",
        ".ad l",
    ]


def part_page(part: Part, parts: list[Part], version: str) -> str:
    title = part.title[0].lower() + part.title[1:]
    lines = heading(part.page, 3, version)
    lines += [".SH NAME", escaped(", ".join([part.page, *part.functions])) + f" \\- {escaped(title)} (libdim)"]
    lines += [".SH SYNOPSIS", ".nf", ".B #include <dim.h>", ".fi"]
    for item in part.items:
        if item.functions:
            lines += [".PP", *verbatim("\n".join(item.declarations))]
    lines += [".PP", "Link with \\fB\\-ldim\\fP."]
    if part.text:
        lines += [".SH DESCRIPTION", *prose(part.text)]
    types = [item for item in part.items if not item.functions]
    if types:
        lines += [".SH TYPES"]
    for item in types:
        lines += [*prose(item.text), ".PP", ".RS 4", *verbatim("\n".join(item.declarations)), ".RE"]
    lines += [".SH FUNCTIONS"]
    for item in part.items:
        if item.functions:
            lines += [".SS " + escaped(", ".join(item.functions)), *prose(item.text or "As its name says.")]
    others = sorted(f".BR {escaped(other.page)} (3)" for other in parts if other.title and other is not part)
    lines += [".SH SEE ALSO", ".BR dim (7),", *(line + "," for line in others[:-1]), others[-1]]
    return "\n".join(lines) + "\n"


def overview(opening: str, parts: list[Part], version: str) -> str:
    first, _, rest = opening.partition("\n")
    summary = first.split(" - ", 1)[1].rstrip(".")
    constants, *others = parts
    lines = heading("dim", 7, version)
    lines += [".SH NAME", f"dim \\- {escaped(summary)}", ".SH SYNOPSIS", ".nf", ".B #include <dim.h>", ".fi"]
    lines += [".PP", "cc program.c $(pkg\\-config \\-\\-cflags \\-\\-libs dim)"]
    lines += [".SH DESCRIPTION", *prose(rest.strip("\n"))]
    lines += [".SH CONSTANTS"]
    for item in constants.items:
        lines += [*prose(item.text), ".PP", ".RS 4", *verbatim("\n".join(item.declarations)), ".RE"]
    lines += [".SH PAGES"]
    for part in others:
        lines += [".TP", f".BR {escaped(part.page)} (3)", escaped(part.title) + ":", escaped(", ".join(part.functions)) + "."]
    return "\n".join(lines) + "\n"


def pages(header: str) -> dict[str, str]:
    """File name below the manual's folder -> text."""
    version = ".".join(re.findall(r"^#define DIM_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header, re.M))
    opening, parts = read(header)
    found = {"man7/dim.7": overview(opening, parts, version)}
    for part in parts[1:]:
        found[f"man3/{part.page}.3"] = part_page(part, parts, version)
        for name in part.functions:
            if name != part.page:
                found[f"man3/{name}.3"] = f".so man3/{part.page}.3\n"
    return found


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: tools/release/man.py FOLDER", file=sys.stderr)
        return 2
    for name, text in pages(HEADER.read_text()).items():
        target = Path(arguments[0]) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
