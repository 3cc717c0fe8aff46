"""DeepLabV2: a dilated backbone, atrous classifiers whose outputs are summed, logits at the image's size."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dstc.core.device import autocast
from dstc.core.errors import UserError
from dstc.models.backbones import BACKBONES, lacking
from dstc.models.batch_norm import batch_norms


class DeepLabV2(nn.Module):
    """Semantic segmentation network of the paper's setting (Chen et al., DeepLab, TPAMI 2017).

    It has a classifier for each of the `atrous_rates`, which are 6, 12, 18 and 24 in the paper.
    `batch_norm_affine` "frozen" keeps BatchNorm's scale and shift as they were loaded (as the released code does);
    `batch_norm_statistics` "running" normalizes with the running statistics in training as well, and leaves them alone.
    Both mean nothing to a network of LayerNorms (convnext_tiny, pvt_v2_b2), which has no such statistics.
    `precision` "bf16" runs the convolutions in bfloat16 (autocast); logits and losses are float32 either way.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        *,
        atrous_rates: Sequence[int],
        batch_norm_affine: str = "frozen",
        batch_norm_statistics: str = "batch",
        precision: str = "fp32",
    ) -> None:
        super().__init__()
        self.precision = precision
        self.backbone = backbone
        self.output_stride = int(backbone.output_stride)  # type: ignore[arg-type]
        self.classifier = nn.ModuleList(
            nn.Conv2d(backbone.out_channels, num_classes, kernel_size=3, padding=rate, dilation=rate)  # type: ignore[arg-type]
            for rate in atrous_rates
        )
        self.num_classes = num_classes
        self.batch_norm_statistics = batch_norm_statistics
        for conv in self.classifier:
            nn.init.normal_(conv.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        for module in batch_norms(self):
            module.requires_grad_(module.weight.requires_grad and batch_norm_affine == "trained")

    def keep_batch_norm_statistics(self) -> None:
        """From here on, normalize with the running statistics in training as well, and leave them alone."""
        self.batch_norm_statistics = "running"
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.batch_norm_statistics == "running":
            for module in batch_norms(self):
                module.eval()
        return self

    def low_resolution_logits(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) float32, normalized, to (N, K, h, w), each side divided by the output stride and rounded up."""
        features = self.backbone(image)
        first, *others = self.classifier
        total = _atrous(first, features)
        for conv in others:
            total = total + _atrous(conv, features)
        return total

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) float32, normalized, to logits (N, K, H, W) float32."""
        height, width = image.shape[-2:]
        with autocast(image.device, self.precision):
            logits = self.low_resolution_logits(image)
        return upsample_logits(logits.float(), self.output_stride)[..., :height, :width]


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


def upsample_logits(logits: Tensor, output_stride: int) -> Tensor:
    """Bilinear, by the output stride, as F.interpolate does it. A side of the image that is no multiple of it gives larger
    logits, to be cut off: stretching them to fit instead would shift every pixel a little.

    Rows, then columns are mixed by a matrix each. With the loss after it that takes a third of the time of F.interpolate,
    and unlike its gradient on a GPU, that of a matrix product is the same in every run.
    """
    rows, columns = (_interpolation(size, output_stride, logits.device) for size in logits.shape[-2:])
    return rows @ (logits.contiguous() @ columns.T)


def _interpolation(size: int, factor: int, device: torch.device) -> Tensor:
    """float32 (size * factor, size): what bilinear interpolation makes of a vector of this size."""
    one_hot = torch.eye(size, device=device)[None]  # a channel for each place
    return F.interpolate(one_hot, scale_factor=factor, mode="linear", align_corners=False)[0].T


def build_backbone(name: str, *, stride_on: str, output_stride: int) -> nn.Module:
    """The backbone of an entry of dstc/models/backbones.py, with random weights."""
    entry = BACKBONES[name]
    if message := lacking(name, entry):
        raise UserError(message)
    module, build = entry.build.split(":")
    form: dict[str, Any] = {"output_stride": output_stride}
    if entry.bottlenecks:
        form["stride_on"] = stride_on
    return getattr(import_module(module), build)(**entry.options, **form)


def build_network(
    backbone: str,
    num_classes: int,
    *,
    stride_on: str,
    output_stride: int,
    atrous_rates: Sequence[int],
    batch_norm_affine: str,
    batch_norm_statistics: str,
    precision: str,
    seed: int,
) -> DeepLabV2:
    """A network with initial weights that depend on `seed` alone and leave torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DeepLabV2(
            build_backbone(backbone, stride_on=stride_on, output_stride=output_stride),
            num_classes,
            atrous_rates=atrous_rates,
            batch_norm_affine=batch_norm_affine,
            batch_norm_statistics=batch_norm_statistics,
            precision=precision,
        ).to(memory_format=torch.channels_last)
