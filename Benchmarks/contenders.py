"""One contender in its process: reads a line, works, answers with a line.

    contenders.py CONTENDER SCRATCH THREADS

    prepare TASK N       loads weights, makes inputs of N images           ok
    check PATH RUNS T    runs; compares the outputs with PATH's            ok <largest error over rms>
                         (this library writes PATH where it is missing)    <seconds of the last run>
    run K                runs K times                                      ok <seconds a run>
    memory               the most that this process has held               ok <MB>
    about                this library's build line                         ok <text>

Tasks: encode, train, classifier-frozen, classifier-trained, open, of the notebook's networks; vectors:NAME and step:NAME, of
those in cases.py. Standard output belongs to the protocol.
What a run includes is what a user waits for: input in a numpy array, outputs in new arrays or tensors.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_double, c_int, c_size_t, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cases
import numpy as np

Arrays = dict[str, np.ndarray]
#: Of the features only this many images are compared: all of 1,024 would be 354 MB a contender.
COMPARED = 64


@dataclass
class Task:
    #: One run, timed. What it returns is kept until the next run, as a user would keep it.
    run: Callable[[], Any]
    #: That as numpy arrays for the comparison, not timed.
    arrays: Callable[[Any], Arrays]


def images(n: int, size: tuple[int, ...] = (3, 32, 32)) -> np.ndarray:
    return np.random.default_rng(n).random((n, *size), dtype=np.float32)


def image_size(name: str) -> tuple[int, int, int]:
    """Of a network of cases.py: channels, height, width."""
    import deepinfomax

    image = deepinfomax.Architecture(cases.description(name)).as_dict()["image"]
    return image["channels"], image["height"], image["width"]


def labels(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 10, n)


def encoded(outputs: tuple[Any, Any]) -> Arrays:
    y, M = (np.asarray(value) for value in outputs)
    return {"y": y, "M": M[:COMPARED]}


def loss(value: float) -> Arrays:
    return {"loss": np.array([value])}


# ---- This library: the package, and the C functions for the classifier's training


class _ClassifierOptions(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("encoder", c_int),
        ("loss", c_int),
        ("learning_rate", c_double),
        ("adam_beta1", c_double),
        ("adam_beta2", c_double),
        ("epsilon", c_double),
        ("weight_decay", c_double),
    ]


class _ClassifierResult(Structure):
    _fields_ = [("loss", c_double), ("correct", c_size_t), ("count", c_size_t)]


class Dim:
    def __init__(self, scratch: Path, threads: int, features: bool = True, precision: str = "float32") -> None:
        import deepinfomax

        self.dim = deepinfomax
        self.weights = scratch / "weights.h5"
        self.features, self.precision = features, precision

    def about(self) -> str:
        return self.dim.build_info()

    def vectors(self, n: int, name: str) -> Task:
        model = self.dim.Model.open(self.weights.with_name(f"{name}.h5"))
        x = images(n, model.sizes.image)
        return Task(lambda: model.encode(x, features=False), lambda y: {"y": y})

    def step(self, n: int, name: str) -> Task:
        model = self.dim.Model.open(self.weights.with_name(f"{name}.h5"))
        trainer = self.dim.Trainer(model, precision=self.precision, **cases.OBJECTIVES[name].options)
        x = images(n, model.sizes.image)
        return Task(lambda: trainer.step(x).total, loss)

    def encode(self, n: int) -> Task:
        model, x = self.dim.Model.open(self.weights), images(n)
        if self.features:
            return Task(lambda: model.encode(x), encoded)
        return Task(lambda: model.encode(x, features=False), lambda y: {"y": y})

    def open(self, n: int) -> Task:
        x = images(n)

        def run() -> np.ndarray:
            with self.dim.Model.open(self.weights) as model:
                return model.encode(x, features=False)

        return Task(run, lambda y: {"y": y})

    def train(self, n: int) -> Task:
        model = self.dim.Model.open(self.weights)
        trainer = self.dim.Trainer(model, precision=self.precision)  # The defaults are the linked implementation's.
        x = images(n, model.sizes.image)
        return Task(lambda: trainer.step(x).total, loss)

    def classifier(self, n: int, frozen: bool) -> Task:
        init = self._function("dim_classifier_options_init", POINTER(_ClassifierOptions), c_size_t)
        create = self._function("dim_classifier_trainer_create", c_void_p, POINTER(_ClassifierOptions), POINTER(c_void_p))
        step = self._function("dim_classifier_trainer_step", c_void_p, c_void_p, c_void_p, c_size_t, POINTER(_ClassifierResult))
        options, trainer = _ClassifierOptions(), c_void_p()
        init(options, ctypes.sizeof(options))
        options.encoder = 0 if frozen else 2  # DIM_ENCODER_FROZEN, DIM_ENCODER_TRAINED
        options.loss = 1  # DIM_LOSS_SOFTMAX_TWICE
        model = self.dim.Model.open(self.weights)
        create(model._handle.pointer, options, byref(trainer))
        x, targets, result = images(n), labels(n), _ClassifierResult()

        def run() -> float:
            step(trainer, x.ctypes.data, targets.ctypes.data, n, result)
            return result.loss

        return Task(run, loss)

    def _function(self, name: str, *types: Any) -> Callable[..., None]:
        from deepinfomax._library import check, library

        function = CFUNCTYPE(c_int, *types)((name, library()))
        return lambda *arguments: check(function(*arguments))


# ---- PyTorch


class Torch:
    def __init__(self, scratch: Path, threads: int, compile: bool = False, bf16: bool = False, last: bool = False) -> None:
        import networks
        import torch

        torch.set_num_threads(threads)
        self.torch, self.networks = torch, networks
        self.weights = scratch / "weights.h5"
        self.compile, self.bf16, self.last = compile, bf16, last

    def encode(self, n: int) -> Task:
        torch = self.torch
        x = images(n)
        encoder = self._networks("encoder.").encoder
        network = self.networks.ChannelsLast(encoder) if self.last else self._compiled(encoder)

        def run() -> Any:
            # Not inference_mode: torch.compile freezes weights under no_grad only; eager is as fast.
            with torch.no_grad(), self._autocast():
                return network(torch.from_numpy(x))

        return Task(run, lambda outputs: encoded(tuple(value.float().numpy() for value in outputs)))

    def open(self, n: int) -> Task:
        torch = self.torch
        x = images(n)

        def run() -> Any:
            with torch.no_grad():
                return self._networks("encoder.").encoder(torch.from_numpy(x))[0]

        return Task(run, lambda y: {"y": y.numpy()})

    def train(self, n: int) -> Task:
        torch = self.torch
        objective = self.networks.Objective(self._networks().train())
        compute, x = self._compiled(objective), images(n)
        torch.manual_seed(0)
        return self._steps(objective.optimisers(), lambda: compute(torch.from_numpy(x), torch.rand(n, 64)))

    def classifier(self, n: int, frozen: bool) -> Task:
        net = self._networks().train()
        net.encoder.train(not frozen)
        objective = self.networks.ClassifierObjective(net, frozen)
        compute, x, targets = self._compiled(objective), images(n), self.torch.from_numpy(labels(n))
        return self._steps(objective.optimisers(), lambda: compute(self.torch.from_numpy(x), targets))

    def _steps(self, optimisers: list[Any], compute: Callable[[], Any]) -> Task:
        def run() -> float:
            for optimiser in optimisers:
                optimiser.zero_grad()
            with self._autocast():
                value = compute()
            value.backward()
            for optimiser in optimisers:
                optimiser.step()
            return float(value.item())

        return Task(run, loss)

    def vectors(self, n: int, name: str) -> Task:
        torch = self.torch
        encoder = self._modules(name).encoder.eval()
        network = self._compiled(encoder)
        x = images(n, image_size(name))

        def run() -> Any:
            with torch.no_grad(), self._autocast():
                return network(torch.from_numpy(x)).encoded

        return Task(run, lambda y: {"y": y.float().numpy()})

    def step(self, n: int, name: str) -> Task:
        from deepinfomax.torch import Settings, objectives

        nets, settings = self._modules(name).train(), Settings(**cases.OBJECTIVES[name].options)
        adams = objectives.optimisers(nets, settings)
        for adam in adams:
            adam.param_groups[0]["fused"] = True  # PyTorch's fastest.
        compute = self._compiled(lambda x: objectives.losses(nets, x, settings).total)
        x = images(n, image_size(name))
        return self._steps(adams, lambda: compute(self.torch.from_numpy(x)))

    def _modules(self, name: str) -> Any:
        import h5py
        from deepinfomax.torch import modules

        nets = modules(cases.description(name))
        with h5py.File(self.weights.with_name(f"{name}.h5"), "r") as file:
            nets.load_state_dict({key: self.torch.from_numpy(np.asarray(file[key][()])) for key in file})
        return nets

    def _networks(self, prefix: str = "") -> Any:
        import h5py

        with h5py.File(self.weights, "r") as file:
            keys = [key for key in file if key.startswith(prefix)]
            state = {key: self.torch.from_numpy(np.asarray(file[key][()])) for key in keys}
        return self.networks.with_weights(state)

    def _compiled(self, module: Any) -> Any:
        return self.torch.compile(module, dynamic=False) if self.compile else module

    def _autocast(self) -> Any:
        return self.torch.autocast("cpu", dtype=self.torch.bfloat16, enabled=self.bf16)


# ---- ONNX Runtime, OpenVINO, h5py


class OnnxRuntime:
    def __init__(self, scratch: Path, threads: int) -> None:
        import onnxruntime

        self.onnxruntime, self.scratch = onnxruntime, scratch
        self.options = options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Its threads spin during a run, which it is fastest with, and not after: others are measured then.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        options.add_session_config_entry("session.force_spinning_stop", "1")

    def encode(self, n: int) -> Task:
        x, session = images(n), self._session("encoder")
        return Task(lambda: session.run(["encoded", "features"], {"x": x}), encoded)

    def vectors(self, n: int, name: str) -> Task:
        session = self._session(name)
        x = images(n, tuple(session.get_inputs()[0].shape[1:]))
        return Task(lambda: session.run(["encoded"], {"images": x})[0], lambda y: {"y": y})

    def _session(self, name: str) -> Any:
        providers = ["CPUExecutionProvider"]
        return self.onnxruntime.InferenceSession(self.scratch / f"{name}.onnx", self.options, providers=providers)


class OpenVino:
    def __init__(self, scratch: Path, threads: int, precision: str = "f32") -> None:
        import openvino

        self.core, self.scratch = openvino.Core(), scratch
        self.settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }

    def encode(self, n: int) -> Task:
        run, _ = self._inference("encoder", n)
        return Task(run, lambda found: encoded((found[0], found[1])))

    def vectors(self, n: int, name: str) -> Task:
        run, outputs = self._inference(name, n)
        return Task(run, lambda found: {"y": np.asarray(found[outputs.index("encoded")])})

    def _inference(self, name: str, n: int) -> tuple[Callable[[], Any], list[str]]:
        model = self.core.read_model(self.scratch / f"{name}.onnx")
        size = [axis.get_length() for axis in list(model.inputs[0].get_partial_shape())[1:]]
        model.reshape([n, *size])  # A fixed batch: it plans better.
        request = self.core.compile_model(model, "CPU", self.settings).create_infer_request()
        x = images(n, tuple(size))

        # Shared: neither the input nor the outputs are copied; the outputs live until the next run.
        def run() -> Any:
            return request.infer({0: x}, share_inputs=True, share_outputs=True)

        return run, [output.get_any_name() for output in model.outputs]


class Mnn:
    """Of the notebook's encoder the vectors alone, as dim-vectors: it computes outputs that are not asked for."""

    def __init__(self, scratch: Path, threads: int) -> None:
        import MNN

        self.mnn, self.scratch = MNN, scratch
        self.settings = {"backend": "CPU", "numThread": threads, "precision": "high"}

    def encode(self, n: int) -> Task:
        return self._inference("encoder-vectors", images(n))

    def vectors(self, n: int, name: str) -> Task:
        return self._inference(name, images(n, image_size(name)))

    def _inference(self, name: str, x: np.ndarray) -> Task:
        mnn = self.mnn
        interpreter = mnn.Interpreter(str(self._converted(name)))
        session = interpreter.createSession(self.settings)
        given = interpreter.getSessionInput(session)
        interpreter.resizeTensor(given, x.shape)
        interpreter.resizeSession(session)
        layout = mnn.Tensor_DimensionType_Caffe

        def run() -> np.ndarray:
            given.copyFrom(mnn.Tensor(x.shape, mnn.Halide_Type_Float, x, layout))
            interpreter.runSession(session)
            made = interpreter.getSessionOutput(session, "encoded")
            y = np.empty(made.getShape(), np.float32)
            host = mnn.Tensor(y.shape, mnn.Halide_Type_Float, y, layout)
            made.copyToHostTensor(host)
            y[...] = np.reshape(host.getNumpyData(), y.shape)
            return y

        run.interpreter = interpreter  # type: ignore[attr-defined]  # The session does not keep it alive.
        return Task(run, lambda y: {"y": y})

    def _converted(self, name: str) -> Path:
        """The .mnn file of an .onnx file that has the vectors as its only output."""
        import onnx
        from onnx import utils

        made = self.scratch / f"{name}.mnn"
        source = self.scratch / f"{name.removesuffix('-vectors')}.onnx"
        if not made.exists() or made.stat().st_mtime < source.stat().st_mtime:
            model = onnx.load(source)
            part = self.scratch / f"{name}.vectors.onnx"
            utils.extract_model(str(source), str(part), [model.graph.input[0].name], ["encoded"])
            convert = [Path(sys.executable).with_name("mnnconvert"), "-f", "ONNX", "--modelFile", part, "--MNNModel", made]
            subprocess.run([*map(str, convert), "--bizCode", "dim"], check=True, stdout=sys.stderr)
        return made


