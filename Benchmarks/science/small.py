"""The small version of `make science`: does training still make vectors better?

    Benchmarks/science/small.py --seeds 0-19 --out Tests/golden/learning.json
    Benchmarks/science/small.py --seeds 0-1 --lr 3e-3 --schedule cosine      other learning rates than the defaults
    Benchmarks/science/small.py --seeds 0-3 --coordinates none               without the coordinates' term

2,000 training images of Fashion-MNIST, the defaults of `dim train` at the images' own size, 8 passes; a linear judge fitted
on their Y is measured on 4,000 others of the training images. A seed's gain is the accuracy after training less that of the
better untrained network of the seed (running statistics 0 and 1, or calibrated). "knn" is the trained network's accuracy
with 5-NN. The test images are not read.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bindings" / "python"))

import deepinfomax as dim  # noqa: E402
from deepinfomax import judges  # noqa: E402
from deepinfomax.data import Loader, open_dataset  # noqa: E402
from deepinfomax.trainer import COORDINATES, Coordinates  # noqa: E402
from rows import rate  # noqa: E402

DATA = "/usr/share/datasets/fashion-mnist"
TRAIN, ASKED, EPOCHS, BATCH = 2_000, 4_000, 8, 64


def gain(
    seed: int, data: str = DATA, lr: float | None = None, schedule: str = "constant", coordinates: Coordinates = "absolute"
) -> dict[str, float]:
    """Accuracies in points: trained, untrained (the better of two), their difference; and trained, with 5-NN."""
    images = open_dataset(data, labelled=True, part="train")
    train, asked = images.subset(np.arange(TRAIN)), images.subset(np.arange(TRAIN, TRAIN + ASKED))
    channels, height, width = images.image_size
    image = {"channels": channels, "height": height, "width": width}
    architecture = dim.Architecture({"preset": "basic32", "image": image, "coordinates": {"hidden": [512]}})
    with dim.Model(seed, architecture) as model:
        with dim.Trainer(model, seed=seed, lr=lr, coordinates=coordinates) as trainer:
            loader = Loader(train, BATCH, seed)
            highest = trainer.encoder_lr, trainer.discriminator_lr
            for epoch in range(EPOCHS):
                for batch in loader.epoch(epoch):
                    share = rate(schedule, trainer.steps / (EPOCHS * len(loader)))
                    trainer.set_learning_rates(highest[0] * share, highest[1] * share)
                    trainer.step(batch.images)
        rows = ("weights", "calibrated", "untrained")
        found = judges.evaluate([model], train, asked, columns=("Y",), judges=("logistic", "knn"), rows=rows, seeds=[seed])
    trained = 100 * found.figure("weights", "Y", "logistic").mean
    baseline = found.baseline("Y", "logistic")
    assert baseline is not None
    untrained = 100 * baseline.mean
    neighbours = 100 * found.figure("weights", "Y", "knn").mean
    return {
        "trained": round(trained, 1),
        "untrained": round(untrained, 1),
        "gain": round(trained - untrained, 1),
        "knn": round(neighbours, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=DATA)
    parser.add_argument("--seeds", default="0-19", metavar="A-B", help="default: 0-19")
    parser.add_argument("--lr", type=float, help="default: that of dim train")
    parser.add_argument("--schedule", choices=("constant", "cosine"), default="constant", help="default: constant")
    parser.add_argument("--coordinates", choices=COORDINATES, default="absolute", help="default: absolute, as dim train")
    parser.add_argument("--out", type=Path, help="write a JSON file")
    options = parser.parse_args()
    first, last = map(int, options.seeds.split("-"))
    runs: list[dict[str, Any]] = []
    for seed in range(first, last + 1):
        runs.append({"seed": seed} | gain(seed, options.data, options.lr, options.schedule, options.coordinates))
        print(runs[-1], flush=True)
    gains = [run["gain"] for run in runs]
    deviation = float(np.std(gains, ddof=1)) if len(gains) > 1 else 0.0
    told = {"mean": round(float(np.mean(gains)), 2), "deviation": round(deviation, 2), "least": min(gains)}
    print(told)
    if options.out:
        command = f"Benchmarks/science/small.py --seeds {options.seeds}"
        options.out.write_text(json.dumps({"command": command} | told | {"runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
