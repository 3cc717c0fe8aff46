"""The backbones that `model.backbone` may name. Adding one is one entry here.

Nothing of torch here: every stage checks its parameters, and most need no network. So an entry names its class, and
dstc/models/deeplab_v2.py imports it when a network is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Backbone:
    """`build` is "module:Class". The class takes `options`, `output_stride` and, if `bottlenecks`, `stride_on`, by keyword.

    Its modules turn (N, 3, H, W) float32 into (N, out_channels, ceil(H/output_stride), ceil(W/output_stride)) and have both
    numbers as attributes. For `runtime.gradient_checkpointing`, blocks are the children of its sequences, or what it has as
    `blocks`.
    Without `batch_norm` the network has LayerNorms, which have neither statistics nor anything to freeze.
    `on_imagenet`: torchvision has ImageNet weights for a network of this very name. `timm_weights`:
    the network is one of the library timm, and this is what it calls the ImageNet weights that were made for
    `model.normalization` imagenet_rgb; of some networks its first choice was made for another (resnet50d's, for one).
    """

    build: str
    options: Mapping[str, Any] = field(default_factory=dict)
    bottlenecks: bool = False
    batch_norm: bool = True
    on_imagenet: bool = False
    timm_weights: str = ""

    @property
    def weights_by_name(self) -> tuple[str, ...]:
        """What `model.initial_weights` may name for this backbone, beside "none"."""
        return tuple(IMAGENET) if self.on_imagenet else ("imagenet",) if self.timm_weights else ()


def lacking(name: str, entry: Backbone) -> str | None:
    """The message that the library of the backbone of this name is not installed, or None."""
    if not entry.timm_weights or find_spec("timm"):
        return None
    return f"model.backbone '{name}' is a network of timm, which is not installed here: pip install timm"


_TIMM = "dstc.models.timm_features:TimmFeatures"
_RESNET = "dstc.models.resnet:ResNet"
BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "resnet101": Backbone(_RESNET, {"blocks": (3, 4, 23, 3)}, bottlenecks=True, on_imagenet=True),
        "resnet50": Backbone(_RESNET, {"blocks": (3, 4, 6, 3)}, bottlenecks=True, on_imagenet=True),
        "mobilenet_v2": Backbone("dstc.models.mobilenet_v2:MobileNetV2", on_imagenet=True),
        "narrow_resnet": Backbone(_RESNET, {"blocks": (1, 1, 1, 1), "stem": 16}, bottlenecks=True),
        "convnext_tiny": Backbone(
            _TIMM,
            {"architecture": "convnext_tiny", "dilated": True},
            batch_norm=False,
            timm_weights="convnext_tiny.fb_in1k",
        ),
        "resnet50d": Backbone(_TIMM, {"architecture": "resnet50d", "dilated": True}, timm_weights="resnet50d.ra2_in1k"),
        "pvt_v2_b2": Backbone(
            _TIMM,
            {"architecture": "pvt_v2_b2", "dilated": False},
            batch_norm=False,
            timm_weights="pvt_v2_b2.in1k",
        ),
    }
)

# Names of weights that torchvision fetches, and what it calls them.
IMAGENET: Mapping[str, str] = MappingProxyType({"imagenet": "IMAGENET1K_V1", "imagenet_v2": "IMAGENET1K_V2"})
