"""The network for semantic segmentation: a backbone, a head (attribute `classifier`), logits at the image's size."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dstc.core.device import autocast
from dstc.core.errors import UserError
from dstc.models.backbones import LEVELS_OF_HEAD, find_backbone, lacking
from dstc.models.batch_norm import batch_norms
from dstc.models.heads import DPT, AtrousClassifiers, LinearClassifier


class SegmentationNetwork(nn.Module):
    """A backbone and a head; with a dilated ResNet and atrous classifiers the paper's DeepLabV2.

    `batch_norm_affine` "frozen" keeps BatchNorm's scale and shift as they were loaded (as the released code does);
    `batch_norm_statistics` "running" normalizes with the running statistics in training as well, and leaves them alone.
    Both mean nothing to a network of LayerNorms, which has no such statistics. `backbone_weights` "frozen" trains the head
    alone: the backbone keeps its weights and stays in eval mode.
    `precision` "bf16" runs the convolutions in bfloat16 (autocast), "auto" does so where the device has arithmetic for
    it; logits and losses are float32 either way.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        num_classes: int,
        *,
        backbone_weights: str = "trained",
        batch_norm_affine: str = "frozen",
        batch_norm_statistics: str = "batch",
        precision: str = "fp32",
    ) -> None:
        super().__init__()
        self.precision = precision
        self.backbone, self.classifier = backbone, head
        self.output_stride: float = head.stride  # type: ignore[assignment]
        self.num_classes = num_classes
        self.batch_norm_statistics = batch_norm_statistics
        for module in batch_norms(self):
            module.requires_grad_(module.weight.requires_grad and batch_norm_affine == "trained")
        self.backbone_is_frozen = backbone_weights == "frozen"
        if self.backbone_is_frozen:
            backbone.requires_grad_(False)

    def keep_batch_norm_statistics(self) -> None:
        """From here on, normalize with the running statistics in training as well, and leave them alone."""
        self.batch_norm_statistics = "running"
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.backbone_is_frozen:
            self.backbone.eval()
        if self.batch_norm_statistics == "running":
            for module in batch_norms(self):
                module.eval()
        return self

    def low_resolution_logits(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) float32, normalized, to (N, K, h, w), with h and w at least H and W divided by the output stride."""
        return self.classifier(self.backbone(image))

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) float32, normalized, to logits (N, K, H, W) float32."""
        height, width = image.shape[-2:]
        with autocast(image.device, self.precision):
            logits = self.low_resolution_logits(image)
        return upsample_logits(logits.float(), self.output_stride)[..., :height, :width]


def upsample_logits(logits: Tensor, output_stride: float) -> Tensor:
    """Bilinear, by the output stride, as F.interpolate does it. A side of the image that is no multiple of it gives larger
    logits, to be cut off: stretching them to fit instead would shift every pixel a little.

    Rows, then columns are mixed by a matrix each. With the loss after it that takes a third of the time of F.interpolate,
    and unlike its gradient on a GPU, that of a matrix product is the same in every run.
    """
    rows, columns = (_interpolation(size, output_stride, logits.device) for size in logits.shape[-2:])
    return rows @ (logits.contiguous() @ columns.T)


def _interpolation(size: int, factor: float, device: torch.device) -> Tensor:
    """float32 (size * factor, size): what bilinear interpolation makes of a vector of this size."""
    one_hot = torch.eye(size, device=device)[None]  # a channel for each place
    return F.interpolate(one_hot, scale_factor=factor, mode="linear", align_corners=False)[0].T


def build_backbone(
    name: str, *, stride_on: str, output_stride: int, levels: Sequence[int] | None = None, head: str = "deeplab_v2"
) -> nn.Module:
    """The backbone of this name (dstc/models/backbones.py), with random weights and the maps that `head` takes."""
    entry = find_backbone(name)
    assert entry is not None
    if message := lacking(name, entry):
        raise UserError(message)
    module, build = entry.build.split(":")
    form: dict[str, Any] = {"output_stride": output_stride}
    if entry.bottlenecks:
        form["stride_on"] = stride_on
    if entry.of_timm:
        form |= {"levels": levels, "pyramid": LEVELS_OF_HEAD[head] > 1}
    return getattr(import_module(module), build)(**entry.options, **form)


def build_head(
    name: str, backbone: nn.Module, num_classes: int, *, atrous_rates: Sequence[int], head_channels: int | None
) -> nn.Module:
    """The head of this name on the maps of a backbone, with random weights.

    `head_channels` None: a sixth of the last map's, 256 at most, which for the small and base DINOv2 is what UniMatch V2
    has.
    """
    channels: list[int] = list(backbone.channels)  # type: ignore[arg-type]
    strides: list[int] = list(backbone.strides)  # type: ignore[arg-type]
    if name == "dpt":
        return DPT(channels, strides, num_classes, width=head_channels or min(256, channels[-1] // 6))
    if name == "linear":
        return LinearClassifier(channels, strides, num_classes)
    return AtrousClassifiers(channels, strides, num_classes, atrous_rates=atrous_rates)


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
    head: str = "deeplab_v2",
    levels: Sequence[int] | None = None,
    head_channels: int | None = None,
    backbone_weights: str = "trained",
) -> SegmentationNetwork:
    """A network with initial weights that depend on `seed` alone and leave torch's global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = build_backbone(backbone, stride_on=stride_on, output_stride=output_stride, levels=levels, head=head)
        return SegmentationNetwork(
            body,
            build_head(head, body, num_classes, atrous_rates=atrous_rates, head_channels=head_channels),
            num_classes,
            backbone_weights=backbone_weights,
            batch_norm_affine=batch_norm_affine,
            batch_norm_statistics=batch_norm_statistics,
            precision=precision,
        ).to(memory_format=torch.channels_last)
