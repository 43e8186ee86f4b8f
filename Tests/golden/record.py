#!/usr/bin/env python3
"""Records what PyTorch computes from seeds alone: the numbers that libdim's tests and `dim check` compare with.

    Tests/golden/record.py                  everything
    Tests/golden/record.py init forward     some subjects: inputs, init, forward, check, training, architectures, objectives
    Tests/golden/record.py architectures/basic32 architectures/random5      some of its architectures; the others are kept

Weights are float32, as the constructors draw them, then converted; all computation is in float64. Beside each output
stands how far PyTorch's own float32 is from it, which tells what a tolerance may ask for. Needs torch, scikit-learn
and Pillow; reading the files needs numpy alone (deepinfomax/compare/recordings.py).
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent
PACKAGE = FOLDER.parent.parent / "bindings" / "python"
sys.path[:0] = [str(PACKAGE), str(FOLDER)]

import cases  # noqa: E402
import objectives as recorded_objectives  # noqa: E402
from deepinfomax.commands import check  # noqa: E402
from deepinfomax.compare import notebook, objective, recordings, runs, walk  # noqa: E402
from deepinfomax.data import photographs  # noqa: E402
from deepinfomax.torch import Settings, _subject, modules, objectives  # noqa: E402
from deepinfomax.torch import check as architecture_check  # noqa: E402
from deepinfomax.torch._description import expanded  # noqa: E402
from deepinfomax.torch._lockstep import Lockstep  # noqa: E402

INIT_SEEDS = (0, 1, 2, 7, 42, 1234, 2**31 - 1, 2**32 - 1, 2**32 + 5)
CHECK_SEEDS = (0, 1, 2)
VERSION = f"PyTorch {torch.__version__}"


def record_inputs() -> None:
    """inputs.npz: photographs, the notebook's input, batch norms as after some training.

    The photographs' patches are kept as bytes, since JPEG decoders differ. Two patches of sky stand apart: their
    variance is so small that batch norm in training mode makes much of rounding errors.
    """
    photos = photographs.spread(max(cases.BATCHES))
    arrays = {"photos": photos, "sky": photographs.patches()[:2]}
    for seed in CHECK_SEEDS:
        arrays[f"notebook{seed}"] = notebook.random_image(seed)
    for seed in (0, 1):
        for name, value in warm_batch_norms(seed, photographs.pixels(photos)).items():
            arrays[f"warm{seed}/{name}"] = value
    np.savez_compressed(FOLDER / "inputs.npz", **arrays)


def warm_batch_norms(seed: int, photos: np.ndarray) -> dict[str, np.ndarray]:
    """Batch norms as in the middle of training: scales of either sign, shifts, statistics of several passes."""
    model = notebook.TorchModel(seed)
    entries = {name: value for name, value in model.networks.state_dict().items() if is_batch_norm(name)}
    for name, value in entries.items():
        i = torch.arange(value.numel(), dtype=torch.float64)
        if name.endswith(".weight"):
            value.copy_(0.6 + torch.sin(i + 1))
        elif name.endswith(".bias"):
            value.copy_(0.3 * torch.cos(2 * i))
    model.train()
    for first in range(0, 32, 8):
        y, _ = model.encode(photos[first : first + 8])
        model.classify(y)
    return {name: value.numpy().astype(np.int64 if value.ndim == 0 else np.float32) for name, value in entries.items()}


def is_batch_norm(name: str) -> bool:
    """encoder.b1..b3 and classifier.bn1..bn3."""
    return name.split(".")[1].startswith("b")


def record_init() -> None:
    """init.txt: for each seed and parameter, what tells its float32 values apart from all others'."""
    with open(FOLDER / "init.txt", "w") as file:
        file.write(f"# Initial weights, {VERSION}. crc32 of the float32 bytes, little-endian; sum in float64.\n")
        file.write("# seed parameter count crc32 sum first last\n")
        for seed in INIT_SEEDS:
            for name, value in notebook.TorchModel(seed, torch.float32).state_dict().items():
                if value.dtype != np.float32:
                    continue
                value = value.ravel()
                crc = zlib.crc32(value.astype("<f4").tobytes())
                total = value.astype(np.float64).sum()
                file.write(f"{seed} {name} {value.size} {crc:08x} {total:.12g} {value[0]:.9g} {value[-1]:.9g}\n")


def record_forward() -> None:
    """forward.npz: every network's outputs, both modes, several batches, odd inputs, two seeds."""
    with np.load(FOLDER / "inputs.npz") as file:
        inputs = dict(file)
    outputs: dict[str, recordings.Summary] = {}
    for case in cases.forward_cases():
        for step, single in zip(case_steps(case, inputs, torch.float64), case_steps(case, inputs, torch.float32), strict=True):
            if step.array is not None:
                outputs[f"{case.key}/{step.output}"] = recordings.summarise(step.array, single.array)
    recordings.save(FOLDER / "forward.npz", outputs, version=np.array(VERSION))


