"""Trains and judges the rows of docs/science.md, one JSON for each (row, seed).

    Benchmarks/science/runner.py                              rows of rows.py, 3 seeds of 5 minutes; the default: 20
    Benchmarks/science/runner.py --steps 100 --seeds 0 --rows nce,jsd,still
    Benchmarks/science/runner.py --judge-on test              the last step: what document.py shows
    Benchmarks/science/runner.py --measure-pace               on an idle machine, repeatedly: milliseconds a step, into pace.json

Settings are chosen with --judge-on validation, the default: judges are fitted on nine tenths of the training images and
measured on the tenth; the test images are not read. Encoders see all training images, none of their labels (the supervised
row: images and labels of the nine tenths). Minutes are those of training steps on an idle machine: pace.json says how many
steps they are, so that a row is the same whatever else the machine does. Trained weights stay in --work: the test images
judge the networks that the validation images judged. What is done already, by the same budget, is not done again, on another
machine either; a training that was cut off continues from its last checkpoint.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "bindings" / "python"))

import clipart  # noqa: E402
import deepinfomax as dim  # noqa: E402
from deepinfomax import judges  # noqa: E402
from deepinfomax.judges import vectors  # noqa: E402
from deepinfomax.data import Dataset, Loader, open_dataset  # noqa: E402
from deepinfomax.run_folder import RunFolder  # noqa: E402
from rows import ALL, ROWS, SEARCH, Row, rate  # noqa: E402

DATA = "/usr/share/datasets/fashion-mnist"
JUDGES = ("logistic", "knn")
COLUMNS = ("Y", "fc")
PACKAGE = {"PYTHONPATH": str(HERE.parents[1] / "bindings" / "python")}


class Data:
    """Training images, and the images that judges are measured on."""

    def __init__(self, options: argparse.Namespace, image: tuple[int, int, int], name: str = "") -> None:
        self.name = name
        self.train = self._open(options, "train", image)
        if options.images:
            self.train = self.train.subset(np.arange(min(options.images, len(self.train))))
        numbers = np.arange(len(self.train))
        if options.judge_on == "test":
            self.fitted, self.asked = numbers, None
            self.test = self._open(options, "test", image)
        else:
            self.fitted, self.asked = numbers[numbers % 10 != 9], numbers[numbers % 10 == 9]
            self.test = self.train.subset(self.asked)
        self.labelled = numbers[numbers % 10 != 9]
        self.fitted = some(self.fitted, options.fit_images)

    def _open(self, options: argparse.Namespace, part: str, image: tuple[int, int, int]) -> Dataset:
        if self.name == "clipart":
            clipart.prepare(options.work)
            return open_dataset(options.work / f"clipart-{part}.npz", labelled=True, image=image)
        return open_dataset(options.data, labelled=True, part=part, image=image)

    @property
    def judged(self) -> tuple[Dataset, Dataset]:
        return self.train.subset(self.fitted), self.test


def some(numbers: np.ndarray, count: int) -> np.ndarray:
    """So many of them, drawn by chance; all where count is 0."""
    chosen = np.random.default_rng(0).permutation(len(numbers))[: count or None]
    return numbers[np.sort(chosen)]


def architecture(row: Row) -> dim.Architecture:
    if row.kind == "command":  # What `dim train` makes of 28x28 images.
        return dim.Architecture.preset(row.preset, channels=1, height=28, width=28)
    channels = {} if row.preset == "notebook" or row.data == "clipart" else {"image": {"channels": 1}}
    return dim.Architecture({"preset": row.preset} | channels | row.description)


#: Marks of a curve, and the training images that it is about: the first so many, a tenth of them asked.
MARKS, CURVE_IMAGES = 8, 20_000


#: Steps between two checkpoints of a training that may be cut off.
CHECKPOINT_STEPS = 500


@dataclass
class Progress:
    """What is known of a training besides its trainer's state."""

    times: list[float] = field(default_factory=list)
    losses: list[list[float]] = field(default_factory=list)
    curve: list[list[float]] = field(default_factory=list)


