"""What one co-training step sees of both domains."""

from __future__ import annotations

from dataclasses import dataclass

from dstc.core.batches import LabeledBatch


@dataclass(frozen=True)
class CoTrainingBatch:
    """Of the unlabeled images the label only says where there is a pixel (0) and where padding (IGNORE)."""

    source: LabeledBatch
    labeled_target: LabeledBatch
    unlabeled_target: LabeledBatch | None = None  # where every target image is labeled
