"""`dim check --architecture` for every preset and for random --seed 0 to 199, beside live PyTorch, in one process.

A random one takes some seconds of a core, a preset minutes. SEEDS=40-59 or SEEDS=7,19 in the environment takes some of the
random ones; a failure shows the lines of the command's table that failed, and the command.
"""

import os

import deepinfomax
import pytest

torch = pytest.importorskip("torch")

from deepinfomax.torch import check  # noqa: E402
from deepinfomax.torch._description import PRESETS, expanded  # noqa: E402
from deepinfomax.torch.random_architectures import random_description, with_vector_features  # noqa: E402

torch.set_num_threads(1)


def seeds():
    asked = os.environ.get("SEEDS", "0-199")
    if "-" in asked:
        first, last = map(int, asked.split("-"))
        return range(first, last + 1)
    return [int(seed) for seed in asked.split(",")]


def failures(description, seed):
    return [row.line() for row in check.compare(deepinfomax, expanded(description), seed) if not row.passed]


@pytest.mark.parametrize("seed", seeds())
def test_random(seed):
    wrong = failures(random_description(seed), seed)
    assert not wrong, f"dim check --architecture random --seed {seed}\n" + "\n".join(wrong)


@pytest.mark.parametrize("seed", seeds())
def test_random_with_vectors_as_features(seed):
    description = with_vector_features(random_description(seed))
    if description is None:
        pytest.skip("without a hidden linear layer")
    wrong = failures(description, seed)
    assert not wrong, f"seed {seed}\n" + "\n".join(wrong)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets(preset):
    wrong = failures(preset, 0)
    assert not wrong, f"dim check --architecture {preset}\n" + "\n".join(wrong)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_norm_after_every_operator(norm):
    """Random architectures have norms after convolutions, linear layers and blocks only."""
    layers = [
        {"op": "conv", "out": 12, "kernel": 3, "stride": 2, "padding": 1},
        {"op": "dropout", "dropout": 0.3},
        {"op": "residual", "layers": [{"op": "conv", "name": "c1", "out": 12, "kernel": 3, "padding": 1}]},
        {"op": "maxpool", "kernel": 2, "stride": 1},
        {"op": "avgpool", "kernel": 2},
        {"op": "flatten"},
        {"op": "linear", "out": 20},
    ]
    activations = ["relu", "sigmoid", None, "sigmoid", "relu", None, "sigmoid"]
    for number, (layer, activation) in enumerate(zip(layers, activations, strict=True)):
        layer |= {"name": f"x{number}", "norm": norm, "activation": activation}
    description = {
        "image": {"channels": 3, "height": 12, "width": 10},
        "encoder": {"layers": [*layers, {"op": "linear", "name": "l0", "out": 8}], "features": "x2"},
        "local": {"score": "dot", "net": "light", "units": 16},
    }
    wrong = failures(description, 0)
    assert not wrong, "\n".join(wrong)
