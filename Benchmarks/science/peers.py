"""What PyTorch learns on the same images, with the same encoder.

    Benchmarks/science/peers.py dim         --data /usr/share/datasets/fashion-mnist --steps 2000 --out dim.npz
    Benchmarks/science/peers.py autoencoder ... | vae ...

dim is the very objective that `dim train` has by default: the local term, nce over all pairs of the batch, a light dot
net of 512 units. All train basic32's layers for one channel with Adam on batches of 64, a last partial batch dropped, on
the images that this library's rows see, 28x28 resized to 32x32. --schedule cosine: the learning rate rises to --lr in a
fiftieth of the steps and falls to 0 along half a cosine.

The file holds the vectors of all images in evaluation mode, `train` and `test` (n, 64), the last hidden layer's,
`train_fc` and `test_fc` (n, 1024), their labels, the loss of each step with the seconds until then, and with
--snapshots K the vectors after each Kth of the steps: `snapshot<k>_train`, of the first 20,000 images, and
`snapshot<k>_test`. `about` is a JSON text of the options, the machine's software and the images' checksum.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bindings" / "python"))

from deepinfomax.data import open_dataset  # noqa: E402
from deepinfomax.torch import Settings, modules  # noqa: E402
from deepinfomax.torch import objectives  # noqa: E402
from rows import rate  # noqa: E402

BATCH = 64
SNAPSHOT_IMAGES = 20_000

#: One training step on a batch of pixels in [0,1], which returns its loss; and its Adams.
Step = tuple[Callable[[torch.Tensor], float], Iterable[torch.optim.Adam]]


# ---- Data


def part(folder: Path, name: str, count: int) -> tuple[torch.Tensor, np.ndarray]:
    """The first `count` images (all: 0) as this library reads them, 28x28 resized to 32x32, float32 in [0,1]; and labels."""
    data = open_dataset(folder, labelled=True, part=name, image=(1, 32, 32))
    assert data.labels is not None
    some = slice(count or None)
    return torch.from_numpy(data.read(some)), data.labels[some].copy()


def batches(images: torch.Tensor, seed: int) -> Iterator[torch.Tensor]:
    """Shuffled epochs without end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(images), generator=generator)
        for start in range(0, len(images) - BATCH + 1, BATCH):
            yield images[order[start : start + BATCH]]


# ---- What learns


def dim(networks: nn.ModuleDict, lr: float) -> Step:
    settings = Settings(encoder_lr=lr, discriminator_lr=lr)
    adams = objectives.optimisers(networks, settings)
    return lambda x: objectives.step(networks, x, settings, adams).total.item(), adams


class Decoder(nn.Sequential):
    """64 numbers -> images (n, c, 32, 32) in [-1,1]: the paper's, for its reconstructions."""

    def __init__(self, length: int, channels: int) -> None:
        super().__init__(
            nn.Linear(length, 512 * 16, bias=False),
            nn.BatchNorm1d(512 * 16),
            nn.ReLU(),
            nn.Unflatten(1, (512, 4, 4)),
            *self.double(512, 256),
            *self.double(256, 128),
            *self.double(128, 64),
            nn.Conv2d(64, channels, 3, padding=1),
            nn.Tanh(),
        )

    @staticmethod
    def double(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def autoencoder(networks: nn.ModuleDict, lr: float) -> Step:
    """Squared error of the images in [-1,1], summed over an image."""
    encoder = networks.encoder
    decoder = Decoder(encoder.length, networks.description["image"]["channels"])
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=lr)

    def step(x: torch.Tensor) -> float:
        loss = squared_error(decoder(encoder(x).encoded), x)
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.item()

    return step, [adam]


