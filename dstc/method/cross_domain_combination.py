"""Differentiated cross-domain combination: the labeled data reach the two branches differently.

Data combination 1 (source-biased branch): whole source images and whole labeled target images, one pass each.
Data combination 2 (target-biased branch): labeled target images with half of a source image's classes pasted in.
"""

from __future__ import annotations

from torch import Tensor

from dstc.core.batches import LabeledBatch
from dstc.core.errors import UserError
from dstc.method.class_mix import paste, paste_mask


def combine_whole_images(source: LabeledBatch, labeled_target: LabeledBatch) -> tuple[LabeledBatch, LabeledBatch]:
    """Data combination 1: both batches as they are, a forward pass each (so each has its own batch statistics)."""
    return source, labeled_target


def combine_within_images(source: LabeledBatch, labeled_target: LabeledBatch, chosen: Tensor) -> LabeledBatch:
    """Data combination 2: the chosen classes of source image i, with their labels, pasted into labeled target image i.

    chosen bool (N, K) over the source labels of the first N images. A labeled target pixel that is not covered keeps its
    label, void included; void source pixels are never pasted. UserError where source images are fewer than the target's.
    """
    count = len(labeled_target.image)
    if len(source.image) < count:  # one would be broadcast
        raise UserError(
            f"source: holds {len(source.image)} images for {count} labeled target images; data combination 2 takes as many"
        )
    foreground = LabeledBatch(source.image[:count], source.label[:count])
    return paste(foreground, labeled_target, paste_mask(foreground.label, chosen[:count]))
