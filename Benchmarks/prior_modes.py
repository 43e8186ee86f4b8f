"""What training does to the losses and to the distribution of y, in both prior modes.

    make lib && PYTHONPATH=bindings/python .venv/bin/python Benchmarks/prior_modes.py [--steps 300] [--torch 300]
    ... Benchmarks/prior_modes.py --encoder-lr 1e-7 --discriminator-lr 1e-3

Trains on the sample photographs' patches and prints the losses of the first and the last tenth of the steps, and how
far y is from uniform on [0,1): the mean over its 64 components of the Wasserstein distance, and the share of values
inside. With --torch the same steps in PyTorch (float32) are printed beside.
"""

from __future__ import annotations

import argparse

import numpy as np

import deepinfomax
from deepinfomax.data import photographs


def batches(images: np.ndarray, size: int, steps: int) -> list[np.ndarray]:
    """Shuffled epochs, the same for everybody."""
    rng = np.random.default_rng(0)
    out: list[np.ndarray] = []
    while len(out) < steps:
        order = rng.permutation(len(images))
        out += [images[order[i : i + size]] for i in range(0, len(images) - size + 1, size)]
    return out[:steps]


def distance(y: np.ndarray) -> tuple[float, float]:
    """Mean Wasserstein-1 distance of the components from uniform on [0,1), and the share of values in it."""
    n = len(y)
    quantiles = (np.arange(n) + 0.5) / n
    return float(np.abs(np.sort(y, axis=0) - quantiles[:, None]).mean()), float(((y >= 0) & (y < 1)).mean())


def train_here(
    prior: str, seed: int, steps: list[np.ndarray], images: np.ndarray, rates: tuple[float, float]
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    with (
        deepinfomax.Model(seed) as model,
        deepinfomax.Trainer(model, prior=prior, seed=seed, encoder_lr=rates[0], discriminator_lr=rates[1]) as trainer,
    ):
        found = [distance(spread(model, images))]
        losses = [[r.total, r.local, r.global_, r.prior] for r in (trainer.step(x) for x in steps)]
        found.append(distance(spread(model, images)))
    return np.array(losses), found


def spread(model: deepinfomax.Model, images: np.ndarray) -> np.ndarray:
    """y as training sees it: batch statistics, in batches of 64. The running ones are put back."""
    state = model.state_dict()
    model.train()
    y = np.concatenate([model.encode(images[i : i + 64], features=False) for i in range(0, len(images) - 63, 64)])
    model.eval()
    model.load_state_dict(state)
    return y


def train_torch(prior: str, seed: int, steps: list[np.ndarray], rates: tuple[float, float]) -> np.ndarray:
    import torch
    import torch.nn.functional as F

    from deepinfomax.compare import notebook

    torch.manual_seed(seed)
    names = ("Encoder", "GlobalDiscriminator", "LocalDiscriminator", "PriorDiscriminator")
    e, g, l, d = (getattr(notebook, name)() for name in names)
    discriminators = [*g.parameters(), *l.parameters(), *d.parameters()]
    optimisers = [torch.optim.Adam(e.parameters(), lr=rates[0]), torch.optim.Adam(discriminators, lr=rates[1])]
    torch.manual_seed(seed)

    def logit(v: torch.Tensor) -> torch.Tensor:
        return d.l2(F.relu(d.l1(F.relu(d.l0(v)))))

    losses = []
    for x in steps:
        y, M = e(torch.from_numpy(x))
        other = torch.cat((M[1:], M[:1]))
        cells = y[:, :, None, None].expand(-1, -1, 26, 26)
        local = F.softplus(-l(torch.cat((M, cells), 1))).mean() + F.softplus(l(torch.cat((other, cells), 1))).mean()
        whole = F.softplus(-g(y, M)).mean() + F.softplus(g(y, other)).mean()
        seen = y if prior == "monolithic" else y.detach()
        term = F.softplus(-logit(torch.rand_like(y))).mean() + F.softplus(logit(seen)).mean()
        total = local + 0.5 * whole + 0.1 * term
        for optimiser in optimisers:
            optimiser.zero_grad()
        if prior == "adversarial":
            d.requires_grad_(False)
            fooled = 0.1 * F.softplus(-logit(y)).mean()
            d.requires_grad_(True)
            (total + fooled).backward()
        else:
            total.backward()
        for optimiser in optimisers:
            optimiser.step()
        losses.append([v.item() for v in (total, local, whole, term)])
    return np.array(losses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encoder-lr", type=float, default=1e-4)
    parser.add_argument("--discriminator-lr", type=float, default=1e-4)
    parser.add_argument("--torch", type=int, default=0, metavar="STEPS", help="as many steps in PyTorch, too")
    arguments = parser.parse_args()
    rates = (arguments.encoder_lr, arguments.discriminator_lr)
    images = photographs.pixels(photographs.patches())
    steps = batches(images, arguments.batch, arguments.steps)
    print(
        f"{len(images)} patches, {arguments.steps} steps of {arguments.batch}, seed {arguments.seed}, learning rates "
        f"{rates[0]:g} (encoder) and {rates[1]:g} (discriminators)"
    )
    columns = ["prior", "by", "steps", "total: first tenth", "last tenth", "prior: first", "last"]
    columns += ["W1 of y before", "after", "in [0,1) before", "after"]
    print("| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")

    def row(prior: str, by: str, losses: np.ndarray, rest: str) -> None:
        tenth = max(1, len(losses) // 10)
        a, b = losses[:tenth].mean(0), losses[-tenth:].mean(0)
        print(f"| {prior} | {by} | {len(losses)} | {a[0]:.3f} | {b[0]:.3f} | {a[3]:.3f} | {b[3]:.3f} | {rest} |", flush=True)

    for prior in ("monolithic", "adversarial"):
        losses, (before, after) = train_here(prior, arguments.seed, steps, images[:512], rates)
        row(prior, "libdim", losses, f"{before[0]:.3f} | {after[0]:.3f} | {before[1]:.2f} | {after[1]:.2f}")
        if arguments.torch:
            reference = train_torch(prior, arguments.seed, steps[: arguments.torch], rates)
            row(prior, "PyTorch", reference, "| | |")
            if arguments.torch < arguments.steps:
                row(prior, "libdim", losses[: arguments.torch], "| | |")


if __name__ == "__main__":
    main()
