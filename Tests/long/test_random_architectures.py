"""`dim check --architecture` for every preset and for random --seed 0 to 199, beside live PyTorch, in one process.

A random one takes some seconds of a core, a preset minutes. SEEDS=40-60 or SEEDS=7,19 in the environment takes some of the
random ones; a failure shows the lines of the command's table that failed, and the command.
"""

import os

import deepinfomax
import pytest

torch = pytest.importorskip("torch")

from deepinfomax.torch import check  # noqa: E402
from deepinfomax.torch._description import PRESETS, expanded  # noqa: E402
from deepinfomax.torch.random_architectures import random_description  # noqa: E402

torch.set_num_threads(1)


def seeds():
    asked = os.environ.get("SEEDS", "0-200")
    if "-" in asked:
        return range(*map(int, asked.split("-")))
    return [int(seed) for seed in asked.split(",")]


def failures(description, seed):
    return [row.line() for row in check.compare(deepinfomax, expanded(description), seed) if not row.passed]


@pytest.mark.parametrize("seed", seeds())
def test_random(seed):
    wrong = failures(random_description(seed), seed)
    assert not wrong, f"dim check --architecture random --seed {seed}\n" + "\n".join(wrong)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset):
    wrong = failures(preset, 0)
    assert not wrong, f"dim check --architecture {preset}\n" + "\n".join(wrong)
