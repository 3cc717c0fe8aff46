"""MobileNetV2 with dilation in place of its last strides."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models import mobilenet_v2

_DILATED = {8: (7, 14), 16: (14,)}  # by output stride: the strided blocks that lose their stride to dilation


class MobileNetV2(nn.Module):
    """torchvision's MobileNetV2 features up to the 320-channel layer, its last strides turned into dilation.

    The state dict keeps torchvision's names, and the last 1x1 convolution too (`features.18`), so that files of features
    load strictly; the 320 channels before it are what goes on, as in DeepLab's own MobileNetV2.
    """

    def __init__(self, *, output_stride: int = 8) -> None:
        super().__init__()
        self.channels, self.strides = [320], [output_stride]
        self.features = mobilenet_v2(weights=None).features
        dilation = 1
        for number, block in enumerate(self.features[:18]):
            own = dilation  # the block that had the stride keeps the dilation of what came before it
            if number in _DILATED[output_stride]:
                dilation *= 2
            for conv in block.modules():
                if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                    conv.dilation, conv.padding = (own, own), (own, own)
                    if dilation > own:
                        conv.stride = (1, 1)
        for parameter in self.features[18].parameters():
            parameter.requires_grad_(False)  # kept for strict loading, never run

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, 3, H, W) float32 to one map (N, 320, ceil(H/output_stride), ceil(W/output_stride))."""
        features = image
        for block in self.features[:18]:
            features = block(features)
        return [features]
