"""Deep InfoMax as a transformer of scikit-learn: images in, vectors out, with no label.

    from deepinfomax.sklearn import DeepInfoMax

    probe = make_pipeline(DeepInfoMax(epochs=10, random_state=0), LogisticRegression(max_iter=1000))
    probe.fit(images, labels)           # numpy (n,h,w), (n,h,w,c), (n,c,h,w), or flat rows
    probe.score(test_images, test_labels)

Importing this module imports scikit-learn, 1.6 or newer; `import deepinfomax` never does.
"""

from __future__ import annotations

import copy
import math
import operator
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

import deepinfomax as dim

from . import _arrays
from .trainer import smallest_batch

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(f"deepinfomax.sklearn needs scikit-learn 1.6 or newer: pip install -U scikit-learn ({error})") from error

Floats = NDArray[np.float32]

#: Sizes of an image's channels that tell which axis they are.
_CHANNELS = (1, 2, 3, 4)
#: Images that are encoded at once.
_BLOCK = 256


class DeepInfoMax(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Trains an encoder on images without labels; `transform` gives each image's vector.

    Images: (n,h,w); (n,h,w,c) or (n,c,h,w) with 1 to 4 channels; or rows (n,pixels), with `image_shape` for colour. Rows
    of s*s numbers are gray images of s x s without it, others images of one row, on which little can be learned. uint8 is
    divided by 255, whatever `fit` had. Other numbers are taken as they are where fit's lie in [0,1], else fit's least becomes
    0 and its largest 1. `transform` takes the same units as `fit`.

    Parameters
    ----------
    n_components : length of the vectors; None: 64, or what `architecture` says.
    architecture : a preset's name, a dict or an Architecture (docs/architecture.md), made to fit the data's image. None:
        basic32's layers at the data's size: more convolutions above 32 x 32, a small network where a side is below 8.
    image_shape : (h,w), (h,w,c) or (c,h,w) of one image, for flat rows or to settle which axis has the channels.
    epochs, batch_size : how often each image is seen, and with how many others. The last batch may be smaller, or, of fewer
        images than an image and its negatives, a part of the one before.
    measure, negatives, prior, lr : as of `deepinfomax.Trainer`; None: those of the architecture.
    output : which of the encoder's outputs `transform` gives, flattened: "encoded", "fc", "conv" or "features".
    data_range : (least, largest) pixel; None: see above.
    random_state : seeds weights, order and noise. A number makes fits the same bit for bit, whatever `n_jobs`.
    n_jobs : threads; None: as the process has it (DIM_NUM_THREADS), -1: all cores. It holds for the whole process while
        a method runs: where joblib runs several fits at once, let them be processes, not threads.
    verbose : 1 prints a line an epoch.

    Attributes
    ----------
    model_ : the `deepinfomax.Model`, to save or to look into.
    image_shape_ : (c,h,w).   data_range_ : as used.   losses_ : mean loss of each epoch.   n_steps_ : updates so far.
    """

    _trainer: dim.Trainer | None

    def __init__(
        self,
        n_components: int | None = None,
        *,
        architecture: Any = None,
        image_shape: tuple[int, ...] | None = None,
        epochs: int = 10,
        batch_size: int = 64,
        measure: str | None = None,
        negatives: Any = None,
        prior: str | None = None,
        lr: float | None = None,
        output: str = "encoded",
        data_range: tuple[float, float] | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.architecture = architecture
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.measure = measure
        self.negatives = negatives
        self.prior = prior
        self.lr = lr
        self.output = output
        self.data_range = data_range
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    # ---- scikit-learn's methods

    def fit(self, X: Any, y: Any = None) -> DeepInfoMax:
        """Trains new networks for `epochs` epochs. y is ignored. Two images at least.

        Where it fails, the estimator is what it was before: not fitted, or as the last fit left it.
        """
        return self._train(X, self.epochs, first=True)

    def partial_fit(self, X: Any, y: Any = None) -> DeepInfoMax:
        """One more epoch, on these images. The first call settles shape, range and weights.

        Continues with the optimiser's moments, except after unpickling and after set_params has changed the objective or lr,
        where they start anew. ValueError where it has changed what the first call settled: n_components, architecture,
        image_shape, data_range or random_state. Where it fails, the weights are as the call before left them; the moments
        start anew if steps had been made.
        """
        return self._train(X, 1, first=not hasattr(self, "model_"))

    def transform(self, X: Any) -> Floats:
        """Vectors, float32 (n, n_components), or the flattened `output`."""
        check_is_fitted(self, "model_")
        self._check_output(self.model_.sizes)
        pixels = self._pixels(self._rows(X, reset=False))
        with _threads(self.n_jobs):
            blocks = (pixels[start : start + _BLOCK] for start in range(0, len(pixels), _BLOCK))
            made = [self.model_.encode(block, outputs=(self.output,))[0] for block in blocks]
        return np.concatenate([block.reshape(len(block), -1) for block in made])

    @property
    def _n_features_out(self) -> int:
        """How many names get_feature_names_out gives: deepinfomax0, deepinfomax1..."""
        sizes = self.model_.sizes
        self._check_output(sizes)
        shapes = {"encoded": sizes.encoded, "fc": sizes.fc, "conv": sizes.conv or 0, "features": sizes.features}
        return int(np.prod(shapes[self.output]))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    # ---- Training

    def _train(self, X: Any, epochs: int, first: bool) -> DeepInfoMax:
        self._check_parameters()
        if not first:
            self._check_settled()
        with self._or_as_before(first):
            self._train_whole(X, epochs, first)
        return self

    @contextmanager
    def _or_as_before(self, first: bool) -> Iterator[None]:
        """After an error nothing of the call is left; a model that was there before a `first` call is not written to."""
        before = dict(vars(self))
        kept = None if first else (self.model_.state_dict(), self._chance.get_state(), self._moments)
        try:
            yield
        except BaseException:  # Ctrl-C, too.
            self.__dict__ = before
            if kept is not None:
                weights, chance, moments = kept
                self._chance.set_state(chance)
                self.model_.load_state_dict(weights)
                if self._moments != moments:
                    self._trainer = None
            raise

    @property
    def _moments(self) -> int:
        """How many steps are in the optimisers' moments."""
        return 0 if self._trainer is None else self._trainer.steps

    def _train_whole(self, X: Any, epochs: int, first: bool) -> None:
        array = _array(X)
        found = _layout(array, self.image_shape) if first else None
        rows = self._rows(X, reset=first, least=self._fewest)
        if first:
            layout = found or _guessed(rows.shape[1])
            if math.prod(layout[0]) != rows.shape[1]:
                raise ValueError(
                    f"X: expected rows of {math.prod(layout[0])} numbers, of image_shape {tuple(self.image_shape or ())}, found "
                    f"{rows.shape[1]}"
                )
            self._start(rows, layout)
        pixels = self._pixels(rows)
        with _threads(self.n_jobs):
            trainer = self._ready_trainer()
            for _ in range(epochs):
                self._epoch(trainer, pixels)

    def _start(self, rows: NDArray[Any], layout: tuple[tuple[int, int, int], bool]) -> None:
        self._chance = check_random_state(self.random_state)
        seed = int(self._chance.randint(2**31 - 1))
        self.image_shape_, self._channels_last = layout
        self.data_range_ = _range(rows, self.data_range)
        self.model_ = dim.Model(seed, _architecture(self.architecture, self.image_shape_, self.n_components))
        self._check_output(self.model_.sizes)
        self._settled = self._settling()
        self._trainer = None
        self._chosen: dict[str, Any] = {}
        self.losses_: list[float] = []
        self.n_steps_ = 0

    def _ready_trainer(self) -> dim.Trainer:
        """Raises ValueError for an objective or a learning rate that there is not."""
        chosen = {"measure": self.measure, "negatives": self.negatives, "prior": self.prior, "lr": self.lr}
        if self._trainer is None or chosen != self._chosen:  # By set_params, between two calls of partial_fit.
            options: Any = {key: value for key, value in chosen.items() if value is not None}
            self._trainer = dim.Trainer(self.model_, seed=int(self._chance.randint(2**31 - 1)), **options)
            self._chosen = chosen
        return self._trainer

    def _epoch(self, trainer: dim.Trainer, pixels: Floats) -> None:
        order = self._chance.permutation(len(pixels))
        total = 0.0
        for start, end in _batches(len(pixels), self.batch_size, self._fewest):
            total += trainer.step(pixels[order[start:end]]).total * (end - start)
            self.n_steps_ += 1
        self.losses_ = [*self.losses_, total / len(pixels)]
        if self.verbose:
            print(f"[DeepInfoMax] epoch {len(self.losses_)}, loss {self.losses_[-1]:.4f}", flush=True)

    def _check_parameters(self) -> None:
        for name, least in ("epochs", 0), ("batch_size", 2), ("n_components", 1):
            value = getattr(self, name)
            if value is None and name == "n_components":
                continue
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name}: expected a whole number of at least {least}, found {value!r}")
        if self.batch_size < self._fewest:
            raise ValueError(f"negatives: expected fewer than batch_size, {self.batch_size}, found {self.negatives}")
        if not isinstance(self.verbose, (int, np.integer)) or self.verbose < 0:
            raise ValueError(f"verbose: expected a whole number of at least 0, found {self.verbose!r}")
        _arrays.one_of(self.output, dim.OUTPUTS, "output")

    def _check_output(self, sizes: Any) -> None:
        _arrays.one_of(self.output, dim.OUTPUTS, "output")
        if not {"fc": sizes.fc, "conv": sizes.conv}.get(self.output, True):
            raise ValueError(f"output: the architecture has no {self.output}")

    def _settling(self) -> dict[str, Any]:
        """What the first call of partial_fit settles, in a form that does not change with what the caller holds."""
        architecture, shape, limits = self.architecture, self.image_shape, self.data_range
        return {
            "n_components": self.n_components,
            "architecture": architecture.json() if isinstance(architecture, dim.Architecture) else copy.deepcopy(architecture),
            "image_shape": shape if (sides := _arrays.members(shape)) is None else tuple(sides),
            "data_range": limits if (ends := _arrays.members(limits)) is None else tuple(ends),
            "random_state": self.random_state,
        }

    def _check_settled(self) -> None:
        now = self._settling()
        for name, before in getattr(self, "_settled", now).items():
            if now[name] is not before and now[name] != before:
                raise ValueError(
                    f"{name}: expected {before!r:.200}, as the first call of partial_fit had, found {now[name]!r:.200}; fit begins "
                    "with another"
                )

    @property
    def _fewest(self) -> int:
        """Images that a batch has at least."""
        return smallest_batch(int(self.negatives) if isinstance(self.negatives, np.integer) else self.negatives)

    # ---- Images

    def _rows(self, X: Any, reset: bool, least: int = 1) -> NDArray[Any]:
        """(n, pixels), checked as scikit-learn does: finite numbers, as many as `fit` had, names of columns."""
        array = _array(X)
        if array is not None:
            shape = array.shape[1:]
            if not reset and shape not in self._shapes():
                expected = ", ".join(f"(n,{','.join(map(str, one))})" for one in self._shapes())
                raise ValueError(f"X: expected one of {expected}, as fit had, found shape {array.shape}")
            if len(shape) == 3 and not reset and (shape == self.image_shape_) == self._channels_last:
                c, h, w = self.image_shape_  # In the other order than fit had.
                if shape == (c, h, w):
                    array = np.moveaxis(array, 1, 3)
                elif shape == (h, w, c):
                    array = np.moveaxis(array, 3, 1)
            X = array.reshape(len(array), math.prod(shape))
        rows: NDArray[Any] = validate_data(self, X, reset=reset, dtype="numeric", ensure_min_samples=least)
        if rows.dtype.kind not in "fiub":  # Dates and times, which validate_data takes.
            raise TypeError(f"X: expected numbers, found {rows.dtype}")
        return rows

    def _shapes(self) -> list[tuple[int, ...]]:
        c, h, w = self.image_shape_
        return [(c, h, w), (h, w, c), *([(h, w)] if c == 1 else [])]

    def _pixels(self, rows: NDArray[Any]) -> Floats:
        """(n, c, h, w) in [0,1]: bytes divided by 255, other numbers of fit's range; both of data_range where it is given."""
        low, high = self.data_range_
        if rows.dtype == np.uint8 and self.data_range is None:
            if 0 <= low and high not in (1, 255):
                warnings.warn(
                    f"X: uint8, which is divided by 255, where fit had other numbers, from {low:g} to {high:g}: if these are the "
                    "same pixels, give fit's type, or fit uint8",
                    stacklevel=3,
                )
            low, high = 0.0, 255.0
        if (low, high) == (0.0, 255.0) and rows.dtype.kind == "f" and rows.max() <= 1 and (rows % 1).any():
            warnings.warn(
                "X: values up to 1, where fit had bytes up to 255: transform takes what fit took, 255 * X here", stacklevel=3
            )
        if (low, high) != (0.0, 1.0):
            rows = (rows.astype(np.float64) - low) / (high - low)
        if rows.dtype.kind != "f":
            rows = rows.astype(np.float32)
        c, h, w = self.image_shape_
        images = np.moveaxis(rows.reshape(-1, h, w, c), 3, 1) if self._channels_last else rows.reshape(-1, c, h, w)
        return _arrays.to_float32(images, "X")

    # ---- Pickle

    def __getstate__(self) -> dict[str, Any]:
        """Without the optimiser's moments, which would make it three times as large."""
        state = dict(super().__getstate__())
        if "_trainer" in state:
            state["_trainer"] = None
        return state


