"""Every command that a guide shows is run: docs/*.md and both READMEs, on small data of the names that they use.

What a command is given besides makes it short: --epochs 1, --limit 60. Where a guide names data that is not here
(Fashion-MNIST), or what it shows needs a package that is not installed, it is parsed alone.
"""

import glob
import importlib.util
import os
import re
import shlex
import shutil
from pathlib import Path

import deepinfomax
import numpy as np
import pytest
from cli_fixtures import dim
from data_fixtures import random_images, write_archive, write_cifar
from deepinfomax import cli

TOP = Path(__file__).parents[2]
PAGES = [*sorted((TOP / "docs").glob("*.md")), TOP / "README.md", TOP / "bindings" / "python" / "README.md"]
#: `    dim train --data photos      and a remark behind two spaces`; lines may end in a backslash.
_COMMAND = re.compile(r"^    (?:\.venv/bin/)?dim (?P<words>[a-z-]+(?: .*)?)$", re.MULTILINE)
#: What makes a command short; of an option that is given twice, the last counts.
SHORT = {
    "train": "--epochs 1 --batch 20 --no-plot",
    "classify": "--limit 40 --seeds 0 --epochs 1 --end-to-end-epochs 1",
    "evaluate": "--train-limit 100 --limit 60 --seeds 0 --mlp-steps 20 --fine-tune-steps 3",
    "map": "--limit 40",
    "neighbours": "",
    "check": "",
}


def commands(page):
    """Of a page, in its order: lists of words."""
    found = []
    for match in _COMMAND.finditer(page.read_text("utf-8").replace("\\\n", " ")):
        line = re.sub(r"^([a-z-]+) +(?=--)", r"\1 ", match["words"].strip())  # Options may be aligned in columns.
        line = re.split(r"\s{2,}|\s\|\s|\s#", line)[0]
        if line.split()[0] in cli.COMMANDS and not re.search(r"[<>$;]|\.\.\.", line):
            found.append(shlex.split(line))
    return found


ALL = [(page.relative_to(TOP).as_posix(), words) for page in PAGES for words in commands(page)]


def test_there_are_commands():
    assert len(ALL) > 40 and {words[0] for _, words in ALL} == set(cli.COMMANDS)


@pytest.mark.parametrize("page, words", ALL, ids=[f"{page}: dim {' '.join(words)}" for page, words in ALL])
def test_it_is_understood(page, words):
    cli._parsed(words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All that the guides name."""
    folder = tmp_path_factory.mktemp("guides")
    image = pytest.importorskip("PIL.Image")
    pixels = random_images(64)
    for name in "photos", "other":
        for number, one in enumerate(pixels):
            place = folder / name / ("cat", "dog")[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            image.fromarray(one).save(place / f"{number:04d}.png")
    write_cifar(folder / "cifar", records=20)
    write_archive(folder / "cifar-10-binary.tar.gz", folder / "cifar")
    (folder / "cifar").rename(folder / "unpacked")
    for name in "cat.png", "dog.png":
        image.fromarray(pixels[0]).save(folder / name)
    with deepinfomax.Model(0, deepinfomax.Architecture.preset("basic32")) as model:
        model.save(folder / "weights.h5")
        for name in "run", "dim-run":
            (folder / name).mkdir()
            model.save(folder / name / "weights.h5")
        data = deepinfomax.data.open_dataset(folder / "photos")
        np.savez(folder / "vectors.npz", encoded=model.encode(data.read(slice(None)), features=False), ids=list(data.ids))
        with deepinfomax.Trainer(model) as trainer:
            trainer.save(folder / "checkpoint.h5")
    for seed, name in enumerate(("a.h5", "b.h5", "c.h5"), 1):  # Encoders that differ, as of training runs of several seeds.
        with deepinfomax.Model(seed, deepinfomax.Architecture.preset("basic32")) as model:
            model.save(folder / name)
    return folder


#: What the machine has to have for a command, besides the package.
def lacks(words, folder):
    torch_files = (".pt", ".wgt")
    of_torch = any(word.endswith(torch_files) for word in words) or "--original" in words
    if of_torch or words[0] == "check" and {"--weights", "--architecture"} & {*words}:
        return None if importlib.util.find_spec("torch") else "torch"
    if any(word.endswith(".onnx") for word in words) and importlib.util.find_spec("onnx") is None:
        return "onnx"
    for word in words:
        if word.startswith("/") and not Path(word).exists():
            return word
    return None


RUN = [name for name in dict.fromkeys(page for page, _ in ALL)]


def copied(source, target):
    """Each page has files of its own. Weights are large: a link will do, since dim replaces a file and never writes into it."""
    (os.link if source.endswith(".h5") else shutil.copy2)(source, target)


def shortened(words):
    """What makes the command short, of that what has an effect on it: the rest would be refused."""
    own = shlex.split(SHORT.get(words[0], ""))
    parsed = cli._parsed([*words, *own])
    module = cli.module_of(words[0])
    without = (
        {option for option, has_effect, _ in module.effects(parsed) if not has_effect} if hasattr(module, "effects") else ()
    )
    return [word for at, word in enumerate(own) if not {word, own[at - 1]} & {*without}]


@pytest.mark.parametrize("page", RUN)
def test_it_runs(page, folder, tmp_path):
    missing = []
    made_there = ("run", "dim-run") if page in ("README.md", "docs/train.md") else ()
    shutil.copytree(folder, tmp_path, copy_function=copied, ignore=shutil.ignore_patterns(*made_there), dirs_exist_ok=True)
    for number, words in enumerate(words for name, words in ALL if name == page):
        lacking = lacks(words, folder)
        if lacking is not None:
            missing.append(lacking)
            continue
        expanded = [one for word in words for one in (sorted(glob.glob(word, root_dir=tmp_path)) if "*" in word else [word])]
        own = ["--epochs", "2"] if "--resume" in words else shortened(words)
        if words[0] == "train" and "--resume" not in words:
            own += [] if "--output" in words else ["--output", f"run-{number}"]
            shutil.rmtree(
                tmp_path / (words + own)[(words + own).index("--output") + 1], ignore_errors=True
            )  # Of an example before.
            if "--data" not in words or "digits" in words:  # Thousands of images.
                own += ["--data", "photos"]
        done = dim(*expanded, *own, cwd=tmp_path)
        assert done.returncode == 0, f"dim {' '.join(words)}\n{done.stderr}{done.stdout}"
    if missing and len(missing) == sum(name == page for name, _ in ALL):
        pytest.skip(f"not here: {', '.join(sorted(set(missing)))}")
