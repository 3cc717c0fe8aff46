"""Heads: what turns the maps of a backbone into logits. `stride` is the image's side divided by that of the logits.

| model.head | what it is | source |
|---|---|---|
| deeplab_v2 | atrous 3x3 convolutions whose outputs are summed | Chen et al., DeepLab, TPAMI 2017 |
| linear | one 1x1 convolution | linear probes of DINOv2 and DINOv3 |
| dpt | four levels brought to strides that double, joined from coarse to fine | Ranftl et al., DPT, ICCV 2021 |
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dstc.core.errors import UserError

Maps = Sequence[Tensor]
"""Of a backbone: map i float (N, channels[i], ceil(H/strides[i]), ceil(W/strides[i])), from fine to coarse."""


class AtrousClassifiers(nn.ModuleList):
    """A classifier for each of the `atrous_rates`, which are 6, 12, 18 and 24 in the paper."""

    def __init__(
        self, channels: Sequence[int], strides: Sequence[int], num_classes: int, *, atrous_rates: Sequence[int]
    ) -> None:
        super().__init__(
            nn.Conv2d(sum(channels), num_classes, kernel_size=3, padding=rate, dilation=rate) for rate in atrous_rates
        )
        self.strides, self.stride = strides, strides[0]
        for conv in self:
            _begin_small(conv)

    def forward(self, maps: Maps) -> Tensor:
        """To logits (N, K, h, w) of the finest map's size."""
        features = side_by_side(maps, self.strides)
        first, *others = self
        total = _atrous(first, features)
        for conv in others:
            total = total + _atrous(conv, features)
        return total


class LinearClassifier(nn.Module):
    """A 1x1 convolution, which shows what the features know by themselves."""

    def __init__(self, channels: Sequence[int], strides: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.strides, self.stride = strides, strides[0]
        self.linear = nn.Conv2d(sum(channels), num_classes, kernel_size=1)
        _begin_small(self.linear)

    def forward(self, maps: Maps) -> Tensor:
        """To logits (N, K, h, w) of the finest map's size."""
        return self.linear(side_by_side(maps, self.strides))


class DPT(nn.Module):
    """The decoder of a dense prediction transformer, without BatchNorm and class token, as UniMatch V2 has it for DINOv2.

    Four maps of one stride p are brought to p/4, p/2, p and 2p; maps of strides that double stay as they are. The logits
    have half the finest of these strides. `width` is the number of channels of what is joined.

    Deviation: maps are enlarged with align_corners=False, which keeps pixels where they are in images of any size.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int], num_classes: int, *, width: int) -> None:
        super().__init__()
        of_one_stride = len(set(strides)) == 1
        if len(strides) != 4 or not (of_one_stride or _double(strides)):
            raise UserError(
                f"model.head 'dpt': takes four levels, of one stride or of strides that double; those of this "
                f"model.backbone have {list(strides)}; choose others with model.levels, or another head"
            )
        self.stride = strides[0] / (8 if of_one_stride else 2)
        self.reassemble = nn.ModuleList(_reassembled(channels[0]) if of_one_stride else [nn.Identity()] * 4)
        inner = [channels[0] // part for part in (8, 4, 2, 1)] if of_one_stride else channels
        self.narrow = nn.ModuleList(nn.Conv2d(own, width, kernel_size=3, padding=1, bias=False) for own in inner)
        self.fusions = nn.ModuleList(_Fusion(width, joins=level < 3) for level in range(4))
        self.output = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=3, padding=1), nn.ReLU(), nn.Conv2d(width, num_classes, kernel_size=1)
        )

    def forward(self, maps: Maps) -> Tensor:
        """To logits (N, K, h, w), whose sides are twice those of the finest map that is joined."""
        levels = [narrow(resize(own)) for own, resize, narrow in zip(maps, self.reassemble, self.narrow, strict=True)]
        joined = self.fusions[3](levels[3])
        for level in (2, 1, 0):
            joined = self.fusions[level](_cut_to(levels[level], joined), levels[level])
        return self.output(joined)


def _double(strides: Sequence[int]) -> bool:
    return all(coarse == 2 * fine for fine, coarse in itertools.pairwise(strides))


def _reassembled(channels: int) -> list[nn.Module]:
    """Maps of one stride at a quarter of it, at half, at itself and at twice it: the more pixels, the fewer channels."""
    eighth, quarter, half = channels // 8, channels // 4, channels // 2
    return [
        nn.Sequential(nn.Conv2d(channels, eighth, 1), nn.ConvTranspose2d(eighth, eighth, kernel_size=4, stride=4)),
        nn.Sequential(nn.Conv2d(channels, quarter, 1), nn.ConvTranspose2d(quarter, quarter, kernel_size=2, stride=2)),
        nn.Conv2d(channels, half, 1),
        nn.Sequential(nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 3, stride=2, padding=1)),
    ]


class _Fusion(nn.Module):
    """What is joined so far, with the next finer map added to it, at twice its size."""

    def __init__(self, width: int, *, joins: bool) -> None:
        super().__init__()
        self.of_finer = _ResidualUnit(width) if joins else None
        self.of_all = _ResidualUnit(width)
        self.project = nn.Conv2d(width, width, kernel_size=1)  # commutes with enlarging, and is cheaper before it

    def forward(self, joined: Tensor, finer: Tensor | None = None) -> Tensor:
        if self.of_finer is not None:
            joined = joined + self.of_finer(finer)
        return enlarge(self.project(self.of_all(joined)), 2)


class _ResidualUnit(nn.Module):
    """Two 3x3 convolutions beside a shortcut, each after a ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, kernel_size=3, padding=1) for _ in range(2))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(F.relu(self.first(F.relu(features))))


def side_by_side(maps: Maps, strides: Sequence[int]) -> Tensor:
    """The maps as channels of one, float (N, sum of channels, h, w), the coarser ones enlarged to the finest: the coarsest
    knows most of what is seen, the finest of where."""
    if len(maps) == 1:
        return maps[0]
    finest, stride = maps[0], strides[0]
    return torch.cat(
        [_cut_to(finest, enlarge(own, other / stride)) for own, other in zip(maps, strides, strict=True)], 1
    )


def enlarge(features: Tensor, factor: float) -> Tensor:
    """Bilinear, by a factor. What is larger than it need be is cut off: stretching it would shift every pixel a little."""
    if factor == 1:
        return features
    return F.interpolate(features, scale_factor=factor, mode="bilinear", align_corners=False)


def _cut_to(finer: Tensor, larger: Tensor) -> Tensor:
    return larger[..., : finer.shape[-2], : finer.shape[-1]]


def _begin_small(conv: nn.Module) -> None:
    """As the released code begins its classifiers."""
    assert isinstance(conv, nn.Conv2d) and conv.bias is not None
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)


def _atrous(conv: nn.Module, features: Tensor) -> Tensor:
    """A 3x3 atrous convolution without the taps that can only meet padding.

    At a rate of at least the features' height (width), the upper and lower (left and right) taps lie outside of them for
    every pixel: with crops of 128 pixels, 16 of features, that is so at the rates 18 and 24, half of the classifier's work.
    """
    assert isinstance(conv, nn.Conv2d)
    kernel, rate = conv.weight, conv.dilation[0]
    height, width = features.shape[-2:]
    if rate >= height:
        kernel = kernel[:, :, 1:2]
    if rate >= width:
        kernel = kernel[:, :, :, 1:2]
    padding = (0 if rate >= height else rate, 0 if rate >= width else rate)
    return F.conv2d(features, kernel, conv.bias, padding=padding, dilation=rate)
