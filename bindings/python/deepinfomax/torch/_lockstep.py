"""Training in PyTorch in float64 and, beside it, in float32 in several ways: how far a float32 program strays in a step.

A comparison of ten steps needs two things that ten independent steps do not have.

*A common state.* Adam's first step moves a weight by lr g / (|g| + eps), for all |g| over eps = 1e-8 by lr in the direction
of the gradient's sign. Where g is within rounding of 0, as of a bias in front of a batch norm or of any one entry among a
hundred thousand, that is a step of full size in a direction by chance, and all steps behind it start elsewhere. Therefore
every run takes float64's gradients, rounded to float32, as its own when it updates (`Lockstep.update`): the gradients of
each step are compared at the same weights, Adam's arithmetic and moments, statistics and random numbers over all ten.

*No switch within reach.* A ReLU or a maximum whose two sides are nearer than rounding goes either way, and one such switch
changes all gradients behind it. What is compared may stray 5 times as far as PyTorch's float32; so a batch is taken at
which no switch of float64's is within 5 times the largest deviation of its channel in any float32 run (`choose`). Of a
large network every batch has some, each small beside the rest: there the one with the fewest is taken, after a few tries,
and one more run is compared beside PyTorch's float32: float64 with every ReLU within reach gone the other way (`_switched`).

*PyTorch's float32* is the farthest of five runs. Rounding that happens to be the same in all of them would tell nothing:
they differ by their convolution kernels, by weights of which each is a neighbour of the seed's, and by the unit of the
loss (3, 5 and 7 times as large, the gradients divided again), which rounds every product anew.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from . import objectives
from ._description import Description, pair
from ._subject import TRAINING_SEED, images
from .networks import Networks, modules
from .objectives import Settings

Array = NDArray[np.float64]
#: How many times as far as PyTorch's float32 what is compared may stray.
REACH = 5.0
#: Batches that `choose` tries; where the first has more than `HOPELESS` switches within reach, it is taken.
TRIES = 12
HOPELESS = 12


@dataclass(frozen=True)
class Variant:
    dtype: torch.dtype = torch.float32
    #: Convolutions by oneDNN, or by PyTorch's own kernels, which sum in another order.
    onednn: bool = True
    #: Which neighbours the weights start from; 0: from the seed's own.
    nudge: int = 0
    #: The loss is this many times as large.
    unit: int = 1


VARIANTS = (
    Variant(torch.float64),
    Variant(),
    Variant(onednn=False),
    Variant(nudge=1, unit=3),
    Variant(nudge=2, unit=5),
    Variant(nudge=3, unit=7),
)


class Doubles(Mapping[str, Array]):
    """Tensors by name, in float64 when asked for: of six runs of a large network, float64 copies would fill the memory."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], unit: int = 1) -> None:
        self._tensors, self._unit = tensors, unit

    def __getitem__(self, name: str) -> Array:
        found: Array = self._tensors[name].double().numpy() / self._unit
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


@dataclass(frozen=True)
class Computed:
    """Of one batch: total, local, global, prior, and gradients by name; float64's first, then each float32 run's, then, if
    switches are within float32's reach, that of `_switched`."""

    losses: list[list[float]]
    gradients: list[Mapping[str, Array]]
    #: Switches within float32's reach, in order: (n, c, ...) each.
    reached: list[torch.Tensor]

    @property
    def close(self) -> int:
        return sum(int(one.sum()) for one in self.reached)


class Lockstep:
    def __init__(self, description: Description, seed: int, settings: Settings) -> None:
        self.description, self.seed, self.settings = description, seed, settings
        self.runs = [_started(description, seed, variant) for variant in VARIANTS]
        self._adams = [objectives.optimisers(run, settings) for run in self.runs]
        self._stream = self._after = torch.Generator().manual_seed(TRAINING_SEED).get_state()

    def choose(self, n: int, number: int) -> tuple[int, Computed]:
        """The number (of `images`) of the first batch with no switch within reach, or the best of some; number: of the step."""
        best: tuple[int, int] | None = None
        for attempt in range(number, number + 100 * TRIES, 100):
            found = self._compute(n, attempt)
            if found.close == 0 or (attempt == number and found.close > HOPELESS):
                return attempt, self._switched(n, attempt, found)
            if best is None or found.close < best[0]:
                best = found.close, attempt
            del found  # Before the next one is computed.
            self._forget()
        assert best is not None
        return best[1], self._switched(n, best[1], self._compute(n, best[1]))

    def update(self, found: Computed) -> None:
        """Both Adams of every run take float64's gradients, rounded to float32."""
        self._stream = self._after
        for run, adams in zip(self.runs, self._adams, strict=True):
            parameters = dict(run.named_parameters())
            for name, gradient in found.gradients[0].items():
                parameter = parameters[name]
                parameter.grad = torch.from_numpy(gradient).float().to(parameter.dtype)
            for adam in adams:
                adam.step()
                adam.zero_grad()

    def states(self) -> list[Mapping[str, Array]]:
        """As they are now: later updates do not change them."""
        return [Doubles({name: value.clone() for name, value in run.state_dict().items()}) for run in self.runs]

    def _compute(self, n: int, number: int) -> Computed:
        """All runs draw the same numbers."""
        x = images(self.description, n, self.seed, number)
        self._before = [{name: value.clone() for name, value in run.named_buffers()} for run in self.runs]
        losses: list[list[float]] = []
        gradients: list[Mapping[str, Array]] = []
        switches: list[list[torch.Tensor]] = []
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Switching oneDNN warns about Intel's GPUs.
            for run, variant in zip(self.runs, VARIANTS, strict=True):
                with torch.backends.mkldnn.flags(enabled=variant.onednn), _Switches() as seen:
                    numbers, found = self._pass(run, variant, x)
                losses.append(numbers)
                gradients.append(found)
                switches.append(seen.found)
            self._after = torch.get_rng_state()
        return Computed(losses, gradients, _within_reach(switches))

    def _switched(self, n: int, number: int, found: Computed) -> Computed:
        """With one more run, if switches are within reach: float64's with all of these ReLUs gone the other way."""
        if found.close == 0:
            return found
        run = self.runs[0]
        kept = {name: value.clone() for name, value in run.named_buffers()}
        with torch.random.fork_rng(devices=[]), _Switches(found.reached):
            numbers, gradients = self._pass(run, VARIANTS[0], images(self.description, n, self.seed, number))
        for name, value in run.named_buffers():
            value.copy_(kept[name])
        return replace(found, losses=[*found.losses, numbers], gradients=[*found.gradients, gradients])

    def _pass(self, run: Networks, variant: Variant, x: NDArray[np.float32]) -> tuple[list[float], Doubles]:
        """Losses and gradients of one run, from the step's random numbers on."""
        torch.set_rng_state(self._stream)
        settings = _scaled(self.settings, variant.unit)
        terms = objectives.losses(run, torch.tensor(x, dtype=variant.dtype), settings)
        gradients = objectives.gradients(run, terms, settings)
        total, *others = terms.numbers()
        return [total / variant.unit, *others], Doubles(gradients, variant.unit)

    def _forget(self) -> None:
        """The running statistics as they were."""
        for run, before in zip(self.runs, self._before, strict=True):
            for name, value in run.named_buffers():
                value.copy_(before[name])