def case_steps(case: cases.Case, inputs: dict[str, np.ndarray], dtype: torch.dtype) -> list[walk.Step]:
    model = notebook.TorchModel(case.seed, dtype)
    if case.state == "warm":
        model.load_state_dict(cases.warm(inputs, case.seed))
    return list(walk.cells(model, cases.images(inputs, case.input, case.seed), case.mode))


def record_check() -> None:
    """check.npz: what `dim check` compares with where PyTorch is not installed; part of the Python package."""
    patches = photographs.spread(check.PHOTOGRAPHS)
    arrays = {"photographs": patches, "seeds": np.array(CHECK_SEEDS), "version": np.array(VERSION)}
    outputs: dict[str, recordings.Summary] = {}
    for seed in CHECK_SEEDS:
        image = notebook.random_image(seed)
        inputs = {"notebook": image, "photographs": photographs.pixels(patches)}
        model, single = notebook.TorchModel(seed), notebook.TorchModel(seed, torch.float32)
        arrays[f"notebook/{seed}"] = image
        arrays[f"crc32/{seed}"] = check.checksums(single.state_dict())
        for (name, mode, step), (_, _, float32) in zip(walk.walk(model, inputs), walk.walk(single, inputs), strict=True):
            if step.array is not None:
                outputs[f"{seed}/{name}/{mode}/{step.output}"] = recordings.summarise(step.array, float32.array)
    check.RECORDING.parent.mkdir(exist_ok=True)
    recordings.save(check.RECORDING, outputs, **arrays)


def record_training() -> None:
    """training.npz: gradients of every parameter; runs of 20 steps: losses, and how far the weights have moved.

    Part of the Python package, with the photographs, for `dim check --train`.
    """
    with np.load(FOLDER / "inputs.npz") as file:
        patches = file["photos"]
    outputs: dict[str, recordings.Summary] = {}
    arrays = {"version": np.array(VERSION), "photographs": patches}
    for key, compute in training_subjects(photographs.pixels(patches)).items():
        print(f"  {key}", flush=True)
        expected = objective.expected(compute)
        outputs |= {f"{key}/{name}": summary for name, summary in expected.arrays.items()}
        arrays |= {f"{key}/history": expected.history, f"{key}/history32": expected.history32}
    recordings.save(runs.RECORDING, outputs, **arrays)


def training_subjects(photos: np.ndarray) -> dict[str, objective.Compute]:
    """Key -> what computes it."""
    steps, kept = runs.STEPS, runs.KEPT
    subjects: dict[str, objective.Compute] = {}
    for prior in runs.PRIORS:
        for n in runs.GRADIENT_BATCHES:
            subjects[f"gradients/{prior}/batch{n}"] = partial(objective.gradients_of, photos, prior, n)
        subjects[f"run/{prior}"] = partial(objective.objective_run, photos, prior, steps, kept)
    for encoder, loss in runs.CLASSIFIER_RUNS:
        subjects[f"classifier/{encoder}/{loss}"] = partial(objective.classifier_run, photos, encoder, loss, steps, kept)
    return subjects


def record_architectures(*names: str) -> None:
    """architectures.npz: every preset and five random architectures at batch 5: outputs of both modes, gradients, losses.

    The batches, and how far PyTorch's float32 is, are those of `dim check --architecture` (deepinfomax/torch/_lockstep.py).
    names: which to compute; the others are taken from the file. None: all.
    """
    path = FOLDER / "architectures.npz"
    old = kept_architectures(path, names) if names else None
    outputs: dict[str, recordings.Summary] = {}
    arrays: dict[str, np.ndarray] = {"version": np.array(VERSION)}
    about: dict[str, object] = {}
    for name, architecture, seed in cases.architectures():
        if old is not None and name not in names:
            outputs |= {key: summary for key, summary in old.outputs.items() if key.startswith(f"{name}/")}
            arrays[f"{name}/losses"] = old.arrays[f"{name}/losses"]
            about[name] = json.loads(str(old.arrays["about"]))[name]
            continue
        print(f"  {name}", flush=True)
        description = expanded(architecture)
        attempt, exact, float32 = architecture_check.well_conditioned(description, seed)
        for key, array in exact.items():
            outputs[f"{name}/{key}"] = replace(_shortened(recordings.summarise(array)), float32=float32[key])
        settings = architecture_check.default_settings(description, seed)
        batch, found = Lockstep(description, seed, settings).choose(_subject.BATCH, 0)
        for key, array in found.gradients[0].items():
            single = (run[key] for run in found.gradients[1:])
            outputs[f"{name}/gradients/{key}"] = _shortened(recordings.summarise(array, *single))
        arrays[f"{name}/losses"] = np.array(found.losses)
        about[name] = {
            "architecture": architecture,
            "seed": seed,
            "settings": {key: getattr(settings, key) for key in _subject.SETTINGS},
            "batches": [100 * attempt, batch],
            # Of what is not measured by its own root mean square.
            "scales": {key: architecture_check.scale_of(key, exact) for key in exact if key.endswith("running_mean")},
        }
    arrays["about"] = np.array(json.dumps(about))
    recordings.save(path, outputs, **arrays)


