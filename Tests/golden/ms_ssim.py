"""Records torchmetrics' MS-SSIM and SSIM of the images that `pair` makes: Tests/golden/ms_ssim.json.

pip install torchmetrics
Tests/golden/ms_ssim.py
"""

import json
from pathlib import Path

import numpy as np

RECORDED = Path(__file__).with_suffix(".json")
#: (channels, height, width) and the noise between the two; with 2, 2, 2, 3, 3 and 5 scales.
CASES = [
    ((1, 32, 32), 0.05),
    ((3, 32, 32), 0.2),
    ((1, 28, 28), 0.1),
    ((3, 64, 64), 0.1),
    ((3, 48, 70), 0.1),
    ((1, 176, 180), 0.15),
]
SCALES = [2, 2, 2, 3, 3, 5]
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def pair(shape, noise):
    """Three smooth images in [0,1], and the same with noise."""
    chance = np.random.Generator(np.random.PCG64(0))
    x = chance.random((3, *shape))
    for _ in range(3):
        x = (x + np.roll(x, 1, 2) + np.roll(x, 1, 3) + np.roll(x, -1, 3)) / 4
    return x, np.clip(x + noise * chance.standard_normal(x.shape), 0, 1)


def record():
    import torch
    import torchmetrics
    from torchmetrics.image import MultiScaleStructuralSimilarityIndexMeasure, StructuralSimilarityIndexMeasure

    found = []
    for (shape, noise), scales in zip(CASES, SCALES, strict=True):
        x, y = map(torch.from_numpy, pair(shape, noise))
        weights = tuple(weight / sum(WEIGHTS[:scales]) for weight in WEIGHTS[:scales])
        multi = MultiScaleStructuralSimilarityIndexMeasure(data_range=1.0, betas=weights, normalize="relu", reduction="none")
        single = StructuralSimilarityIndexMeasure(data_range=1.0, reduction="none")
        found.append({"shape": shape, "ms_ssim": multi(x, y).tolist(), "ssim": single(x, y).tolist()})
    versions = {"torchmetrics": torchmetrics.__version__, "torch": torch.__version__}
    RECORDED.write_text(json.dumps(versions | {"cases": found}, indent=1) + "\n")


if __name__ == "__main__":
    record()
