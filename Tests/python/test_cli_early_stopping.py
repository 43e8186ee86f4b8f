"""`dim train --early-stopping`, continued by --resume with files of its folder removed, damaged or of another run."""

import json
import shutil
from pathlib import Path

import deepinfomax
import numpy as np
import pytest
from cli_fixtures import dim, events
from deepinfomax.run_folder import RunFolder

TINY = Path(__file__).parent / "digits8.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of eight epochs whose best is one before the last: its rate is far too large in the end."""
    folder = tmp_path_factory.mktemp("early")
    images = np.random.default_rng(0).integers(0, 255, (120, 8, 8)).astype(np.uint8)
    np.savez(folder / "digits.npz", images=np.maximum(images, images[:, ::-1]))
    how = f"train --data digits.npz --architecture {TINY} --no-plot --batch 32 --epochs 8 --warmup-epochs 30 --lr 0.3"
    done = dim(*how.split(), "--early-stopping", 50, "--validation-images", 40, "--output", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert smallest(folder / "run").epoch < 8
    return folder


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def smallest(run, after=-1):
    rows = RunFolder(run).read_metrics()
    return min((row for row in rows if row.phase == "validation" and row.step > after), key=lambda row: row.total)


def resumed(folder, *options, epochs=9):
    return dim("train", "--resume", "run", "--epochs", epochs, "--no-plot", *options, cwd=folder)


def same(path, other):
    with deepinfomax.Model.open(path) as model, deepinfomax.Model.open(other) as second:
        state = second.state_dict()
        return all((value == state[name]).all() for name, value in model.state_dict().items())


def test_the_best_value_outlives_the_metrics(folder):
    best = smallest(folder / "run")
    shutil.copy(folder / "run" / "best.h5", folder / "kept.h5")
    (folder / "run" / "metrics.csv").unlink()
    done = resumed(folder)
    assert done.returncode == 0, done.stderr
    value = f"a validation total of {best.total:.4f}, of an epoch that metrics.csv lacks: it stays until one is better"
    assert f"best.h5 has {value}" in done.stderr
    assert f"weights of best.h5, validation total {best.total:.4f}, are the best\n" in done.stdout
    assert same(folder / "run" / "weights.h5", folder / "kept.h5") and same(folder / "run" / "best.h5", folder / "kept.h5")
    again = resumed(folder, "--json", epochs=10)
    found = [event for event in events(again.stdout) if event["event"] == "best"]
    assert [(event["step"], event["total"]) for event in found] == [(None, pytest.approx(best.total))], again.stderr


def test_an_ordinary_resumption_says_nothing(folder):
    best = smallest(folder / "run")
    done = resumed(folder)
    assert "best.h5" not in done.stderr
    assert f"weights of epoch {best.epoch:g}, validation total {best.total:.4f}, are the best\n" in done.stdout


def test_what_is_lost_is_said_and_not_called_the_best(folder):
    best = smallest(folder / "run")
    last = max(row.step for row in RunFolder(folder / "run").read_metrics() if row.phase == "validation")
    (folder / "run" / "best.h5").unlink()
    done = resumed(folder)
    value = f"epoch {best.epoch:g}, validation total {best.total:.4f}"
    assert f"best.h5 is not there: the weights of {value}, the best so far, are lost; the best that are left" in done.stderr
    left = smallest(folder / "run", last - 1)
    assert left.total > best.total
    text = f"weights of epoch {left.epoch:g}, validation total {left.total:.4f}, are the best that are left: those of {value}, are lost"
    assert text in done.stdout
    assert same(folder / "run" / "weights.h5", folder / "run" / "best.h5")
    again = resumed(folder, epochs=10)  # What was said then is still known.
    assert (
        f"best.h5 has a validation total of {left.total:.4f}: the weights of {value}, the best so far, are lost" in again.stderr
    )


def test_what_no_weights_can_be_made_of_is_refused_at_once(folder):
    run = folder / "run"
    before = (run / "metrics.csv").read_bytes(), (run / "weights.h5").read_bytes(), (run / "settings.json").read_bytes()
    (run / "best.h5").write_text("x")
    done = resumed(folder)
    assert (
        done.returncode == 2
        and "run/best.h5 is not an HDF5 file" in done.stderr
        and "without it: mv run/best.h5 run/best.h5.old" in done.stderr
    )
    assert "epoch" not in done.stdout
    other = json.loads(TINY.read_text())
    other["classifier"] = {"classes": 3}
    with deepinfomax.Model(0, deepinfomax.Architecture(other)) as model:
        model.save(run / "best.h5")
    done = resumed(folder)
    assert done.returncode == 2 and "run/best.h5: holds weights of other networks than checkpoint.h5: they are" in done.stderr
    assert before == (
        (run / "metrics.csv").read_bytes(),
        (run / "weights.h5").read_bytes(),
        (run / "settings.json").read_bytes(),
    )
