"""What took long to compute is not lost in the end: not by a reader that has gone, not by a file that cannot be written."""

import json
import os
import resource
import subprocess

import deepinfomax
import numpy as np
import pytest
from cli_fixtures import SMALL_NETWORK, dim, start
from data_fixtures import random_images
from deepinfomax import cli
from deepinfomax.commands import classify
from deepinfomax.commands._last_steps import LastSteps

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
image = pytest.importorskip("PIL.Image")


NETWORK = SMALL_NETWORK | {"local": {"score": "dot", "net": "light", "units": 16}}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("last-steps") / "small.h5"
    deepinfomax.Model(0, deepinfomax.Architecture(NETWORK)).save(path)
    return path


@pytest.fixture
def folder(tmp_path, weights):
    """photos/ of two classes, 24 images; w.h5 of a small network."""
    for number, pixels in enumerate(random_images(24)):
        place = tmp_path / "photos" / ("cat", "dog")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        image.fromarray(pixels).save(place / f"{number:02}.png")
    os.link(weights, tmp_path / "w.h5")
    return tmp_path


#: Commands, and what they write.
RUNS = {
    "classify --arms frozen --epochs 2 --save c.h5 --picture c.png --predict photos --predictions p.csv": "c.h5 c.png p.csv",
    "evaluate --rows weights,pixels --picture e.png": "e.png",
    "encode --output v.npz": "v.npz",
    "map --output m.png --coordinates m.csv": "m.png m.csv",
    "neighbours 0 1 --output n.png": "n.png",
    "index --output i.npz": "i.npz",
    "train --epochs 1 --batch 4 --no-plot --output run": "run/weights.h5",
}


@pytest.mark.parametrize("line", RUNS, ids=lambda line: line.split()[0])
def test_a_reader_that_has_gone(folder, line):
    """`| head -1`: classify wrote nothing, with exit code 0."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        words = [*line.split(), "--data", "photos", "--weights", "w.h5"]
        done = dim(*words, cwd=folder, capture_output=False, stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert (done.returncode, "dim " in done.stderr) == (0, False), done.stderr
    assert all((folder / name).is_file() for name in RUNS[line].split()), os.listdir(folder)


def with_small_files(*words, cwd):
    """A command that can write no picture, but lists of a few images. Nor Python's compiled modules: it would leave parts of them."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))

    return dim(*words, cwd=cwd, preexec_fn=limit, environment={"PYTHONDONTWRITEBYTECODE": "1"})


def failing(folder, line):
    """The command's standard output where no picture can be written."""
    done = with_small_files(*line.split(), cwd=folder)
    assert done.returncode == 2 and done.stderr.endswith("p.png: File too large\n"), done.stderr
    assert not (folder / "p.png").exists()
    return done.stdout


def test_a_picture_that_cannot_be_written(folder):
    """Nothing was printed, and what was to be written after it was not."""
    of = "--data photos --weights w.h5"
    out = failing(folder, f"classify {of} --arms frozen --epochs 1 --picture p.png --predict photos --predictions p.csv")
    assert "frozen" in out and len((folder / "p.csv").read_text().splitlines()) == 25
    evaluate = f"evaluate {of} --rows weights,pixels --columns Y --picture p.png"
    out = failing(folder, evaluate)
    assert "pixels" in out and "picture" not in out
    report = json.loads(failing(folder, f"{evaluate} --json"))
    assert report["figures"] and report["picture"] is None
    out = failing(folder, f"map {of} --output p.png --coordinates m.csv")
    assert "of the variance" in out and "picture" not in out and len((folder / "m.csv").read_text().splitlines()) == 25
    out = failing(folder, f"neighbours {of} 0 --output p.png")
    assert "nearest" in out and "picture" not in out
    assert dim("index", *of.split(), "--output", "i.npz", cwd=folder).returncode == 0
    assert "cat/" in failing(folder, "search 0 --index i.npz --data photos --weights w.h5 --picture p.png")
    out = failing(folder, "search --index i.npz --data photos --weights w.h5 --duplicates 100 --picture p.png")
    assert "pairs" in out


def test_a_damaged_image_among_the_last(folder):
    """Its header is sound. The trained classifier is saved, and how well it does is told."""
    (folder / "new").mkdir()
    image.fromarray(random_images(1)[0]).save(folder / "new" / "a.png")
    (folder / "new" / "b.png").write_bytes((folder / "new" / "a.png").read_bytes()[:400])
    words = "classify --data photos --weights w.h5 --arms frozen --epochs 1 --save c.h5 --predict new".split()
    done = dim(*words, cwd=folder)
    assert done.returncode == 2 and "b.png" in done.stderr and "frozen" in done.stdout and "c.h5" in done.stdout, done.stderr
    deepinfomax.Model.open(folder / "c.h5").close()
    done = dim(*words, "--json", cwd=folder)
    assert done.returncode == 2 and json.loads(done.stdout)["saved"]["file"] == "c.h5"


