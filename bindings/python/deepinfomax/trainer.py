"""Training on the Deep InfoMax objective."""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable, Sequence
from ctypes import byref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _library, _structures
from ._library import GradientCallback, check, library
from ._run import ARGUMENTS, Run, python_names
from ._text import counted
from .data import Augmentation
from .errors import Cancelled, UnknownName
from .fitting import Callback, FittedEpoch, Steps, fit
from .model import Model

if TYPE_CHECKING:
    from .distributed import SharedSteps

T = TypeVar("T")
#: Seconds that a process waits for another one.
TIMEOUT = 600.0
MOST_MICRO_BATCHES = 4096
Prior = Literal["monolithic", "adversarial", "none"]
Measure = Literal["jsd", "gan", "kl", "rkl", "h2", "dv", "nce"]
#: How many other images each vector is distinguished from, or which.
Negatives = Literal["all", "rotation"] | int
PRIORS: tuple[Prior, ...] = ("monolithic", "adversarial", "none")  # dim_prior
MEASURES: tuple[Measure, ...] = ("jsd", "gan", "kl", "rkl", "h2", "dv", "nce")  # dim_measure
#: Of the score networks' products.
Precision = Literal["float32", "mixed"]
PRECISIONS: tuple[Precision, ...] = ("float32", "mixed")  # dim_precision
#: What a network predicts of a location: its row and column, or how far it is from another one.
Coordinates = Literal["none", "absolute", "relative"]
COORDINATES: tuple[Coordinates, ...] = ("none", "absolute", "relative")  # dim_coordinates
_NEGATIVES = {"rotation": 0, "all": -1}  # DIM_NEGATIVES_...

#: The paper's weight of a prior, where the preset has none.
_PAPER_GAMMA = 0.1

#: Those that an objective trains.
_NETWORKS = ("encoder", "global_d", "local_d", "prior_d", "coordinates_d")

#: Takes all gradients of a step and the running statistics that it would set, to be changed in place.
OnGradients = Callable[[NDArray[np.float32]], object]


class Losses(NamedTuple):
    """The terms of one batch: total = beta local + alpha global_ + gamma prior, and with coordinates
    + coordinates_weight coordinates, a term that `Trainer.report` has."""

    total: float
    local: float
    global_: float
    prior: float


@dataclass(frozen=True)
class TrainerOptions:
    """The options of a Trainer, with its current learning rates."""

    prior: Prior
    seed: int
    alpha: float
    beta: float
    gamma: float
    encoder_lr: float
    discriminator_lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    measure: Measure
    negatives: Negatives
    gradient_penalty: float
    gradient_clip: float
    coordinates: Coordinates = "none"
    coordinates_weight: float = 1.0
    occlusion: bool = False
    #: How many of each image's locations the local term uses; None for all.
    locations: int | None = None
    micro_batches: int = 1
    precision: Precision = "float32"


@dataclass(frozen=True)
class Report:
    """What a trainer's last call computed: every term without its weight, estimates and norms. NaN: the figure was not computed."""

    #: Updates that the run has made, and images that the figures are of.
    step: int
    images: int
    #: As in `Losses`; of several micro-batches the mean.
    total: float
    local: float
    global_: float
    prior: float
    coordinates: float
    #: Half of the mean squared gradients of the prior's discriminator; no part of `total`.
    gradient_penalty: float
    #: The estimate that belongs to the measure, in nats (docs/measures.md).
    local_information: float
    global_information: float
    #: The largest |score|.
    local_score: float
    global_score: float
    #: How far the vectors, after the prior's squash, are from its uniform distribution: the mean over their numbers of the
    #: Wasserstein distance.
    prior_distance: float
    #: Euclidean norm of the update's gradients, before `gradient_clip`; and of each network's that is trained.
    gradient_norm: float
    gradient_norms: dict[str, float]


