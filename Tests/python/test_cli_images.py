"""How commands read images: other sizes, damaged ones, large ones; notes on what was left out."""

import json

import numpy as np
import pytest
from cli_fixtures import dim, events
from data_fixtures import png_of_zeros
from PIL import Image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve images of 40x20 in two classes, one of them damaged in its middle, and a file that is no image."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for number in range(12):
        place = folder / "images" / ("ab"[number % 2])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (20, 40, 3)).astype(np.uint8)).save(place / f"{number:02}.png")
    whole = (folder / "images" / "b" / "05.png").read_bytes()
    (folder / "images" / "b" / "05.png").write_bytes(whole[: len(whole) // 2])
    (folder / "images" / "a" / "notes.txt").write_text("notes")
    return folder


COMMANDS = [
    "encode --data images --output a.npz",
    "map --data images --size 200 --output m.png",
    "neighbours 0 --data images --output n.png",
    "classify --data images --arms untrained --epochs 1",
    "train --data images --batch 4 --epochs 1 --no-plot --output run",
]
commands = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split()[0])


@commands
def test_a_damaged_image(folder, tmp_path, command):
    """Refused with its name; with --skip-damaged left out, counted and named."""
    arguments = [str(folder / word) if word == "images" else word for word in command.split()]
    done = dim(*arguments, cwd=tmp_path)
    assert done.returncode in (1, 2) and "05.png" in done.stderr and "Traceback" not in done.stderr, done
    if command.startswith("train"):
        arguments[-1] = "other"
    done = dim(*arguments, "--skip-damaged", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "note: 1 damaged image left out: b/05.png" in done.stderr and ".txt" in done.stderr, done.stderr
    if command.startswith("train"):
        assert "11 images; 2 steps an epoch" in done.stdout
        resumed = dim("train", "--resume", "other", "--epochs", 2, "--no-plot", cwd=tmp_path)
        assert resumed.returncode == 0, resumed.stderr


def test_quiet_tells_no_notes(folder, tmp_path):
    done = dim("encode", "--data", folder / "images", "--output", "a.npz", "--skip-damaged", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_resize_and_size(folder, tmp_path):
    found = {}
    for how in ("fit", "crop", "stretch"):
        done = dim("encode", "--data", folder / "images" / "a", "--resize", how, "--output", f"{how}.npy", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        found[how] = np.load(tmp_path / f"{how}.npy").tobytes()
    assert len(set(found.values())) == 3
    done = dim("encode", "--data", folder / "images" / "a", "--resize", "none", "--output", "n.npy", cwd=tmp_path)
    assert done.returncode == 2 and "40x20" in done.stderr, done.stderr
    done = dim("encode", "--data", folder / "images" / "a", "--max-pixels", 700, "--output", "n.npy", cwd=tmp_path)
    assert done.returncode == 2 and "max-pixels" in done.stderr, done.stderr


def test_a_large_scan_is_a_matter_of_saying_so(tmp_path):
    """Beyond our limit and the one at which Pillow warns."""
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "map.png").write_bytes(png_of_zeros(9_600, 9_600))
    encode = ("encode", "--data", "scans", "--architecture", "basic28", "--output", "y.npy")
    done = dim(*encode, cwd=tmp_path)
    assert done.returncode == 2 and "(--max-pixels) allows more" in done.stderr and not (tmp_path / "y.npy").exists(), (
        done.stderr
    )
    done = dim(*encode, "--max-pixels", 9_600**2, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and len(np.load(tmp_path / "y.npy")) == 1


def test_a_run_keeps_how_it_reads(folder, tmp_path):
    done = dim(
        "train",
        "--data",
        folder / "images" / "a",
        "--resize",
        "stretch",
        "--batch",
        3,
        "--epochs",
        1,
        "--no-plot",
        "--output",
        "run",
        "--json",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    settings = events(done.stdout)[0]["settings"]
    assert settings == json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["architecture"]["image"]["resize"] == "stretch"
    done = dim("train", "--resume", "run", "--resize", "fit", "--epochs", 2, cwd=tmp_path)
    assert done.returncode == 2 and "--resize: a resumed run keeps its settings" in done.stderr
