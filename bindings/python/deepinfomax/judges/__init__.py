"""The paper's evaluation: how much of the classes, and of the images, vectors hold.

    from deepinfomax import judges

    found = judges.evaluate([model], train, test, columns=("Y", "fc"), judges=("logistic", "knn"), seeds=(0, 1, 2))
    found.figure("weights", "Y", "logistic").mean

    few = train.subset(judges.labelled_part(train.labels, 500))
    judges.fine_tuned(model, few, test, unlabelled=train)    # semi-supervised: predictions for test

    judges.neural_dependency(y)          # NDM: how far the numbers of a vector are from independent
    judges.mutual_information(x, y)      # MINE: what vectors say of their images
    judges.ms_ssim(images, others)       # multi-scale structural similarity

See docs/evaluate.md.
"""

from .comparison import COLUMNS, ROWS, Comparison, Figure, LeftOut, evaluate
from .dependence import Dependency, mutual_information, neural_dependency
from .fine_tuning import FineTuning, fine_tuned, labelled_part
from .fitted import JUDGES, Settings, judge
from .similarity import ms_ssim, scales_of, ssim

__all__ = [
    "COLUMNS",
    "JUDGES",
    "ROWS",
    "Comparison",
    "Dependency",
    "Figure",
    "FineTuning",
    "LeftOut",
    "Settings",
    "evaluate",
    "fine_tuned",
    "judge",
    "labelled_part",
    "ms_ssim",
    "mutual_information",
    "neural_dependency",
    "scales_of",
    "ssim",
]
