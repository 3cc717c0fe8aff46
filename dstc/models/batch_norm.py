"""BatchNorm's running statistics, which a pass moves even if it only looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """All BatchNorm layers, synchronized or not."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Passes in here normalize as they would, but leave the running statistics as they are."""
    layers = [(layer, layer.momentum, layer.num_batches_tracked) for layer in batch_norms(network)]
    for layer, *_ in layers:
        # A momentum of zero instead of no statistics: what a pass saves for its gradient must not depend on this.
        layer.momentum, layer.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for layer, momentum, tracked in layers:
            layer.momentum, layer.num_batches_tracked = momentum, tracked
