"""The gate: a change of the library's insides changes no byte of the notebook network's results.

    gate.py compare LIBRARY [SETTING ...]    recomputes everything and compares it with the recorded files
    gate.py record LIBRARY [SETTING ...]     writes those files anew: see README.md for when that is right
    gate.py results LIBRARY                  prints the results of one setting, the environment's; used by the two above

A setting is one environment of the library: avx512 (what a processor with AVX-512 does by itself), avx2, baseline, direct.
One that this processor cannot run is skipped, and the output says so.

Plain ctypes on the functions of dim.h, so that the package's own changes do not move the gate. The library reads its
environment once, so each setting has a process of its own.
"""

import argparse
import ctypes as c
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
# Setting: the environment, and the kernels that must then be in force.
SETTINGS = {
    "avx512": ({}, "avx512"),
    "avx2": ({"DIM_ISA": "avx2"}, "avx2"),
    "baseline": ({"DIM_ISA": "baseline"}, "baseline"),
    "direct": ({"DIM_CONV": "direct"}, "avx512"),
}
IMAGE, ENCODED, FEATURES, LOCAL, CLASSES = 3 * 32 * 32, 64, 128 * 26 * 26, 26 * 26, 10
SAMPLES = 4


# ---- Inputs: splitmix64 of the position, exact in float32 and the same on every machine


def uniform(count: int, stream: int) -> np.ndarray:
    """`count` float32 in [0,1), multiples of 2^-24."""
    x = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(stream << 32)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return ((x >> np.uint64(40)).astype(np.float64) * 2.0**-24).astype(np.float32)


def images_of(n: int, stream: int) -> np.ndarray:
    return uniform(n * IMAGE, stream)


def labels_of(n: int) -> np.ndarray:
    return (np.arange(n, dtype=np.int64) * 7 + 3) % CLASSES


# ---- The library


class ParameterInfo(c.Structure):
    _fields_ = [
        ("struct_size", c.c_size_t),
        ("name", c.c_char_p),
        ("dtype", c.c_int),
        ("ndim", c.c_int),
        ("shape", c.c_size_t * 4),
        ("bytes", c.c_size_t),
        ("trainable", c.c_bool),
    ]


class ClassifierResult(c.Structure):
    _fields_ = [("loss", c.c_double), ("correct", c.c_size_t), ("count", c.c_size_t)]


