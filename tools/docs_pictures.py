#!/usr/bin/env python3
"""Draws docs/pictures: what the guides show, made by the commands themselves.

    .venv/bin/python tools/docs_pictures.py RUN        RUN: the folder of docs/classify.md's `dim train`

Needs Pillow, scikit-learn, matplotlib and torch.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"


def dim(folder: str, *arguments: str) -> str:
    """What the command prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "bindings" / "python")}
    command = [sys.executable, "-m", "deepinfomax", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def terminal(name: str, lines: list[str]) -> None:
    """Lines as a terminal shows them; those that begin with $ are what was typed."""
    import matplotlib

    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono.ttf"), 13)
    width = round(max(font.getlength(line) for line in lines)) + 28
    picture = Image.new("RGB", (width, 18 * len(lines) + 22), (30, 32, 38))
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        colour = (140, 200, 255) if line.startswith("$") else (225, 225, 225)
        draw.text((14, 11 + 18 * number), line, font=font, fill=colour)
    picture.quantize(32).save(PICTURES / name, optimize=True)


def session(folder: str, *commands: str) -> list[str]:
    lines: list[str] = []
    for command in commands:
        lines += [f"$ dim {command}", *dim(folder, *command.split()).rstrip().splitlines()]
    return lines


def main() -> None:
    run = Path(sys.argv[1]).resolve()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("weights.h5", "checkpoint.h5"):
            os.symlink(run / name, Path(folder) / name)
        terminal("info.png", session(folder, "info checkpoint.h5"))
        terminal("convert.png", session(
            folder, "convert weights.h5 run5 --original --epoch 860",
            "convert run5/encoder860.wgt run5/loss860.wgt both.h5"))  # fmt: skip
        weights = ("--weights", "weights.h5", "--data", "digits")
        print(dim(folder, "neighbours", "--grid", "4", "--scale", "1", "--gap", "3", *weights,
                  "--output", str(PICTURES / "neighbours.png")))  # fmt: skip
        print(dim(folder, "map", "--labelled", "--method", "tsne", "--images", "500", "--size", "900", *weights,
                  "--output", str(PICTURES / "map.png")))  # fmt: skip
    for name in ("neighbours.png", "map.png"):
        Image.open(PICTURES / name).quantize(64).save(PICTURES / name, optimize=True)


if __name__ == "__main__":
    main()
