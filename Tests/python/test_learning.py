"""Training still makes vectors better: the small version of `make science` (Benchmarks/science/small.py)."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Benchmarks" / "science"))

import small  # noqa: E402


def test_training_beats_the_better_untrained_network():
    """By the mean of the 20 seeds' recorded gains less three of their standard deviations, and by a point at least."""
    recorded = json.loads((ROOT / "Tests" / "golden" / "learning.json").read_text())
    assert len(recorded["runs"]) == 20 and recorded["least"] > 0, "a margin measured over 20 seeds"
    margin = recorded["mean"] - 3 * recorded["deviation"]
    assert margin >= 1, "a margin that a broken objective would pass under tests nothing"
    found = small.gain(0)
    assert found["gain"] >= margin, f"{found}, where {margin:.1f} is asked for"