@contextmanager
def _threads(n_jobs: int | None) -> Iterator[None]:
    if n_jobs is None:
        yield
        return
    if not isinstance(n_jobs, (int, np.integer)) or isinstance(n_jobs, bool) or not -1025 < n_jobs < 1025 or n_jobs == 0:
        raise ValueError(f"n_jobs: expected a number of threads up to 1024, -1 for all cores or None, found {n_jobs!r}")
    before = dim.num_threads()
    dim.set_num_threads(0)
    dim.set_num_threads(n_jobs if n_jobs > 0 else max(1, dim.num_threads() + 1 + n_jobs))
    try:
        yield
    finally:
        dim.set_num_threads(before)


def _batches(n: int, size: int, fewest: int) -> list[tuple[int, int]]:
    """Beginnings and ends; what is left over joins the batch before it where it has fewer than `fewest` images."""
    starts = list(range(0, n, size))
    if len(starts) > 1 and n - starts[-1] < fewest:
        starts.pop()
    return list(zip(starts, [*starts[1:], n], strict=True))


# ---- What the data is


def _array(X: Any) -> NDArray[Any] | None:
    """X as an array if it has three or four axes, else None: validate_data knows rows, frames and sparse matrices."""
    if hasattr(X, "columns") or hasattr(X, "tocsr"):
        return None
    if isinstance(X, np.ma.MaskedArray):
        _arrays.as_numpy(X, "X")  # Which refuses masked values: validate_data would take what is under the mask.
    try:
        array = np.asarray(X)
    except (TypeError, ValueError):  # A ragged list, of which validate_data says so.
        return None
    if array.ndim > 4:
        raise ValueError(f"X: expected (n,h,w), (n,h,w,c), (n,c,h,w) or rows (n,pixels), found shape {array.shape}")
    return array if array.ndim in (3, 4) else None


