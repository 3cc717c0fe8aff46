"""The supervised loss of every pass."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from dstc.core.taxonomy import IGNORE
from dstc.method.batches import LabeledBatch
from dstc.method.division import UNDIVIDED, Division
from dstc.training.class_weights import weight_of


def valid_pixels(label: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """How many pixels of the label are not void; with class weights (K,), the sum of their weights."""
    return (label != IGNORE).sum() if class_weights is None else weight_of(label, class_weights)


def cross_entropy(
    logits: Tensor, label: Tensor, valid: Tensor | None = None, class_weights: Tensor | None = None
) -> Tensor:
    """Mean over the valid pixels of the whole batch, weighted by class if there are weights (K,).

    logits (N, K, H, W); label uint8 (N, H, W). A batch that is void throughout costs zero (a plain mean would be NaN).
    Where these are a part of a batch, `valid` is what `valid_pixels` gives for all of it, and the parts' losses add up.
    """
    total = F.cross_entropy(logits, label.long(), weight=class_weights, ignore_index=IGNORE, reduction="sum")
    # No batch with a valid pixel has less than one: weights are at least 1 / ln(2.02) = 1.4.
    return total / (valid_pixels(label, class_weights) if valid is None else valid).clamp(min=1)


def cross_entropy_in_parts(
    student: nn.Module, batch: LabeledBatch, division: Division = UNDIVIDED, class_weights: Tensor | None = None
) -> Iterator[Tensor]:
    """The student's cross entropy on a batch, a graph for each part of it."""
    valid = valid_pixels(batch.label, class_weights)
    for part in division.labeled(batch):
        yield cross_entropy(student(part.image), part.label, valid, class_weights)
