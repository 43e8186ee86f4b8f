"""The objectives of Deep InfoMax in PyTorch, written as their formulas are: what the library's are compared with.

S[i, j, l] is the score of location l of image i's map against image j's vector; a global score has one location. Of
vector j, S[j, j, l] are its own (positives), S[i, j, l] those of other images i (negatives). n images, L locations.

    total = beta local + alpha global_ + gamma prior + coordinates_weight coordinates

The encoder minimises `Losses.encoder`, the other networks `Losses.discriminators`. Both are `total`, but for the
adversarial prior, against which the encoder works, and the gradient penalty, which is the prior discriminator's alone.

Numbers are drawn from torch's generator in the order of the forward pass: the encoder's dropout; the global term's
negatives, then its head's dropout; the local term's locations and negatives; the coordinates' partners; the prior's
samples. Whatever is given is not drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from ..compare import notebook
from .networks import Encoded, Head, Networks

MEASURES = ("jsd", "gan", "kl", "rkl", "h2", "dv", "nce")
PRIORS = ("none", "monolithic", "adversarial")
COORDINATES = ("absolute", "relative")


@dataclass(frozen=True)
class Settings:
    """The objective and its two Adams. The defaults are the presets', the notebook's aside."""

    measure: str = "nce"
    #: "all" others of the batch, "rotation" (the next image), or how many others for each vector.
    negatives: str | int = "all"
    prior: str = "none"
    alpha: float = 0.0
    beta: float = 1.0
    gamma: float = 0.0
    #: Weight of the R1 penalty within the adversarial prior's term.
    gradient_penalty: float = 0.0
    #: How many locations of each image the local term uses; None for all.
    locations: int | None = None
    #: "absolute" or "relative"; None for none.
    coordinates: str | None = None
    coordinates_weight: float = 1.0
    #: The vectors come from images with a box hidden, the maps from whole ones.
    occlusion: bool = False
    encoder_lr: float = 3e-4
    discriminator_lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for name, choices in ("measure", MEASURES), ("prior", PRIORS):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, found {getattr(self, name)!r}")
        if self.coordinates not in (None, *COORDINATES):
            raise ValueError(f"coordinates: expected None, absolute or relative, found {self.coordinates!r}")
        if self.negatives not in ("all", "rotation") and not (isinstance(self.negatives, int) and self.negatives > 0):
            raise ValueError(f'negatives: expected "all", "rotation" or a number over 0, found {self.negatives!r}')


#: The notebook's, of the implementation that it links to.
NOTEBOOK = Settings(
    measure="gan",
    negatives="rotation",
    prior="monolithic",
    alpha=0.5,
    beta=1.0,
    gamma=0.1,
    encoder_lr=1e-4,
    discriminator_lr=1e-4,
)


@dataclass
class Losses:
    """The terms of one batch, without their weights; a term that is not computed is 0."""

    total: torch.Tensor
    local: torch.Tensor
    global_: torch.Tensor
    prior: torch.Tensor
    coordinates: torch.Tensor
    #: Half of the mean squared gradients of D; no part of `total`.
    penalty: torch.Tensor
    encoder: torch.Tensor
    discriminators: torch.Tensor

    def numbers(self) -> list[float]:
        """total, local, global, prior."""
        return [term.item() for term in (self.total, self.local, self.global_, self.prior)]


def losses(
    networks: Networks,
    images: torch.Tensor,
    settings: Settings,
    *,
    noise: torch.Tensor | None = None,
    negatives: torch.Tensor | None = None,
    locations: torch.Tensor | None = None,
    partners: torch.Tensor | None = None,
    boxes: torch.Tensor | None = None,
) -> Losses:
    """In the networks' mode and precision. What is None and needed is drawn.

    noise: samples of the prior, (n, D). negatives: for each vector the images it is distinguished from, (n, k), of both terms.
    locations: the cells i * w + j of each image that the local term uses, (n, m); the head sees no others.
    partners: for relative coordinates, the second cell of each pair, (n, h w). boxes: for occlusion, what is hidden of
    each image, (n, 4): top, left, height, width.
    """
    zero = images.new_zeros((), dtype=next(networks.encoder.parameters()).dtype)
    local, global_, prior, encoders_prior, penalty, where = (zero,) * 6

    whole = encode(networks, images)
    y = whole.encoded
    if settings.occlusion:
        y = encode(networks, occluded(networks, images, drawn_boxes(images) if boxes is None else boxes)).encoded

    if settings.alpha > 0:
        discriminator = head(networks, "global_d")
        read = whole.conv if networks.description["global"]["input"] == "conv" else whole.features
        global_ = term(discriminator, y, read, settings, negatives)
    if settings.beta > 0:
        M = whole.features
        if settings.locations is not None:
            M = chosen(M, drawn_locations(M, settings.locations) if locations is None else locations)
        local = term(head(networks, "local_d"), y, M, settings, negatives)
    if settings.coordinates is not None:
        logits = networks.coordinates_d(y, whole.features)
        if settings.coordinates == "relative":
            where = relative_coordinates(logits, drawn_partners(logits) if partners is None else partners)
        else:
            where = absolute_coordinates(logits)
    if settings.prior != "none" and settings.gamma > 0:
        u = torch.rand(y.shape, dtype=torch.float32) if noise is None else noise  # The same numbers in any precision.
        prior, encoders_prior, penalty = prior_terms(networks.prior_d, y, u.to(y.dtype), settings)

    pairs = settings.beta * local + settings.alpha * global_ + settings.coordinates_weight * where
    total = pairs + settings.gamma * prior
    encoder = discriminators = total
    if settings.prior == "adversarial":
        encoder = pairs + settings.gamma * encoders_prior
        discriminators = total + settings.gamma * settings.gradient_penalty * penalty
    return Losses(total, local, global_, prior, where, penalty, encoder, discriminators)


# ---- Measures


def term(
    head: Head, y: torch.Tensor, M: torch.Tensor, settings: Settings, negatives: torch.Tensor | None = None
) -> torch.Tensor:
    """The local or the global term: the measure of a batch's scores."""
    n = len(y)
    if negatives is None and settings.negatives != "all":
        negatives = rotation(n) if settings.negatives == "rotation" else drawn_negatives(n, int(settings.negatives))
    m, v = head.maps(M), head.vectors(y)
    if negatives is None:
        S = head.score_pairs(v, m).reshape(n, n, -1)  # [i, j, l]
        itself = torch.eye(n, dtype=torch.bool)
        own = S[itself]
        others = S.transpose(0, 1)[~itself].reshape(n, n - 1, -1)
    else:
        own = head.score(v, m).reshape(n, -1)
        others = torch.stack([head.score(v, m[image]).reshape(n, -1) for image in negatives.T], 1)
    return measure(settings.measure, own, others)