def _layout(array: NDArray[Any] | None, image_shape: Any) -> tuple[tuple[int, int, int], bool] | None:
    """((c,h,w), whether the data has the channels last); None where it has to be guessed from rows."""
    given = None if image_shape is None else _image(_sides(image_shape), "image_shape")
    if array is None:
        return given
    shape = array.shape[1:]
    if given is None:
        return _image(shape, "X")
    (c, h, w), _ = given
    if shape == (c, h, w) or shape == (h, w) and c == 1:
        # (c,h,w) may also be (h,w,c) of the same numbers: image_shape says which, in its own order.
        return given if shape == tuple(image_shape) else ((c, h, w), False)
    if shape == (h, w, c):
        return (c, h, w), True
    raise ValueError(f"X: expected images of image_shape {tuple(image_shape)}, found shape {array.shape}")


def _sides(given: Any) -> tuple[int, ...]:
    try:
        return tuple(operator.index(side) for side in given)
    except (TypeError, NotImplementedError):  # The last of a memoryview of two axes.
        raise ValueError(f"image_shape: expected (h,w), (h,w,c) or (c,h,w), found {given!r}") from None


def _image(shape: tuple[int, ...], what: str) -> tuple[tuple[int, int, int], bool]:
    if min(shape, default=0) < 1 or len(shape) not in (2, 3):
        raise ValueError(f"{what}: expected an image of (h,w), (h,w,c) or (c,h,w), found {shape}")
    if len(shape) == 2:
        return (1, *shape), False
    first, last = shape[0] in _CHANNELS, shape[2] in _CHANNELS
    if last and not (first and what == "X"):
        return (shape[2], shape[0], shape[1]), True
    if first and not last:
        return (shape[0], shape[1], shape[2]), False
    raise ValueError(
        f"{what}: of shape {shape} {'the first and the last axis may both' if first else 'neither the first nor the last axis can'} "
        f"be the channels, 1 to 4; " + ("give image_shape, (h,w,c) or (c,h,w)" if first else "expected (h,w,c) or (c,h,w)")
    )