class Trainer(Run):
    """Trains a model's encoder and score networks, as PyTorch would from the same seeds (docs/training.md).

    Batches are taken as `Model.encode` takes images, of two at least: an image's negatives are other images of the batch.
    The model's mode (train, eval) does not matter and does not change: batch norm uses batch statistics.

    An error leaves model, optimisers and random state as they were. `NotFinite` reports a loss or a gradient that has
    become NaN or infinite, before it reaches the weights.

    Calls of several threads on one trainer wait for each other; the model may be used meanwhile.
    """

    _PREFIX = "dim_trainer"

    def __init__(
        self,
        model: Model,
        prior: Prior | None = None,
        seed: int = 0,
        lr: float | None = None,
        *,
        encoder_lr: float | None = None,
        discriminator_lr: float | None = None,
        measure: Measure | None = None,
        negatives: Negatives | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        gamma: float | None = None,
        gradient_penalty: float | None = None,
        gradient_clip: float | None = None,
        betas: tuple[float, float] | None = None,
        eps: float | None = None,
        weight_decay: float | None = None,
        coordinates: Coordinates | None = None,
        coordinates_weight: float | None = None,
        occlusion: bool | None = None,
        locations: int | None = None,
        micro_batches: int = 1,
        precision: Precision = "float32",
        communicator: Any = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """Options that are None have the values of the preset that the model's architecture comes from.

        For the notebook's model they are those of the implementation that the notebook links to: measure "gan", negatives
        "rotation", prior "monolithic", alpha 0.5, beta 1, gamma 0.1, lr 1e-4; for the others "nce", "all", "none", 0, 1, 0,
        3e-4.

        measure: how scores become a loss, for the local and the global term. negatives: which images each vector is distinguished
        from: "all" others of the batch, the next one ("rotation"), or a number of others, drawn anew each step.
        prior: how the prior term trains the encoder: "monolithic": it minimises the term, as the discriminator does (that
        implementation); "adversarial": it opposes the discriminator (the paper); "none": there is no such term.
        gradient_penalty: weight of the adversarial prior's R1. gradient_clip: the largest Euclidean norm of all gradients
        together; 0 for no limit.
        coordinates: a network, "coordinates" in the architecture, predicts the place of a location in its map ("absolute"), or
        its distance from another one ("relative"), with the weight coordinates_weight. occlusion: vectors are of images with a
        hidden box, features of whole images. locations: the number of locations of each image that the local term uses,
        drawn anew each step; None for all.
        gamma: with a prior that the preset does not have, 0.1, the paper's; without a prior it has no effect.
        seed: of the prior noise and the drawn negatives: `torch.manual_seed(seed)`, one `torch.rand_like(y)` a step.
        lr: of both Adams; or encoder_lr and discriminator_lr. alpha, beta, gamma: weights of the global, local and prior
        term. betas, eps, weight_decay: as in torch.optim.Adam.
        micro_batches: the number of parts of a batch, each with its own batch statistics, negatives and noise, whose
        gradients are averaged, to use less memory or several processes.
        precision: of the products of the score networks; "mixed": their terms are rounded to bfloat16, on processors with AVX-512
        BF16 alone (docs/training.md).
        communicator: of mpi4py, whose P processes train together: micro_batches is a power of two, P divides it, and each
        process passes its own part of each batch. The result does not depend on P. timeout: seconds that a process waits for
        another one. See docs/distributed.md.
        """
        _arrays.instance(model, Model, "model")
        seed = _arrays.whole_number(seed, 0, 2**64, "seed", "0 <= seed < 2**64")
        timeout = _arrays.seconds(timeout, "timeout")
        most = MOST_MICRO_BATCHES
        micro_batches = _arrays.whole_number(micro_batches, 1, most + 1, "micro_batches", f"1 to {most}")
        if lr is not None and (encoder_lr is not None or discriminator_lr is not None):
            raise ValueError("lr is both learning rates: expected either it, or encoder_lr and discriminator_lr")
        options = _structures.TrainerOptions()
        size = ctypes.sizeof(options)
        check(library().dim_trainer_options_for(model._handle.pointer, byref(options), size))
        if prior is not None:
            options.prior = _arrays.one_of(prior, PRIORS, "prior")
        if measure is not None:
            options.measure = _arrays.one_of(measure, MEASURES, "measure")
        if negatives is not None:
            options.negatives = _negatives(negatives)
        if coordinates is not None:
            options.coordinates = _arrays.one_of(coordinates, COORDINATES, "coordinates")
        if occlusion is not None:
            options.occlusion = _arrays.flag(occlusion, "occlusion")
        if locations is not None:
            options.locations = _arrays.whole_number(locations, 1, 2**32, "locations", "None, for all, or 1 or more")
        options.seed = seed
        options.micro_batches = micro_batches
        options.precision = _arrays.one_of(precision, PRECISIONS, "precision")
        for field, rate in ("encoder_learning_rate", encoder_lr), ("discriminator_learning_rate", discriminator_lr):
            given = lr if rate is None else rate
            if given is not None:
                setattr(options, field, _arrays.number(given, "lr" if rate is None else ARGUMENTS[field]))
        for field, value in (
            ("alpha", alpha),
            ("beta", beta),
            ("gamma", gamma),
            ("gradient_penalty", gradient_penalty),
            ("gradient_clip", gradient_clip),
            ("coordinates_weight", coordinates_weight),
            ("epsilon", eps),
            ("weight_decay", weight_decay),
        ):
            if value is not None:
                setattr(options, field, _arrays.number(value, ARGUMENTS.get(field, field)))
        if gamma is None and prior not in (None, "none") and options.gamma == 0:
            options.gamma = _PAPER_GAMMA
        if betas is not None:
            options.adam_beta1, options.adam_beta2 = _arrays.pair(betas, "betas")
        with python_names(encoder_lr="encoder_lr" if lr is None else "lr"):
            self._start(model, library().dim_trainer_create, model._handle.pointer, byref(options))
        if communicator is not None:
            self.share(communicator, timeout)

    def _start(self, model: Model | None, make: Callable[..., int], *arguments: Any) -> None:
        super()._start(model, make, *arguments)
        self._callback: _Callback | None = None
        self._shared: SharedSteps | None = None

    def share(self, communicator: Any, timeout: float = TIMEOUT) -> None:
        """From the next step on, with the processes of an mpi4py communicator: all of them call this.

        For a resumed run; else as `communicator=`. Raises PeerError unless all have the same library, options and weights.
        """
        from .distributed import SharedSteps

        if self.on_gradients is not None and self._shared is None:
            raise ValueError(
                "on_gradients: expected none on a trainer that is to share its steps, whose gradients that takes itself"
            )
        self._shared = SharedSteps.of(self, communicator, timeout)
        self._set_callback(self._shared.group.add if self._shared.group.size > 1 else None)

    # ---- Steps

    def step(self, batch: Any) -> Losses:
        """Forward in training mode, backward, both Adams. Returns the batch's losses, of before the update.

        With a communicator: `batch` is this process's part, the losses are those of the whole.
        """
        if self._shared is not None and self._shared.group.size > 1:
            return self._shared.step(self, batch)
        return self._with_errors_of_the_callback(lambda: self._losses("step", batch))

    def accumulate(self, batch: Any) -> Losses:
        """Forward and backward only: adds the gradients of this micro-batch to those accumulated for `update`.

        Each micro-batch has batch statistics, negatives and prior noise of its own.
        """
        return self._losses("accumulate", batch)

    def skip(self, n: int) -> None:
        """Skips the next micro-batch, of n images, which another process computes: draws its random numbers.

        For processes that train together by other means than MPI: dim_trainer_skip in dim.h.
        """
        self._call("skip", _arrays.whole_number(n, 0, 2**64, "n", "a number of images"))

    def drop(self) -> None:
        """Drops the accumulated gradients; the random state is as before the step's first micro-batch."""
        self._call("drop")

    def update(self) -> None:
        """Ends a step: the mean of the accumulated gradients is passed to `on_gradients`, then to both Adams."""
        self._with_errors_of_the_callback(lambda: self._call("update"))

    def evaluate(self, batch: Any) -> Losses:
        """The batch's losses in evaluation mode. Nothing changes; the prior noise is the same at each call."""
        return self._losses("evaluate", batch)

    def fit(
        self,
        dataset: Any,
        epochs: int = 10,
        callbacks: Sequence[Callback] | Callback | None = (),
        *,
        batch: int = 64,
        seed: int = 0,
        validation: Any = None,
        augment: str | Augmentation | None = None,
    ) -> list[FittedEpoch[Losses]]:
        """Trains for `epochs` more epochs, and returns the result of each.

        dataset: a path, as for `open_dataset`; a data set; images, as for `step`; or batches, iterated once
        per epoch, for instance a DataLoader or a list of arrays (n,c,h,w), with labels, as pairs, or without. For the first three
        the order depends only on `seed` and the epoch's number, a run that was stopped, saved and resumed continues at the batch
        where it stopped, and an incomplete last batch is left out. Batches are taken as they are, in their order; each has two
        images at least, or as many as `negatives` needs: where the last has fewer, give the DataLoader drop_last=True.

        validation: the same kinds, evaluated after each epoch; batches that are too small are left out. augment: changes training
        images anew each epoch, "crop=4,flip" for instance; the change depends only on `seed`, the epoch and the image's
        number (data.Augmentation). It is refused if dataset is batches.

        With a communicator all processes call this, with the same data: each takes its own part of each batch of `batch` images.
        If dataset is batches, they are this process's parts. Each evaluates all validation data; one callback ends the fit of all.

        callbacks: functions, or one, called after each epoch with a FittedEpoch; one that returns True ends the fit. The logger
        "deepinfomax.fit" gets a line per epoch (`logging.basicConfig(level="INFO")` shows it).
        """
        run = Steps(
            self.model,
            False,
            lambda: self.steps,
            lambda images, _: self.step(images),
            lambda images, _: self.evaluate(images),
            lambda found: Losses(*(sum(losses[i] * n for losses, n in found) / sum(n for _, n in found) for i in range(4))),
            smallest_batch(self.options.negatives),
            self._shared,
            self.options.micro_batches,
        )
        return fit(run, dataset, epochs, callbacks, batch, seed, validation, augment)

    def _losses(self, function: str, batch: Any) -> Losses:
        x, _ = self.model._images(batch)  # A single one without n is a batch of one, which C refuses.
        found = _library.Losses()
        self._call(function, _arrays.pointer(x), len(x), byref(found))
        return Losses(found.total, found.local, found.global_, found.prior)

    def report(self) -> Report:
        """Every figure of the last `step`, `accumulate`, `update` or `evaluate`: terms, estimates, norms, distances."""
        r = _structures.Report(struct_size=ctypes.sizeof(_structures.Report))
        self._call("report", byref(r))
        norms = {name: getattr(r, f"{name}_norm") for name in _NETWORKS}
        return Report(
            r.step,
            r.images,
            r.total,
            r.local,
            r.global_,
            r.prior,
            r.coordinates,
            r.gradient_penalty,
            r.local_information,
            r.global_information,
            r.local_score,
            r.global_score,
            r.prior_distance,
            r.gradient_norm,
            {name: norm for name, norm in norms.items() if not math.isnan(norm)},
        )

    # ---- Gradients

    def gradients(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the accumulated gradients, by the parameters' names: the sum over micro-batches.

        Raises InvalidArgument if there are none.
        """
        found: dict[str, NDArray[np.float32]] = {}
        for info in self.model.parameters_info():
            if info.trainable:
                array = np.empty(info.shape, np.float32)
                data = array.ctypes.data_as(ctypes.c_void_p)
                try:
                    self._call("get_gradient", info.name.encode(), data, info.nbytes)
                except UnknownName:  # A network that this run does not train.
                    continue
                found[info.name] = array
        return found

    @property
    def on_gradients(self) -> OnGradients | None:
        """Called once a step before the update with one float32 array: all gradients, then the running statistics.

        Processes that train together replace it by its average over all of them; its order is the same in all. The
        array is libdim's memory, valid until the callback returns: copy what you keep. The callback's result
        is ignored; if it raises, the step is dropped, and `step` or `update` raises the same. It must not call
        the trainer. It is not part of a checkpoint.
        """
        return None if self._callback is None else self._callback.function

    @on_gradients.setter
    def on_gradients(self, function: OnGradients | None) -> None:
        if self._shared is not None:
            raise ValueError("on_gradients: expected a trainer without a communicator, which needs the gradients itself")
        if function is not None and not callable(function):
            raise TypeError(f"on_gradients: expected a function of one array, or None, found {type(function).__name__}")
        self._set_callback(function)

    def _set_callback(self, function: OnGradients | None) -> None:
        callback = None if function is None else _Callback(function)
        self._call("set_gradient_callback", GradientCallback() if callback is None else callback.pointer, None)
        self._callback = callback  # Only now that C has let go of it may the one before be collected.

    def _with_errors_of_the_callback(self, work: Callable[[], T]) -> T:
        # No context manager: contextlib makes a StopIteration another error.
        callback = self._callback
        try:
            return work()
        except Cancelled:
            raised = None if callback is None else callback.take_error()
            if raised is None:
                raise
            raise raised from None

    @property
    def _pointer(self) -> int:
        if self._callback is not None and self._callback.running:
            raise RuntimeError("the gradient callback must not call the trainer that calls it")
        return super()._pointer

    # ---- Options

    @property
    def options(self) -> TrainerOptions:
        """As they are now, learning rates included."""
        o = _structures.TrainerOptions(struct_size=ctypes.sizeof(_structures.TrainerOptions))
        self._call("get_options", byref(o))
        return TrainerOptions(
            PRIORS[o.prior],
            o.seed,
            o.alpha,
            o.beta,
            o.gamma,
            o.encoder_learning_rate,
            o.discriminator_learning_rate,
            (o.adam_beta1, o.adam_beta2),
            o.epsilon,
            o.weight_decay,
            MEASURES[o.measure],
            {0: "rotation", -1: "all"}.get(o.negatives, o.negatives),
            o.gradient_penalty,
            o.gradient_clip,
            COORDINATES[o.coordinates],
            o.coordinates_weight,
            bool(o.occlusion),
            o.locations or None,
            o.micro_batches,
            PRECISIONS[o.precision],
        )

    def set_learning_rates(self, encoder: float, discriminator: float) -> None:
        """From the next step on."""
        self._set_rates(encoder, discriminator)

    def _set_rates(self, encoder: float, discriminator: float, of: tuple[str, str] = ("encoder", "discriminator")) -> None:
        rates = _arrays.number(encoder, of[0]), _arrays.number(discriminator, of[1])
        self._call("set_learning_rates", *rates)

    @property
    def lr(self) -> float:
        """The learning rate of both Adams, the encoder's where they differ; may be set between steps, of both."""
        return self.options.encoder_lr

    @lr.setter
    def lr(self, rate: float) -> None:
        with python_names(encoder="lr"):
            self._set_rates(rate, rate, ("lr", "lr"))

    @property
    def encoder_lr(self) -> float:
        """The encoder's learning rate; may be set between steps."""
        return self.options.encoder_lr

    @encoder_lr.setter
    def encoder_lr(self, rate: float) -> None:
        with python_names(encoder="encoder_lr"):
            self._set_rates(rate, self.discriminator_lr, ("encoder_lr", "discriminator_lr"))

    @property
    def discriminator_lr(self) -> float:
        """The discriminators' learning rate; may be set between steps."""
        return self.options.discriminator_lr

    @discriminator_lr.setter
    def discriminator_lr(self, rate: float) -> None:
        with python_names(discriminator="discriminator_lr"):
            self._set_rates(self.encoder_lr, rate, ("encoder_lr", "discriminator_lr"))

    def __repr__(self) -> str:
        if self._handle.closed:
            return "<deepinfomax.Trainer, closed>"
        return f"<deepinfomax.Trainer, {self.options.measure}, prior {self.options.prior}, after {counted(self.steps, 'step')}>"


def smallest_batch(negatives: str | int) -> int:
    """Images that a batch has at least: an image's negatives are others of its batch."""
    return max(2, negatives + 1) if isinstance(negatives, int) else 2


def _negatives(value: Negatives) -> int:
    if isinstance(value, str):
        if value not in _NEGATIVES:
            raise ValueError(f"negatives: expected 'all', 'rotation' or a number, found {_arrays.briefly(value)}")
        return _NEGATIVES[value]
    return _arrays.whole_number(value, 1, 2**31, "negatives", "'all', 'rotation' or 1 or more")


class _Callback:
    """A Python function behind C's gradient callback. It knows nothing of the trainer, which would keep both alive."""

    def __init__(self, function: OnGradients) -> None:
        self.function = function
        self.pointer = GradientCallback(self._called)
        self._thread = threading.local()  # C calls in the thread that steps; the error is that thread's.

    @property
    def running(self) -> bool:
        """Whether this thread is inside the function."""
        return getattr(self._thread, "running", False)

    def _called(self, values: Any, count: int, _context: int | None) -> int:
        self._thread.running = True
        try:
            self.function(np.ctypeslib.as_array(values, (count,)))
            return 0
        except BaseException as error:  # KeyboardInterrupt, too, has to travel past C.
            self._thread.error = error
            return 1
        finally:
            self._thread.running = False

    def take_error(self) -> BaseException | None:
        error: BaseException | None = getattr(self._thread, "error", None)
        self._thread.error = None
        return error
