"""Cross supervision (cross pseudo supervision, Chen et al., CVPR 2021): each branch learns from the other's hard labels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dstc.method.batches import LabeledBatch
from dstc.method.cross_entropy import cross_entropy


@contextmanager
def labeling(network: nn.Module, batch_norm: str) -> Iterator[None]:
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
    """Hard labels uint8 (N, H, W) from logits (N, K, H, W). No confidence threshold. They carry no gradient."""
    return logits.detach().argmax(1).to(torch.uint8)


def cross_supervision(student: nn.Module, unlabeled: LabeledBatch) -> Tensor:
    """Cross entropy of the student on unlabeled (mixed) images against the other branch's (equally mixed) pseudo-labels."""
    return cross_entropy(student(unlabeled.image), unlabeled.label)
