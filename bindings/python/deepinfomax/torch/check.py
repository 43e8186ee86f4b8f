"""`dim check --architecture`: any architecture, here and in PyTorch, from a seed alone.

Compared are the weights, bit for bit; every output in evaluation and in training mode, and the running statistics that
training mode leaves; every gradient at batches of 3, 5 and 7, losses at one of 2, whose gradients behind a batch norm are
cancellation; losses, gradients, weights and statistics over ten training steps, of 8 images in the table of objectives. PyTorch
in float64 is the truth. An output may be `OUTPUT` of its root mean square away, and ten times as far as PyTorch's float32, the
farthest of three runs; training five times as far: `_lockstep.py` has it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

import deepinfomax

from ..compare import objective, recordings
from ..compare.objective import Arithmetic
from . import _subject, objectives
from ._description import PRESETS, Description, expanded
from ._layout import layout
from ._lockstep import REACH, TRIES, Computed, Lockstep
from ._lockstep import steps as in_lockstep
from ._subject import BATCH, Array, has, images
from .networks import Networks, modules
from .objectives import Settings
from .random_architectures import random_description

#: Of the largest error over the root mean square of an output.
OUTPUT = 1e-4
#: Of the largest error over the root mean square in PyTorch's float32, and what is added for outputs that it has exactly.
FLOAT32 = 10.0
FLOOR = 1e-6
GRADIENT_BATCHES = (3, 5, 7)
LOSS_BATCH = 2
STEPS = 10
TABLE_BATCH = 8
#: A float32 number is at most half a unit in its last place from the number that it represents.
RESOLUTION = 2.0**-24
#: Of batch norm's running statistics.
MOMENTUM = 0.1

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
    part: tuple[int, int] = (1, 1),
    as_json: bool = False,
    library: Any = deepinfomax,
) -> int:
    """Prints the comparisons; returns the exit code. part: (2, 3) is the second third of the table's objectives. library: what
    has `Model` and `Trainer`."""
    description = random_description(seed) if architecture == "random" else architecture
    description = expanded(description)
    if objectives_table and part[0] > 1:
        count = sum(1 for _ in combinations(description))
        if part[0] > count:
            raise ValueError(f"part {part[0]}/{part[1]}: the table has {count} objectives; expected a part from 1 to {count}")
    show: Callable[..., None] = (lambda *_: None) if as_json else partial(print, flush=True)
    head = {
        "libdim": library.build_info(),
        "reference": f"PyTorch {torch.__version__} in float64, live",
        "architecture": str(architecture),
        "seed": seed,
        "criterion": f"outputs: error/rms at most {OUTPUT:.0e} and {FLOAT32:g} times float32's + {FLOOR:.0e}; "
        f"training: {REACH:g} times float32's",
    }
    for key, value in head.items():
        show(f"{key:<13}{value}")
    show(f"\n{_columns(*Row.TITLES)}\n{_columns(*('-' * len(title) for title in Row.TITLES))}")
    rows: list[Row] = []
    for row in compare(library, description, seed, steps, objectives_table, part):
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
        return _columns(self.what, self.where, error, f"{self.float32:.1e}", f"{self.bound:.1e}" if self.passed else "FAIL")


def _columns(*cells: str) -> str:
    what, where, *numbers = cells
    return f"{what:<34} {where:<34} " + " ".join(f"{number:>9}" for number in numbers)


def compare(
    library: Any,
    description: Description,
    seed: int,
    steps: int = STEPS,
    objectives_table: bool = False,
    part: tuple[int, int] = (1, 1),
) -> Iterator[Row]:
    yield from _weights(library, description, seed)
    yield from _outputs(library, description, seed)
    if objectives_table:
        for of_head, settings in itertools.islice(combinations(description), part[0] - 1, None, part[1]):
            yield from _training_rows(library, of_head, seed, settings, steps, TABLE_BATCH)
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
        coordinates=(None, "absolute", "relative")[seed // 5 % 3] if description["coordinates"] else None,
        coordinates_weight=0.3,
        occlusion=seed // 7 % 3 == 1,
        locations=_locations(description) if seed // 11 % 4 == 1 else None,
    )


def _locations(description: Description) -> int | None:
    """A part of the map's."""
    _, height, width = layout(description).features
    return max(1, height * width // 2) if description["local"] else None


def _is_bounded(description: Description) -> bool:
    """Whether scores are small enough at first for e^t: not those of dot products that nothing divides."""
    heads = [head for head in (description["local"], description["global"]) if head is not None]
    return all(head["score"] == "concat" or head["net"] == "light" for head in heads)


def combinations(description: Description) -> Iterator[tuple[Description, Settings]]:
    """Measure x head x negatives x prior, over the encoder of a description; then the structure terms."""
    source = "features" if description["encoder"]["conv"] is None else "conv"
    heads = {
        "light": ({"score": "dot", "net": "light", "units": 64}, None),
        "authors": ({"score": "dot", "net": "authors", "units": 64}, {"score": "dot", "net": "copy", "units": 64}),
        "concat": ({"score": "concat", "hidden": [64]}, {"score": "concat", "hidden": [64], "input": source}),
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
    places = math.prod(layout(description).features[1:])
    for name, changes in STRUCTURE.items():
        local, global_ = heads[name.split()[0]]
        one = expanded(description | {"local": local, "global": global_, "prior": prior, "coordinates": {"hidden": [64]}})
        whole = Settings(prior="adversarial", gamma=0.1, gradient_penalty=1.0, alpha=0.5 if global_ else 0.0)
        settings = replace(whole, **changes)
        if settings.locations is not None:
            settings = replace(settings, locations=min(settings.locations, places))
        yield one, settings


#: Head and what else differs.
STRUCTURE: dict[str, dict[str, Any]] = {
    "light absolute": {"coordinates": "absolute"},
    "authors absolute": {"coordinates": "absolute", "coordinates_weight": 0.2, "negatives": "rotation"},
    "light relative": {"coordinates": "relative", "coordinates_weight": 0.2},
    "concat relative": {"coordinates": "relative", "negatives": 2},
    "light occlusion": {"occlusion": True},
    "authors occlusion": {"occlusion": True, "measure": "jsd"},
    "concat occlusion": {"occlusion": True, "measure": "dv"},
    "light everything": {"occlusion": True, "coordinates": "relative", "locations": 7},
    "authors everything": {"occlusion": True, "coordinates": "absolute", "locations": 20, "negatives": 2},
    "concat locations": {"locations": 9, "measure": "jsd", "negatives": "rotation"},
}


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
    attempt, exact, float32 = well_conditioned(description, seed)
    x = images(description, BATCH, seed, 100 * attempt)
    here = _subject.outputs(library.Model(seed=seed, architecture=description), description, x)
    for key, expected in exact.items():
        mode, _, output = key.partition("/")
        own, scale = float32[key], scale_of(key, exact)
        bound = min(OUTPUT, FLOAT32 * own + FLOOR)
        found = here.get(key)
        error = None if found is None or found.shape != expected.shape else _error(found, expected, scale)
        if error is not None and not np.isfinite(error):
            error = None
        yield Row(output, mode, error, own, bound, error is not None and error <= bound)


def well_conditioned(description: Description, seed: int) -> tuple[int, dict[str, Array], dict[str, float]]:
    """Which batch, its outputs in float64, and how far float32's are, the farthest of three.

    Behind batch norm in training mode outputs are as far from float64's as the images of the batch are alike, a thousand
    times rounding or more. The first batch is taken at which float32 is no farther than OUTPUT / FLOAT32, from where on
    the two bounds say the same; or the best of some.
    """
    best: tuple[float, Any] | None = None
    for attempt in range(TRIES):
        x = images(description, BATCH, seed, 100 * attempt)
        exact = _arithmetic(objective.FLOAT64, lambda a: torch_outputs(description, seed, x, a))
        single = [_arithmetic(one, lambda a: torch_outputs(description, seed, x, a)) for one in objective.FLOAT32]
        own = {key: max(_error(run[key], exact[key], scale_of(key, exact)) for run in single) for key in exact}
        worst = max(own.values())
        if best is None or worst < best[0]:
            best = worst, (attempt, exact, own)
        if worst <= OUTPUT / FLOAT32:
            break
    assert best is not None
    found: tuple[int, dict[str, Array], dict[str, float]] = best[1]
    return found


def _error(found: Array, expected: Array, scale: float) -> float:
    error = float(np.max(np.abs(np.asarray(found, np.float64) - expected)))
    return error / scale if error else 0.0


def scale_of(key: str, exact: Mapping[str, Array]) -> float:
    """An output's root mean square; of a mean over a batch, which may well be 0, that of what it is the mean of.

    Running statistics start at 0 and 1; k times a batch of mean m and variance v leave c m and 1 - c + c v, with
    c = 1 - (1 - momentum)^k. What m is the mean of has the mean square m^2 + v.
    """
    if not key.endswith(".running_mean"):
        return recordings.rms(exact[key])
    norm = key.removesuffix("running_mean")
    c = 1 - (1 - MOMENTUM) ** int(exact[norm + "num_batches_tracked"])
    variance = np.maximum(exact[norm + "running_var"] - (1 - c), 0) / c
    return float(np.sqrt(np.mean(exact[key] ** 2 + c**2 * variance)))


def torch_outputs(description: Description, seed: int, x: NDArray[np.float32], arithmetic: Arithmetic) -> dict[str, Array]:
    """The same calls in the same order: dropout draws from the stream that the weights were drawn from."""
    found: dict[str, torch.Tensor] = {}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        net = start(description, seed, arithmetic, keep_the_stream=True)
        for mode in "evaluation", "training":
            net.train(mode == "training")
            encoded = objectives.encode(net, torch.tensor(x, dtype=arithmetic.dtype))
            y = encoded.encoded
            outputs = {name: getattr(encoded, name) for name in encoded._fields if has(description, name)}
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
    return arrays | _subject.statistics({name: value.numpy() for name, value in net.state_dict().items()})


# ---- Training


def _training_rows(
    library: Any, description: Description, seed: int, settings: Settings, steps: int, size: int = BATCH
) -> Iterator[Row]:
    if not (settings.alpha or settings.beta or settings.gamma):
        return
    label = _label(description, settings)
    gradients, losses = _Deviations(), _Deviations()
    for n in GRADIENT_BATCHES:
        batch, found = Lockstep(description, seed, settings).choose(n, 0)
        trainer = _subject.trainer(library, description, seed, asdict(settings))
        _compare(f"batch {n}", trainer, images(description, n, seed, batch), found, gradients, losses)
    if not isinstance(settings.negatives, int) or settings.negatives < LOSS_BATCH:
        batch, found = Lockstep(description, seed, settings).choose(LOSS_BATCH, 0)
        trainer = _subject.trainer(library, description, seed, asdict(settings))
        x = images(description, LOSS_BATCH, seed, batch)
        _compare(f"batch {LOSS_BATCH}", trainer, x, found, _Deviations(), losses)
    lockstep = Lockstep(description, seed, settings)
    before = lockstep.states()
    trainer = _subject.trainer(library, description, seed, asdict(settings))
    here_before = trainer.model.state_dict()
    for number, (batch, found) in enumerate(in_lockstep(lockstep, steps, size)):
        x = images(description, size, seed, batch)
        own = _compare(f"step {number + 1}", trainer, x, found, gradients, losses)
        trainer.on_gradients = partial(_replace, own, found.gradients[0])
        trainer.update()
        trainer.on_gradients = None
        del own, found  # Before the next ones are computed.
    weights = _Deviations()
    after, here = lockstep.states(), trainer.model.state_dict()
    for name, exact in after[0].items():
        moved, *float32 = (new[name] - old[name] for new, old in zip(after, before, strict=True))
        here_moved = np.asarray(here[name], np.float64) - here_before[name]
        if np.any(moved) or np.any(here_moved):
            weights.add(name, f"after {steps} steps", here_moved, moved, float32, exact)
    for what, deviations in (("loss", losses), ("gradients", gradients), (f"weights, {steps} steps", weights)):
        for group, worst in deviations.worst().items():
            yield Row(f"{what}: {group}", f"{label}; {worst.where}", *worst.numbers())


def _label(description: Description, settings: Settings) -> str:
    head = description["local"] or description["global"]
    parts = [settings.measure, str(head and head.get("net", head["score"])), str(settings.negatives), settings.prior]
    parts += [settings.coordinates] if settings.coordinates else []
    parts += ["occlusion"] if settings.occlusion else []
    parts += [f"{settings.locations} locations"] if settings.locations else []
    return ", ".join(parts)


def _compare(
    where: str, trainer: Any, x: NDArray[np.float32], found: Computed, gradients: _Deviations, losses: _Deviations
) -> dict[str, Array]:
    """Forward and backward here; returns the gradients."""
    here = _subject.numbers(trainer.accumulate(x))
    for name, value, exact, *float32 in zip(("total", "local", "global", "prior"), here, *found.losses, strict=True):
        losses.add(name, where, np.array(value), np.array(exact), [np.array(one) for one in float32])
    own: dict[str, Array] = trainer.gradients()
    for name, expected in found.gradients[0].items():
        array = own.get(name, np.full(expected.shape, np.nan))
        gradients.add(name, where, array, expected, [run[name] for run in found.gradients[1:]])
    return own


def _replace(own: Mapping[str, Array], exact: Mapping[str, Array], values: NDArray[np.float32]) -> None:
    """PyTorch's float64 gradients in place of the library's, which follow each other in `values`."""
    at = 0
    for name, gradient in own.items():
        part = values[at : at + gradient.size]
        if not _same_bits(part, gradient.reshape(-1)):
            raise AssertionError(f"{name}: the array of the gradient callback is not in the order of the parameters")
        part[:] = exact[name].reshape(-1) if name in exact else 0
        at += gradient.size


@dataclass
class _One:
    """An array at one place; deviations are root mean squares."""

    where: str
    #: Of what is expected; what it is rounded to float32 beside, a weight of its movement for instance.
    rms: float
    resolution: float
    here: float
    float32: float

    def numbers(self) -> tuple[float | None, float, float, bool]:
        """error/rms, float32's, the bound, and whether it is kept."""
        over = 1 / self.rms if self.rms > 0 else 1.0
        scale = max(self.float32, self.resolution)
        return (
            self.here * over if np.isfinite(self.here) else None,
            self.float32 * over,
            REACH * scale * over,
            self.here <= REACH * scale,
        )

    @property
    def ratio(self) -> float:
        scale = max(self.float32, self.resolution)
        ratio = self.here / scale if scale > 0 else np.inf if self.here != 0 else 0.0
        return ratio if ratio == ratio else np.inf


@dataclass
class _Deviations:
    """How far arrays are from float64's, here and in PyTorch's float32."""

    found: dict[str, list[_One]] = field(default_factory=dict)

    def add(self, name: str, where: str, here: Array, exact: Array, float32: list[Array], value: Array | None = None) -> None:
        """value: what is kept in float32, where that is not what is compared."""
        error = np.inf if here.shape != exact.shape else recordings.rms(np.asarray(here, np.float64) - exact)
        own = max(recordings.rms(run - exact) for run in float32)
        kept = recordings.rms(exact if value is None else value)
        one = _One(f"{name}, {where}", recordings.rms(exact), RESOLUTION * kept, error, own)
        self.found.setdefault(name, []).append(one)

    def worst(self) -> dict[str, _One]:
        """Of each network the worst array.

        An array's float32 is the farthest in any of the batches: its terms are as large in all of them, and of a sum of
        one number five runs may be near by luck.
        """
        worst: dict[str, _One] = {}
        for name, ones in self.found.items():
            farthest = max(one.float32 for one in ones)
            for one in ones:
                one.float32 = farthest
                group = _group(name)
                if group not in worst or one.ratio > worst[group].ratio:
                    worst[group] = one
        return worst


def _group(name: str) -> str:
    """ "encoder.b1.running_mean" -> "encoder, statistics"."""
    network, _, rest = name.partition(".")
    return f"{network}, statistics" if rest.rpartition(".")[2].startswith(("running_", "num_")) else network


# ---- PyTorch's side


def start(description: Description, seed: int, arithmetic: Arithmetic, keep_the_stream: bool = False) -> Networks:
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
        warnings.simplefilter("ignore")  # Switching oneDNN warns about Intel's GPUs.
        with torch.backends.mkldnn.flags(enabled=arithmetic.onednn):
            return compute(arithmetic)
