"""The supervised loss of every pass."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from dstc.method.batches import LabeledBatch
from dstc.method.division import UNDIVIDED, Division
from dstc.taxonomy import IGNORE


def valid_pixels(label: Tensor) -> Tensor:
    """How many pixels of the label are not void."""
    return (label != IGNORE).sum()


def cross_entropy(logits: Tensor, label: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean over the valid pixels of the whole batch.

    logits (N, K, H, W); label uint8 (N, H, W). A batch that is void throughout costs zero (a plain mean would be NaN).
    Where these are a part of a batch, `valid` is the number of valid pixels of all of it, and the parts' losses add up.
    """
    total = F.cross_entropy(logits, label.long(), ignore_index=IGNORE, reduction="sum")
    return total / (valid_pixels(label) if valid is None else valid).clamp(min=1)


def cross_entropy_in_parts(student: nn.Module, batch: LabeledBatch, division: Division = UNDIVIDED) -> Iterator[Tensor]:
    """The student's cross entropy on a batch, a graph for each part of it."""
    valid = valid_pixels(batch.label)
    for part in division.labeled(batch):
        yield cross_entropy(student(part.image), part.label, valid)
