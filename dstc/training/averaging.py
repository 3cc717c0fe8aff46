"""Averaged networks: the exponential moving average (EMA) of a network's weights over its steps.

In the middle of a run the learning rate is high and each single state of a network is poor; its average is ahead of it
(Tarvainen and Valpola, Mean Teacher, 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged_copy(network: nn.Module, decay: float) -> AveragedModel:
    """An average that `update_parameters(network)` moves: weights and buffers, BatchNorm's statistics among them.

    The first update copies the network. Update t after it keeps min(1 - 1/(t+1), decay) of the average, so that a short
    run's average is the plain mean of its states instead of a memory of the first one. The released code has no average.
    """

    @torch.no_grad()
    def move(averages: Sequence[Tensor], networks: Sequence[Tensor], _: Tensor | int) -> None:
        updates = int(average.n_averaged)  # the argument may lie on a GPU, and reading it there would wait
        new = max(1 / (updates + 1), 1 - decay)
        if torch.is_floating_point(averages[0]):
            torch._foreach_lerp_(list(averages), list(networks), new)
        else:  # BatchNorm's counters
            torch._foreach_copy_(list(averages), list(networks))

    average = AveragedModel(network, multi_avg_fn=move, use_buffers=True)
    return average
