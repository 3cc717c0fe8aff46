"""The backbones that `model.backbone` may name. Adding one is one entry here; `timm/<name>` is any network of timm.

Nothing of torch here: every stage checks its parameters, and most need no network. So an entry names its class, and
dstc/models/segmentation.py imports it when a network is built.
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

    Its modules turn (N, 3, H, W) float32 into a list of maps, map i (N, channels[i], ceil(H/strides[i]),
    ceil(W/strides[i])), from fine to coarse, and have `channels` and `strides` as attributes. For
    `runtime.gradient_checkpointing`, blocks are the children of its sequences, or what it has as `blocks`.

    Without `batch_norm` the network has LayerNorms, which have neither statistics nor anything to freeze.
    `patch`: a transformer that divides every image by its patch, whatever `model.output_stride` is; 0 if it is none.
    `on_imagenet`: torchvision has ImageNet weights for a network of this very name. `timm_weights`: the network is one
    of the library timm, and this is what it calls the weights that were made for `model.normalization` imagenet_rgb; of
    some networks its first choice was made for another (resnet50d's, for one). `timm_weights_are` is what
    `model.initial_weights` calls them.
    """

    build: str
    options: Mapping[str, Any] = field(default_factory=dict)
    bottlenecks: bool = False
    batch_norm: bool = True
    patch: int = 0
    on_imagenet: bool = False
    timm_weights: str = ""
    timm_weights_are: str = "imagenet"

    @property
    def of_timm(self) -> bool:
        """Whether it gives several levels of features, and has its weights from timm."""
        return bool(self.timm_weights)

    @property
    def weights_by_name(self) -> tuple[str, ...]:
        """What `model.initial_weights` may name for this backbone, beside "none"."""
        return tuple(IMAGENET) if self.on_imagenet else (self.timm_weights_are,) if self.timm_weights else ()


def find_backbone(name: str) -> Backbone | None:
    """The entry of this name, or that of any network of timm by `timm/<its name there>`; None if it is neither."""
    if name.startswith(ANY_OF_TIMM):
        own = name.removeprefix(ANY_OF_TIMM)
        return _timm(own, own, timm_weights_are=PRETRAINED)
    return BACKBONES.get(name)


def lacking(name: str, entry: Backbone) -> str | None:
    """The message that the library of the backbone of this name is not installed, or None."""
    if not entry.of_timm or find_spec("timm"):
        return None
    return f"model.backbone '{name}' is a network of timm, which is not installed here: pip install timm"


def _timm(architecture: str, weights: str, **more: Any) -> Backbone:
    return Backbone(
        "dstc.models.timm_features:TimmFeatures", {"architecture": architecture}, timm_weights=weights, **more
    )


def _dino(architecture: str, weights: str, patch: int = 0) -> Backbone:
    return _timm(architecture, f"{architecture}.{weights}", batch_norm=False, patch=patch, timm_weights_are=PRETRAINED)


ANY_OF_TIMM = "timm/"
PRETRAINED = "pretrained"
"""The name of timm's weights of a network that were not learned on ImageNet, or not known to be."""

_RESNET = "dstc.models.resnet:ResNet"
BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "resnet101": Backbone(_RESNET, {"blocks": (3, 4, 23, 3)}, bottlenecks=True, on_imagenet=True),
        "resnet50": Backbone(_RESNET, {"blocks": (3, 4, 6, 3)}, bottlenecks=True, on_imagenet=True),
        "mobilenet_v2": Backbone("dstc.models.mobilenet_v2:MobileNetV2", on_imagenet=True),
        "narrow_resnet": Backbone(_RESNET, {"blocks": (1, 1, 1, 1), "stem": 16}, bottlenecks=True),
        "convnext_tiny": _timm("convnext_tiny", "convnext_tiny.fb_in1k", batch_norm=False),
        "resnet50d": _timm("resnet50d", "resnet50d.ra2_in1k"),
        "pvt_v2_b2": _timm("pvt_v2_b2", "pvt_v2_b2.in1k", batch_norm=False),
        "dinov2_small": _dino("vit_small_patch14_dinov2", "lvd142m", patch=14),
        "dinov2_base": _dino("vit_base_patch14_dinov2", "lvd142m", patch=14),
        "dinov3_small": _dino("vit_small_patch16_dinov3", "lvd1689m", patch=16),
        "dinov3_base": _dino("vit_base_patch16_dinov3", "lvd1689m", patch=16),
        "dinov3_convnext_tiny": _dino("convnext_tiny", "dinov3_lvd1689m"),
        "dinov3_convnext_base": _dino("convnext_base", "dinov3_lvd1689m"),
    }
)

# Names of weights that torchvision fetches, and what it calls them.
IMAGENET: Mapping[str, str] = MappingProxyType({"imagenet": "IMAGENET1K_V1", "imagenet_v2": "IMAGENET1K_V2"})
WEIGHTS_BY_NAME = (*IMAGENET, PRETRAINED)

LEVELS_OF_HEAD: Mapping[str, int] = MappingProxyType({"deeplab_v2": 1, "linear": 1, "dpt": 4})
"""What `model.head` may name, and how many levels of features it needs; with 1 it takes those at the output stride."""
