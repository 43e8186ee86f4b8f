"""`dim info`: what a weights file, checkpoint or architecture holds, and what is wrong with it."""

from __future__ import annotations

import argparse
import os
import platform
from dataclasses import asdict
from importlib import metadata
from typing import Any

import numpy as np

from .. import __version__, _library, build_info
from .._files import size_text
from .._text import counted, shown, table
from ..architecture import PRESETS, Architecture
from ..classifier_trainer import ClassifierTrainer
from ..errors import DimError, FileContentError
from .._opening import NETWORKS
from ..model import Model
from ..trainer import Trainer
from . import UsageError, _output
from ._common import add_examples, add_general, add_untrusted, apply_general, opened
from ._effects import Effects

#: The packages that commands use where they are there, for a report of a defect.
PACKAGES = ("numpy", "h5py", "Pillow", "scikit-learn", "matplotlib", "torch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help="weights files or checkpoints (default: describe the library)")
    parser.add_argument(
        "--architecture",
        metavar="NAME|FILE",
        help=f"a preset ({', '.join(PRESETS)}) or a JSON file: list its layers; with files: the architecture of those that do "
        "not name theirs",
    )
    parser.add_argument("--shapes", action="store_true", help="list every entry of the state_dict, not only the networks")
    add_untrusted(parser)
    add_general(parser, None)
    add_examples(
        parser,
        """
  dim info                              the library and the packages beside it
  dim info weights.h5                   architecture, networks, parameters, batches seen
  dim info --architecture basic32       a preset's layers: shapes, parameters, multiply-adds
  dim info --architecture my.json --json | jq .description     what a description means, complete
  dim info checkpoint.h5 --shapes       every entry; step, learning rates and seed of the run
  dim info *.h5 --json | jq '.files[] | select(.problem)'

exit code: 0 all files are sound, 1 one has a fault
""",
    )


def effects(arguments: argparse.Namespace) -> Effects:
    for option in "--shapes", "--untrusted":
        yield option, bool(arguments.files), "without a weights file"


def run(arguments: argparse.Namespace) -> int:
    apply_general(arguments)
    if not arguments.files and arguments.architecture is not None:
        architecture = Architecture(arguments.architecture)
        drawn = {"architecture": architecture.summary(), "description": architecture.as_dict()}
        _output.result(arguments, drawn, "\n".join(_architecture_text(architecture)))
        return 0
    if not arguments.files:
        about = library()
        _output.result(arguments, about, _library_text(about))
        return 0
    files = [describe(path, arguments.untrusted, arguments.architecture) for path in arguments.files]
    _output.result(arguments, {"files": files}, "\n\n".join(_text(file, arguments.shapes) for file in files))
    return 1 if any(file["problem"] for file in files) else 0


# ---- What is known


def library() -> dict[str, Any]:
    """Version, kernels and place of the library; versions of the packages."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "package": __version__,
        "libdim": build_info(),
        "library": str(_library.library()._name),
        "python": platform.python_version(),
        "packages": versions,
    }


def describe(path: str, untrusted: bool = False, architecture: str | None = None) -> dict[str, Any]:
    """What a file holds, as `--json` gives it; `problem` is the library's message, None for a sound file."""
    found: dict[str, Any] = {"file": path, "bytes": None, "problem": None, "networks": {}, "training": None}
    found |= {"architecture": None, "description": None, "classes": []}
    try:
        if not path:
            raise UsageError("expected a name, found an empty one")
        found["bytes"] = os.path.getsize(path)
        try:
            model = opened(path, architecture, untrusted)
        except UsageError:
            if architecture is None:
                raise
            model = opened(path, None, untrusted)  # It names another one, its own.
        with model:
            found["networks"] = _networks(model)
            found["architecture"] = model.architecture.summary()
            found["description"] = model.architecture.as_dict()
            found["classes"] = model.class_names
        found["training"] = _training(path, untrusted)
    except UsageError as error:
        found["problem"] = str(error)
    except (DimError, OSError) as error:
        found["problem"] = error.message if isinstance(error, DimError) else f"{path}: {error.strerror}"
    return found


def _networks(model: Model) -> dict[str, Any]:
    state = model.state_dict()
    networks: dict[str, Any] = {
        name: {"parameters": 0, "batches": None, "entries": []} for name in NETWORKS if name in model.networks
    }
    for info in model.parameters_info():
        prefix, key = info.name.split(".", 1)
        network, value = networks[prefix], state[info.name]
        if info.trainable:
            network["parameters"] += value.size
        if key.endswith("num_batches_tracked"):
            # How many batches a network has seen in training mode; its batch norms count alike unless edited.
            network["batches"] = max(network["batches"] or 0, int(value))
        entry = {"name": key, "dtype": str(info.dtype), "shape": list(info.shape), "trainable": info.trainable}
        spread = value.astype(np.float64)
        entry |= {"mean": float(spread.mean()), "std": float(spread.std())}
        network["entries"].append(entry)
    return networks


def _training(path: str, untrusted: bool) -> dict[str, Any] | None:
    """The state of the run whose checkpoint this is, None for plain weights. Raises what is wrong with it."""
    problems: list[FileContentError] = []
    for kind in (Trainer, ClassifierTrainer):
        try:
            with kind.resume(path, untrusted=untrusted) as run:
                name = "objective" if kind is Trainer else "classifier"
                return {"kind": name, "step": run.steps, **asdict(run.options)}
        except FileContentError as error:
            if "no checkpoint" in error.message:
                return None
            problems.append(error)
    # Of the two, one says that this is the other's kind.
    raise next((problem for problem in problems if "is of kind" not in problem.message), problems[0])


# ---- As text


def _library_text(about: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version or 'is missing'}" for name, version in about["packages"].items())
    return "\n".join(
        (
            f"package   deepinfomax {about['package']}",
            f"library   {about['libdim']}",
            f"from      {about['library']}",
            f"python    {about['python']}",
            f"packages  {packages}",
        )
    )


def _architecture_text(architecture: Architecture) -> list[str]:
    return _layers(architecture.summary(), architecture.as_dict())


def _layers(summary: dict[str, Any], description: dict[str, Any]) -> list[str]:
    """The architecture as a table."""
    image = description["image"]
    size = f"{image['channels']}x{image['height']}x{image['width']}"
    name = description.get("preset") or "own layers"
    networks: dict[str, list[dict[str, Any]]] = {}
    for layer in summary["layers"]:
        networks.setdefault(layer["network"], []).append(layer)
    rows = [["layer", "", "output", "parameters", "multiply-adds"]]
    for network, layers in networks.items():
        rows.append([network, "", "", *(f"{sum(layer[key] for layer in layers):,}" for key in ("parameters", "multiply_adds"))])
        for layer in layers:
            counts = [f"{layer[key]:,}" if layer[key] else "" for key in ("parameters", "multiply_adds")]
            rows.append([f"  {layer['name']}", layer["op"], "x".join(map(str, layer["output"])), *counts])
    rows.append(["together", "", "", f"{summary['parameters']:,}", f"{summary['multiply_adds']:,}"])
    return [f"{shown(name)}, images {size} (channels, height, width), resized by {image['resize']}", "", *table(rows, left=2)]


def _text(file: dict[str, Any], shapes: bool) -> str:
    size = "" if file["bytes"] is None else f", {size_text(file['bytes'])}"
    lines = [f"{shown(file['file'])}{size}"]
    networks = file["networks"]
    if file["architecture"] is not None:
        lines += ["", *(f"  {line}".rstrip() for line in _layers(file["architecture"], file["description"]))]
    if file["classes"]:
        names = ", ".join(map(shown, file["classes"][:20])) + (", ..." if len(file["classes"]) > 20 else "")
        lines += ["", f"  {len(file['classes']):,} classes: {names}"]
    if networks:
        wide = max(12, *(len(name) + 1 for name in networks))
        lines += ["", f"  {'network':<{wide}}{'parameters':>12}  batches seen"]
        for name, network in networks.items():
            batches = "" if network["batches"] is None else f"{network['batches']:>12,}"
            lines.append(f"  {name:<{wide}}{network['parameters']:>12,}  {batches}".rstrip())
        total = sum(network["parameters"] for network in networks.values())
        lines.append(f"  {'together':<{wide}}{total:>12,}")
        wanted = {layer["network"] for layer in file["architecture"]["layers"]}
        missing = [name for name in NETWORKS if name in wanted and name not in networks]
        if missing:
            lines.append(f"  not in it: {', '.join(missing)}")
    if file["training"] is not None:
        lines += ["", f"  checkpoint of the {file['training']['kind']}, after {counted(file['training']['step'], 'step')}"]
        lines += [f"  {name:<19}{_value(value)}" for name, value in file["training"].items() if name not in ("kind", "step")]
    if shapes:
        for name, network in networks.items():
            lines += ["", f"  {name}"]
            rows = [
                [
                    entry["name"],
                    entry["dtype"],
                    "(" + ",".join(map(str, entry["shape"])) + ")",
                    "mean",
                    f"{entry['mean']:.3g}",
                    "std",
                    f"{entry['std']:.3g}",
                ]
                for entry in network["entries"]
            ]
            lines += [f"    {line}" for line in table(rows, left=4)]
    if file["problem"]:
        lines += ["", "  PROBLEM", *(f"  {line}" for line in file["problem"].splitlines())]
    return "\n".join(lines)


def _value(value: Any) -> str:
    return (
        ", ".join(map(_value, value))
        if isinstance(value, (list, tuple))
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
