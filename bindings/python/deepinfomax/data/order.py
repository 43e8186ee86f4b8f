"""The order in which PyTorch's DataLoader shows a data set for a seed, without PyTorch.

`dataloader_order(n, seed, epoch)` is the order of the images in epoch number `epoch` of

    torch.manual_seed(seed)
    loader = DataLoader(dataset, batch_size, shuffle=True)
    for epoch in range(epochs):
        for batch in loader: ...

provided that nothing else draws from PyTorch's global generator meanwhile. It depends on nothing but its arguments: a
run that was interrupted needs no saved state to continue.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._arrays import whole_number

#: Outputs that are passed over at once: an epoch's number may be large, and a file's.
_PASSED = 1 << 20


def dataloader_order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """A permutation of 0..n-1: what RandomSampler draws in this epoch (the first is 0)."""
    epoch = whole_number(epoch, 0, 2**32, "epoch", "0 or more")
    seed = whole_number(seed, 0, 2**64, "seed", "0 or more")
    # Each epoch takes two int64 from the global generator: the workers' base seed, which nobody here needs, then the
    # seed of the generator that the sampler makes for itself.
    words = _mt19937(seed, 2, after=4 * epoch + 2).astype(np.uint64)
    return randperm(n, int(words[0] << np.uint64(32) | words[1]) % 2**63)


def randperm(n: int, seed: int) -> NDArray[np.int64]:
    """torch.randperm(n, generator=torch.Generator().manual_seed(seed)), for n below 2**32 / 20."""
    n = whole_number(n, 0, (2**32 - 1) // 20, "n", "0 or more")
    seed = whole_number(seed, 0, 2**64, "seed", "0 or more")
    if n < 2:
        return np.arange(n)
    # Fisher-Yates from the front: place i changes with place i + draw % (n - i).
    places = np.arange(n - 1)
    others = places + _mt19937(seed, n - 1).astype(np.int64) % (n - places)
    order = list(range(n))
    for i, other in enumerate(others.tolist()):
        order[i], order[other] = order[other], order[i]
    return np.array(order, np.int64)


def _mt19937(seed: int, count: int, after: int = 0) -> NDArray[np.uint32]:
    """Outputs of the generator that PyTorch and C++ call mt19937, the first or those after so many; of the seed the low 32 bits
    count."""
    # RandomState, unlike Generator, seeds as they do, and its streams are frozen for good.
    generator = np.random.RandomState(seed & 0xFFFFFFFF)
    for start in range(0, after, _PASSED):
        generator.bytes(4 * min(_PASSED, after - start))
    return np.frombuffer(generator.bytes(4 * count), "<u4")
