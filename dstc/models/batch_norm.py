"""BatchNorm's statistics: kept where a pass only looks, and the same in all processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dstc.core.errors import UserError

_Synchronized = nn.SyncBatchNorm.forward


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """All BatchNorm layers, synchronized or not."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def recompute_statistics(network: nn.Module, images: Iterable[Tensor]) -> None:
    """Make the running statistics those of these images, normalized (N, 3, H, W): the mean over batches of the batches'.

    Needs no labels (Li et al., AdaBN, 2016). The statistics of training mix the domains that a network has seen.
    """
    layers = batch_norms(network)
    modes, momenta = [layer.training for layer in layers], [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.train()
        layer.momentum = None  # a cumulative mean
    with torch.no_grad():
        for batch in images:
            network(batch)
    for layer, mode, momentum in zip(layers, modes, momenta, strict=True):
        layer.train(mode)
        layer.momentum = momentum


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Passes in here normalize as they would, but leave the running statistics as they are."""
    layers = [(layer, layer.momentum, layer.num_batches_tracked) for layer in batch_norms(network)]
    for layer, _, tracked in layers:
        # A momentum of zero instead of no statistics: what a pass saves for its gradient must not depend on this. And a
        # counter to be thrown away instead of none, which synchronized layers do not bear.
        layer.momentum, layer.num_batches_tracked = 0.0, None if tracked is None else tracked.clone()
    try:
        yield
    finally:
        for layer, momentum, tracked in layers:
            layer.momentum, layer.num_batches_tracked = momentum, tracked


def synchronize(network: nn.Module) -> None:
    """From here on, batch statistics are taken over the images of all processes."""
    more = [layer for layer in batch_norms(network) if type(layer).forward not in (_BatchNorm.forward, _Synchronized)]
    if more:  # torch puts a plain layer in its place: timm's BatchNormAct2d would lose its activation
        raise UserError(
            f"runtime.processes: several share BatchNorm's statistics, but a {type(more[0]).__name__} of this "
            "model.backbone does more than normalize, and torch would drop that; set runtime.processes to 1"
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(network)
