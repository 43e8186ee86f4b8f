"""Reconstructs images from vectors that stay as they are, the paper's way: what of an image they hold.

    Benchmarks/science/decoder.py vectors.npz --steps 1000 --out reconstructed.npz

vectors.npz has `y` (n, d), `images` (n, c, 32, 32) in [0,1], to train the decoder of peers.py on, and `asked_y` (m, d).
Adam at 1e-3 on batches of 64, squared error; reconstructed.npz has `images` (m, c, 32, 32) in [0,1].
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from peers import BATCH, Decoder, squared_error


def run(options: argparse.Namespace) -> None:
    with np.load(options.vectors) as file:
        y, images, asked = (torch.from_numpy(file[name].astype(np.float32)) for name in ("y", "images", "asked_y"))
    if len(y) < BATCH:
        raise SystemExit(f"{options.vectors}: expected {BATCH} vectors or more, found {len(y)}")
    torch.manual_seed(options.seed)
    mean, deviation = y.mean(0), y.std(0).clamp_min(1e-6)
    y, asked = (y - mean) / deviation, (asked - mean) / deviation
    decoder = Decoder(y.shape[1], images.shape[1])
    adam = torch.optim.Adam(decoder.parameters(), lr=1e-3)
    left = options.steps
    while left > 0:
        for chosen in torch.randperm(len(y)).split(BATCH)[: min(left, len(y) // BATCH)]:
            adam.zero_grad()
            squared_error(decoder(y[chosen]), images[chosen]).backward()
            adam.step()
            left -= 1
    decoder.eval()
    with torch.no_grad():
        found = torch.cat([decoder(part) for part in asked.split(500)])
    np.savez(options.out, images=((found + 1) / 2).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--steps", type=int, default=1000, help="of training (default: 1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="the .npz file that is written")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