def measure(name: str, own: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """The loss of scores: own (n, L) of vector j against its own image, others (n, k, L) against k other images."""
    if name == "nce":
        # -log( e^own / (e^own + sum over j's negatives of e^other) ), the mean over j and l
        against = torch.logsumexp(others.flatten(1), 1)[:, None]
        return (torch.logaddexp(own, against) - own).mean()
    if name == "dv":
        # log(mean over negatives of e^t) - mean over positives of t
        return torch.logsumexp(others.flatten(), 0) - math.log(others.numel()) - own.mean()
    e_plus, e_minus = DIVERGENCES[name]
    return e_minus(others).mean() - e_plus(own).mean()


_Function = Callable[[torch.Tensor], torch.Tensor]
_sp: _Function = F.softplus
_LN2 = math.log(2)

#: E+(t) and E-(t).
DIVERGENCES: dict[str, tuple[_Function, _Function]] = {
    "gan": (lambda t: -_sp(-t), lambda t: _sp(t)),
    "jsd": (lambda t: _LN2 - _sp(-t), lambda t: _sp(t) - _LN2),
    "kl": (lambda t: t, lambda t: torch.exp(t - 1)),
    "rkl": (lambda t: -torch.exp(-t), lambda t: t - 1),
    "h2": (lambda t: 1 - torch.exp(-t), lambda t: torch.exp(t) - 1),
}


# ---- The prior


def prior_terms(
    prior_d: nn.Module, y: torch.Tensor, u: torch.Tensor, settings: Settings
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """D's loss, what the encoder minimises, and D's gradient penalty. D sees squash(y).

    D:        -mean log D(u) - mean log(1 - D(squash(y)))
    encoder:  the same (monolithic), or -mean log D(squash(y)) (adversarial)
    penalty:  1/2 (mean |grad D(u)|^2 + mean |grad D(squash(y))|^2), D the logit
    """
    s = prior_d.squash(y) if hasattr(prior_d, "squash") else y  # The notebook's class squashes nothing.
    logit_u, logit_s = prior_d.logit(u), prior_d.logit(s)
    loss = F.softplus(-logit_u).mean() + F.softplus(logit_s).mean()
    if settings.prior == "monolithic":
        return loss, loss, torch.zeros_like(loss)
    penalty = torch.zeros_like(loss)
    if settings.gradient_penalty > 0:
        penalty = 0.5 * (squared_gradient(prior_d, u) + squared_gradient(prior_d, s))
    return loss, F.softplus(-logit_s).mean(), penalty


def squared_gradient(prior_d: nn.Module, samples: torch.Tensor) -> torch.Tensor:
    """The mean over the samples of |d D / d sample|^2, to be differentiated with respect to D's weights."""
    with torch.enable_grad():
        x = samples.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(prior_d.logit(x).sum(), x, create_graph=True)
        return gradient.square().sum(1).mean()


# ---- Structure


def absolute_coordinates(logits: torch.Tensor) -> torch.Tensor:
    """-log p(i) - log p(j) of each location (i, j), the mean. logits (n, h + w, h, w), of rows first."""
    rows, columns, i, j = _rows_and_columns(logits)
    return F.cross_entropy(rows, i) + F.cross_entropy(columns, j)


def relative_coordinates(logits: torch.Tensor, partners: torch.Tensor) -> torch.Tensor:
    """-log p(i - i') - log p(j - j') of each location (i, j) and its partner (i', j'), the mean.

    Both locations' rows are predicted, p(i) and p'(i'); then p(i - i' = d) = sum over r of p(r) p'(r - d). Columns
    likewise. It needs no network but the one of the absolute coordinates. partners (n, h w): cells i' * w + j'.
    """
    rows, columns, i, j = _rows_and_columns(logits)

    def of_difference(logits: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        size = logits.shape[1]
        p = F.log_softmax(logits, 1)  # (n, size, cells)
        other = p.gather(2, partners[:, None].expand_as(p))
        d = (place - place.gather(1, partners))[:, None]  # (n, 1, cells)
        second = torch.arange(size)[None, :, None] - d  # r - d
        inside = (second >= 0) & (second < size)
        both = p + other.gather(1, second.clamp(0, size - 1))
        return -torch.logsumexp(both.masked_fill(~inside, -math.inf), 1).mean()

    return of_difference(rows, i) + of_difference(columns, j)


def _rows_and_columns(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits (n, h, cells) and (n, w, cells); the row and the column of each cell, (n, cells)."""
    n, _, h, w = logits.shape
    cells = torch.arange(h * w).expand(n, -1)
    flat = logits.flatten(2)
    return flat[:, :h], flat[:, h:], cells // w, cells % w


def occluded(networks: Networks, images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """The images with the mean, which is 0 after normalisation, in the boxes (n, 4): top, left, height, width."""
    _, c, h, w = images.shape
    top, left, height, width = (side[:, None] for side in boxes.T)
    rows, columns = torch.arange(h), torch.arange(w)
    inside_rows = (rows >= top) & (rows < top + height)  # (n, h)
    inside_columns = (columns >= left) & (columns < left + width)
    hidden = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    mean = networks.description["image"]["mean"]
    fill = torch.tensor(mean if isinstance(mean, (list, tuple)) else [mean] * c, dtype=torch.float32)
    return torch.where(hidden, fill.to(images.dtype)[None, :, None, None], images)


def chosen(M: torch.Tensor, locations: torch.Tensor) -> torch.Tensor:
    """The columns at these cells (n, m) as a map (n, c, m, 1)."""
    flat = M.flatten(2)
    return flat.gather(2, locations[:, None].expand(-1, flat.shape[1], -1))[..., None]


# ---- What is drawn


def rotation(n: int) -> torch.Tensor:
    """Each vector against the next image: M'_j = M_(j + 1)."""
    return (torch.arange(n)[:, None] + 1) % n


def drawn_negatives(n: int, k: int) -> torch.Tensor:
    """For each vector k other images, (n, k): the first k places of a Fisher-Yates shuffle of the others.

    Place s is exchanged with place s + (32 random bits mod what is left), as `torch.randint` draws.
    """
    if not 0 < k < n:
        raise ValueError(f"negatives: expected fewer than the batch's {n} images, found {k}")
    rows = []
    for j in range(n):
        others = [i for i in range(n) if i != j]
        for s in range(k):
            r = s + int(torch.randint(0, len(others) - s, ()))
            others[s], others[r] = others[r], others[s]
        rows.append(others[:k])
    return torch.tensor(rows)


def drawn_locations(M: torch.Tensor, m: int) -> torch.Tensor:
    """m different cells of each image."""
    cells = M.shape[2] * M.shape[3]
    return torch.stack([torch.randperm(cells)[:m] for _ in range(len(M))])


def drawn_partners(logits: torch.Tensor) -> torch.Tensor:
    """For each cell one of all cells of its image."""
    n, _, h, w = logits.shape
    return torch.randint(0, h * w, (n, h * w))


def drawn_boxes(images: torch.Tensor) -> torch.Tensor:
    """Of each image a box of half its height and width."""
    n, _, h, w = images.shape
    top, left = torch.randint(0, h - h // 2 + 1, (n,)), torch.randint(0, w - w // 2 + 1, (n,))
    return torch.stack((top, left, torch.full((n,), h // 2), torch.full((n,), w // 2)), 1)


# ---- The notebook's classes behind the general names


def encode(networks: Networks, images: torch.Tensor) -> Encoded:
    found = networks.encoder(images)
    return found if isinstance(found, Encoded) else Encoded(found[0], found[1], found[1], None)


class _NotebookHead(Head):
    def __init__(self, score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self._score = score

    def score(self, v: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        return self._score(v, m)


def head(networks: Networks, name: str) -> Head:
    """The score network of that name, "global_d" or "local_d"."""
    if name not in networks:
        weight = "alpha" if name == "global_d" else "beta"
        raise ValueError(f"{weight} is over 0, but the architecture has no {name}: set {weight} to 0, or describe one")
    network = networks[name]
    if isinstance(network, notebook.GlobalDiscriminator):
        return _NotebookHead(network.__call__)
    if isinstance(network, notebook.LocalDiscriminator):
        return _NotebookHead(lambda v, m: network(torch.cat((m, v[:, :, None, None].expand(-1, -1, *m.shape[2:])), 1)))
    assert isinstance(network, Head)
    return network


# ---- Training


def trained(networks: Networks, settings: Settings) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    """The parameters of the encoder, and those of the other networks whose terms have a weight."""
    others = {
        "global_d": settings.alpha > 0,
        "local_d": settings.beta > 0,
        "prior_d": settings.prior != "none" and settings.gamma > 0,
        "coordinates_d": settings.coordinates is not None,
    }
    named: dict[str, nn.Parameter] = dict(networks.named_parameters())
    return (
        {name: p for name, p in named.items() if name.startswith("encoder.")},
        {name: p for name, p in named.items() if others.get(name.split(".")[0], False)},
    )


def gradients(networks: Networks, found: Losses, settings: Settings) -> dict[str, torch.Tensor]:
    """By name: of the encoder's loss for the encoder, of the discriminators' for the others. All at the same weights."""
    encoder, others = trained(networks, settings)
    if found.encoder is found.discriminators:
        named = encoder | others
        return dict(zip(named, torch.autograd.grad(found.total, list(named.values())), strict=True))
    of_encoder = torch.autograd.grad(found.encoder, list(encoder.values()), retain_graph=True)
    of_others = torch.autograd.grad(found.discriminators, list(others.values()))
    return dict(zip([*encoder, *others], [*of_encoder, *of_others], strict=True))


def optimisers(networks: Networks, settings: Settings) -> list[torch.optim.Adam]:
    """Two: the encoder's, and that of everything else."""
    common: dict[str, Any] = {"betas": settings.betas, "eps": settings.eps, "weight_decay": settings.weight_decay}
    encoder, others = trained(networks, settings)
    return [
        torch.optim.Adam(encoder.values(), lr=settings.encoder_lr, **common),
        torch.optim.Adam(others.values(), lr=settings.discriminator_lr, **common),
    ]


def step(networks: Networks, images: torch.Tensor, settings: Settings, adams: list[torch.optim.Adam], **given: Any) -> Losses:
    """Forward, backward, both Adams. given: what `losses` need not draw."""
    found = losses(networks, images, settings, **given)
    parameters = dict(networks.named_parameters())
    for name, gradient in gradients(networks, found, settings).items():
        parameters[name].grad = gradient
    for adam in adams:
        adam.step()
    return found


def train(networks: Networks, batches: Iterable[torch.Tensor], settings: Settings, seed: int | None = None) -> Iterator[Losses]:
    """One step a batch in training mode, yielding its losses, of before the update. seed: of everything drawn."""
    if seed is not None:
        torch.manual_seed(seed)
    networks.train()
    adams = optimisers(networks, settings)
    for images in batches:
        yield step(networks, images, settings, adams)
