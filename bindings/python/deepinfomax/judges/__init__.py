"""The paper's evaluation: how much of the classes, and of the images, vectors hold.

    from deepinfomax import judges

    found = judges.evaluate([model], train, test, columns=("Y", "fc"), judges=("logistic", "knn"), seeds=(0, 1, 2))
    found.figure("weights", "Y", "logistic").mean

    judges.neural_dependency(y)          # NDM: how far the numbers of a vector are from independent
    judges.mutual_information(x, y)      # MINE: what vectors say of their images
    judges.ms_ssim(images, others)       # multi-scale structural similarity

See docs/evaluate.md.
"""

from .comparison import COLUMNS, ROWS, Comparison, Figure, LeftOut, evaluate
from .dependence import Dependency, mutual_information, neural_dependency
from .fitted import JUDGES, Settings, judge
from .similarity import ms_ssim, scales_of, ssim

__all__ = [
    "COLUMNS",
    "JUDGES",
    "ROWS",
    "Comparison",
    "Dependency",
    "Figure",
    "LeftOut",
    "Settings",
    "evaluate",
    "judge",
    "ms_ssim",
    "mutual_information",
    "neural_dependency",
    "scales_of",
    "ssim",
]
