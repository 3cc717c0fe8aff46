"""The backbones that `model.backbone` may name. Adding one is one entry here.

Nothing of torch here: every stage checks its parameters, and most need no network. So an entry names its class, and
dstc/models/deeplab_v2.py imports it when a network is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Backbone:
    """`build` is "module:Class". The class takes `options`, `output_stride` and, if `bottlenecks`, `stride_on`, by keyword.

    Its modules turn (N, 3, H, W) float32 into (N, out_channels, ceil(H/output_stride), ceil(W/output_stride)) and have both
    numbers as attributes. `on_imagenet`: torchvision has ImageNet weights for a network of this very name.
    """

    build: str
    options: Mapping[str, Any] = field(default_factory=dict)
    bottlenecks: bool = False
    on_imagenet: bool = False


_RESNET = "dstc.models.resnet:ResNet"
BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "resnet101": Backbone(_RESNET, {"blocks": (3, 4, 23, 3)}, bottlenecks=True, on_imagenet=True),
        "resnet50": Backbone(_RESNET, {"blocks": (3, 4, 6, 3)}, bottlenecks=True, on_imagenet=True),
        "mobilenet_v2": Backbone("dstc.models.mobilenet_v2:MobileNetV2", on_imagenet=True),
        "narrow_resnet": Backbone(_RESNET, {"blocks": (1, 1, 1, 1), "stem": 16}, bottlenecks=True),
    }
)

# Names of weights that torchvision fetches, and what it calls them.
IMAGENET: Mapping[str, str] = MappingProxyType({"imagenet": "IMAGENET1K_V1", "imagenet_v2": "IMAGENET1K_V2"})
