"""Backbones: what turns an image into features at an eighth of its size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torchvision.models import mobilenet_v2
from torchvision.models.resnet import Bottleneck

OUTPUT_STRIDE = 8


class ResNet(nn.Module):
    """A dilated ResNet out of torchvision's bottlenecks, with torchvision's state-dict names (conv1, bn1, layer1..layer4).

    `stride_on` says where a strided bottleneck has its stride: "first_conv", on the first 1x1 convolution (the Caffe form,
    which the DeepLab init file and the released code have), or "second_conv", on the 3x3 (torchvision's form). Weights
    made for one load into the other without an error and are wrong.

    Deviation: torchvision's own dilated ResNet leaves the first block of a dilated layer at the previous dilation; here,
    as in the released code, every block of layer3 has dilation 2 and every block of layer4 dilation 4.
    """

    def __init__(self, blocks: Sequence[int], *, stem: int, stride_on: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = stem
        for number, (count, width, stride, dilation) in enumerate(
            zip(blocks, (stem, 2 * stem, 4 * stem, 8 * stem), (1, 2, 1, 1), (1, 1, 2, 4), strict=True), start=1
        ):
            layer = _layer(channels, width, count, stride=stride, dilation=dilation, stride_on=stride_on)
            self.add_module(f"layer{number}", layer)
            channels = width * Bottleneck.expansion
        self.out_channels = channels
        _initialize(self)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) float32 to (N, out_channels, ceil(H/8), ceil(W/8))."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        for number in range(1, 5):
            features = self.get_submodule(f"layer{number}")(features)
        return features


def _layer(channels: int, width: int, count: int, *, stride: int, dilation: int, stride_on: str) -> nn.Sequential:
    out = width * Bottleneck.expansion
    shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))
    first = Bottleneck(channels, width, stride=stride, downsample=shortcut, dilation=dilation)
    if stride_on == "first_conv":
        first.conv1.stride, first.conv2.stride = (stride, stride), (1, 1)
    return nn.Sequential(first, *(Bottleneck(out, width, dilation=dilation) for _ in range(count - 1)))


def _initialize(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class MobileNetV2(nn.Module):
    """torchvision's MobileNetV2 features up to the 320-channel layer, its last two strides turned into dilation.

    The state dict keeps torchvision's names, and the last 1x1 convolution too (`features.18`), so that files of features
    load strictly; the 320 channels before it are what goes on, as in DeepLab's own MobileNetV2.
    """

    out_channels = 320

    def __init__(self) -> None:
        super().__init__()
        self.features = mobilenet_v2(weights=None).features
        for number, block in enumerate(self.features[7:18], start=7):
            dilation = 2 if number < 14 else 4
            for conv in block.modules():
                if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                    # the block that had the stride keeps the dilation of what came before it
                    own = {7: 1, 14: 2}.get(number, dilation)
                    conv.stride, conv.dilation, conv.padding = (1, 1), (own, own), (own, own)
        for parameter in self.features[18].parameters():
            parameter.requires_grad_(False)  # kept for strict loading, never run

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) float32 to (N, 320, ceil(H/8), ceil(W/8))."""
        features = image
        for block in self.features[:18]:
            features = block(features)
        return features


# Adding a backbone is one entry here: a function of `stride_on` that gives a module with `out_channels` and stride 8.
BACKBONES: dict[str, Callable[[str], nn.Module]] = {
    "resnet101": lambda stride_on: ResNet((3, 4, 23, 3), stem=64, stride_on=stride_on),
    "resnet50": lambda stride_on: ResNet((3, 4, 6, 3), stem=64, stride_on=stride_on),
    "mobilenet_v2": lambda _: MobileNetV2(),
    "narrow_resnet": lambda stride_on: ResNet((1, 1, 1, 1), stem=16, stride_on=stride_on),
}

__all__ = ["BACKBONES", "OUTPUT_STRIDE", "MobileNetV2", "ResNet"]
