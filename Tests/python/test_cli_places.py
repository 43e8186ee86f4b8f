"""No command writes over what it reads, and no data set contains its own run."""

import argparse
import importlib
import importlib.util
import json
import os
import re

import deepinfomax
import deepinfomax.search
import numpy as np
import pytest
from cli_fixtures import SMALL_NETWORK, dim, write_images
from deepinfomax import cli
from deepinfomax.commands import _places
from PIL import Image

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="writes PyTorch's files")


@pytest.fixture
def folder(tmp_path):
    """few.npz, few.npy with labels beside it, w.h5, y.npy, a class folder."""
    write_images(tmp_path / "few.npz", 12, labels=True)
    np.save(tmp_path / "few.npy", np.load(tmp_path / "few.npz")["images"])
    np.save(tmp_path / "few_labels.npy", np.arange(12) % 2)
    np.save(tmp_path / "y.npy", np.zeros((12, 64), np.float32))
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(6):
            pixels = np.full((32, 32, 3), 20 * number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    (tmp_path / "Z.npy").symlink_to("few.npy")
    os.link(tmp_path / "few.npy", tmp_path / "BIG.NPY")
    os.link(tmp_path / "few_labels.npy", tmp_path / "BIG_labels.npy")
    write_idx(tmp_path / "idx")
    (tmp_path / "linked" / "b").mkdir(parents=True)
    (tmp_path / "linked" / "a").symlink_to("../images/a")
    (tmp_path / "linked" / "b" / "0.png").symlink_to("../../images/b/0.png")
    os.link(tmp_path / "few.npz", tmp_path / "hard.npz")
    (tmp_path / "soft.npz").symlink_to("few.npz")
    with deepinfomax.Model(5) as model:
        model.save(tmp_path / "w.h5")
    return tmp_path


def write_idx(folder):
    """MNIST's way: images and labels in two files."""
    folder.mkdir()
    for name, kind, shape in ("train-images-idx3-ubyte", 3, (12, 28, 28)), ("train-labels-idx1-ubyte", 1, (12,)):
        head = bytes([0, 0, 8, kind]) + np.array(shape, ">u4").tobytes()
        (folder / name).write_bytes(head + (np.arange(np.prod(shape)) % 2).astype(np.uint8).tobytes())


def contents(folder):
    found = {}
    for where, _, names in os.walk(folder):
        found |= {os.path.join(where, name): open(os.path.join(where, name), "rb").read() for name in names}
    return found


@pytest.mark.parametrize(
    "command",
    [
        "encode --data few.npz --output few.npz",
        "encode --data few.npz --output ./few.npz",
        "encode --data few.npz --output hard.npz",
        "encode --data soft.npz --output few.npz",
        "encode --data few.npy --output few_labels.npy",
        "encode --data BIG.NPY --output BIG_labels.npy",
        "encode --data Z.npy --output Z_labels.npy",
        "encode --data Z.npy --output few_labels.npy",
        "encode --data few.npz --weights w.h5 --output w.h5",
        "map --data idx/train-images-idx3-ubyte --coordinates idx/train-labels-idx1-ubyte",
        "map --data idx --coordinates idx/train-labels-idx1-ubyte",
        "map --data idx --coordinates idx/t10k-labels-idx1-ubyte",
        "map --data linked --output images/b/0.png",
        "map --data linked --output images/a/map.png",
        "map --data linked --output images/a/0.png",
        "train --data linked --output images/a/run",
        "neighbours --data images --output images/a/0.png 0",
        "neighbours --data few.npz images/a/0.png --output images/a/0.png",
        "map --data images --output images/map.png",
        "map --data few.npz --vectors y.npy --coordinates y.npy",
        "map --data few.npz --output m.png --coordinates m.png",
        "classify --data few.npz --weights w.h5 --save w.h5 --epochs 1",
        "classify --data few.npz --arms untrained --epochs 1 --predict images --picture images/a/1.png",
        "classify --data few.npz --arms untrained --epochs 1 --predict few.npz --predictions few.npz",
        "classify --data images --arms end-to-end --checkpoint images/kept",
        "classify --data few.npz --arms end-to-end --checkpoint kept --save kept/end-to-end-0.h5",
        "classify --data few.npz --arms end-to-end --checkpoint kept --predict images --predictions kept/end-to-end-1.json",
        "index --data few.npz --weights w.h5 --output few.npz",
        "index --data few.npz --vectors y.npz --output y.npz",
        "search images/a/0.png --index i.npz --data images --picture images/a/0.png",
        "search 0 --index i.npz --data images --picture images/b/sheet.png",
        "search 0 --index page.html --data few.npz --html page.html",
        "search 0 --index i.npz --data few.npz --picture a.png --html ./a.png",
        "evaluate --data images --weights w.h5 --picture images/a/0.png",
        "evaluate --weights few.npz w.png --picture w.png",
        "convert w.h5 w.h5",
        "convert w.h5 ./w.h5 --network encoder",
        "train --data images --output images/run --no-plot",
        "train --data images --output images --no-plot",
    ],
)
def test_inputs_stay(folder, command):
    for name in "y.npz", "i.npz", "page.html", "w.png":  # Looked at before anything is opened.
        (folder / name).write_bytes(b"what is read")
    before = contents(folder)
    done = dim(*command.split(), cwd=folder)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert re.search("name (a|another) (file|folder)", done.stderr) and done.stdout == "", done.stderr
    assert contents(folder) == before


@pytest.mark.parametrize(
    "command",
    [
        "encode --data few.npz --weights w.h5 --output run/checkpoint.h5",
        "encode --data few.npz --weights w.h5 --output linked.h5",
        "convert w.h5 run/weights.h5",
        "map --data few.npz --weights w.h5 --output run/curves.png",
        "map --data few.npz --weights w.h5 --coordinates run/metrics.csv",
        "classify --data few.npz --weights w.h5 --epochs 1 --save run/best.h5",
        "convert w.h5 kept/end-to-end-0.h5",
    ],
)
def test_the_files_of_a_run_stay(folder, command):
    """A checkpoint that vectors replace is a run that cannot be continued."""
    for name in "run/settings.json", "run/checkpoint.h5", "kept/end-to-end-0.json", "kept/end-to-end-0.h5":
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"of a run")
    (folder / "linked.h5").symlink_to("run/checkpoint.h5")
    before = contents(folder)
    done = dim(*command.split(), cwd=folder)
    assert done.returncode == 2 and "is one of the files of the run in " in done.stderr, done.stderr
    assert contents(folder) == before
    assert dim("convert", "w.h5", "run/other.h5", cwd=folder).returncode == 0


