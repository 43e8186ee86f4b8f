"""Mixed precision: bfloat16 terms in the score networks' products. Numbers are tested where the processor has them, the
refusal everywhere. Tests/DimOperatorsTests compares the products with the formula over rounded terms."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from cli_fixtures import dim as run
from training_fixtures import PHOTOS, assert_same_state

import deepinfomax as dim
from deepinfomax import Architecture, Model, Trainer

HAS_MIXED = "mixed precision" in dim.build_info()
BASELINE = {"DIM_ISA": "baseline"}
needs_mixed = pytest.mark.skipif(not HAS_MIXED, reason="this processor has no AVX-512 BF16, or DIM_ISA other kernels")

AUTHORS = {"score": "dot", "net": "authors", "units": 64}
OBJECTIVES = {
    "dot": (AUTHORS, dict(measure="nce", negatives="all")),
    "light dot": ({"score": "dot", "net": "light", "units": 64}, dict(measure="jsd", negatives="all")),
    "concat": ({"score": "concat", "hidden": [64, 64]}, dict(measure="gan", negatives="rotation")),
    "notebook": (None, {}),
}


def model_of(name):
    local, _ = OBJECTIVES[name]
    if local is None:
        return Model(1)
    description = Architecture.preset("basic32").as_dict() | {"local": local}
    return Model(1, architecture=Architecture.from_json(description))


def trainer_of(name, precision, **settings):
    return Trainer(model_of(name), seed=3, precision=precision, **OBJECTIVES[name][1] | settings)


def images(n, seed=0):
    return np.random.default_rng(seed).random((n, 3, 32, 32), dtype=np.float32)


def relative(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@needs_mixed
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_is_float32s_but_for_rounded_terms(name):
    """A term's two factors are rounded by 2^-9 at most, about 2^-10 in the mean. Gradients cancel in part: batch norm subtracts
    their mean over few images. What is asked is a fifth of a gradient; tests of the operators have exact bounds."""
    batch = images(8)
    found = {}
    for precision in "float32", "mixed":
        with trainer_of(name, precision) as trainer:
            total = trainer.accumulate(batch).total
            found[precision] = (total, trainer.gradients(), trainer.evaluate(batch))
    (total, gradients, evaluated), (expected, wanted, exact) = found["mixed"], found["float32"]
    assert abs(total - expected) <= 0.01 * abs(expected)
    assert evaluated == exact, "evaluation is float32"
    differing = 0
    for key, gradient in gradients.items():
        size = np.linalg.norm(wanted[key])
        if size <= 1e-6 * max(1.0, float(np.linalg.norm(gradient))):
            continue  # Of biases before a batch norm: rounding alone.
        assert relative(gradient, wanted[key]) <= 0.2, key
        if key.startswith("local_d") and key.endswith("weight"):
            differing += not np.array_equal(gradient, wanted[key])
    assert differing > 0


@needs_mixed
@pytest.mark.parametrize("name", OBJECTIVES)
def test_bytes_do_not_depend_on_threads(name):
    batch = images(7)
    states = []
    before = dim.num_threads()
    try:
        for threads in 1, 2, 3:
            dim.set_num_threads(threads)
            with trainer_of(name, "mixed") as trainer:
                for _ in range(2):
                    trainer.step(batch)
                states.append(trainer.model.state_dict())
    finally:
        dim.set_num_threads(before)
    for state in states[1:]:
        assert all(np.array_equal(state[key], states[0][key]) for key in states[0])


@needs_mixed
def test_it_learns_as_float32_does():
    losses = {}
    for precision in "float32", "mixed":
        with trainer_of("dot", precision, lr=1e-3) as trainer:
            losses[precision] = [trainer.step(images(16, seed=step % 4)).total for step in range(40)]
    first, last = (np.mean([values[s] for values in losses.values()]) for s in (slice(0, 4), slice(-4, None)))
    ours, theirs = np.mean(losses["mixed"][-4:]), np.mean(losses["float32"][-4:])
    assert last < first - 0.2
    assert abs(ours - theirs) <= 0.2 * (first - theirs)


@needs_mixed
def test_a_run_continues_with_its_precision(tmp_path):
    path = tmp_path / "checkpoint.h5"
    with trainer_of("dot", "mixed") as trainer:
        trainer.step(PHOTOS[:4])
        trainer.save(path)
        with Trainer.resume(path) as resumed:
            assert resumed.options.precision == "mixed"
            for one in trainer, resumed:
                one.step(PHOTOS[:4])
            assert_same_state(resumed.model.state_dict(), trainer.model.state_dict())


def test_float32_is_the_default_and_others_have_no_name():
    with Trainer(Model(0)) as trainer:
        assert trainer.options.precision == "float32"
    with pytest.raises(ValueError, match="precision: expected .*float32.*mixed.*found 'bf16'"):
        Trainer(Model(0), precision="bf16")


def test_other_kernels_refuse_it():
    code = """
import deepinfomax as dim
print(dim.build_info())
try:
    dim.Trainer(dim.Model(0), precision="mixed")
except dim.InvalidArgument as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | BASELINE, capture_output=True, text=True, check=True)
    for words in "precision is mixed", "AVX-512 BF16", "baseline kernels", "expected float32":
        assert words in done.stdout
    assert "mixed precision" not in done.stdout


def tiny(tmp_path):
    path = tmp_path / "images.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    np.savez(path, images=pixels)
    return path


def test_the_command_refuses_it_in_one_line(tmp_path):
    done = run("train", "--data", tiny(tmp_path), "--precision", "mixed", "--output", tmp_path / "run", environment=BASELINE)
    assert done.returncode != 0 and "AVX-512 BF16" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@needs_mixed
def test_the_command_trains_with_it_and_resumes(tmp_path):
    options = ["--data", tiny(tmp_path), "--batch", "4", "--validation-images", "0", "--no-plot", "--output", tmp_path / "run"]
    assert run("train", *options, "--epochs", "1", "--precision", "mixed").returncode == 0
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["precision"] == "mixed"
    assert run("train", "--resume", tmp_path / "run", "--epochs", "2", "--no-plot").returncode == 0
    refused = run("train", "--resume", tmp_path / "run", "--epochs", "3", "--no-plot", environment=BASELINE)
    assert refused.returncode != 0 and "AVX-512 BF16" in refused.stderr and "Traceback" not in refused.stderr
