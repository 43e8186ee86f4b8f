"""Benchmarks/science: rows that are done are not done again, and the document is made from what is there."""

import argparse
import json
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
SCIENCE = Path(__file__).resolve().parents[2] / "Benchmarks" / "science"
sys.path.insert(0, str(SCIENCE))
import document  # noqa: E402
import rows  # noqa: E402
import runner  # noqa: E402
from deepinfomax.data import open_dataset  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """MNIST's four files with a few small images: bright above or below."""
    folder = tmp_path_factory.mktemp("mnist")
    chance = np.random.default_rng(0)
    for name, count in ("train", 200), ("t10k", 30):
        labels = (np.arange(count) // 3 % 2).astype(np.uint8)
        images = chance.integers(0, 120, (count, 28, 28)).astype(np.uint8)
        images[labels == 1, :14] += 100
        header = b"\0\0\x08\x03" + np.array([count, 28, 28], ">u4").tobytes()
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(
            b"\0\0\x08\x01" + np.array([count], ">u4").tobytes() + labels.tobytes()
        )
    return folder


def options(data, folder):
    """Of a run that is kept in this folder, without NDM and MINE."""
    places = {"--data": data, "--results": folder, "--work": folder / "work", "--pace": folder / "pace.json"}
    return [*(str(word) for pair in places.items() for word in pair), "--ndm-steps", "0", "--mine-steps", "0"]


def test_a_run_continues_and_is_reported(data, tmp_path, capsys):
    words = [*options(data, tmp_path), "--rows", "nce,still", "--seeds", "0", "--steps", "2"]
    assert runner.main(words) == 0
    path = tmp_path / "validation" / "nce-0.json"
    found = json.loads(path.read_text())
    assert found["steps"] == 2 and found["budget"]["judged_on"] == "validation" and len(found["figures"]) == 4
    assert found["options"]["measure"] == "nce" and found["architecture"]["preset"] == "basic32"
    before = path.stat().st_mtime_ns
    capsys.readouterr()
    assert runner.main(words) == 0
    assert capsys.readouterr().out == "nce 0: done before\nstill 0: done before\n" and path.stat().st_mtime_ns == before
    text = document.text(document.read(tmp_path / "validation"), "validation")
    assert "| DIM(L), nce | 1 |" in text and "| pixels | 1 |" in text and "the test images have not been read" in text
    assert runner.main([*words[:-1], "1"]) == 0
    assert json.loads(path.read_text())["steps"] == 1, "another budget is another result"
    kept = tmp_path / "work" / "nce-0.h5"
    before = kept.stat().st_mtime_ns
    assert runner.main([*words[:-1], "1", "--judge-on", "test"]) == 0
    assert kept.stat().st_mtime_ns == before, "the networks that the validation images judged are judged on the test images"
    test = json.loads((tmp_path / "test" / "nce-0.json").read_text())
    assert test["losses"] == json.loads(path.read_text())["losses"] and test["budget"]["judged_on"] == "test"


def test_a_training_that_was_cut_off_continues(data, tmp_path, monkeypatch):
    """From its checkpoint, to the same weights; one of another budget is not used."""
    monkeypatch.setattr(runner, "CHECKPOINT_STEPS", 2)
    words = [*options(data, tmp_path), "--rows", "nce", "--seeds", "0", "--steps"]
    assert runner.main([*words, "5"]) == 0
    whole, weights = json.loads((tmp_path / "validation" / "nce-0.json").read_text()), tmp_path / "work" / "nce-0.h5"
    expected = weights.read_bytes()
    for path in (weights.with_suffix(".json"), tmp_path / "validation" / "nce-0.json"):
        path.unlink()
    step, counted = runner.dim.Trainer.step, []

    def cut(self, images):
        counted.append(0)
        if len(counted) == 5:
            raise KeyboardInterrupt
        return step(self, images)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runner.dim.Trainer, "step", cut)
        runner.main([*words, "5"])
    counted.clear()
    with monkeypatch.context() as patch:
        patch.setattr(runner.dim.Trainer, "step", cut)
        assert runner.main([*words, "5"]) == 0
    found = json.loads((tmp_path / "validation" / "nce-0.json").read_text())
    assert len(counted) == 1 and found["losses"] == whole["losses"] and found["curve"] == whole["curve"]
    assert found["figures"] == whole["figures"] and weights.read_bytes() == expected
    assert not list(weights.parent.glob("*.checkpoint.*"))


