"""The ResNets: torchvision's bottlenecks with dilation in place of the last strides."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

# (strides, dilations) of layer1..layer4 by output stride; the stem has brought the image to a quarter before.
_LAYERS = {8: ((1, 2, 1, 1), (1, 1, 2, 4)), 16: ((1, 2, 2, 1), (1, 1, 1, 2))}


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut (He et al., 2016), under torchvision's state-dict names.

    Not torchvision's own class: importing that package costs every stage two seconds, as much as torch itself.
    """

    expansion = 4

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        strides: tuple[int, int] = (1, 1),
        dilation: int,
        downsample: nn.Module | None = None,
    ) -> None:
        """`strides` are those of the first two convolutions."""
        super().__init__()
        out = width * self.expansion
        self.conv1 = nn.Conv2d(channels, width, 1, stride=strides[0], bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=strides[1], padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, features: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, 4 * width, H, W), both sides divided by the strides and rounded up."""
        inner = self.relu(self.bn1(self.conv1(features)))
        inner = self.relu(self.bn2(self.conv2(inner)))
        inner = self.bn3(self.conv3(inner))
        return self.relu(inner + (features if self.downsample is None else self.downsample(features)))


class ResNet(nn.Module):
    """A dilated ResNet of bottlenecks, with torchvision's state-dict names (conv1, bn1, layer1..layer4).

    `stride_on` says where a strided bottleneck has its stride: "first_conv", on the first 1x1 convolution (the Caffe form,
    which the DeepLab init file and the released code have), or "second_conv", on the 3x3 (torchvision's form). Weights
    made for one load into the other without an error and are wrong.

    Deviation: torchvision's own dilated ResNet leaves the first block of a dilated layer at the previous dilation; here,
    as in the released code, every block of layer3 has dilation 2 and every block of layer4 dilation 4 (at output stride
    16, every block of layer4 dilation 2).
    """

    def __init__(self, blocks: Sequence[int], *, stem: int = 64, stride_on: str, output_stride: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, stem, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = stem
        strides, dilations = _LAYERS[output_stride]
        widths = (stem, 2 * stem, 4 * stem, 8 * stem)
        for number, (count, width, stride, dilation) in enumerate(
            zip(blocks, widths, strides, dilations, strict=True), start=1
        ):
            layer = _layer(channels, width, count, stride=stride, dilation=dilation, stride_on=stride_on)
            self.add_module(f"layer{number}", layer)
            channels = width * Bottleneck.expansion
        self.channels, self.strides = [channels], [output_stride]
        _initialize(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, 3, H, W) float32 to one map (N, channels[0], ceil(H/output_stride), ceil(W/output_stride))."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        for number in range(1, 5):
            features = self.get_submodule(f"layer{number}")(features)
        return [features]


def _layer(channels: int, width: int, count: int, *, stride: int, dilation: int, stride_on: str) -> nn.Sequential:
    out = width * Bottleneck.expansion
    shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))
    strides = (stride, 1) if stride_on == "first_conv" else (1, stride)
    first = Bottleneck(channels, width, strides=strides, dilation=dilation, downsample=shortcut)
    return nn.Sequential(first, *(Bottleneck(out, width, dilation=dilation) for _ in range(count - 1)))


def _initialize(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