class H5py:
    def __init__(self, scratch: Path, threads: int) -> None:
        import h5py

        self.h5py, self.weights = h5py, scratch / "weights.h5"

    def open(self, n: int) -> Task:
        def run() -> Arrays:
            with self.h5py.File(self.weights, "r") as file:
                return {key: file[key][()] for key in file}

        return Task(run, lambda found: {})


MAKE: dict[str, Callable[[Path, int], Any]] = {
    "dim": Dim,
    "dim-vectors": lambda *arguments: Dim(*arguments, features=False),
    "dim-avx2": Dim,
    "dim-mixed": lambda *arguments: Dim(*arguments, precision="mixed"),
    "torch": Torch,
    "torch-avx2": Torch,
    "torch-last": lambda *arguments: Torch(*arguments, last=True),
    "torch-compile": lambda *arguments: Torch(*arguments, compile=True),
    "torch-bf16": lambda *arguments: Torch(*arguments, bf16=True),
    "torch-compile-bf16": lambda *arguments: Torch(*arguments, compile=True, bf16=True),
    "ort": OnnxRuntime,
    "openvino": OpenVino,
    "openvino-bf16": lambda *arguments: OpenVino(*arguments, precision="bf16"),
    "mnn": Mnn,
    "h5py": H5py,
}


