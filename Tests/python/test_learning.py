"""Training still makes vectors better: the small version of `make science` (Benchmarks/science/small.py)."""

import json
import math
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Benchmarks" / "science"))

import pytest  # noqa: E402
import small  # noqa: E402

SEEDS = 0, 1


@pytest.mark.skipif(not Path(small.DATA).is_dir(), reason="needs dataset-fashion-mnist: make deps")
def test_training_beats_the_better_untrained_network():
    """By the mean of the 20 seeds' recorded gains less three standard deviations of a mean of so few."""
    recorded = json.loads((ROOT / "Tests" / "golden" / "learning.json").read_text())
    assert len(recorded["runs"]) == 20 and recorded["least"] > 0, "a margin measured over 20 seeds"
    margin = recorded["mean"] - 3 * recorded["deviation"] / math.sqrt(len(SEEDS))
    assert margin >= 1, "a margin that a broken objective would pass under tests nothing"
    found = [small.gain(seed)["gain"] for seed in SEEDS]
    assert sum(found) / len(found) >= margin, f"{found}, where a mean of {margin:.1f} is asked for"
