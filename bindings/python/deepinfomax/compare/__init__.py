"""How far results here are from PyTorch's: the original notebook, runs of training, and what PyTorch once gave for them.

    notebook       the notebook's networks in PyTorch
    walk           its cells, for libdim and for PyTorch alike
    runs           training from seeds alone, libdim's side; objective.py has PyTorch's
    recordings     files of what PyTorch gave; recorded/ holds them
    deviations     the criterion: how far training may be from PyTorch's float64
    training       `dim check --train`: the runs, one after the other, here and there

`notebook` and `objective` import torch; nothing imports them before it is needed.
"""