def vae(networks: nn.ModuleDict, lr: float) -> Step:
    """Half of that error (a Gaussian of variance 1), plus KL(q | N(0, 1)). The encoder's vector is the mean.

    The logarithm of the variance is a linear layer beside the last one, on the last hidden layer.
    """
    encoder = networks.encoder
    decoder = Decoder(encoder.length, networks.description["image"]["channels"])
    log_variance = nn.Linear(encoder.l1.in_features, encoder.length)
    parameters = [*encoder.parameters(), *log_variance.parameters(), *decoder.parameters()]
    adam = torch.optim.Adam(parameters, lr=lr)

    def step(x: torch.Tensor) -> float:
        found = encoder(x)
        mean, log_var = found.encoded, log_variance(found.fc)
        z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1).mean()
        loss = 0.5 * squared_error(decoder(z), x) + kl
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.item()

    return step, [adam]


def squared_error(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return (y - (2 * x - 1)).square().sum((1, 2, 3)).mean()


PEERS: dict[str, Callable[[nn.ModuleDict, float], Step]] = {"dim": dim, "autoencoder": autoencoder, "vae": vae}


# ---- A run


def encode(networks: nn.ModuleDict, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and last hidden layers, in evaluation mode."""
    networks.eval()
    with torch.no_grad():
        found = [networks.encoder(x) for x in images.split(500)]
    networks.train()
    return torch.cat([one.encoded for one in found]).numpy(), torch.cat([one.fc for one in found]).numpy()


def run(options: argparse.Namespace) -> None:
    if options.threads:
        torch.set_num_threads(options.threads)
    (train, train_labels), (test, test_labels) = (part(options.data, name, options.images) for name in ("train", "test"))
    if len(train) < BATCH:
        raise SystemExit(f"--data, --images: expected at least {BATCH} training images, found {len(train)}")
    torch.manual_seed(options.seed)
    networks = modules({"preset": "basic32", "image": {"channels": train.shape[1]}})
    step, adams = PEERS[options.peer](networks, options.lr)
    arrays: dict[str, np.ndarray] = {}

    seconds, losses, marks = 0.0, [], []
    snapshots = {options.steps * (k + 1) // options.snapshots: k for k in range(options.snapshots)}
    for x in itertools.islice(batches(train, options.seed), options.steps):
        start = time.perf_counter()
        for group in (group for adam in adams for group in adam.param_groups):
            group["lr"] = options.lr * rate(options.schedule, len(losses) / options.steps)
        losses.append(step(x))
        seconds += time.perf_counter() - start
        marks.append(seconds)
        if (k := snapshots.get(len(losses))) is not None:
            arrays[f"snapshot{k}_train"] = encode(networks, train[:SNAPSHOT_IMAGES])[0]
            arrays[f"snapshot{k}_test"] = encode(networks, test)[0]

    arrays["train"], arrays["train_fc"] = encode(networks, train)
    arrays["test"], arrays["test_fc"] = encode(networks, test)
    about = {
        "peer": options.peer,
        "seed": options.seed,
        "step_seconds": seconds,
        "quick_step": float(np.quantile(np.diff(marks, prepend=0), 0.25)),
        "steps": len(losses),
        "epochs": len(losses) / (len(train) // BATCH),
        "batch": BATCH,
        "learning_rate": options.lr,
        "schedule": options.schedule,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "architecture": networks.description,
        "images_crc32": zlib.crc32(train.numpy()),
    }
    np.savez(
        options.out,
        about=np.array(json.dumps(about)),
        train_labels=train_labels,
        test_labels=test_labels,
        losses=np.array(losses, np.float32),
        seconds=np.array(marks, np.float32),
        **arrays,
    )
    print(json.dumps({key: about[key] for key in ("peer", "seed", "step_seconds", "steps", "epochs")} | {"loss": losses[-1]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--data", type=Path, required=True, help="labelled images in two parts, as `dim --data` takes them")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--images", type=int, default=0, help="the first so many of each part (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--snapshots", type=int, default=0, metavar="K")
    parser.add_argument("--lr", type=float, default=3e-3, metavar="X", help="of Adam (default: 3e-3)")
    parser.add_argument("--schedule", choices=("constant", "cosine"), default="cosine", help="default: cosine")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch (default: its own choice)")
    parser.add_argument("--out", type=Path, required=True, help="the .npz file that is written")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
