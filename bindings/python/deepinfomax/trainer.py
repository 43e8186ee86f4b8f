"""Training on the Deep InfoMax objective."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import byref
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _arrays, _library
from ._library import GradientCallback, check, library
from ._run import Run, choice
from .errors import Cancelled
from .model import Model

Prior = Literal["monolithic", "adversarial"]
_PRIORS = ("monolithic", "adversarial")  # dim_prior
_NETWORKS = ("encoder", "global_d", "local_d", "prior_d")

#: Takes all gradients of a step and the running statistics that it would set, to be changed in place.
OnGradients = Callable[[NDArray[np.float32]], object]


class Losses(NamedTuple):
    """The terms of one batch: total = beta local + alpha global_ + gamma prior."""

    total: float
    local: float
    global_: float
    prior: float


@dataclass(frozen=True)
class TrainerOptions:
    """What a Trainer was made with, the learning rates as they are now."""

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


class Trainer(Run):
    """Trains a model's encoder and three discriminators, as PyTorch would from the same seeds (docs/training.md).

    Batches are taken as `Model.encode` takes images, of two at least: an image's negative is the next one's features.
    The model's mode (train, eval) does not matter and does not change: batch norm uses batch statistics.

    An error leaves model, optimisers and random state as they were. `NotFinite` reports a loss or a gradient that has
    become NaN or infinite, before it reaches the weights.

    Calls of several threads on one trainer wait for each other; the model may be used meanwhile.
    """

    _PREFIX = "dim_trainer"

    def __init__(
        self,
        model: Model,
        prior: Prior = "monolithic",
        seed: int = 0,
        lr: float | None = None,
        *,
        encoder_lr: float | None = None,
        discriminator_lr: float | None = None,
        alpha: float = 0.5,
        beta: float = 1.0,
        gamma: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        """Defaults are those of the implementation that the notebook links to.

        prior: what the encoder does about the prior term: "monolithic" minimises it as the discriminator does (that
        implementation), "adversarial" works against the discriminator (the paper).
        seed: of the prior noise: `torch.manual_seed(seed)`, then one `torch.rand_like(y)` a step.
        lr: of both Adams (1e-4); or encoder_lr and discriminator_lr. alpha, beta, gamma: weights of the global, local
        and prior term. betas, eps, weight_decay: as of torch.optim.Adam.
        """
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed: expected 0 <= seed < 2**64, found {seed}")
        if lr is not None and (encoder_lr is not None or discriminator_lr is not None):
            raise ValueError("lr is both learning rates: expected either it, or encoder_lr and discriminator_lr")
        options = _library.TrainerOptions()
        check(library().dim_trainer_options_init(byref(options), ctypes.sizeof(options)))
        options.prior = choice(prior, _PRIORS, "prior")
        options.seed = seed
        options.alpha, options.beta, options.gamma = alpha, beta, gamma
        for field, rate in ("encoder_learning_rate", encoder_lr), ("discriminator_learning_rate", discriminator_lr):
            given = lr if rate is None else rate
            if given is not None:
                setattr(options, field, given)
        options.beta1, options.beta2 = betas
        options.epsilon, options.weight_decay = eps, weight_decay
        self._start(model, library().dim_trainer_create, model._handle.pointer, byref(options))

    def _start(self, model: Model | None, make: Callable[..., int], *arguments: Any) -> None:
        super()._start(model, make, *arguments)
        self._callback: _Callback | None = None

    # ---- Steps

    def step(self, batch: Any) -> Losses:
        """Forward in training mode, backward, both Adams. Returns the batch's losses, of before the update."""
        with self._errors_of_the_callback():
            return self._losses("step", batch)

    def accumulate(self, batch: Any) -> Losses:
        """Forward and backward only: adds the gradients of this micro-batch to those that wait for `update`.

        Each micro-batch has batch statistics, negatives and prior noise of its own.
        """
        return self._losses("accumulate", batch)

    def update(self) -> None:
        """Ends a step: the mean of the waiting gradients goes to `on_gradients`, then into both Adams."""
        with self._errors_of_the_callback():
            self._call("update")

    def evaluate(self, batch: Any) -> Losses:
        """The batch's losses in evaluation mode. Nothing changes; the prior noise is the same at each call."""
        return self._losses("evaluate", batch)

    def _losses(self, function: str, batch: Any) -> Losses:
        x, _ = _arrays.images(batch)  # A single one without n is a batch of one, which C refuses.
        found = _library.Losses()
        self._call(function, _arrays.pointer(x), len(x), byref(found))
        return Losses(found.total, found.local, found.global_, found.prior)

    # ---- Gradients

    def gradients(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the gradients that wait after `accumulate`, by the parameters' names: the sum over micro-batches.

        Raises InvalidArgument where none wait.
        """
        found: dict[str, NDArray[np.float32]] = {}
        for info in self.model.parameters_info():
            if info.trainable and info.name.split(".")[0] in _NETWORKS:
                array = np.empty(info.shape, np.float32)
                data = array.ctypes.data_as(ctypes.c_void_p)
                self._call("get_gradient", info.name.encode(), data, info.nbytes)
                found[info.name] = array
        return found

    @property
    def on_gradients(self) -> OnGradients | None:
        """Called once a step before the update with one float32 array: all gradients, then the running statistics.

        Processes that train together average it over all of them, in place; its order is the same in all of them. The
        array is libdim's memory, good until the callback returns: copy what is to be kept. What the callback returns
        does not matter; where it raises, the step is dropped, and `step` or `update` raises the same. It must not call
        the trainer. A checkpoint does not hold it.
        """
        return None if self._callback is None else self._callback.function

    @on_gradients.setter
    def on_gradients(self, function: OnGradients | None) -> None:
        callback = None if function is None else _Callback(function)
        self._call("set_gradient_callback", GradientCallback() if callback is None else callback.pointer, None)
        self._callback = callback  # Only now that C has let go of it may the one before be collected.

    @contextmanager
    def _errors_of_the_callback(self) -> Iterator[None]:
        callback = self._callback
        try:
            yield
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
        o = _library.TrainerOptions(struct_size=ctypes.sizeof(_library.TrainerOptions))
        self._call("get_options", byref(o))
        prior: Prior = "adversarial" if o.prior else "monolithic"
        return TrainerOptions(
            prior,
            o.seed,
            o.alpha,
            o.beta,
            o.gamma,
            o.encoder_learning_rate,
            o.discriminator_learning_rate,
            (o.beta1, o.beta2),
            o.epsilon,
            o.weight_decay,
        )

    def set_learning_rates(self, encoder: float, discriminator: float) -> None:
        """From the next step on."""
        self._call("set_learning_rates", encoder, discriminator)

    @property
    def encoder_lr(self) -> float:
        """The encoder's learning rate; may be set between steps."""
        return self.options.encoder_lr

    @encoder_lr.setter
    def encoder_lr(self, rate: float) -> None:
        self.set_learning_rates(rate, self.discriminator_lr)

    @property
    def discriminator_lr(self) -> float:
        """The discriminators' learning rate; may be set between steps."""
        return self.options.discriminator_lr

    @discriminator_lr.setter
    def discriminator_lr(self, rate: float) -> None:
        self.set_learning_rates(self.encoder_lr, rate)

    def __repr__(self) -> str:
        if self._handle.closed:
            return "<deepinfomax.Trainer, closed>"
        return f"<deepinfomax.Trainer, {self.options.prior}, after {self.steps} steps>"


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
