"""What a network's first layer expects of an image. It belongs to the initial weights: see models/weights.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor


@dataclass(frozen=True)
class Normalization:
    """(value / scale - mean) / std per channel, of RGB or BGR channels, value in 0..255."""

    bgr: bool
    scale: float
    mean: tuple[float, float, float]  # in the order of the channels
    std: tuple[float, float, float]

    def apply(self, image: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) RGB, or without N, to float32 (N, 3, H, W), on the image's device."""
        batch = image if image.ndim == 4 else image[None]
        channels_first = batch.permute(0, 3, 1, 2).to(torch.float32)
        if self.bgr:
            channels_first = channels_first.flip(1)
        if self.scale != 1:
            channels_first = channels_first / self.scale
        normalized = channels_first - self._per_channel(self.mean, batch.device)
        if self.std != (1.0, 1.0, 1.0):
            normalized = normalized / self._per_channel(self.std, batch.device)
        return normalized.contiguous(memory_format=torch.channels_last)

    def invert(self, normalized: Tensor) -> Tensor:
        """float32 (N, 3, H, W) back to uint8 (N, H, W, 3) RGB, for pictures."""
        device = normalized.device
        value = normalized * self._per_channel(self.std, device) + self._per_channel(self.mean, device)
        value = (value * self.scale).flip(1) if self.bgr else value * self.scale
        return value.permute(0, 2, 3, 1).round().clamp(0, 255).to(torch.uint8)

    @staticmethod
    def _per_channel(values: tuple[float, float, float], device: torch.device) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device).view(1, 3, 1, 1)


NORMALIZATIONS: Mapping[str, Normalization] = MappingProxyType(
    {
        "caffe_bgr": Normalization(True, 1.0, (104.00698793, 116.66876762, 122.67891434), (1.0, 1.0, 1.0)),
        "imagenet_rgb": Normalization(False, 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    }
)
