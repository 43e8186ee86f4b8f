"""`dim convert`: weights from PyTorch's files to HDF5 and back, to safetensors, to the original implementation's two files, and
the encoder to ONNX."""

from __future__ import annotations

import argparse
import importlib.util
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import _copies, torch_files
from .._files import write_whole
from .._text import shell, shown
from ..architecture import Architecture
from .._opening import NETWORKS
from ..data.errors import MissingPackage
from ..model import Model
from ..torch_files import State, TorchFileError
from . import UsageError, _output
from ._common import (
    add_architecture,
    add_examples,
    add_general,
    add_untrusted,
    apply_general,
    check_folder,
    check_writable,
    make_folder,
    natural,
    opened,
)
from ._effects import Effects
from ._places import Places

HDF5_NAMES = (".h5", ".hdf5", ".hdf")
TORCH_NAMES = (".pt", ".pth", ".wgt", ".bin", ".ckpt", ".tar")
SAFETENSORS_NAMES = (".safetensors",)
ONNX_NAMES = (".onnx",)
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="one or several inputs, then the output")
    parser.add_argument("--network", choices=NETWORKS, help="write only this network, its names without prefix (PyTorch)")
    parser.add_argument(
        "--entry", metavar="NAME", help="the state_dict to use of a PyTorch file with several, ema for instance"
    )
    parser.add_argument(
        "--original",
        action="store_true",
        help="the output is a folder: write encoder<N>.wgt and loss<N>.wgt, N of --epoch, as the original's train.py does",
    )
    parser.add_argument(
        "--epoch", type=natural, default=0, metavar="N", help="with --original, the number in the names (default: 0)"
    )
    add_architecture(
        parser, "that of the inputs if they do not name it; or a weights file, whose own it is (default: theirs; else notebook)"
    )
    add_untrusted(parser)
    add_general(parser, None)
    add_examples(
        parser,
        """
  dim convert weights.pt weights.h5                       PyTorch to HDF5
  dim convert weights.h5 weights.pt                       and back: one state_dict of all networks
  dim convert weights.h5 weights.safetensors              safetensors, in and out, without further packages
  dim convert weights.h5 encoder.onnx                     the encoder, for whatever runs ONNX
  dim convert weights.h5 encoder.pt --network encoder     for Encoder().load_state_dict(...)
  dim convert encoder860.wgt loss860.wgt weights.h5       the original's two files become one
  dim convert my.pt my.h5 --architecture my.json          of an architecture of your own
  dim convert weights.h5 run5 --original --epoch 860      and two again, for the original's train.py

Inputs are recognised by content, the output's format by its ending. Loading never runs code of a file.
PyTorch's files need torch, and h5py to read them; ONNX needs onnx.
""",
    )


def places(arguments: argparse.Namespace) -> Places:
    *inputs, output = arguments.files
    if not inputs:
        raise UsageError(f"expected one input or several, then the output; found only {output}")
    outputs = _originals(arguments, Path(output)) if arguments.original else [output]
    reads = [("the command", path) for path in inputs]
    if arguments.architecture is not None:
        reads.append(("--architecture", arguments.architecture))
    return Places(reads, [("output", str(path)) for path in outputs])


def effects(arguments: argparse.Namespace) -> Effects:
    yield "--epoch", arguments.original, "without --original"


def run(arguments: argparse.Namespace) -> int:
    apply_general(arguments)
    *inputs, output = arguments.files
    outputs = _outputs(arguments, Path(output))
    state: State = {}
    named, its_names = _named(arguments)
    whole: Contents | None = None
    names: list[str] = []
    for path in inputs:
        if whole is None:
            whole = _read(path, arguments.untrusted, arguments.entry, named, "without --architecture, the file's own is used")
        else:
            advice = f"all inputs are of one architecture, that of {inputs[0]}"
            whole = _read(path, arguments.untrusted, arguments.entry, whole.architecture, advice)
        found = whole.state
        twice = state.keys() & found.keys()
        if twice:
            raise UsageError(f"{path}: {min(twice).split('.')[0]} is also in an earlier input")
        state |= found
        names = names or whole.class_names
    assert whole is not None
    names = names or its_names
    written = []
    parts = [
        replace(whole, state=_of(state, networks, prefixed, inputs), class_names=names) for _, networks, prefixed in outputs
    ]
    if arguments.original:
        make_folder(output)
    for (path, networks, _), part in zip(outputs, parts, strict=True):
        _write(path, part)
        held = [name for name in networks if _holds(state, name)]
        written.append({"file": str(path), "networks": held})
        if names and "classifier" in held and path.suffix.lower() not in HDF5_NAMES + SAFETENSORS_NAMES:
            _output.note(arguments, f"{path}: its format has no place for the classes' names, {shown(names[0])} and so on")
        if path.suffix.lower() in TORCH_NAMES and not _is_known(path):
            # --architecture is what the inputs do not say; the output does not say it either.
            source = arguments.architecture or inputs[0]
            _output.note(
                arguments,
                f"{path}: its format has no place for the architecture, which is no preset's: to read it again, give "
                f"--architecture {shell(str(source))}",
            )
    kept = {name for file in written for name in file["networks"]}
    if arguments.original and (left := [name for name in NETWORKS if _holds(state, name) and name not in kept]):
        _output.note(arguments, f"{output}: the original's two files have no place for {' and '.join(left)}; left out")
    entries = {"inputs": inputs, "outputs": written, "entries": len(state)}
    _output.result(arguments, entries, "\n".join(map(_line, written)))
    return 0


