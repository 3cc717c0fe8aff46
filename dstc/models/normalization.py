"""What a network's first layer expects of an image. It belongs to the initial weights: see models/weights.py."""

from __future__ import annotations

import functools
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
        """uint8 (N, H, W, 3) RGB, or without N, to float32 (N, 3, H, W), channels last in memory, on the image's device."""
        batch = image if image.ndim == 4 else image[None]
        if self.bgr:
            batch = torch.stack([batch[..., channel] for channel in (2, 1, 0)], dim=-1)  # while it is bytes
        values = batch.to(torch.float32, memory_format=torch.contiguous_format)
        # Whole rows at once: a mean of three numbers along a dimension of three would keep the CPU from using its vectors.
        row_of = _row if torch.compiler.is_compiling() else _kept_row  # what is kept may be no part of a traced program
        rows = values.view(*values.shape[:2], -1)
        if self.scale != 1:
            rows = rows.div(self.scale)
        rows = rows - row_of(self.mean, values.shape[2], values.device)
        if self.std != (1.0, 1.0, 1.0):
            rows = rows / row_of(self.std, values.shape[2], values.device)
        return rows.view(values.shape).permute(0, 3, 1, 2)

    def invert(self, normalized: Tensor) -> Tensor:
        """float32 (N, 3, H, W) back to uint8 (N, H, W, 3) RGB, for pictures."""
        device = normalized.device
        mean, std = (_kept_row(values, 1, device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        value = normalized * std + mean
        value = (value * self.scale).flip(1) if self.bgr else value * self.scale
        return value.permute(0, 2, 3, 1).round().clamp(0, 255).to(torch.uint8)


def _row(values: tuple[float, float, float], width: int, device: torch.device) -> Tensor:
    """float32 (3 * width,): the channels' values, pixel after pixel."""
    return torch.tensor(values, dtype=torch.float32).repeat(width).to(device)


@functools.lru_cache(maxsize=64)
def _kept_row(values: tuple[float, float, float], width: int, device: torch.device) -> Tensor:
    """As `_row`; bringing it to a GPU makes that wait, once."""
    with torch.inference_mode(False):  # of whoever asks first
        return _row(values, width, device)


NORMALIZATIONS: Mapping[str, Normalization] = MappingProxyType(
    {
        "caffe_bgr": Normalization(True, 1.0, (104.00698793, 116.66876762, 122.67891434), (1.0, 1.0, 1.0)),
        "imagenet_rgb": Normalization(False, 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    }
)
