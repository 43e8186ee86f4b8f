"""`dim check`, end to end, in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import deepinfomax as dim
import pytest

PACKAGE = Path(dim.__file__).parent.parent


def check(*arguments, module=("-m", "deepinfomax")):
    environment = os.environ | {"PYTHONPATH": str(PACKAGE)}
    command = [sys.executable, *module, "check", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_recorded():
    done = check("--recorded", "--seed", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "recorded from PyTorch" in done.stdout and "tolerance   1e-04" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("passed")
    assert max(map(len, done.stdout.splitlines()[5:])) <= 100


def test_json():
    done = check("--recorded", "--json", "--threads", 1)
    report = json.loads(done.stdout, parse_constant=pytest.fail)
    assert done.returncode == 0 and report["passed"] and report["threads"] == 1
    assert {row["output"].split(".")[0] for row in report["rows"]} == set(dim.Model(0).networks)
    assert {row["mode"] for row in report["rows"]} == {"training", "evaluation"}
    assert all(row["error"] <= report["tolerance"] for row in report["rows"])
    refused = [row for row in report["rows"] if row["shape_here"] is None]
    assert [(row["output"], row["mode"], row["input"]) for row in refused] == [("classifier", "training", "notebook")]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="compares with PyTorch at work")
def test_live_with_weights_of_ones_own(model, tmp_path):
    state = model.state_dict()
    state["encoder.b2.weight"] *= -2
    model.load_state_dict(state)
    model.save(tmp_path / "weights.h5")
    done = check("--live", "--weights", tmp_path / "weights.h5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "in float64, live" in done.stdout


def test_a_perturbed_weight_fails(model, tmp_path):
    state = model.state_dict()
    state["local_d.c1.bias"][3] += 0.01
    model.load_state_dict(state)
    model.save(tmp_path / "weights.h5")
    done = check("--recorded", "--weights", tmp_path / "weights.h5")
    assert done.returncode == 1
    failed = [line.split()[0] for line in done.stdout.splitlines() if line.endswith("FAIL")]
    assert failed and set(failed) == {"local_d", "local_d.rotated"}
    assert done.stdout.splitlines()[-1].startswith("FAILED")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--recorded", "--seed", 99),
        ("--recorded", "--live"),
        ("--seed", -1),
        ("--seed", "zero"),
        ("--threads", 5000),
        ("--recorded", "--weights", "/nothing/here.h5"),
        ("--unknown",),
        ("--part", "1/2"),
        ("--part", "1/2", "--architecture", "basic32"),
        *(
            ("--part", part, "--architecture", "basic32", "--train")
            for part in ("0/2", "3/2", "1", "1/2/3", "a/2", "1/99999999")
        ),
    ],
)
def test_usage_errors(arguments):
    done = check(*arguments)
    assert done.returncode == 2
    assert done.stderr and "Traceback" not in done.stderr and not done.stdout


def test_the_reader_may_stop_early():
    environment = os.environ | {"PYTHONPATH": str(PACKAGE)}
    command = f"{sys.executable} -m deepinfomax check --recorded | head -1"
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith("here") and "Traceback" not in done.stderr