def test_predictions_that_cannot_be_written_are_printed(folder):
    for number in range(60):
        (folder / "photos" / "cat" / ("long name " * 5 + f"{number}.png")).write_bytes(
            (folder / "photos" / "cat" / "00.png").read_bytes()
        )
    words = "classify --data photos --weights w.h5 --arms frozen --epochs 1 --predict photos --predictions p.csv".split()
    done = with_small_files(*words, cwd=folder)
    assert done.returncode == 2 and "p.csv: File too large" in done.stderr
    assert done.stdout.count("\tcat\t") + done.stdout.count("\tdog\t") == 84 and not (folder / "p.csv").exists()


def test_an_arm_that_overflows(folder, monkeypatch, capsys):
    def overflow(self):
        raise deepinfomax.NotFinite("step 3: infinite", 18, "DIM_NOT_FINITE")

    monkeypatch.chdir(folder)
    monkeypatch.setattr(classify.Comparison, "_end_to_end", overflow)
    words = "classify --data photos --weights w.h5 --arms frozen,end-to-end --epochs 1 --save c.h5".split()
    assert cli.main(words) == 1
    out, err = capsys.readouterr()
    assert "frozen  " in out and "end-to-end  " not in out and (folder / "c.h5").exists()
    assert err == "dim classify: not all of it: step 3: infinite; start again with a smaller --lr\n"


def test_the_steps():
    done = []

    def failing(error):
        raise error

    steps = LastSteps("map")
    assert not steps.do(lambda: failing(OSError(28, "No space left on device", "a.png")))
    assert steps.do(lambda: done.append(1))
    assert not steps.do(lambda: failing(KeyboardInterrupt()))
    assert not steps.do(lambda: done.append(2))
    assert done == [1]
    with pytest.raises(KeyboardInterrupt):
        steps.end()
    LastSteps("map").end()


def test_several_that_fail_are_told(capsys):
    steps = LastSteps("map")
    for name in "a.png", "b.csv":
        steps.do(lambda name=name: open(f"{os.devnull}/{name}"))
    with pytest.raises(NotADirectoryError, match=r"b\.csv"):
        steps.end()
    assert capsys.readouterr().err == "dim map: /dev/null/a.png: Not a directory\n"


# ---- A checkpoint of something else is told before anything is computed


def test_a_checkpoint_is_looked_at_first(folder):
    """All arms before end-to-end had been computed, and were lost."""
    (folder / "w.json").write_text(json.dumps(NETWORK))
    words = "classify --data photos --architecture w.json --arms end-to-end --end-to-end-epochs 2 --checkpoint ck".split()
    assert dim(*words, cwd=folder).returncode == 0
    all_arms = "classify --data photos --weights w.h5 --epochs 1 --end-to-end-epochs 1 --checkpoint ck".split()
    done = dim(*all_arms, "--seeds", "1,0", cwd=folder)
    assert done.returncode == 2 and done.stdout == "", done.stdout
    assert "ck/end-to-end-0.h5 has done 2 epochs already, more than the 1 that are asked for" in done.stderr
    done = dim(*all_arms, "--lr", "0.5", cwd=folder)
    assert done.returncode == 2 and done.stdout == "" and "was started with lr 0.0001, now it is 0.5" in done.stderr, (
        done.stderr
    )


# ---- Runs without a named folder that start together


def test_each_has_a_folder_of_its_own(folder):
    """Two of three were refused: all had found dim-run free."""
    words = "train --data photos --weights w.h5 --epochs 1 --batch 4 --no-plot --probe 0 --quiet".split()
    running = [start(*words, cwd=folder) for _ in range(3)]
    assert [one.communicate()[1] for one in running] == ["", "", ""]
    assert sorted(path.name for path in folder.glob("dim-run*/weights.h5")) == ["weights.h5"] * 3
    assert {path.name for path in folder.glob("dim-run*")} == {"dim-run", "dim-run-2", "dim-run-3"}


def test_a_run_with_numbers_in_use(folder):
    np.save(folder / "dim-run", np.zeros(1))
    os.rename(folder / "dim-run.npy", folder / "dim-run")
    words = "train --data photos --weights w.h5 --epochs 1 --batch 4 --no-plot --probe 0 --quiet".split()
    assert dim(*words, cwd=folder).returncode == 0
    assert (folder / "dim-run-2" / "weights.h5").exists()