class Library:
    """Calls by name: arrays by their address, integers as size_t, and a status that must be DIM_OK."""

    def __init__(self, path: str):
        self.c = c.CDLL(os.path.abspath(path))
        for text in ("dim_last_error", "dim_build_info"):
            getattr(self.c, text).restype = c.c_char_p
        self.c.dim_model_parameter_count.restype = c.c_size_t
        for free in ("dim_model_free", "dim_trainer_free", "dim_classifier_trainer_free"):
            getattr(self.c, free).restype = None

    def call(self, name: str, *arguments: object) -> None:
        status = getattr(self.c, name)(*map(self.argument, arguments))
        if status != 0:
            sys.exit(f"{name} failed with status {status}: {self.c.dim_last_error().decode()}")

    @staticmethod
    def argument(value: object) -> object:
        if isinstance(value, np.ndarray):
            return c.c_void_p(value.ctypes.data)
        return c.c_size_t(value) if isinstance(value, int) else value

    def new(self, name: str, *arguments: object) -> c.c_void_p:
        handle = c.c_void_p()
        self.call(name, *arguments, c.byref(handle))
        return handle

    def free(self, name: str, handle: c.c_void_p) -> None:
        getattr(self.c, name)(handle)

    def options(self, init: str, *choices: int) -> c.Array:
        """An option struct with its defaults and the given enums, which stand first, behind struct_size. Its size is asked
        for, so that it may grow."""
        for size in range(16, 1024, 8):
            options = c.create_string_buffer(size)
            if getattr(self.c, init)(options, c.c_size_t(size)) == 0:
                for index, choice in enumerate(choices):
                    c.c_int.from_buffer(options, 8 + 4 * index).value = choice
                return options
        sys.exit(f"{init} knows no struct_size up to 1024")

    def parameters(self, model: c.c_void_p) -> list[tuple[str, np.ndarray, bool]]:
        found = []
        for index in range(self.c.dim_model_parameter_count(model)):
            info = ParameterInfo(c.sizeof(ParameterInfo))
            self.call("dim_model_parameter_info", model, index, c.byref(info))
            values = np.empty(info.bytes // (8 if info.dtype else 4), np.int64 if info.dtype else np.float32)
            self.call("dim_model_get_parameter", model, info.name, values, info.bytes)
            found.append((info.name.decode(), values, info.trainable))
        return found


# ---- What is computed


class Results:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, name: str, values: np.ndarray) -> None:
        """One line an array: name, SHA-256 of its bytes, count, and some of its values for a reader."""
        assert " " not in name
        values = np.ascontiguousarray(values).reshape(-1)
        digest = hashlib.sha256(values.tobytes()).hexdigest()[:32]
        places = [values.size * k // SAMPLES for k in range(SAMPLES)] if values.size > SAMPLES else range(values.size)
        samples = " ".join(
            f"{values[place]:.9g}" if values.dtype == np.float32 else repr(values[place].item()) for place in places
        )
        self.lines.append(f"{name} {digest} {values.size} {samples}")

    def add_parameters(self, where: str, library: Library, model: c.c_void_p) -> None:
        for name, values, _ in library.parameters(model):
            self.add(f"{where}/{name}", values)


def forward(library: Library, model: c.c_void_p, results: Results, where: str, n: int, training: bool) -> None:
    """All five functions. What the heads read is made here and not by the encoder, so that a difference in the encoder
    shows in its own line alone."""
    encoded, features = np.empty(n * ENCODED, np.float32), np.empty(n * FEATURES, np.float32)
    library.call("dim_encode", model, images_of(n, 1), n, encoded, features)
    results.add(f"{where}/encode.encoded", encoded)
    results.add(f"{where}/encode.features", features)
    encoded, features = uniform(n * ENCODED, 2) - np.float32(0.5), uniform(n * FEATURES, 3)
    for function, inputs, size in (
        ("dim_score_global", (encoded, features), 1),
        ("dim_score_local", (encoded, features), LOCAL),
        ("dim_score_prior", (encoded,), 1),
        ("dim_classify", (encoded,), CLASSES),
    ):
        if function == "dim_classify" and training and n == 1:
            continue  # refused: one sample has no batch statistics
        output = np.empty(n * size, np.float32)
        library.call(function, model, *inputs, n, output)
        results.add(f"{where}/{function.removeprefix('dim_')}", output)


def forward_passes(library: Library, results: Results) -> None:
    model = library.new("dim_model_create", c.c_uint64(11))
    results.add_parameters("created", library, model)
    for n in (1, 2, 7, 64):
        forward(library, model, results, f"evaluation.{n}", n, training=False)
    library.call("dim_model_set_training", model, c.c_bool(True))
    for n in (1, 2, 7, 64):
        forward(library, model, results, f"training.{n}", n, training=True)
    for name, values, trainable in library.parameters(model):
        if not trainable:
            results.add(f"training.after/{name}", values)
    library.call("dim_model_set_training", model, c.c_bool(False))
    forward(library, model, results, "evaluation.after", 2, training=False)  # with statistics that have moved

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "saved.h5")
        library.call("dim_model_save", model, path.encode())
        import h5py

        with h5py.File(path) as file:

            def visit(name: str, item: object) -> None:
                if isinstance(item, h5py.Dataset):
                    shape = "x".join(map(str, item.shape)) or "scalar"
                    results.add(f"saved/{name}:{item.dtype}:{shape}", item[()])

            file.visititems(visit)
    library.free("dim_model_free", model)


def objective(library: Library, results: Results, where: str, prior: int, steps: int) -> None:
    """Training steps at n = 6, then what evaluation makes of the trained model."""
    model = library.new("dim_model_create", c.c_uint64(12))
    options = library.options("dim_trainer_options_init", prior)
    trainer = library.new("dim_trainer_create", model, options)
    losses = np.zeros(4)
    for step in range(steps):
        library.call("dim_trainer_step", trainer, images_of(6, 10 + step), 6, losses)
        results.add(f"{where}/losses.{step}", losses)
    results.add_parameters(where, library, model)
    for n in (6, 33):  # within a block and over its end
        library.call("dim_trainer_evaluate", trainer, images_of(n, 20), n, losses)
        results.add(f"{where}/evaluate.{n}", losses)
    forward(library, model, results, f"{where}.forward", 2, training=False)
    library.free("dim_trainer_free", trainer)
    library.free("dim_model_free", model)


def accumulation(library: Library, results: Results) -> None:
    """The gradients of one and of two micro-batches, then the update."""
    model = library.new("dim_model_create", c.c_uint64(13))
    trainer = library.new("dim_trainer_create", model, None)
    losses = np.zeros(4)
    for count, n in ((1, 6), (2, 3)):
        library.call("dim_trainer_accumulate", trainer, images_of(n, 30 + count), n, losses)
        results.add(f"accumulated.{count}/losses", losses)
        for name, values, trainable in library.parameters(model):
            if trainable and not name.startswith("classifier."):
                library.call("dim_trainer_get_gradient", trainer, name.encode(), values, values.nbytes)
                results.add(f"accumulated.{count}/{name}", values)
    library.call("dim_trainer_update", trainer)
    results.add_parameters("accumulated.update", library, model)
    library.free("dim_trainer_free", trainer)
    library.free("dim_model_free", model)