def test_a_run_in_the_folder_of_its_images(folder):
    """`cd images; dim train --data .` made dim-run a class of its own."""
    done = dim("train", "--data", ".", "--epochs", 1, "--no-plot", cwd=folder / "images")
    assert done.returncode == 2 and "dim-run is inside ., which --data reads" in done.stderr, done.stderr
    assert sorted(os.listdir(folder / "images")) == ["a", "b"]
    done = dim("train", "--data", ".", "--epochs", 1, "--no-plot", "--output", "../run", cwd=folder / "images")
    assert done.returncode == 0, done.stderr


def test_a_resumed_run_in_the_folder_of_its_images(folder):
    """Its data may have moved to where the run is, and its settings name data that nobody looked at."""
    run = folder / "images" / "run"
    (folder / "small.json").write_text(json.dumps(SMALL_NETWORK | {"local": {"score": "dot", "net": "light", "units": 16}}))
    how = ("--architecture", "small.json", "--epochs", 1, "--no-plot")
    assert dim("train", "--data", "few.npz", *how, "--output", "run", cwd=folder).returncode == 0
    os.rename(folder / "run", run)
    settings = json.loads((run / "settings.json").read_text())
    for data, words in (settings["data"], ["--data", "images"]), (str(folder / "images"), []):
        (run / "settings.json").write_text(json.dumps(settings | {"data": data}))
        before = contents(folder)
        done = dim("train", "--resume", "images/run", "--epochs", 2, "--no-plot", *words, cwd=folder)
        assert done.returncode == 2 and "--resume: images/run is inside " in done.stderr, done.stderr
        assert "which --data reads" in done.stderr and contents(folder) == before


def test_the_weights_of_the_folder_that_is_written(folder):
    (folder / "run").mkdir()
    os.rename(folder / "w.h5", folder / "run" / "checkpoint-0001.h5")
    done = dim("train", "--data", "few.npz", "--weights", "run/checkpoint-0001.h5", "--output", "run", cwd=folder)
    assert done.returncode == 2 and "would be written over" in done.stderr, done.stderr


@needs_torch
def test_the_originals_files(folder):
    assert dim("convert", "w.h5", "run", "--original", cwd=folder).returncode == 0
    done = dim("convert", "run/encoder0.wgt", "run", "--original", cwd=folder)
    assert done.returncode == 2 and "name another file" in done.stderr, done.stderr
    done = dim("convert", "w.h5", "few.npz/run", "--original", cwd=folder)
    assert done.returncode == 2 and "few.npz" in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_outputs_beside_inputs_are_fine(folder):
    for command in ("encode --data images --output images/vectors.npz", "map --data few.npz --output map.png"):
        done = dim(*command.split(), cwd=folder)
        assert done.returncode == 0, done.stderr


