"""Cross supervision (cross pseudo supervision, Chen et al., CVPR 2021): each branch learns from the other's hard labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dstc.method.batches import LabeledBatch
from dstc.method.division import UNDIVIDED, Division
from dstc.training.cross_entropy import cross_entropy_in_parts


@contextmanager
def teacher_mode(network: nn.Module, batch_norm: str) -> Iterator[None]:
    """The state in which a network labels for the other: no gradient, and BatchNorm with its "running" statistics (eval
    mode) or with those of the "batch".

    Deviation: the released code uses the batch's, which also moves the running statistics, so that the target-biased
    branch's test-time statistics absorb pure source images; that is "batch" here.
    """
    was_training = network.training
    network.train(batch_norm == "batch")
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(was_training)


def pseudo_label(logits: Tensor) -> Tensor:
    """Hard labels uint8 (N, H, W) from logits (N, K, H, W). They carry no gradient, and no pixel is left out."""
    return logits.detach().argmax(1).to(torch.uint8)


def confident_pixels(logits: Tensor, threshold: float) -> Tensor:
    """int64 (N,): how many pixels of each image have a likeliest class with a probability above `threshold`.

    logits (N, K, H, W).
    """
    return (logits.detach().softmax(1).amax(1) > threshold).sum((1, 2))


def confident_share(confident: Tensor, label: Tensor) -> Tensor:
    """Share, 0 to 1, of all pixels that are confident: `confident` (N,) of them in the labels (N, H, W).

    Deviation: as a weight of cross supervision, as in ClassMix (Olsson et al., WACV 2021) and DACS, it lets a teacher count
    by how sure it is, without leaving out the unsure pixels, which are those of rare classes. The released code has none.
    """
    return confident.sum() / label.numel()


def cross_supervision(
    student: nn.Module,
    unlabeled: LabeledBatch,
    weight: Tensor | None = None,
    division: Division = UNDIVIDED,
    class_weights: Tensor | None = None,
) -> Iterator[Tensor]:
    """Cross entropy of the student on unlabeled (mixed) images against the other branch's (equally mixed) pseudo-labels,
    times a scalar `weight` (1 if None); a graph for each part of the batch."""
    for loss in cross_entropy_in_parts(student, unlabeled, division, class_weights):
        yield loss if weight is None else weight * loss
