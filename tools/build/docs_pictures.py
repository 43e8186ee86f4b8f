#!/usr/bin/env python3
"""Draws docs/pictures: what the guides show, made by the commands themselves.

    .venv/bin/python tools/build/docs_pictures.py RUN        RUN: the folder of docs/classify.md's `dim train`

Needs Pillow, scikit-learn, matplotlib and torch; for the report's picture weasyprint and pymupdf. Five minutes on two cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]
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


def images() -> None:
    """The sample data: 16 patches of the photographs above 16 digits."""
    from deepinfomax.plots import pictures
    from deepinfomax.data import open_dataset

    rows = [open_dataset("photographs").read([(109 + 37 * n) % 520 for n in range(16)]), open_dataset("digits").read(range(16))]
    (PICTURES / "data.png").write_bytes(pictures.png(pictures.panel(rows, scale=1, gap=4)))


def page(folder: str) -> None:
    """report.html as a browser shows it. Needs weasyprint and pymupdf."""
    try:
        import pymupdf
        import weasyprint
    except ImportError:
        print("report.png is left as it is: weasyprint or pymupdf is missing", file=sys.stderr)
        return
    from deepinfomax import report

    target = report.write(folder, path=os.path.join(folder, "report.html"))
    style = weasyprint.CSS(string="@page { size: 1000px 3200px; margin: 0 } body { margin: 0.5em auto }")
    document = pymupdf.open(stream=weasyprint.HTML(str(target)).write_pdf(stylesheets=[style]))
    document[0].get_pixmap(dpi=72).save(PICTURES / "report.png")
    picture = Image.open(PICTURES / "report.png").convert("RGB")
    _, _, _, bottom = ImageChops.invert(picture).getbbox()
    picture.crop((0, 0, picture.width, bottom + 20)).save(PICTURES / "report.png")


def main() -> None:
    sys.path.insert(0, str(ROOT / "bindings" / "python"))
    run = Path(sys.argv[1]).resolve()
    PICTURES.mkdir(exist_ok=True)
    weights = ("--weights", "weights.h5", "--data", "digits")
    with tempfile.TemporaryDirectory() as parent:
        folder = os.path.join(parent, "digits")
        os.mkdir(folder)
        for path in run.iterdir():
            os.symlink(path, os.path.join(folder, path.name))
        Image.open(run / "curves.png").save(PICTURES / "train.png")
        images()
        page(folder)
        terminal("info.png", session(folder, "info checkpoint.h5"))
        terminal("check.png", session(folder, "check --recorded"))
        terminal(
            "convert.png",
            session(
                folder, "convert weights.h5 run5 --original --epoch 860", "convert run5/encoder860.wgt run5/loss860.wgt both.h5"
            ),
        )
        encoded = session(folder, "encode --weights weights.h5 --data digits --output vectors.csv")
        with open(os.path.join(folder, "vectors.csv")) as file:
            encoded += ["$ head -4 vectors.csv | cut -c 1-100", *(next(file)[:100].rstrip() for _ in range(4))]
        terminal("encode.png", encoded)
        print(
            dim(
                folder,
                "neighbours",
                "--grid",
                "4",
                "--scale",
                "1",
                "--gap",
                "3",
                *weights,
                "--output",
                str(PICTURES / "neighbours.png"),
            )
        )
        print(
            dim(
                folder,
                "map",
                "--labelled",
                "--method",
                "tsne",
                "--images",
                "500",
                "--size",
                "900",
                *weights,
                "--output",
                str(PICTURES / "map.png"),
            )
        )
        print(dim(folder, "classify", "--weights", "weights.h5", "--picture", str(PICTURES / "classify.png")))
    for name in ("train.png", "data.png", "report.png", "neighbours.png", "map.png", "classify.png"):
        Image.open(PICTURES / name).convert("RGB").quantize(255).save(PICTURES / name, optimize=True)


if __name__ == "__main__":
    main()
