"""Averaged networks: the exponential moving average (EMA) of a network's weights over its steps.

In the middle of a run the learning rate is high and each single state of a network is poor; its average is ahead of it
(Tarvainen and Valpola, Mean Teacher, 2017).
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from dstc.models.batch_norm import batch_norms


def averaged_copy(network: nn.Module, decay: float) -> AveragedModel:
    """An average that `update_parameters(network)` moves: weights and buffers, BatchNorm's statistics among them.

    The first update copies the network. Update t after it keeps min(1 - 1/(t+1), decay) of the average, so that a short
    run's average is the plain mean of its states instead of a memory of the first one. The released code has no average.

    An average that labels in train mode normalizes by the batch, but its running statistics move by its updates alone.
    """
    return _Average(network, decay)


class _Average(AveragedModel):
    """Torch's own update sends the number of updates to the device, which waits for it; here it stays with the host."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self.decay = decay
        for layer in batch_norms(self.module):
            layer.momentum = 0.0

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        updates = int(self.n_averaged)
        new = max(1 / (updates + 1), 1 - self.decay)
        pairs = [
            pair
            for own, others in (
                (self.module.parameters(), model.parameters()),
                (self.module.buffers(), model.buffers()),
            )
            for pair in zip(own, others, strict=True)
        ]
        for moves, alike in itertools.groupby(sorted(pairs, key=_moves), key=_moves):
            averages, networks = map(list, zip(*alike, strict=True))
            if moves and updates:
                torch._foreach_lerp_(averages, networks, new)
            else:  # the first time, and BatchNorm's counters always
                torch._foreach_copy_(averages, networks)
        self.n_averaged += 1


def _moves(pair: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return pair[0].is_floating_point()