def _started(description: Description, seed: int, variant: Variant) -> Networks:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        run = modules(description, notebook_classes=False)
        if variant.nudge:
            generator = torch.Generator().manual_seed(variant.nudge)
            for p in run.parameters():
                up = torch.rand(p.shape, generator=generator) < 0.5
                p.copy_(torch.nextafter(p, torch.where(up, torch.inf, -torch.inf)))
    return run.to(variant.dtype).train()


def _scaled(settings: Settings, unit: int) -> Settings:
    return replace(
        settings,
        alpha=unit * settings.alpha,
        beta=unit * settings.beta,
        gamma=unit * settings.gamma,
        coordinates_weight=unit * settings.coordinates_weight,
    )


# ---- Switches


class _Switches(torch.overrides.TorchFunctionMode):
    """Sees every ReLU and every maximum: `found` has how far each is from going the other way, (n, c, ...).

    other: ReLUs that go the other way, in the same order.
    """

    def __init__(self, other: list[torch.Tensor] | None = None) -> None:
        super().__init__()
        self.found: list[torch.Tensor] = []
        self._other = other

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is F.relu:
            self.found.append(args[0].detach())
            if self._other is not None:
                x = args[0]
                return x * ((x > 0) ^ self._other[len(self.found) - 1])
        elif function in _MAX_POOLS:
            arguments = dict(zip(("input", "kernel_size", "stride", "padding"), args)) | kwargs
            with torch._C.DisableTorchFunction():
                self.found.append(_lead(**arguments))
        return function(*args, **kwargs)


_MAX_POOLS = (F.max_pool2d, torch.max_pool2d, getattr(F, "_max_pool2d", F.max_pool2d))


def _lead(input: torch.Tensor, kernel_size: Any, stride: Any, padding: Any, **_: Any) -> torch.Tensor:
    """By how much the largest of each window exceeds the second, (n, c, windows)."""
    rows, columns = pair(padding)
    x = F.pad(input.detach(), (columns, columns, rows, rows), value=-torch.inf)
    windows = F.unfold(x.flatten(0, 1)[:, None], kernel_size, stride=stride)  # (n c, places, windows)
    if windows.shape[1] == 1:
        return torch.full_like(windows[:, 0], torch.inf).view(*input.shape[:2], -1)
    first, second = windows.topk(2, 1).values.unbind(1)
    return (first - second).view(*input.shape[:2], -1)


def _within_reach(switches: list[list[torch.Tensor]]) -> list[torch.Tensor]:
    """Which switches of the first run's are within REACH times their channel's largest deviation in any other.

    What is 0 in all runs, a window of zeros behind a ReLU for instance, is so by structure, and no gradient passes.
    """
    found = []
    for exact, *others in zip(*switches, strict=True):
        far = exact.isinf()
        deviation = torch.stack([(other.double() - exact).abs() for other in others]).amax(0).masked_fill(far, 0)
        largest = deviation.amax([axis for axis in range(exact.dim()) if axis != 1], keepdim=True)
        structural = torch.stack([other == 0 for other in others]).all(0) & (exact == 0)
        found.append((exact.abs() <= REACH * largest) & ~structural & ~far)
    return found


def steps(lockstep: Lockstep, count: int, n: int) -> Iterator[tuple[int, Computed]]:
    """The numbers of `count` batches and what they give; the update comes when the next one is asked for."""
    for number in range(count):
        chosen = lockstep.choose(n, number)
        yield chosen
        lockstep.update(chosen[1])
        del chosen  # Before the next one is computed.