def timed(
    steps: Callable[[Any, float], float],
    data: Dataset,
    row: Row,
    seed: int,
    total: int,
    on_mark: Callable[[], float] | None = None,
    done: Progress | None = None,
    on_checkpoint: Callable[[Progress], None] = lambda done: None,
) -> dict[str, Any]:
    """So many steps, each with its share of the learning rate; the first ones are `done`. Returns their seconds, the epochs,
    the loss now and then, and where on_mark is given, what it says at every eighth of the steps."""
    loader = Loader(data, row.batch, seed)
    done = done or Progress()
    first, begun = divmod(len(done.times), len(loader))
    for epoch in itertools.count(first):
        for batch in loader.epoch(epoch, start=begun if epoch == first else 0):
            start = time.perf_counter()
            loss = steps(batch, rate(row.schedule, len(done.times) / total))
            done.times.append(time.perf_counter() - start)
            count = len(done.times)
            if count == 1 or count % 50 == 0 or count == total:
                done.losses.append([count, round(loss, 4)])
            if on_mark and count in marks(total):
                done.curve.append([count, round(on_mark(), 4)])
            if count == total:
                found = {
                    "step_seconds": round(sum(done.times), 1),
                    "quick_step": float(np.quantile(done.times, 0.25)),
                    "steps": count,
                    "epochs": count / len(loader),
                    "losses": done.losses,
                }
                return found | ({"curve": done.curve} if on_mark else {})
            if count % CHECKPOINT_STEPS == 0:
                on_checkpoint(done)
    raise AssertionError


