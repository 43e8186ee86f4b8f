"""The order of a shuffled epoch, against PyTorch's DataLoader where it is installed, and against numbers it once gave."""

import tracemalloc

import numpy as np
import pytest
from deepinfomax.data import dataloader_order, randperm

# torch.manual_seed(7); loader = DataLoader(range(10), shuffle=True); [int(i) for i in loader], twice; PyTorch 2.13.
RECORDED = ([3, 2, 7, 8, 6, 1, 5, 9, 0, 4], [1, 3, 5, 2, 8, 9, 6, 7, 4, 0])


@pytest.mark.parametrize("n", [0, 1, 2, 10, 1797])
@pytest.mark.parametrize("seed", [0, 7, 2**31, 2**40 + 5])
def test_as_pytorch(n, seed):
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader

    generator = torch.Generator().manual_seed(seed)
    assert randperm(n, seed).tolist() == torch.randperm(n, generator=generator).tolist()
    if n == 0:
        return
    torch.manual_seed(seed)
    loader = DataLoader(range(n), batch_size=7, shuffle=True)
    for epoch in range(3):
        expected = [int(index) for batch in loader for index in batch]
        assert dataloader_order(n, seed, epoch).tolist() == expected, (n, seed, epoch)


def test_as_recorded():
    assert [dataloader_order(10, 7, epoch).tolist() for epoch in range(2)] == list(RECORDED)


def test_too_many():
    with pytest.raises(ValueError, match="found 4294967295"):
        randperm(2**32 - 1, 0)


def test_a_late_epoch_needs_little_memory():
    """An epoch's number may be a file's: 4 words each lay in memory before the two that count."""
    epoch = (1 << 23) + 5
    tracemalloc.start()
    try:
        order = dataloader_order(1000, 3, epoch)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    high, low = np.random.RandomState(3).randint(0, 2**32, 4 * epoch + 4, np.uint32)[-2:].tolist()
    assert order.tolist() == randperm(1000, (high << 32 | low) % 2**63).tolist()


def test_epochs_that_are_none():
    with pytest.raises(ValueError, match="epoch: expected 0 or more, found -1"):
        dataloader_order(5, 0, -1)
    with pytest.raises(TypeError, match="epoch: expected an integer"):
        dataloader_order(5, 0, 1.5)
