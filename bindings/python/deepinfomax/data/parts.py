"""What a format's `open_parts(path, options)` gives."""

from __future__ import annotations

from dataclasses import dataclass

from .dataset import Dataset


@dataclass(frozen=True)
class Parts:
    #: The training set, or all there is.
    train: Dataset
    #: The data's own test set, if it has one.
    test: Dataset | None = None
    #: Advice for who needs labels: where this format keeps them.
    labels_advice: str = "this format has none"
