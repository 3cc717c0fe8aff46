"""The supervised loss of every pass."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from dstc.core.taxonomy import IGNORE
from dstc.training.class_weights import weight_of


def valid_pixels(label: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """How many pixels of the label are not void; with class weights (K,), the sum of their weights."""
    return (label != IGNORE).sum() if class_weights is None else weight_of(label, class_weights)


def cross_entropy(
    logits: Tensor,
    label: Tensor,
    class_weights: Tensor | None = None,
    *,
    total: Callable[[Tensor], Tensor] = lambda own: own,
) -> Tensor:
    """Mean over the valid pixels of the whole batch, weighted by class if there are weights (K,).

    logits (N, K, H, W); label uint8 (N, H, W). A batch that is void throughout costs zero (a plain mean would be NaN).
    Where these are a share of a batch, `total` adds a number up over all shares.
    """
    # A GPU adds up the sum of this loss in any order, but that of a map in a fixed one; a CPU needs no map to do so.
    reduction = "sum" if logits.device.type == "cpu" else "none"
    summed = F.cross_entropy(logits, label.long(), weight=class_weights, ignore_index=IGNORE, reduction=reduction).sum()
    valid = total(valid_pixels(label, class_weights))
    return total(summed) / valid.masked_fill(valid == 0, 1)
