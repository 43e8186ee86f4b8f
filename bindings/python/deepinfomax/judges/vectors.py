"""What is judged: a network's outputs, and what needs no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from ..evaluation import _in_evaluation_mode
from ..evaluation import pixels as pixels
from ..model import Model

Floats = NDArray[np.float32]

#: Images a call while encoding.
BATCH = 128
#: The evaluation's names -> the library's.
OUTPUTS = {"Y": "encoded", "fc": "fc", "conv": "conv"}

OnImages = Callable[[int], object]


def _silent(images: int) -> None:
    pass


def lengths(model: Model) -> dict[str, int]:
    """Numbers in each column that the model has."""
    sizes = model.sizes
    conv = 0 if sizes.conv is None else int(np.prod(sizes.conv))
    return {name: length for name, length in (("Y", sizes.encoded), ("fc", sizes.fc), ("conv", conv)) if length}


def encoded(model: Model, data: Dataset, columns: Sequence[str], on_images: OnImages = _silent) -> dict[str, Floats]:
    """The columns (n, numbers) of a whole data set in evaluation mode; the model's mode stays as it was."""
    known = lengths(model)
    arrays = {name: np.empty((len(data), known[name]), np.float32) for name in columns}
    with _in_evaluation_mode(model):
        for start in range(0, len(data), BATCH):
            part = slice(start, min(start + BATCH, len(data)))
            found = model.encode(data.read(part), outputs=[OUTPUTS[name] for name in columns])
            for name, values in zip(columns, found, strict=True):
                arrays[name][part] = values.reshape(len(values), -1)
            on_images(part.stop - part.start)
    return arrays


def pca(train: Floats, test: Floats, length: int, seed: int) -> tuple[Floats, Floats]:
    """Both in the training vectors' first principal components; zeros where the training vectors are all the same."""
    if (train == train[0]).all():  # There is no component: scikit-learn would divide by their variance.
        return np.zeros((len(train), length), np.float32), np.zeros((len(test), length), np.float32)
    from sklearn.decomposition import PCA

    count, numbers = train.shape
    # Of few images in their own space; else from covariances where these are small, else by a randomised method, whose seed it is.
    solver = "full" if 2 * count <= min(numbers, 4096) else "covariance_eigh" if numbers <= 4096 else "randomized"
    found = PCA(length, svd_solver=solver, random_state=seed % 2**32)
    found.fit(train)
    return np.asarray(found.transform(train), np.float32), np.asarray(found.transform(test), np.float32)


def projected(train: Floats, test: Floats, length: int, seed: int) -> tuple[Floats, Floats]:
    """Both times one matrix of normal numbers."""
    matrix = np.random.default_rng(seed).standard_normal((train.shape[1], length), np.float32)
    matrix /= np.float32(np.sqrt(train.shape[1]))
    return train @ matrix, test @ matrix
