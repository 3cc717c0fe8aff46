"""Activation checkpointing: less memory for more work, the same numbers."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from dstc.models.batch_norm import statistics_kept


def recompute_blocks(backbone: nn.Module) -> None:
    """From here on, a training pass keeps the input of each of the backbone's blocks alone, and the backward pass runs the
    block once more for the rest. Blocks are the children of its sequences."""
    for sequence in backbone.children():
        if isinstance(sequence, nn.Sequential):
            for block in sequence:
                block.forward = partial(
                    checkpoint,
                    block.forward,
                    use_reentrant=False,
                    preserve_rng_state=False,  # nothing in a network draws
                    context_fn=partial(_contexts, block),
                )


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """For the pass and for its repetition, which must not move the running statistics a second time."""
    return nullcontext(), statistics_kept(block)
