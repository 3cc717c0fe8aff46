"""Activation checkpointing: less memory for more work, the same numbers."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from dstc.core.errors import UserError
from dstc.models.batch_norm import statistics_kept


def checkpoint_blocks(backbone: nn.Module) -> None:
    """From here on, a training pass keeps the input of each of the backbone's blocks alone, and the backward pass runs the
    block once more for the rest. Blocks are what the backbone lists as `blocks`, or else the children of its sequences."""
    blocks = getattr(backbone, "blocks", None) or [
        block for sequence in backbone.children() if isinstance(sequence, nn.Sequential) for block in sequence
    ]
    if not blocks:
        raise UserError(
            "runtime.gradient_checkpointing: true, but no blocks of this model.backbone are known; set it to false"
        )
    for block in blocks:
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
