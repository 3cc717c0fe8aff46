"""MobileNetV2 with dilation in place of its last strides."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

_DILATED = {8: (7, 14), 16: (14,)}  # by output stride: the strided blocks that lose their stride to dilation


class _DilatedDepthwise(nn.Conv2d):
    """A dilated depthwise convolution of stride 1, on the CPU as an undilated one of every phase of the image.

    A pixel meets only those that lie a multiple of the dilation away. So the phases, as images of their own, give the same
    result, and oneDNN has fast kernels for them: a fifth of the time of a whole training step with bf16.
    """

    @classmethod
    def of(cls, conv: nn.Conv2d) -> _DilatedDepthwise:
        """`conv` with its weights and settings."""
        new = cls.__new__(cls)
        new.__dict__ = conv.__dict__
        return new

    def forward(self, features: Tensor) -> Tensor:
        (n, c, height, width), by = features.shape, int(self.dilation[0])
        if features.device.type != "cpu" or height % by or width % by:
            return super().forward(features)
        h, w = height // by, width // by
        phases = features.reshape(n, c, h, by, w, by).permute(3, 5, 0, 1, 2, 4).reshape(by * by * n, c, h, w)
        phases = phases.contiguous(memory_format=torch.channels_last)
        result = F.conv2d(phases, self.weight, self.bias, padding=1, groups=self.groups)
        whole = result.view(by, by, n, c, h, w).permute(2, 3, 4, 0, 5, 1).reshape(n, c, height, width)
        return whole.contiguous(memory_format=torch.channels_last)


class MobileNetV2(nn.Module):
    """torchvision's MobileNetV2 features up to the 320-channel layer, its last strides turned into dilation.

    The state dict keeps torchvision's names, and the last 1x1 convolution too (`features.18`), so that files of features
    load strictly; the 320 channels before it are what goes on, as in DeepLab's own MobileNetV2.
    """

    out_channels = 320

    def __init__(self, *, output_stride: int = 8) -> None:
        super().__init__()
        self.output_stride = output_stride
        self.features = mobilenet_v2(weights=None).features
        dilation = 1
        for number, block in enumerate(self.features[:18]):
            own = dilation  # the block that had the stride keeps the dilation of what came before it
            if number in _DILATED[output_stride]:
                dilation *= 2
            for parent in list(block.modules()):
                for name, conv in list(parent.named_children()):
                    if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                        conv.dilation, conv.padding = (own, own), (own, own)
                        if dilation > own:
                            conv.stride = (1, 1)
                        if own > 1:
                            setattr(parent, name, _DilatedDepthwise.of(conv))
        for parameter in self.features[18].parameters():
            parameter.requires_grad_(False)  # kept for strict loading, never run

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) float32 to (N, 320, ceil(H/output_stride), ceil(W/output_stride))."""
        features = image
        for block in self.features[:18]:
            features = block(features)
        return features
