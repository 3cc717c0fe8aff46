"""Backbones of the library timm, which is imported when one of them is asked for and not before."""

from __future__ import annotations

import re
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dstc.core.errors import UserError


class TimmFeatures(nn.Module):
    """Features of one of timm's hierarchical networks at one output stride, for images of any size.

    `dilated`: the network turns its last strides into dilation, and its last map is the features. Where it cannot, as
    transformers cannot, its maps at the output stride and coarser, enlarged to it, stand side by side as channels: the
    coarsest knows most of what is seen, the finest of where.

    What lies below `pyramid.model` has timm's own names. None of the networks has dropout or drop path here (timm's
    default), so nothing in them draws.
    """

    def __init__(self, architecture: str, *, dilated: bool, output_stride: int) -> None:
        super().__init__()
        import timm

        self.output_stride, self.dilated = output_stride, dilated
        options: dict[str, Any] = {"output_stride": output_stride} if dilated else {}
        try:
            # The "getter" leaves timm's names in the state dict as its files of weights have them.
            self.pyramid = timm.create_model(
                architecture, pretrained=False, features_only=True, feature_cls="getter", num_classes=0, **options
            )
        except (AssertionError, NotImplementedError, TypeError) as error:
            raise UserError(
                f"model.output_stride {output_stride}: timm's {architecture} cannot be built with it "
                f"({str(error) or type(error).__name__})"
            ) from None
        self.reductions: list[int] = self.pyramid.feature_info.reduction()
        if dilated and self.reductions[-1] != output_stride:
            raise UserError(
                f"model.output_stride {output_stride}: timm's {architecture} divides by {self.reductions[-1]} regardless"
            )
        channels = self.pyramid.feature_info.channels()
        self.used = [
            number
            for number, reduction in enumerate(self.reductions)
            if (reduction >= output_stride and not dilated) or number == len(channels) - 1
        ]
        self.out_channels = sum(channels[number] for number in self.used)

    @property
    def blocks(self) -> list[nn.Module]:
        """Its blocks, which timm's networks have as `layerN` or in `blocks`: not stages, whose insides are the memory."""
        named = self.pyramid.named_modules()
        return [module for name, module in named if re.search(r"(^|\.)(blocks|layer\d+)\.\d+$", name)]

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) float32 to (N, out_channels, ceil(H/output_stride), ceil(W/output_stride))."""
        height, width = image.shape[-2:]
        # To the right and below, in the mean color (zero), where timm's networks would drop what fills no whole patch.
        coarsest = self.reductions[-1]
        maps = self.pyramid(F.pad(image, (0, -width % coarsest, 0, -height % coarsest)))
        rows, columns = -(-height // self.output_stride), -(-width // self.output_stride)
        fitted = [self._enlarged(maps[number], self.reductions[number])[..., :rows, :columns] for number in self.used]
        return torch.cat(fitted, dim=1)

    def _enlarged(self, features: Tensor, reduction: int) -> Tensor:
        factor = reduction // self.output_stride
        if factor == 1:
            return features
        return F.interpolate(features, scale_factor=float(factor), mode="bilinear", align_corners=False)