def _guessed(pixels: int) -> tuple[tuple[int, int, int], bool]:
    side = math.isqrt(pixels)
    if side * side == pixels:
        return (1, side, side), False
    colour = math.isqrt(pixels // 3)
    if 3 * colour * colour == pixels and colour >= 8:
        raise ValueError(
            f"X: rows of {pixels} numbers may be colour images: give image_shape=(3, {colour}, {colour}) or "
            f"({colour}, {colour}, 3)"
        )
    return (1, 1, pixels), False


def _range(rows: NDArray[Any], given: Any) -> tuple[float, float]:
    if given is not None:
        try:
            low, high = (float(value) for value in given)
        except (TypeError, ValueError, OverflowError, NotImplementedError):
            raise ValueError(f"data_range: expected two numbers, the least first, found {given!r}") from None
        if not (math.isfinite(high - low) and low < high):
            raise ValueError(f"data_range: expected two numbers, the least first, of a finite difference, found {given!r}")
        return low, high
    if rows.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(rows.min()), float(rows.max())
    if 0 <= low and high <= 1:
        return 0.0, 1.0
    if not math.isfinite(high - low):
        raise ValueError(f"X: expected numbers whose range is finite, found {low:g} to {high:g}")
    return low, high if high > low else low + max(1.0, abs(low))  # Beside a large number 1 is nothing.


# ---- The network


def _architecture(given: Any, image: tuple[int, int, int], components: int | None) -> dim.Architecture:
    if given is None:
        return dim.Architecture(_small(image, components or 64) if min(image[1:]) < 8 else _basic(image, components or 64))
    sides = dict(zip(("channels", "height", "width"), image, strict=True))
    if isinstance(given, str) and given in dim.PRESETS:
        given = {"preset": given, "image": sides}
    elif isinstance(given, dict):
        given = given | {"image": sides | (given.get("image") or {})}
    made = dim.Architecture(given)
    description = made.as_dict()
    found = tuple(description["image"][key] for key in sides)
    if found != image:
        raise ValueError(f"architecture: is of images {'x'.join(map(str, found))}, the data's are {'x'.join(map(str, image))}")
    if components is None or description["encoder"]["layers"][-1]["out"] == components:
        return made
    description["encoder"]["layers"][-1]["out"] = components
    return dim.Architecture(description)


def _described(image: tuple[int, int, int], layers: list[dict[str, Any]], components: int, features: str, units: int) -> Any:
    c, h, w = image
    return {
        "preset": "basic32",
        "image": {"channels": c, "height": h, "width": w},
        "encoder": {
            "layers": [*layers, {"op": "linear", "name": "l1", "out": components}],
            "features": features,
            "conv": [layer["name"] for layer in layers if layer["op"] == "conv"][-1],
            "fc": "l0",
        },
        "local": {"score": "dot", "net": "light", "units": units},
    }


_NORMED = {"bias": False, "norm": "batch", "activation": "relu"}


def _basic(image: tuple[int, int, int], components: int) -> Any:
    """basic32's layers, and basic64's at 64 x 64: convolutions of stride 2 until 4 rows or columns are left."""
    depth = max(3, min(math.ceil(math.log2(max(image[1:]) / 4)), math.floor(math.log2(min(image[1:])))))
    layers: list[dict[str, Any]] = [
        {"op": "conv", "name": f"c{i}", "out": min(64 << i, 512), "kernel": 4, "stride": 2, "padding": 1} | _NORMED
        for i in range(depth)
    ]
    layers += [{"op": "flatten"}, {"op": "linear", "name": "l0", "out": 1024} | _NORMED]
    return _described(image, layers, components, f"c{depth - 2}", 512)


def _small(image: tuple[int, int, int], components: int) -> Any:
    """For images of a few pixels: two convolutions that keep the size."""
    kernel = [1 if side == 1 else 3 for side in image[1:]]
    padding = [size // 2 for size in kernel]
    layers: list[dict[str, Any]] = [
        {"op": "conv", "name": f"c{i}", "out": 16 << i, "kernel": kernel, "padding": padding} | _NORMED for i in range(2)
    ]
    layers += [{"op": "flatten"}, {"op": "linear", "name": "l0", "out": 64} | _NORMED]
    return _described(image, layers, components, "c1", 64)
