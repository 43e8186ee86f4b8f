"""TensorBoard's event files of `dim train`: every row of metrics.csv, and none that a run has lost."""

from pathlib import Path

import numpy as np
import pytest
from cli_fixtures import dim
from deepinfomax.run_folder import Row, RunFolder


@pytest.fixture
def folder(tmp_path):
    """Of images that give eight steps an epoch."""
    (tmp_path / "tiny.json").write_text((Path(__file__).parent / "digits8.json").read_text())
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(300) % 10)
    return tmp_path


def train(folder, *arguments):
    how = "--data images.npz --architecture tiny.json --no-plot --batch 32 --output run"
    return dim("train", *how.split(), *arguments, cwd=folder)


def test_event_files_have_every_row(folder):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert train(folder, "--epochs", 1, "--tensorboard").returncode == 0
    assert dim("train", "--resume", "run", "--epochs", 2, "--tensorboard", cwd=folder).returncode == 0
    found = accumulator.EventAccumulator(str(folder / "run")).Reload()
    rows = [row for row in RunFolder(folder / "run").read_metrics() if row.phase == "train"]
    assert [event.step for event in found.Scalars("train/total")] == [row.step for row in rows] == list(range(1, 17))
    assert [event.value for event in found.Scalars("train/total")] == pytest.approx([row.total for row in rows], rel=1e-6)


def test_points_after_the_last_checkpoint_are_taken_back(folder):
    """Of a run that was killed: its steps were there twice, with whatever came between them on a curve."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from deepinfomax.commands import _tensorboard

    assert train(folder, "--epochs", 1, "--tensorboard").returncode == 0
    killed = _tensorboard.EventFile(folder / "run")
    for step in 9, 10:
        killed.add(Row(step, step / 8, "train", 99.0, 1.0, 0.0, 0.0, 1e-3, 10.0, 1.0))
    killed.close()
    assert dim("train", "--resume", "run", "--epochs", 2, "--tensorboard", cwd=folder).returncode == 0
    found = accumulator.EventAccumulator(str(folder / "run")).Reload()
    for phase in "train", "validation", "probe":
        tag = "linear_probe" if phase == "probe" else "total"
        rows = [row for row in RunFolder(folder / "run").read_metrics() if row.phase == phase]
        assert [event.step for event in found.Scalars(f"{phase}/{tag}")] == [row.step for row in rows], phase


def test_an_event_file_on_a_full_disk(tmp_path, monkeypatch):
    """TensorBoard's own writer printed its thread's traceback."""
    pytest.importorskip("tensorboard")
    from deepinfomax.commands import _tensorboard

    row = Row(1, 0.5, "train", 1.0, 1.0, 0.0, 0.0, 1e-3, 10.0, 1.0)
    file = _tensorboard.EventFile(tmp_path)
    file.add(row)
    (written,) = tmp_path.iterdir()
    monkeypatch.setattr(file, "_file", open("/dev/full", "wb", buffering=0))
    with pytest.raises(OSError, match="No space left on device") as raised:
        file.add(row)
    file.close()
    assert raised.value.filename == str(written)
