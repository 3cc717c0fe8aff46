"""Cross supervision (cross pseudo supervision, Chen et al., CVPR 2021): each branch learns from the other's hard labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dstc.core.taxonomy import IGNORE


@contextmanager
def teacher_mode(network: nn.Module, batch_norm: str) -> Iterator[None]:
    """The state in which a network labels for the other: no gradient, and BatchNorm with its "running" statistics (eval
    mode) or with those of the "batch".

    Deviation: the released code uses the batch's, which also moves the running statistics, so that the target-biased
    branch's test-time statistics absorb pure source images; that is "batch" here, of branches that label. Averages keep
    their statistics (dstc/training/averaging.py).
    """
    was_training = network.training
    network.train(batch_norm == "batch")
    try:
        with torch.no_grad():
            yield
    finally:
        network.train(was_training)


def pseudo_label(logits: Tensor, padding: Tensor) -> Tensor:
    """Hard labels uint8 (N, H, W) from logits (N, K, H, W): the likeliest class of every pixel, without a gradient.

    `padding` uint8 (N, H, W) is IGNORE where there is no pixel, and so is the label there.
    """
    likeliest = logits.detach().max(dim=1).indices  # on the CPU several times as fast as `argmax`
    return torch.where(padding == IGNORE, IGNORE, likeliest.to(torch.uint8))


def confident_share(
    logits: Tensor, label: Tensor, threshold: float, *, total: Callable[[Tensor], Tensor] = lambda own: own
) -> Tensor:
    """Share, 0 to 1, of the labeled pixels whose likeliest class has a probability above `threshold`.

    logits (N, K, H, W), their pseudo-labels uint8 (N, H, W). Where these are a share of a batch, `total` adds a number up
    over all shares.

    Deviation: as a weight of cross supervision, as in ClassMix (Olsson et al., WACV 2021) and DACS, it lets a teacher count
    by how sure it is, without leaving out the unsure pixels, which are those of rare classes. The released code has none.
    """
    labeled = label != IGNORE
    confident = (logits.detach().softmax(1).amax(1) > threshold) & labeled
    return total(confident.sum()) / total(labeled.sum()).clamp(min=1)
