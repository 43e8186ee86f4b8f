"""Writes corpus/: small valid files from which the mutants of `make fuzz` descend.

    PYTHONPATH=bindings/python .venv/bin/python Tests/fuzz/make_corpus.py

It needs h5py and build/libdim.so. What is in git was written with h5py 3.16 (libhdf5 2.0.0); other versions write other
bytes, which is no harm: the drivers take whatever valid files they find.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "bindings" / "python"), str(HERE.parent / "python")]

import h5py  # noqa: E402
import numpy as np  # noqa: E402
from deepinfomax import ClassifierTrainer, Model, Trainer  # noqa: E402
from safetensors_fixtures import as_bfloat16, write_safetensors  # noqa: E402
from weights_fixtures import SHAPES, state_of, write  # noqa: E402

CORPUS = HERE / "corpus"
SMALL = dict(compression="gzip", compression_opts=9, shuffle=True)


def flat(*networks):
    """As state_of, with constant arrays: 100 MB of them are 100 KB in gzip."""
    return {key: np.full_like(array, 1 if array.ndim == 0 else 0.125) for key, array in state_of(*networks).items()}


def large_chunks(array):
    """One chunk, or of 8 MB at most: fewer chunks, a smaller file."""
    rows = max(1, min(array.shape[0], (8 << 20) // array[:1].nbytes))
    return dict(SMALL, chunks=(rows, *array.shape[1:]))


def compact_text(group, name, text):
    """A string that is in its header, as a checkpoint has it."""
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(text) + 1)  # and a NUL
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.COMPACT)
    dataset = h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create(h5py.h5s.SCALAR), layout)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(np.bytes_(text)))


def classifiers():
    """The smallest network, in every format and layout that libhdf5 writes."""
    state = state_of("classifier")
    for libver in ("earliest", "v108", "v110"):
        for kind, options in {"plain": {}, "filters": dict(SMALL, fletcher32=True)}.items():
            with h5py.File(CORPUS / f"classifier-{libver}-{kind}.h5", "w", libver=libver) as file:
                for key, array in state.items():
                    name = key.replace(".", "/", 1) if options else key
                    file.create_dataset(name, data=array, **(options if array.ndim else {}))
    write(CORPUS / "classifier-double.h5", state, convert=lambda a: a.astype(">f8") if a.dtype.kind == "f" else a)
    write(CORPUS / "classifier-wrapped.h5", state, rename=lambda key: "state_dict/module." + key)
    with h5py.File(CORPUS / "classifier-chunks.h5", "w", libver="v110") as file:
        for key, array in state.items():
            # Chunks that the edges cut, and of several rows: the indexes of chunks that libhdf5 has.
            chunks = tuple(max(1, length * 2 // 5) for length in array.shape) or None
            file.create_dataset(key, data=array, chunks=chunks, maxshape=(None,) * array.ndim if chunks else None)
            file[key].attrs["note"] = "an attribute"
    Model.open(str(CORPUS / "classifier-earliest-plain.h5")).save(str(CORPUS / "classifier-libdim.h5"))


ADAM = {"adam_beta1": 0.9, "adam_beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0}
SETTINGS = {
    "objective": {
        "measure": "gan",
        "negatives": "rotation",
        "prior": "monolithic",
        "alpha": 0.5,
        "beta": 1,
        "gamma": 0.1,
        "encoder_learning_rate": 1e-4,
        "discriminator_learning_rate": 1e-4,
        "seed": "7",
        **ADAM,
    },
    "classifier": {"encoder": "frozen", "loss": "logits", "learning_rate": 1e-4, **ADAM},
}


def checkpoints():
    """Of both trainers. Opening inflates 55 MB and 300 MB: the drivers take them less often."""
    trained = {
        "checkpoint-classifier.h5": (["encoder", "classifier"], ["classifier"], "classifier"),
        "checkpoint-objective.h5": (list(SHAPES)[:4], list(SHAPES)[:4], "objective"),
    }
    for name, (networks, moving, kind) in trained.items():
        with h5py.File(CORPUS / name, "w", libver="v110") as file:
            for key, array in flat(*networks).items():
                file.create_dataset(key, data=array, **(large_chunks(array) if array.ndim else {}))
            moments = sum(
                int(np.prod(shape))
                for network in moving
                for key, shape in SHAPES[network].items()
                if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))
            )
            group = file.create_group("checkpoint")
            compact_text(group, "kind", kind)
            compact_text(group, "settings", json.dumps(SETTINGS[kind]))
            group["version"] = np.int64(2)
            group["noise_state"] = np.random.RandomState(7).get_state()[1].astype(np.uint32)
            group["noise_position"] = np.int64(624)
            group["step"] = np.int64(3)
            for moment in ("first_moment", "second_moment"):
                zeros = np.zeros(moments, np.float32)
                group.create_dataset(moment, data=zeros, **large_chunks(zeros))


def safetensors():
    """The smallest network in every type and order of the format."""
    folder = CORPUS / "safetensors"
    folder.mkdir(exist_ok=True)
    state = state_of("classifier")
    kinds = {"f64": np.float64, "f16": np.float16, "f32": np.float32}
    for name, kind in kinds.items():
        converted = {key: array.astype(kind) if array.dtype.kind == "f" else array for key, array in state.items()}
        write_safetensors(folder / f"classifier-{name}.safetensors", converted, metadata={"format": "pt"})
    brain = {key: as_bfloat16(array) if array.dtype.kind == "f" else array for key, array in state.items()}
    write_safetensors(folder / "classifier-bf16.safetensors", brain)
    bare = {"epoch": np.array(3, np.uint8), "nothing": np.zeros((0, 3), np.int16)}
    bare.update({"module." + key.split(".", 1)[1]: array for key, array in reversed(state.items())})
    write_safetensors(folder / "classifier-bare.safetensors", bare, metadata={"note": '\u00e9 "quoted"'})
    Model.open(str(folder / "classifier-f32.safetensors")).save(str(folder / "classifier-libdim.safetensors"))


#: A few thousand parameters, of every kind that has its own names.
TINY = {
    "image": {"channels": 1, "height": 9, "width": 8, "mean": 0.5, "std": 0.5},
    "encoder": {
        "layers": [
            {"op": "conv", "name": "c0", "out": 4, "kernel": 3, "norm": "batch", "activation": "relu"},
            {
                "op": "residual",
                "name": "r0",
                "shortcut": None,
                "activation": "relu",
                "layers": [{"op": "conv", "name": "c0", "out": 4, "kernel": 3, "padding": 1, "bias": False, "norm": "layer"}],
            },
            {"op": "flatten"},
            {"op": "linear", "name": "l0", "out": 6},
        ],
        "features": "r0",
    },
    "local": {"score": "dot", "net": "authors", "units": 5},
    "global": {"score": "concat", "layers": [], "hidden": [4]},
    "prior": {"hidden": [5], "squash": "sigmoid"},
    "classifier": {"hidden": [4], "dropout": 0.5, "classes": 3},
    "coordinates": None,
}


def architectures():
    """Another architecture than the notebook's, in the ways in which a file names it; checkpoints of both trainers."""
    folder = CORPUS / "architectures"
    folder.mkdir(exist_ok=True)
    model = Model(seed=1, architecture=TINY)
    model.class_names = ["a", "b\u00e9", 'c "quoted"']
    model.save(folder / "tiny-libdim.h5")
    model.save(folder / "tiny-libdim.safetensors")
    for libver in ("earliest", "v110"):
        with h5py.File(folder / f"tiny-{libver}.h5", "w", libver=libver) as file:
            for key, array in model.state_dict().items():
                file[key] = array
            file.attrs["architecture"] = model.architecture.json()  # of variable length
            file.attrs["class_names"] = json.dumps(model.class_names)
    images = np.random.default_rng(0).random((6, 1, 9, 8), np.float32)
    trainer = Trainer(model, measure="jsd", negatives=2, prior="adversarial", gradient_penalty=1, alpha=0.5, gamma=0.1)
    trainer.step(images)
    trainer.save(folder / "checkpoint-objective-tiny.h5")
    classifier = ClassifierTrainer(model, encoder="trained")
    classifier.step(images, np.arange(6) % 3)
    classifier.save(folder / "checkpoint-classifier-tiny.h5")


if __name__ == "__main__":
    CORPUS.mkdir(exist_ok=True)
    classifiers()
    write(CORPUS / "prior.h5", flat("prior_d"), **SMALL)
    checkpoints()
    safetensors()
    architectures()
    for path in sorted([*CORPUS.glob("**/*.h5"), *CORPUS.glob("*/*.safetensors")]):
        print(f"{path.stat().st_size:8} {path.name}")
