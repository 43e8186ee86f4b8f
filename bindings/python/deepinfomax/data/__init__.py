"""Data sets of images to train on and to encode, in common formats, read piece by piece.

    from deepinfomax.data import Loader, open_dataset

    photographs = open_dataset("my-photographs", split="train", image=(3, 64, 64), resize="crop")
    photographs.read(slice(0, 64))                    # float32 (64, 3, 64, 64) in [0,1]
    for batch in Loader(photographs, batch=64, seed=0).epoch(0):
        trainer.step(batch.images)                    # the next batch is decoded meanwhile

Formats: folders of images, .npy, .npz, HDF5, MNIST's idx files, CIFAR-10, CIFAR-100, STL-10; without a source,
photographs and digits that scikit-learn ships. Images of any size, number of channels and of classes. `data[i]` is
(image, label), so that PyTorch's DataLoader takes a data set. Nothing is downloaded. See docs/data.md.
"""

from .augment import Augmentation
from .dataset import Dataset, Joined, Subset
from .errors import DataError, MissingPackage
from .loader import Batch, Loader
from .opening import open_dataset
from .order import dataloader_order, randperm

__all__ = [
    "Augmentation",
    "Batch",
    "DataError",
    "Dataset",
    "Joined",
    "Loader",
    "MissingPackage",
    "Subset",
    "dataloader_order",
    "open_dataset",
    "randperm",
]
