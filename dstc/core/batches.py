"""What one pass of a network sees. N images, 3 channels, H x W pixels; labels hold train ids and IGNORE."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LabeledBatch:
    """Images of one domain with their labels."""

    image: Tensor  # float32 (N, 3, H, W), normalized
    label: Tensor  # uint8 (N, H, W)
