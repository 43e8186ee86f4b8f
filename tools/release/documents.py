#!/usr/bin/env python3
"""Copies documents for installing, so that each of their links leads somewhere there too.

    tools/release/documents.py FOLDER SOURCE=PLACE...     -> FOLDER/PLACE for each; sources are files of this repository

A link to another of the sources leads to its place. One to a file that is not installed becomes its text, a picture the words
that stand for it. Python's standard library alone.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")


def linked_text(text: str, source: str, places: dict[str, str]) -> str:
    """The document with its links as they are at its place."""

    def replace(link: re.Match[str]) -> str:
        words, target = link.groups()
        if re.match(r"[a-z]+:|#", target):
            return link[0]
        path, sign, heading = target.partition("#")
        place = places.get(os.path.normpath(os.path.join(os.path.dirname(source), path)))
        if place is None:
            return words
        there = os.path.relpath(place, os.path.dirname(places[source]) or ".")
        return f"[{words}]({there}{sign}{heading})"

    parts = FENCED.split(text)  # Every second one is code.
    parts[::2] = [LINK.sub(replace, part) for part in parts[::2]]
    return "".join(parts)


def main() -> None:
    folder, *pairs = sys.argv[1:]
    places = dict(pair.split("=", 1) for pair in pairs)
    for source, place in places.items():
        content = (TOP / source).read_bytes()
        if source.endswith(".md"):
            content = linked_text(content.decode(), source, places).encode()
        target = Path(folder) / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


if __name__ == "__main__":
    main()