def test_every_option_is_known():
    """An option that names a file or folder is one that is looked after."""
    elsewhere = {("train", "output"), ("train", "resume"), ("classify", "checkpoint"), ("convert", "files"), ("info", "files")}
    for command in cli.COMMANDS:
        parser = argparse.ArgumentParser()
        cli.module_of(command).add_arguments(parser)
        for action in parser._actions:
            if action.metavar in ("FILE", "FOLDER", "PATH", "IMAGE"):
                known = action.dest in (*_places.READS, *_places.WRITES) or (command, action.dest) in elsewhere
                assert known, (command, action.dest)


@pytest.mark.parametrize(
    "command, option",
    [
        ("encode --data EMPTY --output a.npy", "--data"),
        ("encode --output EMPTY", "--output"),
        ("train --output EMPTY", "--output"),
        ("train --resume EMPTY", "--resume"),
        ("train --data EMPTY", "--data"),
        ("map --weights EMPTY", "--weights"),
        ("classify --checkpoint EMPTY", "--checkpoint"),
        ("convert EMPTY a.h5", "the command"),
    ],
)
def test_an_empty_name(tmp_path, command, option):
    """--data "$UNSET" read the folder that one stood in."""
    done = dim(*("" if word == "EMPTY" else word for word in command.split()), cwd=tmp_path)
    assert done.returncode == 2 and f"{option}: expected a name, found an empty one" in done.stderr, done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "command",
    [
        "encode --data few.npz --output loop.npz",
        "map --data few.npz --output loop.png",
        "map --data few.npz --output map.png --coordinates loop.csv",
        "neighbours 0 --data few.npz --output loop.png",
        "index --data few.npz --output loop.npz",
        "search 0 --index i.npz --data few.npz --html loop.html",
        "convert w.h5 loop.h5",
        "convert w.h5 loop.safetensors",
        "evaluate --data few.npz --weights w.h5 --picture loop.png",
        "classify --data few.npz --epochs 1 --arms untrained --save loop.h5",
        "classify --data few.npz --epochs 1 --arms untrained --predict few.npz --predictions loop.csv",
        "encode --data few.npz --output loop.folder/y.npz",
    ],
)
def test_a_link_that_leads_to_itself_is_no_output(folder, command):
    """It was a defect of dim, with RuntimeError's traceback."""
    if "--index" in command:
        deepinfomax.search.Index(np.zeros((12, 64), np.float32)).save(folder / "i.npz")
    for name in "npz", "png", "html", "h5", "safetensors", "csv", "folder":
        (folder / f"loop.{name}").symlink_to(f"loop.{name}")
    done = dim(*command.split(), cwd=folder)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "Too many levels of symbolic links" in done.stderr or "there is no folder loop.folder" in done.stderr, done.stderr
    assert all(os.path.islink(folder / name) for name in os.listdir(folder) if name.startswith("loop."))


def test_convert_keeps_its_architecture(folder):
    (folder / "a.h5").write_bytes(b'{"preset": "notebook"}')
    done = dim("convert", "w.h5", "a.h5", "--architecture", "a.h5", cwd=folder)
    assert done.returncode == 2 and "a.h5 is what --architecture reads" in done.stderr, done.stderr
    assert (folder / "a.h5").read_bytes() == b'{"preset": "notebook"}'


def test_a_label_with_nul_is_told_by_hdf5_alone(folder):
    pytest.importorskip("h5py")
    images = np.load(folder / "few.npz")["images"]
    np.savez(folder / "nul.npz", images=images, labels=np.array(["a\0b", "c"] * 6))
    done = dim("encode", "--data", "nul.npz", "--weights", "w.h5", "--output", "y.h5", cwd=folder)
    assert done.returncode == 2 and "nul.npz: classes: 'a\\x00b' has a NUL" in done.stderr, done.stderr
    assert not (folder / "y.h5").exists()
    assert dim("encode", "--data", "nul.npz", "--weights", "w.h5", "--output", "y.npz", cwd=folder).returncode == 0


@pytest.mark.parametrize("name", ["weights.h5", "best.h5", "curves.png"])
def test_a_folder_with_a_result_alone_is_kept(folder, tmp_path, name):
    os.link(folder / "w.h5", tmp_path / name)
    done = dim("train", "--data", "few.npz", "--output", tmp_path, cwd=folder)
    assert done.returncode == 2 and f": holds {name} already; name another folder" in done.stderr, done.stderr


def test_a_new_run_does_not_write_through_a_link(folder, tmp_path):
    (folder / "other.json").write_text("another run's")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.json").symlink_to(folder / "other.json")
    done = dim("train", "--data", "few.npz", "--output", tmp_path / "run", cwd=folder)
    assert done.returncode == 2 and "settings.json: is a link" in done.stderr, done.stderr
    assert (folder / "other.json").read_text() == "another run's"


def test_an_index_of_vectors_says_so(folder):
    done = dim("index", "--data", "few.npz", "--vectors", "y.npy", "--output", "i.npz", cwd=folder)
    assert done.returncode == 0 and "vectors of y.npy: i.npz" in done.stdout, done.stderr + done.stdout