# ---- The protocol


class Server:
    def __init__(self, key: str, scratch: Path, threads: int) -> None:
        self.contender = MAKE[key](scratch, threads)
        self.is_reference = isinstance(self.contender, Dim)
        self.task: Task | None = None

    def prepare(self, task: str, n: str) -> str:
        self.task = None  # Frees the weights of the task before.
        kind, _, name = task.partition(":")
        if name:
            self.task = getattr(self.contender, kind)(int(n), name)
        elif task.startswith("classifier-"):
            self.task = self.contender.classifier(int(n), task == "classifier-frozen")
        else:
            self.task = getattr(self.contender, task)(int(n))
        return ""

    def check(self, path: str, runs: str, tolerance: str) -> str:
        """Largest error over the reference's rms. Several runs of a training step: of the losses of each."""
        assert self.task
        found = []
        for _ in range(int(runs)):
            start = time.perf_counter()
            outputs = self.task.run()
            seconds = time.perf_counter() - start
            found.append(self.task.arrays(outputs))
        arrays = {name: np.concatenate([step[name] for step in found]) for name in found[0]}
        if self.is_reference and not os.path.exists(path):
            np.savez(path, **arrays)
            return f"0 {seconds}"
        with np.load(path) as reference:
            errors = [_error(arrays[name], reference[name]) for name in arrays if name in reference]
        if arrays and not errors:
            raise ValueError("there is nothing to compare its outputs with")
        error = max(errors, default=0.0)
        if not error <= float(tolerance):  # NaN fails, too.
            raise ValueError(f"its outputs are off by {error:.2g} of their rms; {tolerance} is allowed")
        return f"{error} {seconds}"

    def run(self, count: str) -> str:
        assert self.task
        run = self.task.run
        if int(count) > 1:  # Others have filled the caches: of short runs the first is not timed.
            run()
        start = time.perf_counter()
        for _ in range(int(count)):
            self.last = run()
        return str((time.perf_counter() - start) / int(count))

    def memory(self) -> str:
        """The peak of resident memory. ru_maxrss counts what the parent held at the fork as well: where Linux
        tells this process's own peak, that is taken."""
        try:
            status = Path("/proc/self/status").read_text()
            return str(int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6)
        except (OSError, IndexError):
            return str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)

    def about(self) -> str:
        return str(self.contender.about())


