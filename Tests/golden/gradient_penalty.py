"""Prints what PyTorch's double backward gives for the R1 penalty of Tests/DimOperatorsTests/GradientPenaltyTests.swift."""

import torch

SIZES = (5, 7, 4, 1)
ROWS = 3


def pattern(count: int, step: int) -> torch.Tensor:
    """Numbers that a float and a double hold exactly, the same in Swift."""
    return torch.tensor([(i * step % 101 - 50) / 64 for i in range(count)], dtype=torch.float64)


x = pattern(ROWS * SIZES[0], 29).reshape(ROWS, SIZES[0]).requires_grad_()
weights = [pattern(o * i, 37 + k).reshape(o, i).requires_grad_() for k, (i, o) in enumerate(zip(SIZES, SIZES[1:]))]
biases = [pattern(o, 53 + k).requires_grad_() for k, o in enumerate(SIZES[1:])]
h = x
for k, (w, b) in enumerate(zip(weights, biases)):
    h = torch.nn.functional.linear(h, w, b)
    if k < len(weights) - 1:
        h = torch.relu(h)
(gradient,) = torch.autograd.grad(h.sum(), x, create_graph=True)
penalty = 0.5 * gradient.square().sum(1).mean()
penalty.backward()
print("penalty", penalty.item())
for w in weights:
    print([round(v, 12) for v in w.grad.flatten().tolist()])
assert all(b.grad is None or not b.grad.any() for b in biases)
assert x.grad is None or not x.grad.any()
