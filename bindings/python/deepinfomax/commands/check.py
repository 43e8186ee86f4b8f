"""`dim check`: walks the original notebook cell by cell, here and in PyTorch, and prints how far they differ."""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib.util
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import _copies, build_info, num_threads
from ..architecture import PRESETS, Architecture
from ..compare import recordings, runs, walk
from ..data import photographs
from ..errors import FileContentError
from ..model import Model
from . import UsageError, _output
from ._common import OF_ANOTHER, add_examples, add_general, apply_general, positive

#: Of the largest error over the root mean square of the output.
TOLERANCE = 1e-4
PHOTOGRAPHS = 8
RECORDING = Path(__file__).parents[1] / "compare" / "recorded" / "check.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", metavar="FILE", help="an HDF5 file whose networks replace those of the seed")
    parser.add_argument("--train", action="store_true", help="compare training: gradients, losses, weights after some steps")
    parser.add_argument(
        "--steps",
        type=positive,
        metavar="N",
        help="training steps, with --train or --architecture (default: 5; with --architecture 10)",
    )
    parser.add_argument(
        "--architecture",
        metavar="NAME|FILE|random",
        help="compare this architecture with PyTorch, which must be installed: a preset, a JSON file, or a random one of "
        "--seed; with --train for every measure, head, choice of negatives and prior, which takes many minutes (default: the "
        "notebook, cell by cell)",
    )
    parser.add_argument(
        "--part",
        metavar="K/N",
        help="with --architecture and --train: every Nth of the objectives from the Kth on, for several processes",
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--live", action="store_true", help="compare with PyTorch, which must be installed")
    choice.add_argument("--recorded", action="store_true", help="compare with the numbers recorded from PyTorch")
    add_general(parser, "weights of torch.manual_seed(SEED)")
    add_examples(
        parser,
        """
  dim check                             every output of the notebook, beside PyTorch's where it is installed
  dim check --recorded --seed 1         beside numbers recorded from PyTorch
  dim check --weights weights.h5        with weights of your own; needs PyTorch
  dim check --train --steps 2           two steps of each training run
  dim check --architecture basic32      weights, outputs, gradients and ten steps of a preset, beside PyTorch's
  dim check --architecture random --seed 7

exit code: 0 all are within the tolerance, 1 one is not
""",
    )


def run(arguments: argparse.Namespace) -> int:
    apply_general(arguments)
    if arguments.part is not None and not (arguments.architecture is not None and arguments.train):
        raise UsageError("--part: needs --architecture and --train")
    if arguments.architecture is not None:
        return _architecture(arguments)
    if arguments.train:
        return _train(arguments)
    if arguments.steps is not None:
        raise UsageError("--steps: needs --train or --architecture")
    reference = _reference(arguments)
    model = Model(arguments.seed)
    if arguments.weights is not None:
        try:
            model.load(arguments.weights)
        except FileContentError as error:
            told, other, _ = error.message.partition(OF_ANOTHER)
            if not other:
                raise
            raise UsageError(f"{told}; dim check --architecture compares one with PyTorch, with the seed's weights") from error
        reference.take_weights(model)

    report = Report(
        libdim=build_info(),
        reference=reference.description,
        weights=f"seed {arguments.seed}" + (f", then {arguments.weights}" if arguments.weights else ""),
        inputs=f"notebook: its random image; photographs: {reference.photographs}",
        threads=num_threads(),
        tolerance=TOLERANCE,
        rows=[],
        checks=[],
        passed=True,
    )
    show = functools.partial(_output.say, arguments)
    show(report.head())
    initial = model.state_dict()
    for row in compare(model, reference):
        report.rows.append(row)
        show(row.line())
    show("")
    weights_of_seed = None if arguments.weights else functools.partial(reference.same_weights, initial)
    for check in _weights_checks(initial, weights_of_seed, reference):
        report.checks.append(check)
        show(check.line())
    report.passed = all(row.passed for row in report.rows) and all(check.passed is not False for check in report.checks)
    show("")
    _output.result(arguments, asdict(report), report.conclusion())
    return 0 if report.passed else 1


def _architecture(arguments: argparse.Namespace) -> int:
    for option, given in (("--weights", arguments.weights is not None), ("--recorded", arguments.recorded)):
        if given:
            raise UsageError(
                f"{option}: is for the notebook's check, without --architecture, which compares the seed's weights"
            )
    part = _part(arguments.part)
    if importlib.util.find_spec("torch") is None:
        raise UsageError("--architecture: PyTorch is not installed, which it compares with: pip install torch")
    if arguments.architecture != "random":
        Architecture(arguments.architecture)  # Faults are the library's to tell, all at once.
    from ..torch import check

    steps = check.STEPS if arguments.steps is None else arguments.steps
    shown = contextlib.nullcontext() if arguments.json or not arguments.quiet else contextlib.redirect_stdout(io.StringIO())
    named: object = arguments.architecture
    if isinstance(named, str) and named != "random" and named not in PRESETS:
        named = Architecture(named).json()
    with shown:
        return check.run(
            named, arguments.seed, steps=steps, objectives_table=arguments.train, part=part, as_json=arguments.json
        )


def _part(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    words = text.split("/")
    if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words) or len(text) > 9:
        raise UsageError(f"--part: expected K/N, 2/3 for instance, found {text!r}")
    k, n = map(int, words)
    if not 1 <= k <= n:
        raise UsageError(f"--part: expected K from 1 to N, found {text}")
    return k, n


def _train(arguments: argparse.Namespace) -> int:
    from . import _check_training

    if arguments.seed != runs.MODEL_SEED or arguments.weights is not None:
        raise UsageError(f"--train: expected the weights of --seed {runs.MODEL_SEED}, without --weights")
    steps = _check_training.STEPS if arguments.steps is None else arguments.steps
    return _check_training.run(steps, arguments.live, arguments.recorded, arguments.json, arguments.quiet)


# ---- What is compared


@dataclass(frozen=True)
class Row:
    """One output, here and there. A shape of None: the network refused the input; both sides must."""

    output: str
    mode: str
    input: str
    shape_here: tuple[int, ...] | None
    shape_there: tuple[int, ...] | None
    #: The largest error over the rms of the output; None where the shapes differ or it is not finite.
    error: float | None
    seconds: float
    passed: bool

    TITLES = ("output", "mode", "input", "shape here", "shape there", "error/rms", "seconds")

    def line(self) -> str:
        error = "-" if self.shape_here is None else "none" if self.error is None else f"{self.error:.1e}"
        seconds = "FAIL" if not self.passed else f"{self.seconds:.4f}" if self.seconds else ""
        here, there = _shape(self.shape_here), _shape(self.shape_there)
        return _columns(self.output, self.mode, self.input, here, there, error, seconds)


@dataclass(frozen=True)
class Check:
    """Something else than an output: equal weights, a round trip."""

    name: str
    #: None: it was skipped, and the detail says why.
    passed: bool | None
    detail: str

    def line(self) -> str:
        verdict = {True: "ok", False: "FAIL", None: "skipped"}[self.passed]
        return f"{self.name:<28}{verdict}: {self.detail}"


@dataclass
class Report:
    libdim: str
    reference: str
    weights: str
    inputs: str
    threads: int
    tolerance: float
    rows: list[Row]
    checks: list[Check]
    passed: bool

    def head(self) -> str:
        return "\n".join(
            (
                f"here        {self.libdim}",
                f"there       {self.reference}",
                f"weights     {self.weights}",
                f"inputs      {self.inputs}",
                f"tolerance   {self.tolerance:.0e} of each output's root mean square",
                "",
                _columns(*Row.TITLES),
                _columns(*("-" * len(title) for title in Row.TITLES)),
            )
        )

    def conclusion(self) -> str:
        failures = sum(not row.passed for row in self.rows) + sum(check.passed is False for check in self.checks)
        if failures:
            return f"FAILED: {failures} of {len(self.rows) + len(self.checks)} comparisons"
        worst = max(self.rows, key=lambda row: row.error or 0)
        return (
            f"passed: {len(self.rows)} outputs, largest error/rms {worst.error:.1e} "
            f"({worst.output}, {worst.mode}, {worst.input})"
        )


def compare(model: walk.Networks, reference: Reference) -> Iterator[Row]:
    """Row by row, as the two walks go."""
    there = reference.steps()
    for input_name, mode, here in walk.walk(model, reference.inputs):
        expected = there(input_name, mode, here.output)
        shape_here = None if here.array is None else here.array.shape
        shape_there = None if expected is None else expected.shape
        error: float | None = None
        if here.array is not None and expected is not None:
            error = recordings.error_over_rms(here.array, expected)
        elif here.array is None and expected is None:
            error = 0.0
        if error is not None and not np.isfinite(error):
            error = None
        passed = error is not None and error <= TOLERANCE
        yield Row(here.output, mode, input_name, shape_here, shape_there, error, here.seconds, passed)


def _weights_checks(
    initial: Mapping[str, NDArray[Any]], same_weights: Callable[[], str | None] | None, reference: Reference
) -> Iterator[Check]:
    """Same seed, same weights; weights through an HDF5 file, both ways."""
    name = "same seed, same weights"
    if same_weights is not None:
        different = same_weights()
        yield Check(name, not different, different or f"all {len(initial)} entries of the state_dict, bit for bit")
    else:
        yield Check(name, None, "the weights come from a file")
    model = Model()
    model.load_state_dict(initial)
    yield _equal("HDF5, written and read here", _copies.through(model.save, Model.open).state_dict(), initial)
    if importlib.util.find_spec("h5py") is None:
        yield Check("HDF5, h5py", None, "h5py is not installed")
        return
    import h5py

    def read(path: str) -> dict[str, NDArray[Any]]:
        with h5py.File(path) as file:
            return {name: file[name][()] for name in file}

    def write(path: str) -> None:
        with h5py.File(path, "w") as file:
            for name, value in reference.through(initial).items():
                file[name] = value

    yield _equal("HDF5, here -> " + reference.name, reference.through(_copies.through(model.save, read)), initial)
    yield _equal(f"HDF5, {reference.name} -> here", _copies.through(write, Model.open).state_dict(), initial)


def _equal(name: str, found: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> Check:
    different = [key for key in expected if key not in found or not _identical(found[key], expected[key])]
    if different:
        return Check(name, False, f"{len(different)} entries differ: {', '.join(different)}")
    return Check(name, True, f"all {len(expected)} entries, bit for bit")


def _identical(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    return found.shape == expected.shape and found.dtype == expected.dtype and found.tobytes() == expected.tobytes()


# ---- What it is compared with


class Reference(Protocol):
    """The other side: PyTorch at work, or what it once computed."""

    #: For the names of the HDF5 checks: "PyTorch" or "h5py".
    name: str
    description: str
    photographs: str
    inputs: Mapping[str, NDArray[np.float32]]

    def take_weights(self, model: Model) -> None:
        """Uses the weights of `model` from now on."""

    def steps(self) -> Callable[[str, str, str], NDArray[Any] | recordings.Summary | None]:
        """A function of input, mode and output, to be asked in the walk's order; None for a refused input."""
        ...

    def same_weights(self, state: Mapping[str, NDArray[Any]]) -> str | None:
        """None where `state` is bit for bit what PyTorch makes of the seed, else which entries differ."""

    def through(self, state: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """`state` after it has been the state_dict of the float32 networks over there."""
        ...


class Live:
    """PyTorch in float64, walking beside us."""

    name = "PyTorch"

    def __init__(self, seed: int, threads: int) -> None:
        import torch

        from ..compare import notebook

        torch.set_num_threads(threads)
        self._notebook, self._torch, self._seed = notebook, torch, seed
        self._model = notebook.TorchModel(seed)
        self.description = f"PyTorch {torch.__version__} in float64, live"
        try:
            patches = photographs.spread(PHOTOGRAPHS)
            self.photographs = f"{PHOTOGRAPHS} patches of scikit-learn's two"
        except ImportError:
            patches = recordings.Recording(RECORDING).arrays["photographs"]
            self.photographs = f"{PHOTOGRAPHS} recorded patches of scikit-learn's two (scikit-learn is not installed)"
        self.inputs: Mapping[str, NDArray[np.float32]] = _inputs(notebook.random_image(seed), patches)

    def take_weights(self, model: Model) -> None:
        self._model.load_state_dict(model.state_dict())

    def steps(self) -> Callable[[str, str, str], NDArray[Any] | None]:
        cells = walk.walk(self._model, self.inputs)

        def step(input_name: str, mode: str, output: str) -> NDArray[Any] | None:
            name, its_mode, its_step = next(cells)
            assert (name, its_mode, its_step.output) == (input_name, mode, output)
            return its_step.array

        return step

    def same_weights(self, state: Mapping[str, NDArray[Any]]) -> str | None:
        expected = self._notebook.TorchModel(self._seed, self._torch.float32).state_dict()
        check = _equal("", state, expected)
        return None if check.passed else check.detail

    def through(self, state: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        model = self._notebook.TorchModel(0, self._torch.float32)
        model.load_state_dict(state)
        return model.state_dict()


class Recorded:
    """What PyTorch computed in float64 when Tests/golden/record.py was last run."""

    name = "h5py"

    def __init__(self, seed: int) -> None:
        recording = recordings.Recording(RECORDING)
        seeds: list[int] = recording.arrays["seeds"].tolist()
        if seed not in seeds:
            raise UsageError(
                f"numbers are recorded for the seeds {', '.join(map(str, seeds))}; to check seed {seed}, install PyTorch"
            )
        self._outputs, self._seed = recording.outputs, seed
        self._checksums = recording.arrays[f"crc32/{seed}"]
        self.description = f"numbers recorded from {recording.arrays['version']} in float64"
        self.photographs = f"{PHOTOGRAPHS} recorded patches of scikit-learn's two"
        self.inputs: Mapping[str, NDArray[np.float32]] = _inputs(
            recording.arrays[f"notebook/{seed}"], recording.arrays["photographs"]
        )

    def take_weights(self, model: Model) -> None:
        self.description += ", of the seed's weights"

    def steps(self) -> Callable[[str, str, str], recordings.Summary | None]:
        def step(input_name: str, mode: str, output: str) -> recordings.Summary | None:
            return self._outputs.get(f"{self._seed}/{input_name}/{mode}/{output}")

        return step

    def same_weights(self, state: Mapping[str, NDArray[Any]]) -> str | None:
        found = checksums(state)
        if len(found) != len(self._checksums):
            return f"{len(found)} entries, expected {len(self._checksums)}"
        different = [name for name, a, b in zip(state, found, self._checksums, strict=True) if a != b]
        return f"{len(different)} entries differ: {', '.join(different)}" if different else None

    def through(self, state: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        return state


def _reference(arguments: argparse.Namespace) -> Live | Recorded:
    """PyTorch where it is installed, unless told otherwise."""
    have_torch = importlib.util.find_spec("torch") is not None
    if arguments.live and not have_torch:
        raise UsageError("--live: PyTorch is not installed")
    if arguments.recorded or not have_torch:
        if arguments.weights and not arguments.recorded:
            raise UsageError(
                "--weights: PyTorch is not installed; with --recorded the file is compared with the "
                "recorded numbers of the seed"
            )
        return Recorded(arguments.seed)
    return Live(arguments.seed, num_threads())


def checksums(state: Mapping[str, NDArray[Any]]) -> NDArray[np.uint32]:
    """The crc32 of each entry's little-endian bytes, in order."""
    little_endian = (np.asarray(value, value.dtype.newbyteorder("<")) for value in state.values())
    return np.array([zlib.crc32(value.tobytes()) for value in little_endian], np.uint32)


def _inputs(notebook: NDArray[np.float32], patches: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    return {"notebook": notebook, "photographs": photographs.pixels(patches)}


# ---- The table


def _columns(output: str, mode: str, input: str, here: str, there: str, error: str, seconds: str) -> str:
    return f"{output:<30} {mode:<10} {input:<11} {here:<13} {there:<13} {error:>9} {seconds:>7}"


def _shape(shape: tuple[int, ...] | None) -> str:
    return "refused" if shape is None else "(" + ",".join(map(str, shape)) + ")"