def classifier(library: Library, results: Results, where: str, encoder: int, loss: int, steps: int) -> None:
    model = library.new("dim_model_create", c.c_uint64(14))
    options = library.options("dim_classifier_options_init", encoder, loss)
    trainer = library.new("dim_classifier_trainer_create", model, options)
    result = ClassifierResult()

    def add(what: str) -> None:
        results.add(f"{where}/{what}", np.array([result.loss, result.correct, result.count]))

    for step in range(steps):
        library.call("dim_classifier_trainer_step", trainer, images_of(6, 40 + step), labels_of(6), 6, c.byref(result))
        add(f"result.{step}")
    for name, values, _ in library.parameters(model):
        if name.startswith(("encoder.", "classifier.")):
            results.add(f"{where}/{name}", values)
    confusion = np.zeros(CLASSES * CLASSES, np.uint64)
    library.call("dim_classifier_trainer_evaluate", trainer, images_of(6, 50), labels_of(6), 6, c.byref(result), confusion)
    add("evaluate")
    results.add(f"{where}/confusion", confusion)
    library.free("dim_classifier_trainer_free", trainer)
    library.free("dim_model_free", model)


def compute(path: str) -> list[str]:
    library, results = Library(path), Results()
    forward_passes(library, results)
    objective(library, results, "steps", prior=0, steps=3)
    objective(library, results, "adversarial", prior=1, steps=1)
    accumulation(library, results)
    classifier(library, results, "end-to-end", encoder=2, loss=0, steps=3)
    classifier(library, results, "frozen", encoder=0, loss=0, steps=1)
    classifier(library, results, "notebook", encoder=1, loss=1, steps=1)
    return results.lines


# ---- Recording and comparing


def run_setting(path: str, setting: str, command: str) -> str | None:
    """The output of this program in a process with the setting's environment; None where the processor has other kernels."""
    changes, kernels = SETTINGS[setting]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DIM_")} | changes
    run = [sys.executable, __file__]
    info = subprocess.run([*run, "info", path], env=environment, check=True, capture_output=True, text=True).stdout
    if not re.search(rf"\b{kernels}\b", info):
        return None
    done = subprocess.run([*run, command, path], env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"gate: {setting}: the library failed or ended the process, status {done.returncode}")
    return done.stdout


def described(line: str) -> str:
    digest, count, *samples = line.split(" ")[1:]
    return f"{digest[:12]}.. of {count} values: {' '.join(samples)}{' ..' if int(count) > len(samples) else ''}"


def differences(setting: str, recorded: list[str], found: list[str]) -> list[str]:
    """One message an array, in the order of computation."""
    before = {line.split(" ")[0]: line for line in recorded}
    after = {line.split(" ")[0]: line for line in found}
    messages = []
    for name in [*after, *(name for name in before if name not in after)]:
        if name not in before:
            messages.append(f"gate: {setting}: {name} is new: it is not in {setting}.txt")
        elif name not in after:
            messages.append(f"gate: {setting}: {name} is missing: {setting}.txt has it")
        elif before[name] != after[name]:
            messages.append(
                f"gate: {setting}: {name} differs\n    recorded  {described(before[name])}\n"
                f"    found     {described(after[name])}"
            )
    return messages


def compare(path: str, setting: str, most: int = 12) -> bool:
    output = run_setting(path, setting, "results")
    if output is None:
        print(f"gate: {setting}: skipped, this processor does not run its kernels ({SETTINGS[setting][1]})", flush=True)
        return True
    recorded, found = (HERE / f"{setting}.txt").read_text().splitlines(), output.splitlines()
    messages = differences(setting, recorded, found)
    if not messages:
        print(f"gate: {setting}: {len(found)} arrays equal", flush=True)
        return True
    print("\n".join(messages[:most]), file=sys.stderr)
    if len(messages) > most:
        print(f"gate: {setting}: and {len(messages) - most} more", file=sys.stderr)
    print(f"gate: {setting}: {len(messages)} of {len(recorded)} arrays are not what was recorded", file=sys.stderr, flush=True)
    return False


def record(path: str, setting: str) -> bool:
    output = run_setting(path, setting, "results")
    if output is None:
        print(f"gate: {setting}: not recorded, this processor does not run its kernels", file=sys.stderr)
        return False
    (HERE / f"{setting}.txt").write_text(output)
    print(f"gate: {setting}: {len(output.splitlines())} arrays recorded", flush=True)
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("compare", "record", "results", "info"))
    parser.add_argument("library", help="a libdim.so")
    parser.add_argument("settings", nargs="*", metavar="SETTING", help="avx512, avx2, baseline, direct; none: all four")
    arguments = parser.parse_args()
    if unknown := set(arguments.settings) - set(SETTINGS):
        parser.error(f"no such setting: {', '.join(sorted(unknown))}")
    if not os.path.isfile(arguments.library):
        parser.error(f"there is no library {arguments.library}")
    if arguments.command == "info":
        print(Library(arguments.library).c.dim_build_info().decode())
    elif arguments.command == "results":
        print("\n".join(compute(arguments.library)))
    else:
        work = compare if arguments.command == "compare" else record
        if not all([work(arguments.library, setting) for setting in arguments.settings or SETTINGS]):
            sys.exit(1)


if __name__ == "__main__":
    main()
