"""One epoch of training on MNIST's files in PyTorch, as a user would write it: a DataLoader over the files, Adam.

    epoch.py FOLDER

The objective of `dim train --architecture basic28 --channels 1`: the local term, nce over all pairs, a light dot net of 512
units. Prints the last loss.
"""

import gzip
import os
import sys
from pathlib import Path

import numpy as np
import torch
from deepinfomax.torch import Settings, modules, objectives
from torch.utils.data import DataLoader, Dataset


class Images(Dataset):
    def __init__(self, folder: Path) -> None:
        path = next(folder.glob("train-images-idx3-ubyte*"))
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            data = file.read()
        self._images = torch.from_numpy(np.frombuffer(data, np.uint8, offset=16).reshape(-1, 1, 28, 28).copy())

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self._images[index].float() / 255


def main() -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    networks = modules({"preset": "basic28", "image": {"channels": 1}})
    settings = Settings(encoder_lr=3e-4, discriminator_lr=3e-4)
    adams = objectives.optimisers(networks, settings)
    loss = 0.0
    for x in DataLoader(Images(Path(sys.argv[1])), batch_size=64, shuffle=True, drop_last=True, num_workers=2):
        loss = objectives.step(networks, x, settings, adams).total.item()
    print(loss)


if __name__ == "__main__":
    main()
