"""Target-preferred alignment: on source images the source-biased branch is pulled, class by class, to the target-biased."""

from __future__ import annotations

import torch
from torch import Tensor

from dstc.core.taxonomy import IGNORE


def class_sums(logits: Tensor, label: Tensor, *, counts_void: bool = False) -> tuple[Tensor, Tensor]:
    """Of each class the sum of the logit vectors of its pixels in the batch, and the number of these.

    logits (N, K, H, W), label uint8 (N, H, W) to sums (C, K) and pixels (C,), both float. C is K; with `counts_void`,
    K + 1, void being the last row. Over the shares of a batch both add up.
    Deviation: the released code counts void as a class (6 to 9 % of the term); here only if asked to.
    """
    num_classes = logits.shape[1]
    rows = torch.where(label == IGNORE, num_classes, label).flatten()
    # Not `one_hot`, whose int64 would be two times the logits' memory while a graph is alive.
    membership = (rows[:, None] == torch.arange(num_classes + 1, device=rows.device)).to(logits.dtype)  # (NHW, K+1)
    sums = membership.T @ logits.permute(0, 2, 3, 1).flatten(0, 2)
    pixels = membership.sum(0)
    return (sums, pixels) if counts_void else (sums[:num_classes], pixels[:num_classes])


def class_prototypes(sums: Tensor, pixels: Tensor) -> Tensor:
    """The mean logit vector of each class over all its pixels in the batch: (C, K) of both of what `class_sums` gives.

    Rows of classes without pixels are zero.
    """
    return sums / pixels.clamp(min=1)[:, None]


def target_preferred_alignment(source_biased: Tensor, target_biased: Tensor, pixels: Tensor) -> Tensor:
    """Mean absolute difference of the two branches' prototypes over (classes present) x (outputs).

    Both branches' class sums (C, K) over the source images of a batch; `pixels` (C,) of each class there. No gradient
    reaches the target-biased branch. Zero where no class is present.
    """
    ours, theirs = class_prototypes(source_biased, pixels), class_prototypes(target_biased.detach(), pixels)
    return (ours - theirs).abs().mean(1).sum() / (pixels > 0).sum().clamp(min=1)
