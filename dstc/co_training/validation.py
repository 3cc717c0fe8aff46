"""What co-training stands on, on the target's val images: how good the pseudo-labels are, and how far the branches differ.

Their labels are at hand, so it can be counted; it is for curves, and nothing is learnt from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from dstc.core.taxonomy import IGNORE
from dstc.data.loaders import ValidationImages
from dstc.label_maps.confusion_matrix import ConfusionMatrix, most_likely
from dstc.training.context import TrainingContext
from dstc.training.validation import Pair, Scores, count_pixels, percent_miou

ACCURACY = "pseudo_label_accuracy"


def validate_branches(
    networks: Mapping[str, nn.Module],
    images: ValidationImages,
    context: TrainingContext,
    *,
    together: Mapping[str, Sequence[str]],
    teachers: Mapping[str, str],
    threshold: float,
) -> dict[str, float]:
    """Percent: the mIoUs of `validate`, then what each of the two `teachers` (branch: the name of its network) says in eval
    mode of the labeled pixels: the share of which it is surer than `threshold`, and how many of these it has right, unless
    there are none; and the share of the pixels on which the teachers disagree."""

    def confident(name: str) -> Pair:
        return lambda scores, truth: confident_pixels(scores[name], truth, threshold)

    def disagreeing(scores: Scores, truth: Tensor) -> tuple[Tensor, Tensor]:
        one, other = (most_likely(scores[name]) for name in teachers.values())
        return torch.where(truth == IGNORE, IGNORE, one.to(torch.uint8)), other

    pairs = {f"{branch}_confident": confident(name) for branch, name in teachers.items()}
    matrices = count_pixels(networks, images, context, together, {**pairs, "disagreement": disagreeing})
    counted = {name: matrices.pop(name) for name in (*pairs, "disagreement")}
    labeled = int(next(iter(matrices.values())).counts.sum())
    values = percent_miou(matrices)
    for branch in teachers:
        sure: ConfusionMatrix = counted[f"{branch}_confident"]
        values[f"{branch}_confident_share"] = 100 * int(sure.counts.sum()) / labeled
        if sure.counts.any():
            values[f"{branch}_{ACCURACY}"] = 100 * sure.pixel_accuracy()
    return {**values, "disagreement": 100 - 100 * counted["disagreement"].pixel_accuracy()}


def confident_pixels(score: Tensor, truth: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The truth, uint8 (N, H, W), void where the likeliest class of the logits (N, K, H, W) has no probability above the
    threshold; and that class, int64 (N, H, W)."""
    sure = score.softmax(1).amax(1) > threshold
    return torch.where(sure, truth, IGNORE), most_likely(score)