# ---- Inputs


def _named(arguments: argparse.Namespace) -> tuple[Architecture | None, list[str]]:
    """That of --architecture: a preset, a description, or a weights file's own, which brings the classes' names as well."""
    named = arguments.architecture
    if named is None:
        return None, []
    if os.path.isfile(named):
        with open(named, "rb") as file:
            if _is_own(file.read(9)):
                with opened(named, None, arguments.untrusted) as model:
                    return model.architecture, model.class_names
    return Architecture(named), []


def _is_own(start: bytes) -> bool:
    """Whether a file's first nine bytes are of HDF5 or of safetensors: eight bytes of a length, then JSON."""
    return start[:8] == HDF5_SIGNATURE or start[7:] == b"\0{"


@dataclass(frozen=True)
class Contents:
    """Entries of networks by their canonical names, what they are of, and the names of the classes."""

    state: State
    architecture: Architecture
    class_names: list[str]


def _read(path: str, untrusted: bool, entry: str | None, architecture: Architecture | None, advice: str) -> Contents:
    """All networks of a file. architecture: what they have to be of; None for what the file says. advice: else."""
    if os.path.exists(path) and not os.path.isfile(path):  # A FIFO would be waited for, and could not be read again.
        raise UsageError(f"{path}: expected a regular file")
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if _is_own(start):
        if entry is not None:
            raise UsageError(f"--entry: chooses among the state_dicts of a PyTorch file; {path} is HDF5 or safetensors, of one")
        with opened(path, architecture, untrusted, advice) as model:
            return Contents(model.state_dict(), model.architecture, model.class_names)
    if Path(path).suffix.lower() in ONNX_NAMES:
        raise UsageError(f"{path}: ONNX is written, not read; convert the weights that it was made of")
    if Path(path).suffix.lower() in (".npz", ".npy"):
        raise UsageError(f"{path}: expected weights in HDF5, in safetensors or of PyTorch, found numpy's ending")
    if start.lstrip()[:1] == b"{":
        raise UsageError(
            f"{path}: expected weights in HDF5, in safetensors or of PyTorch, found a JSON text; an architecture has no weights, and "
            "is named with --architecture"
        )
    if untrusted:
        raise UsageError(
            f"--untrusted: isolates the reading of HDF5 and safetensors alone, and {path} is neither: PyTorch's files are read in "
            "this process, without running code of theirs; leave --untrusted out, or convert in a container"
        )
    _need("torch", f"{path}, which is neither HDF5 nor safetensors")
    _need("h5py", "reading PyTorch's files")
    try:
        return Contents(*torch_files.read_with(path, entry, architecture), [])
    except TorchFileError as error:
        raise UsageError(str(error)) from error