def marks(total: int) -> list[int]:
    return [total * (k + 1) // MARKS for k in range(MARKS)]


# ---- Pace


def pace(name: str, options: argparse.Namespace, again: bool = False) -> float:
    """Seconds of a step of this row on an idle machine: from the file, else measured now, or measured again. Of several
    measurements the least counts: another program can only add."""
    known = json.loads(options.pace.read_text()) if options.pace.exists() else {}
    if again or name not in known:
        milliseconds = round(1000 * measured(ALL[name], options), 2)
        if name not in known or milliseconds < known[name]["milliseconds"]:
            known[name] = {"milliseconds": milliseconds} | machine()
            write(options.pace, known)
    return known[name]["milliseconds"] / 1000


PACE_STEPS = 40


def measured(row: Row, options: argparse.Namespace) -> float:
    """The lower quartile of some steps: the first warm up, and no machine is idle throughout."""
    few = argparse.Namespace(**vars(options) | {"images": row.batch * PACE_STEPS})
    count = 5 if row.preset == "notebook" else PACE_STEPS
    if row.kind == "peer":
        with tempfile.TemporaryDirectory() as folder:
            return float(train_peer(row, 0, count, few, Path(folder) / "peer.npz")["quick_step"])
    with dim.Model(0, architecture(row)) as model:
        return float(train(model, row, 0, count, Data(few, model.sizes.image, row.data))["quick_step"])


def total_steps(name: str, options: argparse.Namespace) -> int:
    row = ALL[name]
    if row.kind == "none":
        return 0
    return options.steps or max(1, round(options.seconds * row.times / pace(name, options)))


def accuracy(vectors: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """Of the linear judge on every tenth, fitted on the others."""
    asked = np.arange(len(labels)) % 10 == 9
    found = judges.judge("logistic", vectors[~asked], labels[~asked], vectors[asked], seed)
    return float(np.mean(found == labels[asked]))


def figures(found: judges.Comparison) -> list[dict[str, Any]]:
    return [
        {"row": one.row, "column": one.column, "numbers": one.numbers, "judge": one.judge, "accuracy": one.accuracies[0]}
        for one in found.figures
    ]


def dependency(y: np.ndarray, options: argparse.Namespace) -> dict[str, float]:
    """NDM of y and of its sigmoid. Batches of 2,000, not the paper's 10,000: minutes a row less."""
    if not options.ndm_steps:
        return {}
    y = y[: options.ndm_images]
    with np.errstate(over="ignore"):
        views = {"ndm": y, "ndm_sigmoid": 1 / (1 + np.exp(-y))}
    return {name: judges.neural_dependency(view, steps=options.ndm_steps, batch=2_000).value for name, view in views.items()}


def train(
    model: dim.Model, row: Row, seed: int, total: int, data: Data, checkpoint: Checkpoint | None = None
) -> dict[str, Any]:
    """So many steps of this row's objective. Returns what timed does, and the options. A training that was cut off continues
    from its checkpoint."""
    if row.kind == "supervised":
        # It sees labels, but never those of the images that it is measured on.
        with dim.ClassifierTrainer(model, "trained", lr=row.lr) as classifier:
            return timed(
                lambda batch, _: classifier.step(batch.images, batch.labels).loss,
                data.train.subset(data.labelled),
                row,
                seed,
                total,
            )
    few = data.train.subset(np.arange(min(CURVE_IMAGES, len(data.train))))
    assert few.labels is not None
    labels = few.labels
    trainer, done = dim.Trainer(model, seed=seed, lr=row.lr, **row.options), Progress()
    rates = trainer.encoder_lr, trainer.discriminator_lr
    found: dict[str, Any] = {"options": vars(trainer.options).copy()}
    if checkpoint and (known := checkpoint.read()):
        trainer.close()
        trainer, done = known

    def on_mark() -> float:
        return accuracy(vectors.encoded(trainer.model, few, ["Y"])["Y"], labels, seed)

    def step(batch: Any, share: float) -> float:
        trainer.set_learning_rates(rates[0] * share, rates[1] * share)
        return trainer.step(batch.images).total

    def save(done: Progress) -> None:
        if checkpoint:
            checkpoint.write(trainer, done)

    with trainer:
        found |= timed(step, data.train, row, seed, total, on_mark if row.curve else None, done, save)
        if checkpoint and trainer.model is not model:
            trainer.save(checkpoint.state)
            model.load(checkpoint.state)
    return found


class Checkpoint:
    """Two files beside the weights: the trainer's state, and what the training is and has found."""

    def __init__(self, kept: Path, about: dict[str, Any]) -> None:
        self.state, self.note = kept.with_suffix(".checkpoint.h5"), kept.with_suffix(".checkpoint.json")
        self.about = about

    def write(self, trainer: dim.Trainer, done: Progress) -> None:
        self.note.parent.mkdir(parents=True, exist_ok=True)
        self.note.unlink(missing_ok=True)  # The two belong together.
        trainer.save(self.state)
        write(self.note, {"about": self.about, "progress": asdict(done)})

    def read(self) -> tuple[dim.Trainer, Progress] | None:
        if not self.note.exists():
            return None
        known = json.loads(self.note.read_text())
        return (dim.Trainer.resume(self.state), Progress(**known["progress"])) if known["about"] == self.about else None

    def remove(self) -> None:
        for path in (self.note, self.state):
            path.unlink(missing_ok=True)


def command(
    model: dim.Model, row: Row, seed: int, total: int, folder: Path, data: Data, options: argparse.Namespace
) -> dict[str, Any]:
    """`dim train` with no settings but the data and, for the time, the epochs. It holds a tenth of the images out."""
    shutil.rmtree(folder, ignore_errors=True)
    epochs = max(1, round(total * row.batch / len(data.labelled)))
    words = ["train", "--data", options.data, "--output", folder, "--epochs", epochs, "--seed", seed, "--quiet"]
    subprocess.run([sys.executable, "-m", "deepinfomax", *map(str, words)], check=True, env=os.environ | PACKAGE)
    model.load(folder / "weights.h5", networks=["encoder"])  # The classifier is made for the data's classes.
    return {
        "command": f"dim train --data {Path(options.data).name} --epochs {epochs} --seed {seed}",
        "epochs": epochs,
        "steps": RunFolder(folder).read_metrics()[-1].step,
    }


def run(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    row, total = ALL[name], total_steps(name, options)
    if row.kind == "peer":
        return peer(name, seed, total, options)
    kept = options.work / f"{name}-{seed}.h5"
    with dim.Model(seed, architecture(row)) as model:
        data = Data(options, model.sizes.image, row.data)
        about: dict[str, Any] = {"architecture": model.architecture.as_dict()}
        if row.kind == "none":
            rows = ("calibrated", "untrained", "pixels", "pca", "projection")
            found = judges.evaluate([model], *data.judged, columns=COLUMNS, judges=JUDGES, rows=rows, seeds=[seed])
            return about | {"figures": figures(found)}
        about |= {"training": training(name, seed, total, options)}
        record = kept.with_suffix(".json")
        if record.exists() and (known := json.loads(record.read_text()))["training"] == about["training"]:
            model.load(kept)
            about = known
        else:
            checkpoint = Checkpoint(kept, about["training"])
            if row.kind == "command":
                about |= command(model, row, seed, total, kept.with_suffix(""), data, options)
            else:
                about |= train(model, row, seed, total, data, checkpoint)
            options.work.mkdir(parents=True, exist_ok=True)
            record.unlink(missing_ok=True)
            model.save(kept)
            write(record, about)
            checkpoint.remove()  # Not before: a run may be cut off at any time.
        columns = [column for column in COLUMNS if column == "Y" or model.sizes.fc]
        # A network of another size than the other rows' has untrained ones of its own.
        rows = ("weights", "calibrated", "untrained") if row.kind == "command" else ("weights",)
        found = judges.evaluate([model], *data.judged, columns=columns, judges=JUDGES, rows=rows, seeds=[seed])
        y = vectors.encoded(model, data.train, ["Y"])["Y"]
        asked = vectors.encoded(model, data.test, ["Y"])["Y"]
        images = [data.train.read(slice(None)), data.test.read(slice(None))]
        return about | {"figures": figures(found)} | intrinsic(name, y, images[0], asked, images[1], seed, options)


def training(name: str, seed: int, total: int, options: argparse.Namespace) -> dict[str, Any]:
    """What has to be the same for trained weights to be this run's."""
    row = {key: value for key, value in asdict(ALL[name]).items() if key not in ("title", "times")}
    return {
        "row": row,
        "seed": seed,
        "steps": total,
        "images": options.images,
        "data": ALL[name].data or Path(options.data).name,
    }


def intrinsic(
    name: str, y: np.ndarray, images: np.ndarray, asked_y: np.ndarray, asked: np.ndarray, seed: int, options: argparse.Namespace
) -> dict[str, float]:
    """What asks about no class: NDM, MINE's estimate of I(X;Y), the similarity of reconstructions."""
    found = dependency(y, options)
    if options.mine_steps:
        some = slice(0, options.ndm_images)
        told = judges.mutual_information(images[some], y[some], seed, steps=options.mine_steps)
        found |= {"mine": told.value}
    if ALL[name].decoder and options.decoder_steps:
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder) / "vectors.npz", Path(folder) / "images.npz"
            np.savez(given, y=y, images=images.astype(np.float16), asked_y=asked_y[:1000])
            command = [options.torch, HERE / "decoder.py", given, "--steps", options.decoder_steps, "--seed", seed]
            subprocess.run([str(word) for word in [*command, "--out", made]], check=True)
            with np.load(made) as file:
                similar = judges.ms_ssim(asked[:1000], np.clip(file["images"], 0, 1))
                found |= {"ms_ssim": float(np.mean(similar)), "decoder_steps": options.decoder_steps}
                kept = options.results / options.judge_on / f"{name}-{seed}.npz"
                kept.parent.mkdir(parents=True, exist_ok=True)
                pictures = {"originals": asked[:16], "reconstructions": file["images"][:16]}
                np.savez_compressed(kept, **{key: np.uint8(255 * np.clip(x, 0, 1) + 0.5) for key, x in pictures.items()})
    return found


def train_peer(row: Row, seed: int, total: int, options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """So many steps in PyTorch, which has its own process and environment; vectors of all images into `out`."""
    limits = ["--steps", total, "--images", options.images, "--snapshots", MARKS if row.curve else 0, "--lr", row.lr]
    command = [options.torch, HERE / "peers.py", row.peer, "--data", options.data, "--seed", seed, *limits]
    command += ["--schedule", row.schedule, "--out", out]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    with np.load(out) as file:
        return json.loads(str(file["about"]))


def peer(name: str, seed: int, total: int, options: argparse.Namespace) -> dict[str, Any]:
    row, kept = ALL[name], options.work / f"{name}-{seed}.npz"
    wanted = {"training": training(name, seed, total, options)}
    record = kept.with_suffix(".json")
    if not record.exists() or json.loads(record.read_text()) != wanted:
        options.work.mkdir(parents=True, exist_ok=True)
        record.unlink(missing_ok=True)
        train_peer(row, seed, total, options, kept)
        write(record, wanted)
    with np.load(kept) as file:
        arrays = dict(file)
    about = wanted | json.loads(str(arrays["about"]))
    data = Data(options, (1, 32, 32))
    images = [data.train.read(slice(None)), data.test.read(slice(None))]
    if (found_sum := zlib.crc32(images[0].tobytes())) != about["images_crc32"]:
        sums = f"checksum {found_sum}, found {about['images_crc32']}"
        raise SystemExit(f"{kept}: expected vectors of the images that this library reads, {sums}; remove the file")
    labels = arrays["train_labels"].astype(np.int64)
    numbers = np.arange(len(labels))
    final = options.judge_on == "test"
    fitted, asked = (numbers, None) if final else (numbers[numbers % 10 != 9], numbers[numbers % 10 == 9])
    fitted = some(fitted, options.fit_images)
    expected = arrays["test_labels"].astype(np.int64) if final else labels[asked]
    found = []
    for column, train, test in (("Y", "train", "test"), ("fc", "train_fc", "test_fc")):
        for judge in JUDGES:
            queries = arrays[test] if final else arrays[train][asked]
            right = float(np.mean(judges.judge(judge, arrays[train][fitted], labels[fitted], queries, seed) == expected))
            numbers_of = int(arrays[train].shape[1])
            found.append({"row": "weights", "column": column, "numbers": numbers_of, "judge": judge, "accuracy": right})
    if row.curve:
        few = labels[:CURVE_IMAGES]
        about["curve"] = [
            [count, round(accuracy(arrays[f"snapshot{k}_train"], few, seed), 4)] for k, count in enumerate(marks(total))
        ]
    asked_y = arrays["test"] if final else arrays["train"][asked]
    return about | {"figures": found} | intrinsic(name, arrays["train"], images[0], asked_y, images[1], seed, options)


def machine() -> dict[str, Any]:
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "library": dim.build_info(),
    }


def budget(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What has to be the same for a result to count as this run's."""
    return {
        "seconds": 0 if options.steps else options.seconds * ALL[name].times,
        "steps": total_steps(name, options),
        "images": options.images,
        "fit_images": options.fit_images,
        "judged_on": options.judge_on,
        "data": ALL[name].data or Path(options.data).name,
    }


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    temporary.replace(path)


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=DATA, help=f"labelled images with a part train and a part test (default: {DATA})")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"default: {','.join(ROWS)}; candidates: {','.join(SEARCH)}")
    parser.add_argument("--seeds", default="0,1,2", help="default: 0,1,2")
    parser.add_argument(
        "--seconds", type=float, default=300, help="of training steps on an idle machine; the row default: 4 times as long"
    )
    parser.add_argument("--steps", type=int, default=0, help="so many steps instead of --seconds")
    parser.add_argument("--images", type=int, default=0, help="the first so many training images (default: all)")
    parser.add_argument("--fit-images", type=int, default=0, help="fit judges on so many training images (default: all)")
    parser.add_argument("--judge-on", choices=("validation", "test"), default="validation")
    parser.add_argument("--ndm-steps", type=int, default=200, help="of NDM's network; 0 leaves it out (default: 200)")
    parser.add_argument("--ndm-images", type=int, default=12_500, help="whose vectors NDM is of (default: 12500)")
    parser.add_argument("--mine-steps", type=int, default=300, help="of MINE's network; 0 leaves it out (default: 300)")
    parser.add_argument(
        "--decoder-steps", type=int, default=1000, help="of the rows' that have a decoder; 0: none (default: 1000)"
    )
    parser.add_argument("--torch", default=sys.executable, help="a Python that has PyTorch (default: this one)")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument(
        "--pace", type=Path, default=HERE / "pace.json", help="milliseconds a step; what is missing is measured"
    )
    parser.add_argument("--measure-pace", action="store_true", help="measure the rows' milliseconds a step, and stop")
    parser.add_argument("--work", type=Path, default=HERE.parents[1] / "build" / "science", help="trained weights")
    options = parser.parse_args(words)
    names = options.rows.split(",")
    if unknown := [name for name in names if name not in ALL]:
        parser.error(f"--rows: expected some of {','.join(ALL)}, found {unknown[0]}")
    if options.measure_pace:
        for name in (name for name in names if ALL[name].kind != "none"):
            pace(name, options, again=True)
            print(f"{name}: {total_steps(name, options)} steps in {options.seconds * ALL[name].times:g} s", flush=True)
        return 0
    failed = 0
    for seed in map(int, options.seeds.split(",")):  # All rows of a seed before the next: early looks are fair.
        for name in names:
            path = options.results / options.judge_on / f"{name}-{seed}.json"
            wanted = budget(name, options)
            if path.exists() and json.loads(path.read_text())["budget"] == wanted:
                print(f"{name} {seed}: done before", flush=True)
                continue
            start = time.monotonic()
            try:
                found = run(name, seed, options)
            except (dim.DimError, OSError, ValueError, subprocess.CalledProcessError) as error:
                print(f"{name} {seed}: failed: {error}", file=sys.stderr, flush=True)
                failed += 1
                continue
            about = {
                "row": name,
                "title": ALL[name].title,
                "seed": seed,
                "budget": wanted,
                "machine": machine(),
                "wall_seconds": round(time.monotonic() - start, 1),
            }
            write(path, about | found)
            shown = " ".join(f"{one['column']} {one['judge']} {100 * one['accuracy']:.1f}" for one in found["figures"][:4])
            print(f"{name} {seed}: {shown}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