def kept_architectures(path: Path, names: Collection[str]) -> recordings.Recording:
    """What was recorded, with all that is needed beside `names`. Exits where that is not so."""
    wanted = {name: (architecture, seed) for name, architecture, seed in cases.architectures()}
    if unknown := set(names) - wanted.keys():
        sys.exit(f"no such architecture: {', '.join(sorted(unknown))}; there are {', '.join(wanted)}")
    old = recordings.Recording(path)
    if str(old.arrays["version"]) != VERSION:
        sys.exit(f"{path.name} is by {old.arrays['version']}, and this is {VERSION}: record all architectures")
    about = json.loads(str(old.arrays["about"]))
    there = {name for name in about if (about[name]["architecture"], about[name]["seed"]) == wanted.get(name)}
    if missing := wanted.keys() - there - set(names):
        sys.exit(f"not recorded, or as something else: {', '.join(sorted(missing))}; name them as well")
    return old


def _shortened(summary: recordings.Summary) -> recordings.Summary:
    """A sample of 32 bits of mantissa, 256 times as fine as float32, which makes a smaller file."""
    fraction, exponent = np.frexp(summary.sample)
    return replace(summary, sample=np.ldexp(np.round(fraction * 2.0**33), exponent - 33))


#: In ten steps some float32 run meets a ReLU that turns; three may not.
MANY = tuple(objective.Arithmetic(torch.float32, nudged=pattern) for pattern in range(5))


def record_objectives() -> None:
    """objectives.npz: a dozen objectives on basic32's layers: gradients of every parameter, losses of ten steps."""
    outputs: dict[str, recordings.Summary] = {}
    arrays = {"version": np.array(VERSION)}
    for name in recorded_objectives.CASES:
        print(f"  {name}", flush=True)
        found = objective.expected(partial(objective_gradients, name))
        outputs |= {f"{name}/{key}": summary for key, summary in found.arrays.items()}
        run = objective.expected(partial(objective_steps, name), MANY)
        arrays |= {f"{name}/losses": found.history, f"{name}/losses32": found.history32}
        arrays |= {f"{name}/history": run.history, f"{name}/history32": run.history32}
    recordings.save(FOLDER / "objectives.npz", outputs, **arrays)


def objective_gradients(name: str, arithmetic: objective.Arithmetic) -> runs.Outcome:
    net, settings = objective_start(name, arithmetic)
    x = torch.tensor(recorded_objectives.images(recorded_objectives.GRADIENT_BATCH, 0), dtype=arithmetic.dtype)
    found = objectives.losses(net, x, settings)
    gradients = objectives.gradients(net, found, settings)
    return runs.Outcome({key: value.numpy() for key, value in gradients.items()}, [found.numbers()])


def objective_steps(name: str, arithmetic: objective.Arithmetic) -> runs.Outcome:
    net, settings = objective_start(name, arithmetic)
    batches = (
        torch.tensor(recorded_objectives.images(recorded_objectives.BATCH, step), dtype=arithmetic.dtype)
        for step in range(recorded_objectives.STEPS + 1)
    )
    return runs.Outcome({}, [found.numbers() for found in objectives.train(net, batches, settings)])


def objective_start(name: str, arithmetic: objective.Arithmetic) -> tuple[torch.nn.Module, Settings]:
    torch.manual_seed(recorded_objectives.SEED)
    net = modules(recorded_objectives.description(name))
    if arithmetic.nudged:
        objective.nudge(net, arithmetic.nudged)
    torch.manual_seed(recorded_objectives.TRAINING_SEED)
    return net.to(arithmetic.dtype).train(), Settings(**recorded_objectives.settings(name))


def main(subjects: list[str]) -> None:
    recorders = {name.removeprefix("record_"): recorder for name, recorder in globals().items() if name.startswith("record_")}
    chosen: dict[str, list[str]] = {}
    for word in subjects or recorders:
        subject, _, name = word.partition("/")
        if subject not in recorders:
            sys.exit(f"no such subject: {subject}; there are {', '.join(recorders)}")
        if name and subject != "architectures":
            sys.exit(f"{word}: only `architectures` is recorded by names")
        if subject in chosen and bool(name) != bool(chosen[subject]):
            sys.exit(f"{word}: asked for whole, and by names")
        chosen.setdefault(subject, []).extend([name] if name else [])
    for subject, names in chosen.items():
        print(f"{subject}: {(recorders[subject].__doc__ or '').splitlines()[0]}", flush=True)
        recorders[subject](*names)


if __name__ == "__main__":
    main(sys.argv[1:])