def _error(found: np.ndarray, reference: np.ndarray) -> float:
    if found.shape != reference.shape:
        raise ValueError(f"an output of shape {found.shape} where {reference.shape} was expected")
    difference = np.max(np.abs(found.astype(np.float64) - reference))
    return float(difference / np.sqrt(np.mean(np.square(reference, dtype=np.float64))))


def make_weights(scratch: Path) -> None:
    """weights.h5: seed 0, with batch norms that have seen images, as after training: then every layer's
    activations have their usual size and a wrong layer shows in the outputs."""
    import deepinfomax

    with deepinfomax.Model(seed=0) as model:
        model.train()
        for batch in range(40):
            y, _ = model.encode(np.random.default_rng(batch).random((8, 3, 32, 32), dtype=np.float32))
            model.classify(y)
        model.save(scratch / "weights.h5")
    for name in (*cases.ENCODERS, *cases.OBJECTIVES):
        with deepinfomax.Model(0, cases.description(name)) as model:
            model.train()
            for batch in range(4):
                model.encode(images(16, model.sizes.image) + np.float32(batch / 8), features=False)
            model.eval()
            model.save(scratch / f"{name}.h5")
            if name in cases.ENCODERS and importlib.util.find_spec("onnx"):
                from deepinfomax.onnx_export import to_onnx

                (scratch / f"{name}.onnx").write_bytes(to_onnx(model))


def main() -> None:
    key, scratch, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if key == "weights":
        return make_weights(scratch)
    # Libraries print what they like; it goes to the log.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    server: Server | None = None
    for line in sys.stdin:
        verb, *arguments = line.split()
        try:
            server = server or Server(key, scratch, threads)
            print("ok", getattr(server, verb)(*arguments), file=answers)
        except Exception as error:
            import traceback

            traceback.print_exc()
            first = (str(error).strip() or repr(error)).splitlines()[0]
            print("error", f"{type(error).__name__}: {first}", file=answers)


if __name__ == "__main__":
    main()