def test_minutes_are_steps(data, tmp_path, capsys):
    """Of an idle machine's pace, kept in a file: the same run whatever else the machine does."""
    pace = tmp_path / "pace.json"
    words = ["--data", data, "--pace", pace, "--rows", "jsd,default", "--measure-pace"]
    assert runner.main(list(map(str, words))) == 0
    known = json.loads(pace.read_text())
    assert set(known) == {"jsd", "default"} and all(one["milliseconds"] > 0 for one in known.values())
    known["default"]["milliseconds"] = 150.0
    pace.write_text(json.dumps(known))
    budget = argparse.Namespace(pace=pace, steps=0, seconds=300.0)
    assert runner.total_steps("default", budget) == 8_000 and runner.total_steps("still", budget) == 0


def test_every_row_is_a_network():
    """Each description and its options are accepted."""
    import deepinfomax as dim

    for name, row in rows.ROWS.items():
        made = runner.architecture(row)
        if row.kind == "dim":
            with dim.Model(0, made) as model, dim.Trainer(model, **row.options):
                pass
        assert name in rows.ROWS and row.title


def test_the_first_run_is_the_command(data, tmp_path):
    assert runner.main([*options(data, tmp_path), "--rows", "first-run", "--seeds", "3", "--steps", "6"]) == 0
    found = json.loads((tmp_path / "validation" / "first-run-3.json").read_text())
    assert found["epochs"] == 2 and {one["row"] for one in found["figures"]} == {"weights", "calibrated", "untrained"}
    settings = json.loads((tmp_path / "work" / "first-run-3" / "settings.json").read_text())
    assert settings["seed"] == 3 and settings["epochs"] == 2
    assert "| dim train with no settings but --data, at 28x28 | 1 |" in document.text([found], "validation")


@pytest.mark.parametrize("judged_on", ["validation", "test"])
def test_a_peer_is_judged_by_its_vectors(data, tmp_path, monkeypatch, judged_on):
    """Its row could not be written. PyTorch's part of it is stood in for: the file of peers.py."""

    other = 0

    def trained(row, seed, total, options, out):
        chance = np.random.default_rng(seed)
        arrays = {}
        for part, count in ("train", 200), ("test", 30):
            labels = np.arange(count) // 3 % 2
            arrays[f"{part}_labels"] = labels.astype(np.uint8)
            for name, width in (part, 64), (f"{part}_fc", 1024):
                arrays[name] = (chance.standard_normal((count, width)) + 3 * labels[:, np.newaxis]).astype(np.float32)
        images = open_dataset(options.data, labelled=True, part="train", image=(1, 32, 32)).read(slice(None))
        about = {"steps": total, "images_crc32": zlib.crc32(images.tobytes()) ^ other}
        np.savez(out, about=np.array(json.dumps(about)), **arrays)

    monkeypatch.setattr(runner, "train_peer", trained)
    words = ["--rows", "vae", "--seeds", "0", "--steps", "2", "--decoder-steps", "0", "--judge-on", judged_on]
    assert runner.main([*options(data, tmp_path), *words]) == 0
    found = json.loads((tmp_path / judged_on / "vae-0.json").read_text())
    assert [(one["column"], one["judge"]) for one in found["figures"]] == [
        (column, judge) for column in ("Y", "fc") for judge in ("logistic", "knn")
    ]
    assert all(one["accuracy"] == 1 for one in found["figures"]) and found["steps"] == 2
    other = 1  # PyTorch's run was of other images, as of 28x28 ones with a border instead of resized ones.
    with pytest.raises(SystemExit, match="expected vectors of the images that this library reads"):
        runner.main([*options(data, tmp_path), *words, "--seeds", "1"])
