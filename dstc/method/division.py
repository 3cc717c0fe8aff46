"""How the passes over a batch are divided: an equal share for each process, each share in parts with a graph each.

Every process holds the whole batch. What looks at several images at once looks at all of it: mixing and augmentation, the
number of valid pixels, class prototypes. Only forward and backward passes are divided, and losses are normalized by the
whole batch, so the gradients of all parts add up to that of the undivided batch, unless BatchNorm takes its statistics
from the images of one pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from dstc.method.batches import LabeledBatch


def _same(tensor: Tensor) -> Tensor:
    return tensor


@dataclass(frozen=True)
class Division:
    """`parts` passes for each share; `gather` concatenates the shares of all processes, `total` adds up their tensors."""

    parts: int = 1
    processes: int = 1
    rank: int = 0
    gather: Callable[[Tensor], Tensor] = _same
    total: Callable[[Tensor], Tensor] = _same

    def images(self, images: Tensor) -> list[Tensor]:
        """The parts of this process's share of the images (N, ...); fewer than `parts` if there are not enough."""
        if self.processes == self.parts == 1:
            return [images]
        return list(images.chunk(self.processes)[self.rank].chunk(self.parts))

    def labeled(self, batch: LabeledBatch) -> list[LabeledBatch]:
        """The same of a labeled batch."""
        return [LabeledBatch(*part) for part in zip(self.images(batch.image), self.images(batch.label), strict=True)]


UNDIVIDED = Division()
