"""Every preset and five random architectures at batch 5 against what PyTorch recorded: Tests/golden/architectures.npz.

Outputs by the criterion of `dim check --architecture`, gradients and losses by that of deepinfomax/compare/deviations.py.
"""

import json

import cases
import deepinfomax
import numpy as np
import pytest
from deepinfomax import Model
from deepinfomax.compare import deviations as criterion
from deepinfomax.compare import recordings
from deepinfomax.compare.runs import Expected, Outcome
from deepinfomax.torch import _subject
from deepinfomax.torch._description import expanded

RECORDING = recordings.Recording(cases.FOLDER / "architectures.npz")
ABOUT = json.loads(str(RECORDING.arrays["about"]))
OUTPUT, FLOAT32, FLOOR = 1e-4, 10, 1e-6


def recorded(name, gradients):
    prefix = f"{name}/gradients/" if gradients else f"{name}/"
    keys = [key for key in RECORDING.keys(name) if key.startswith(prefix) and ("/gradients/" in key) == gradients]
    return {key.removeprefix(prefix): RECORDING.outputs[key] for key in keys}


def test_all_are_there():
    assert list(ABOUT) == [name for name, _, _ in cases.architectures()]
    changed = [
        f"architectures/{name}"
        for name, architecture, seed in cases.architectures()
        if (ABOUT[name]["architecture"], ABOUT[name]["seed"]) != (architecture, seed)
    ]
    assert not changed, f"other architectures than were recorded; record them: Tests/golden/record.py {' '.join(changed)}"


def wrong_outputs(name, spoil=lambda found: None):
    about = ABOUT[name]
    description, seed = expanded(about["architecture"]), about["seed"]
    x = _subject.images(description, _subject.BATCH, seed, about["batches"][0])
    with Model(seed, architecture=description) as model:
        found = _subject.outputs(model, description, x)
    spoil(found)
    expected = recorded(name, gradients=False)
    assert found.keys() == expected.keys()
    wrong = []
    for key, summary in expected.items():
        scale = about["scales"].get(key, summary.rms)
        error = recordings.error_over_rms(found[key], summary) * (summary.rms / scale if summary.rms else 1)
        if not error <= min(OUTPUT, FLOAT32 * summary.float32 + FLOOR):
            wrong.append(f"{key}: {error:.1e}, PyTorch's float32 {summary.float32:.1e}")
    return wrong


@pytest.mark.parametrize("name", ABOUT)
def test_outputs(name):
    assert not wrong_outputs(name)


def deviations(name, spoil=lambda gradients: None):
    about = ABOUT[name]
    description, seed = expanded(about["architecture"]), about["seed"]
    x = _subject.images(description, _subject.BATCH, seed, about["batches"][1])
    with _subject.trainer(deepinfomax, description, seed, about["settings"] | {"betas": (0.9, 0.999)}) as trainer:
        losses = _subject.numbers(trainer.accumulate(x))
        gradients = trainer.gradients()
    spoil(gradients)
    expected = recorded(name, gradients=True)
    # Behind units that are never active everything is 0, in every arithmetic.
    dead = [key for key, summary in expected.items() if summary.rms == 0 and summary.float32 == 0]
    assert not any(np.any(gradients[key]) for key in dead)
    exact, *float32 = RECORDING.arrays[f"{name}/losses"]
    arrays = {key: summary for key, summary in expected.items() if key not in dead}
    found = Outcome({key: gradients[key] for key in arrays if key in gradients}, [losses])
    return criterion.deviations(found, Expected(arrays, exact[None], np.array(float32)[:, None]))


@pytest.mark.parametrize("name", ABOUT)
def test_losses_and_gradients(name):
    wrong = [one for one in deviations(name) if not one.passed]
    assert not wrong, "\n" + "\n".join(f"{d.group} {d.where}: {d.here:.1e}, float32 {d.scale:.1e}" for d in wrong)


def test_the_criteria_notice():
    """A thousandth more of one output, a hundredth more of one gradient, one that is missing."""

    def more(found):
        found["training/encoder.encoded"] *= np.float32(1.001)

    def wrong(gradients):
        gradients["encoder.c0.weight"] *= np.float32(1.01)
        del gradients["encoder.c1.weight"]

    assert [line.partition(":")[0] for line in wrong_outputs("basic28", more)] == ["training/encoder.encoded"]
    failed = {one.where for one in deviations("basic28", wrong) if not one.passed}
    assert failed == {"encoder.c0.weight", "encoder.c1.weight"}
