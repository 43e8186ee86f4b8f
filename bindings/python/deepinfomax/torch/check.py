"""`dim check --architecture`: any architecture, here and in PyTorch, from a seed alone.

Compared are the weights, bit for bit; every output in evaluation and in training mode, and the running statistics that
training mode leaves; every gradient at batches of 3, 5 and 7; the losses and weights of ten training steps. PyTorch in
float64 is the truth. An output may be `OUTPUT` of its root mean square away (three times PyTorch's float32 where that is
more), and ten times as far as PyTorch's float32, the farthest of three runs; training as `_deviations.py` has it.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

import deepinfomax

from .. import _deviations, _recorded, _training, objective
from .._training import Expected, Outcome
from ..objective import Arithmetic
from . import objectives
from ._description import PRESETS, Description, expanded
from ._layout import layout
from .networks import Networks, modules
from .objectives import Settings
from .random_architectures import random_description

#: Of the largest error over the root mean square of an output.
OUTPUT = 1e-4
#: Of the largest error over the root mean square in PyTorch's float32, and what is added for outputs that it has exactly.
FLOAT32 = 10.0
FLOOR = 1e-6
BATCH = 5
GRADIENT_BATCHES = (3, 5, 7)
STEPS = 10
#: After which steps the weights are compared.
KEPT = (1, 2, 5, 10)
#: Of what a trainer draws.
TRAINING_SEED = 3

Array = NDArray[Any]
_T = TypeVar("_T")


# ---- The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--architecture",
        metavar="NAME|FILE|random",
        help="compare this architecture with PyTorch, which must be installed: a preset, a JSON file, or a random one of "
        "--seed",
    )


def run(
    architecture: object,
    seed: int = 0,
    *,
    steps: int = STEPS,
    objectives_table: bool = False,
    as_json: bool = False,
    library: Any = deepinfomax,
) -> int:
    """Prints the comparisons; returns the exit code. library: what has `Model` and `Trainer`."""
    description = random_description(seed) if architecture == "random" else architecture
    description = expanded(description)
    show: Callable[..., None] = (lambda *_: None) if as_json else partial(print, flush=True)
    head = {
        "libdim": library.build_info(),
        "reference": f"PyTorch {torch.__version__} in float64, live",
        "architecture": str(architecture),
        "seed": seed,
        "criterion": f"outputs: error/rms at most {OUTPUT:.0e} and {FLOAT32:g} times float32's + {FLOOR:.0e}; "
        f"training: {_deviations.MULTIPLE:g} times float32's",
    }
    for key, value in head.items():
        show(f"{key:<13}{value}")
    show(f"\n{_columns(*Row.TITLES)}\n{_columns(*('-' * len(title) for title in Row.TITLES))}")
    rows: list[Row] = []
    for row in compare(library, description, seed, steps, objectives_table):
        rows.append(row)
        show(row.line())
    failures = sum(not row.passed for row in rows)
    show()
    if as_json:
        print(json.dumps(head | {"rows": [asdict(row) for row in rows], "passed": not failures}, indent=2))
    elif failures:
        print(f"FAILED: {failures} of {len(rows)} comparisons")
    else:
        print(f"passed: {len(rows)} comparisons")
    return 1 if failures else 0


@dataclass(frozen=True)
class Row:
    what: str
    where: str
    #: Error over rms here; None where shapes differ or it is not finite.
    error: float | None
    #: PyTorch's float32's.
    float32: float
    bound: float
    passed: bool

    TITLES = ("what", "where", "error/rms", "float32", "bound")

    def line(self) -> str:
        error = "none" if self.error is None else f"{self.error:.1e}"
        return _columns(
            self.what, self.where, error, f"{self.float32:.1e}", f"{self.bound:.1e}" if self.passed else "FAIL"
        )


def _columns(*cells: str) -> str:
    what, where, *numbers = cells
    return f"{what:<34} {where:<34} " + " ".join(f"{number:>9}" for number in numbers)


def compare(
    library: Any, description: Description, seed: int, steps: int = STEPS, objectives_table: bool = False
) -> Iterator[Row]:
    yield from _weights(library, description, seed)
    yield from _outputs(library, description, seed)
    if objectives_table:
        for of_head, settings in combinations(description):
            yield from _training_rows(library, of_head, seed, settings, steps)
    else:
        yield from _training_rows(library, description, seed, default_settings(description, seed), steps)


# ---- Which training


def default_settings(description: Description, seed: int) -> Settings:
    """The preset's; without a preset, something of everything that the description allows, as the seed has it."""
    if description.get("preset") == "notebook":
        return objectives.NOTEBOOK
    if description.get("preset") in PRESETS:
        return Settings(alpha=0.5 if description["global"] else 0.0, beta=1.0 if description["local"] else 0.0)
    measures = [name for name in objectives.MEASURES if _is_bounded(description) or name not in ("kl", "rkl", "h2")]
    prior = ("none", "monolithic", "adversarial")[seed // 3 % 3] if description["prior"] else "none"
    return Settings(
        measure=measures[seed % len(measures)],
        negatives=("all", "rotation", 2)[seed // 2 % 3],
        prior=prior,
        alpha=0.5 if description["global"] else 0.0,
        beta=1.0 if description["local"] else 0.0,
        gamma=0.1 if prior != "none" else 0.0,
        gradient_penalty=1.0 if prior == "adversarial" and seed % 2 else 0.0,
    )


def _is_bounded(description: Description) -> bool:
    """Whether scores are small enough at first for e^t: not those of dot products that nothing divides."""
    heads = [head for head in (description["local"], description["global"]) if head is not None]
    return all(head["score"] == "concat" or head["net"] == "light" for head in heads)


def combinations(description: Description) -> Iterator[tuple[Description, Settings]]:
    """Measure x head x negatives x prior, over the encoder of a description."""
    heads = {
        "light": ({"score": "dot", "net": "light", "units": 64}, None),
        "authors": ({"score": "dot", "net": "authors", "units": 64}, {"score": "dot", "net": "copy", "units": 64}),
        "concat": ({"score": "concat", "hidden": [64]}, {"score": "concat", "hidden": [64], "input": "conv"}),
    }
    prior = {"hidden": [100, 50], "squash": "sigmoid"}
    for local, global_ in heads.values():
        one = expanded(description | {"local": local, "global": global_, "prior": prior})
        for measure in objectives.MEASURES:
            if measure in ("kl", "rkl", "h2") and not _is_bounded(one):
                continue
            for negatives in "all", "rotation", 2:
                for kind in objectives.PRIORS:
                    yield (
                        one,
                        Settings(
                            measure=measure,
                            negatives=negatives,
                            prior=kind,
                            alpha=0.5 if global_ else 0.0,
                            gamma=0.1 if kind != "none" else 0.0,
                            gradient_penalty=1.0 if kind == "adversarial" else 0.0,
                        ),
                    )


# ---- Weights and outputs


def _weights(library: Any, description: Description, seed: int) -> Iterator[Row]:
    """Names, order and bits."""
    here: Mapping[str, Array] = library.Model(seed=seed, architecture=description).state_dict()
    there = {name: value.numpy() for name, value in start(description, seed, objective.FLOAT32[0]).state_dict().items()}
    if list(here) != list(there):
        yield Row("names and order of the weights", f"{len(there)} entries", None, 0.0, 0.0, False)
        return
    different = [name for name in there if not _same_bits(here[name], there[name])]
    where = f"{len(there)} entries" if not different else f"{len(different)} differ: {different[0]}"
    yield Row("weights of the seed, bit for bit", where, 0.0 if not different else None, 0.0, 0.0, not different)


def _same_bits(a: Array, b: Array) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _outputs(library: Any, description: Description, seed: int) -> Iterator[Row]:
    x = images(description, BATCH, seed)
    here = library_outputs(library.Model(seed=seed, architecture=description), description, x)
    exact = _arithmetic(objective.FLOAT64, lambda a: torch_outputs(description, seed, x, a))
    single = [_arithmetic(one, lambda a: torch_outputs(description, seed, x, a)) for one in objective.FLOAT32]
    for key, expected in exact.items():
        mode, _, output = key.partition("/")
        own = max(_recorded.error_over_rms(run[key], expected) for run in single)
        bound = min(OUTPUT, FLOAT32 * own + FLOOR)
        found = here.get(key)
        error = None if found is None else _recorded.error_over_rms(found, expected)
        if error is not None and not np.isfinite(error):
            error = None
        yield Row(output, mode, error, own, bound, error is not None and error <= bound)


def library_outputs(model: Any, description: Description, x: NDArray[np.float32]) -> dict[str, Array]:
    """Every output in both modes, and the statistics behind."""
    found: dict[str, Array] = {}
    conv = layout(description).conv or ()
    for mode in "evaluation", "training":
        model.train() if mode == "training" else model.eval()
        names = [name for name in ("encoded", "features", "conv", "fc") if _has(description, name)]
        outputs = dict(zip(names, model.encode(x, outputs=tuple(names)), strict=True))
        if "conv" in outputs:
            outputs["conv"] = outputs["conv"].reshape(len(x), *conv)  # The library gives it as one row an image.
        y = outputs["encoded"]
        found |= {f"{mode}/encoder.{name}": array for name, array in outputs.items()}
        if description["local"] is not None:
            found[f"{mode}/local_d"] = model.score_local(y, outputs["features"])
            found[f"{mode}/local_d.pairs"] = model.score_local_pairs(y, outputs["features"])
        if description["global"] is not None:
            found[f"{mode}/global_d"] = model.score_global(y, outputs[description["global"]["input"]])
        if description["prior"] is not None:
            found[f"{mode}/prior_d"] = model.score_prior(y)
        if description["classifier"] is not None:
            found[f"{mode}/classifier"] = model.classify(y)
    return found | _statistics(model.state_dict())


def torch_outputs(
    description: Description, seed: int, x: NDArray[np.float32], arithmetic: Arithmetic
) -> dict[str, Array]:
    """The same calls in the same order: dropout draws from the stream that the weights were drawn from."""
    found: dict[str, torch.Tensor] = {}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        net = start(description, seed, arithmetic, keep_the_stream=True)
        for mode in "evaluation", "training":
            net.train(mode == "training")
            encoded = objectives.encode(net, torch.tensor(x, dtype=arithmetic.dtype))
            y = encoded.encoded
            outputs = {name: getattr(encoded, name) for name in encoded._fields if _has(description, name)}
            found |= {f"{mode}/encoder.{name}": value for name, value in outputs.items()}
            if description["local"] is not None:
                head = objectives.head(net, "local_d")
                found[f"{mode}/local_d"] = head(y, encoded.features)
                found[f"{mode}/local_d.pairs"] = head.pairs(y, encoded.features)
            if description["global"] is not None:
                read = outputs[description["global"]["input"]]
                found[f"{mode}/global_d"] = objectives.head(net, "global_d")(y, read)
            if description["prior"] is not None:
                s = net.prior_d.squash(y)
                found[f"{mode}/prior_d"] = torch.sigmoid(net.prior_d.logit(s))
            if description["classifier"] is not None:
                found[f"{mode}/classifier"] = torch.softmax(net.classifier(y), 1)
    arrays = {key: value.numpy().copy() for key, value in found.items()}
    return arrays | _statistics({name: value.numpy() for name, value in net.state_dict().items()})


def _statistics(state: Mapping[str, Array]) -> dict[str, Array]:
    return {
        f"statistics/{name}": np.array(value)
        for name, value in state.items()
        if name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")
    }


def _has(description: Description, output: str) -> bool:
    return output in ("encoded", "features") or description["encoder"][output] is not None


# ---- Training


def _training_rows(
    library: Any, description: Description, seed: int, settings: Settings, steps: int
) -> Iterator[Row]:
    label = f"{settings.measure}, {settings.negatives}, {settings.prior}"
    if not (settings.alpha or settings.beta or settings.gamma):
        return
    expected = {n: _expected(partial(_torch_gradients, description, seed, settings, n)) for n in GRADIENT_BATCHES}
    for n, one in expected.items():
        found = _library_gradients(library, description, seed, settings, n)
        others = [other for other in expected.values() if other is not one]
        yield from _deviation_rows(f"gradients, batch {n}", label, found, one, others)
    kept = [k for k in KEPT if k <= steps]
    run = _expected(partial(_torch_run, description, seed, settings, steps, kept))
    found = _library_run(library, description, seed, settings, steps, kept)
    yield from _deviation_rows(f"{steps} steps", label, found, run, [])


@dataclass(frozen=True)
class _Expected(Expected):
    #: What moves in some float32 run, though not in float64: by rounding alone.
    by_rounding: frozenset[str] = frozenset()


def _expected(compute: Callable[[Arithmetic], Outcome]) -> _Expected:
    """In float64, and how far float32 is from that; what is not there has not moved."""
    exact = _arithmetic(objective.FLOAT64, compute)
    single = [_arithmetic(one, compute) for one in objective.FLOAT32]
    arrays = {
        name: _recorded.summarise(array, *(run.arrays.get(name, np.zeros(array.shape)) for run in single))
        for name, array in exact.arrays.items()
    }
    histories = np.array([run.history for run in single])
    others = frozenset(name for run in single for name in run.arrays if name not in arrays)
    return _Expected(arrays, np.array(exact.history), histories, others)


def _deviation_rows(
    what: str, label: str, found: Outcome, expected: _Expected, related: list[_Expected]
) -> Iterator[Row]:
    """Of each group the worst."""
    zeros = [key for key, summary in expected.arrays.items() if summary.rms == 0]
    for key in zeros:  # Behind units that are never active, for instance: no scale, but the value is known.
        if np.any(found.arrays.get(key, 0)) and expected.arrays[key].float32 == 0:
            yield Row(f"{what}: {key}", f"{label}; expected 0", None, 0.0, 0.0, False)
    ignored = expected.by_rounding.union(zeros)
    found = Outcome({key: array for key, array in found.arrays.items() if key not in ignored}, found.history)
    expected, *related = (
        replace(one, arrays={key: summary for key, summary in one.arrays.items() if summary.rms > 0})
        for one in (expected, *related)
    )
    deviations = _deviations.deviations(found, expected, related)
    for worst in _deviations.worst(_resolved(one) for one in deviations):
        error = worst.here if np.isfinite(worst.here) else None
        bound = _deviations.MULTIPLE * worst.scale
        yield Row(f"{what}: {worst.group}", f"{label}; {worst.where}", error, worst.scale, bound, worst.passed)


def _resolved(deviation: _deviations.Deviation) -> _deviations.Deviation:
    """Losses are sums of terms of the order of 1, a small one their difference: float32 resolves no more than theirs."""
    if not deviation.group.startswith("loss"):
        return deviation
    return replace(deviation, scale=max(deviation.scale, float(np.finfo(np.float32).eps)))


def _library_trainer(library: Any, description: Description, seed: int, settings: Settings) -> Any:
    return library.Trainer(
        library.Model(seed=seed, architecture=description),
        measure=settings.measure,
        negatives=settings.negatives,
        prior=settings.prior,
        alpha=settings.alpha,
        beta=settings.beta,
        gamma=settings.gamma,
        gradient_penalty=settings.gradient_penalty,
        encoder_lr=settings.encoder_lr,
        discriminator_lr=settings.discriminator_lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        seed=TRAINING_SEED,
    )


def _numbers(losses: Any) -> list[float]:
    return [losses.total, losses.local, losses.global_, losses.prior]


def _library_gradients(library: Any, description: Description, seed: int, settings: Settings, n: int) -> Outcome:
    trainer = _library_trainer(library, description, seed, settings)
    losses = trainer.accumulate(images(description, n, seed))
    # Networks that are not trained may be left out, or have gradients of 0.
    arrays = {name: array for name, array in trainer.gradients().items() if np.any(array) or _trains(name, settings)}
    return Outcome(arrays, [_numbers(losses)])


def _trains(name: str, settings: Settings) -> bool:
    return {
        "encoder": True,
        "global_d": settings.alpha > 0,
        "local_d": settings.beta > 0,
        "prior_d": settings.prior != "none" and settings.gamma > 0,
    }.get(name.split(".")[0], False)


def _library_run(
    library: Any, description: Description, seed: int, settings: Settings, steps: int, kept: list[int]
) -> Outcome:
    trainer = _library_trainer(library, description, seed, settings)

    def step(number: int) -> list[float]:
        return _numbers(trainer.step(images(description, BATCH, seed, number)))

    return _training.follow(trainer.model.state_dict, step, steps, kept)


def _torch_gradients(
    description: Description, seed: int, settings: Settings, n: int, arithmetic: Arithmetic
) -> Outcome:
    with torch.random.fork_rng(devices=[]):
        net = start(description, seed, arithmetic)
        torch.manual_seed(TRAINING_SEED)
        x = torch.tensor(images(description, n, seed), dtype=arithmetic.dtype)
        found = objectives.losses(net, x, settings)
        gradients = objectives.gradients(net, found, settings)
    return Outcome({name: gradient.numpy() for name, gradient in gradients.items()}, [found.numbers()])


def _torch_run(
    description: Description, seed: int, settings: Settings, steps: int, kept: list[int], arithmetic: Arithmetic
) -> Outcome:
    with torch.random.fork_rng(devices=[]):
        net = start(description, seed, arithmetic)
        batches = (
            torch.tensor(images(description, BATCH, seed, number), dtype=arithmetic.dtype) for number in range(steps)
        )
        torch.manual_seed(TRAINING_SEED)
        training = objectives.train(net, batches, settings)

        def state() -> dict[str, Array]:
            return {name: value.double().numpy() for name, value in net.state_dict().items()}

        return _training.follow(state, lambda _: next(training).numbers(), steps, kept)


# ---- Both sides


def images(description: Description, n: int, seed: int, number: int = 0) -> NDArray[np.float32]:
    """Smooth noise in [0,1), as pixels are: (n, c, h, w)."""
    image = description["image"]
    shape = n, image["channels"], image["height"], image["width"]
    noise = np.random.RandomState((seed * 1000 + number) % 2**32).rand(*shape)
    smooth = (noise + np.roll(noise, 1, 2) + np.roll(noise, 1, 3) + np.roll(noise, (1, 1), (2, 3))) / 4
    return smooth.astype(np.float32)


def start(
    description: Description, seed: int, arithmetic: Arithmetic, keep_the_stream: bool = False
) -> Networks:
    """The networks that `torch.manual_seed(seed)` makes in float32, then converted; in training mode.

    The general classes, the notebook's included. keep_the_stream: the generator stays where the weights left it.
    """

    def made() -> Networks:
        torch.manual_seed(seed)
        return modules(description, notebook_classes=False)

    if keep_the_stream:
        net = made()
    else:
        with torch.random.fork_rng(devices=[]):
            net = made()
    if arithmetic.nudged:
        with torch.no_grad():
            for p in net.parameters():
                away = torch.where(torch.arange(p.numel()) % 2 == 0, torch.inf, -torch.inf).view_as(p)
                p.copy_(torch.nextafter(p, away))
    return net.to(arithmetic.dtype).train()


def _arithmetic(arithmetic: Arithmetic, compute: Callable[[Arithmetic], _T]) -> _T:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Switching oneDNN speaks of Intel's GPUs.
        with torch.backends.mkldnn.flags(enabled=arithmetic.onednn):
            return compute(arithmetic)