def _need(package: str, what: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{package} is not installed, which is needed for {what}: pip install {package}")


# ---- Outputs


def _outputs(arguments: argparse.Namespace, output: Path) -> list[tuple[Path, tuple[str, ...], bool]]:
    """What to write: file, networks, and whether names keep their network's prefix. Checked before anything is read."""
    if arguments.original:
        if arguments.network:
            raise UsageError("--original writes the encoder and the discriminators; --network does not go with it")
        _need("torch", "PyTorch's files")
        if output.exists() and not output.is_dir():
            raise UsageError(f"{output}: is a file; --original writes a folder")
        check_folder(output)
        encoder, loss = _originals(arguments, output)
        files = [(encoder, ("encoder",), False), (loss, ("global_d", "local_d", "prior_d"), True)]
    elif output.suffix.lower() in HDF5_NAMES + SAFETENSORS_NAMES:
        files = [(output, (arguments.network,) if arguments.network else NETWORKS, True)]
    elif output.suffix.lower() in TORCH_NAMES:
        _need("torch", "PyTorch's files")
        files = [(output, (arguments.network,), False) if arguments.network else (output, NETWORKS, True)]
    elif output.suffix.lower() in ONNX_NAMES:
        if arguments.network not in (None, "encoder"):
            raise UsageError(
                f"{output}: the encoder alone goes to ONNX; expected --network encoder or none, found {arguments.network}"
            )
        if importlib.util.find_spec("onnx") is None:
            raise MissingPackage("onnx", f"{output} needs", extra="onnx")
        files = [(output, ("encoder",), True)]
    else:
        raise UsageError(
            f"{output}: expected a name that ends in {', '.join(HDF5_NAMES)} for HDF5, in {SAFETENSORS_NAMES[0]}, "
            f"in {ONNX_NAMES[0]}, or in {', '.join(TORCH_NAMES)} for PyTorch"
        )
    for path, _, _ in files:
        if path.parent.exists() or not arguments.original:
            check_writable(path)
    return files


def _originals(arguments: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    return folder / f"encoder{arguments.epoch}.wgt", folder / f"loss{arguments.epoch}.wgt"


def _holds(state: State, network: str) -> bool:
    return any(name.startswith(f"{network}.") for name in state)


def _of(state: State, networks: tuple[str, ...], prefixed: bool, inputs: list[str]) -> State:
    """The entries of these networks. A network asked for by name must be there; of all five, those that are."""
    if networks != NETWORKS:
        missing = [network for network in networks if not _holds(state, network)]
        if missing:
            raise UsageError(f"{', '.join(inputs)}: no {', '.join(missing)} in it")
    return {
        name if prefixed else name.split(".", 1)[1]: value for name, value in state.items() if name.split(".")[0] in networks
    }


def _write(path: Path, contents: Contents) -> None:
    """Writes, then reads again what was written: the same bits, or an error."""
    state = contents.state
    if path.suffix.lower() in ONNX_NAMES:
        _write_onnx(path, contents)
        return
    if path.suffix.lower() in HDF5_NAMES + SAFETENSORS_NAMES:
        _write_own(path, contents)
        with Model.open(path) as model:
            again = model.state_dict()
    else:
        torch_files.write(path, state)
        again = torch_files.raw(path)
    if not _same(state, again):
        raise UsageError(f"{path}: the file differs from the weights that were written; check the disk")


def _is_known(path: Path) -> bool:
    """Whether the architecture follows from the names and shapes of the PyTorch file."""
    if importlib.util.find_spec("h5py") is None:
        return True
    try:
        torch_files.read(path)
    except TorchFileError:
        return False
    return True


def _write_own(path: Path, contents: Contents) -> None:
    """A file by the library itself; one in HDF5 detects damage when it is read."""
    state = contents.state
    with Model(0, architecture=contents.architecture) as model:
        if {info.name for info in model.parameters_info()} == state.keys():
            model.load_state_dict(state)
            _save(model, contents, path)
            return
    # A model of some networks comes from a file of some networks.
    _need("h5py", "an HDF5 file of some networks alone")
    import h5py

    def write(some: str) -> None:
        with h5py.File(some, "w") as file:
            for name, value in state.items():
                file[name] = value

    with _copies.through(write, lambda some: Model.open(some, architecture=contents.architecture)) as model:
        _save(model, contents, path)


def _save(model: Model, contents: Contents, path: Path) -> None:
    if contents.class_names and "classifier" in model.networks:
        model.class_names = contents.class_names
    model.save(path, _format(path))


def _write_onnx(path: Path, contents: Contents) -> None:
    """The encoder. Where ONNX Runtime is installed, it has to compute what the library computes."""
    from ..onnx_export import difference, to_onnx

    with Model(0, architecture=contents.architecture) as model:
        model.load_state_dict(contents.state)
        content = to_onnx(model)
        if importlib.util.find_spec("onnxruntime") is not None and (found := difference(model, content)) > 1e-4:
            raise UsageError(f"{path}: was not written: ONNX Runtime's outputs differ by {found:.1e} of their size")
    write_whole(path, content)


def _format(path: Path) -> Literal["hdf5", "safetensors"]:
    return "safetensors" if path.suffix.lower() in SAFETENSORS_NAMES else "hdf5"


def _same(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(_bits(a[name]) == _bits(b[name]) for name in a)


def _bits(array: NDArray[Any]) -> tuple[Any, ...]:
    return array.shape, array.dtype, np.ascontiguousarray(array).tobytes()


def _line(written: dict[str, Any]) -> str:
    return f"{shown(written['file'])}: {', '.join(written['networks'])}"
