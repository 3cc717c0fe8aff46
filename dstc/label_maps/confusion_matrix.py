"""Pixels counted by true and predicted class, and what follows from the counts.

A module of its own: training depends on this one alone for its validation steps, so that protocols, tables and pictures
can change without a retraining. Everything here is a fraction in 0..1; percent are made where numbers are written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dstc.core.taxonomy import IGNORE


class ConfusionMatrix:
    """Counts of K classes, gathered image by image on one device."""

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        # The additional first row takes the void pixels: cheaper than selecting the others, and a label beyond the
        # last class lengthens the count and fails there instead of being counted somewhere.
        self._counts = torch.zeros(num_classes + 1, num_classes, dtype=torch.int64, device=device)
        # Narrow numbers are what makes counting fast: it is bound by memory.
        self._narrow = torch.int16 if self._counts.numel() <= torch.iinfo(torch.int16).max else torch.int32

    @property
    def counts(self) -> Tensor:
        """int64 (K, K): pixels by true class (row) and predicted class (column); void is in none."""
        return self._counts[1:]

    def update(self, label: Tensor, prediction: Tensor) -> None:
        """Count pixels. Both hold train ids, in one shape: the label uint8 with IGNORE, the prediction any integers."""
        assert label.dtype == torch.uint8
        rows, columns = self._counts.shape
        row = label.flatten() - IGNORE  # bytes wrap around: IGNORE becomes 0, class k becomes k + 1
        cell = row.to(self._narrow).mul_(columns).add_(prediction.flatten().to(self._narrow))
        self._counts += torch.bincount(cell, minlength=rows * columns).view(rows, columns)

    def add_up(self, total: Callable[[Tensor], Tensor]) -> None:
        """Make the counts those of all processes; `total` adds up their tensors."""
        self._counts = total(self._counts)

    def iou(self) -> Tensor:
        """float64 (K,): intersection over union per class, NaN where no pixel is truly of the class.

        Deviation: a class that is predicted alone has 0 in the released code, so that a few stray pixels of a class that a
        data set does not have cost its mIoU points. They cost the classes that they were taken from anyway. On Cityscapes,
        whose val images show every class, both are the same.
        """
        counts = self.counts.double()
        intersection, truth = counts.diagonal(), counts.sum(1)
        iou = intersection / (counts.sum(0) + truth - intersection)
        return iou.masked_fill(truth == 0, math.nan)

    def pixel_accuracy(self) -> float:
        """The part of all labeled pixels that is right; NaN where nothing is labeled."""
        return float(self.counts.trace().double() / self.counts.sum())

    def rates(self) -> Tensor:
        """float64 (K, K): where each true class went; rows add up to 1, or are NaN where it is absent."""
        return self.counts / self.counts.sum(1, keepdim=True).double()


def most_likely(score: Tensor) -> Tensor:
    """Train ids, int64 (N, H, W), of class scores (N, K, H, W). On the CPU `max` is up to 2.7 times as fast as `argmax`."""
    return score.max(dim=1).indices


def mean_iou(iou: Tensor, subset: Sequence[int] | None = None) -> float:
    """The mean of an IoU vector over a subset of train ids (or all), without the NaN ones; NaN where all are."""
    return float((iou if subset is None else iou[list(subset)]).nanmean())
