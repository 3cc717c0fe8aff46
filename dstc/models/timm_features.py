"""Backbones of the library timm, which is imported when one of them is asked for and not before."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dstc.core.errors import UserError


class TimmFeatures(nn.Module):
    """Features of one of timm's networks, for images of any size, which are padded to whole patches.

    With a `pyramid`, four levels: of a transformer those of evenly spread blocks, else the four coarsest strides.
    Without, the network turns its last strides into dilation, and its last map is the features; where it cannot, its maps
    at the output stride and coarser. `levels` names others, as timm counts them from 0.

    Maps of one stride, as plain transformers have, pass the network's last normalization, as DINOv2 hands them out.
    Position embeddings are fitted to the image by timm. What lies below `pyramid.model` has timm's own names. None of the
    networks has dropout or drop path here (timm's default), so nothing in them draws.
    """

    def __init__(
        self, architecture: str, *, output_stride: int, levels: Sequence[int] | None = None, pyramid: bool = False
    ) -> None:
        super().__init__()
        model = _built(architecture, None if pyramid else output_stride)
        info = _feature_info(model, architecture)
        reductions = [level["reduction"] for level in info]
        chosen = list(levels or _default_levels(reductions, output_stride, pyramid))
        if chosen != sorted(set(chosen)) or not 0 <= chosen[0] <= chosen[-1] < len(reductions):
            raise UserError(
                f"model.levels: must be ascending numbers of the levels of features that timm's {architecture} has, "
                f"0 to {len(reductions) - 1}, not {list(levels or ())}"
            )
        self.architecture, self.levels, self._coarsest = architecture, chosen, max(reductions)
        self.channels: list[int] = [info[level]["num_chs"] for level in chosen]
        self.strides = [reductions[level] for level in chosen]
        self._norm = len(set(reductions)) == 1
        model.prune_intermediate_layers(chosen, prune_norm=not self._norm, prune_head=True)
        self.pyramid = nn.ModuleDict({"model": model})  # checkpoints have timm's own names below these two

    @property
    def _model(self) -> Any:
        return self.pyramid["model"]

    @property
    def blocks(self) -> list[nn.Module]:
        """Its blocks, which timm's networks have as `layerN` or in `blocks`: not stages, whose insides are the memory."""
        named = self.pyramid.named_modules()
        return [module for name, module in named if re.search(r"(^|\.)(blocks|layer\d+)\.\d+$", name)]

    def forward(self, image: Tensor) -> list[Tensor]:
        """(N, 3, H, W) float32 to maps (N, channels[i], ceil(H/strides[i]), ceil(W/strides[i]))."""
        height, width = image.shape[-2:]
        # To the right and below, in the mean color (zero), where timm's networks would drop what fills no whole patch.
        padded = F.pad(image, (0, -width % self._coarsest, 0, -height % self._coarsest))
        maps = self._model.forward_intermediates(
            padded, indices=self.levels, norm=self._norm, output_fmt="NCHW", intermediates_only=True
        )
        return [
            own[..., : -(-height // stride), : -(-width // stride)]
            for own, stride in zip(maps, self.strides, strict=True)
        ]

    def by_its_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Published weights, by timm's names or by those of the network's authors, under the names of this module.

        timm translates authors' names, and fits position embeddings made for another size. What the network has and its
        features do without is left out: a classifier, blocks after the last level.
        """
        import timm

        model = self._model
        with torch.device("meta"):
            whole = timm.create_model(self.architecture, num_classes=1).state_dict()
        own = model.state_dict()
        foreign = any(
            key not in whole or (key in own and own[key].shape != value.shape) for key, value in state.items()
        )
        translate = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
        if foreign and translate is not None:
            state = translate(dict(state), model)
        return {f"pyramid.model.{key}": value for key, value in state.items() if key in own or key not in whole}

    def parameter_groups(self, *, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
        """timm's groups of `params`, each with its `weight_decay`, which is 0 for norms, biases and embeddings, and its
        `lr_scale`, which is `layer_decay` to the power of the layers above it."""
        from timm.optim import param_groups_layer_decay

        model = self._model
        embeddings = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
        return param_groups_layer_decay(
            model, weight_decay=weight_decay, no_weight_decay_list=embeddings, layer_decay=layer_decay
        )


def _built(architecture: str, output_stride: int | None) -> Any:
    """The network, dilated to the output stride if there is one and it can, and for images of any size if it can."""
    import timm

    if not timm.is_model(architecture):
        near = get_close_matches(architecture.partition(".")[0], timm.list_models(), n=3)
        raise UserError(f"model.backbone: timm has no '{architecture}'{f'; near are {near}' if near else ''}")
    tries: list[dict[str, Any]] = [{"dynamic_img_size": True}, {"strict_img_size": False}, {}]
    for options in [*([{"output_stride": output_stride}] if output_stride else []), *tries]:
        try:
            return timm.create_model(architecture, pretrained=False, num_classes=0, **options)
        except (
            AssertionError,
            NotImplementedError,
            TypeError,
        ):  # timm's networks do not tell beforehand what they take
            if not options:
                raise
    raise AssertionError


def _feature_info(model: Any, architecture: str) -> list[dict[str, Any]]:
    """Of each level of its features, `num_chs` channels and the `reduction` of the image's side."""
    info = getattr(model, "feature_info", None)
    if not info or not hasattr(model, "forward_intermediates"):
        raise UserError(f"model.backbone: timm's {architecture} does not give its features; choose another")
    return list(getattr(info, "info", info))


def _default_levels(reductions: Sequence[int], output_stride: int, pyramid: bool) -> list[int]:
    if pyramid and len(set(reductions)) == 1:
        return [len(reductions) * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
    last_of = {reduction: level for level, reduction in enumerate(reductions)}
    if pyramid:
        return sorted(last_of.values())[-4:]
    return [level for reduction, level in last_of.items() if reduction >= output_stride] or [len(reductions) - 1]


def network_problem(
    architecture: str, *, output_stride: int, levels: Sequence[int] | None, pyramid: bool
) -> str | None:
    """Why such a network of timm cannot be a backbone here, or None. Nothing is computed: it is built of shapes alone."""
    try:
        with torch.device("meta"):
            backbone = TimmFeatures(architecture, output_stride=output_stride, levels=levels, pyramid=pyramid).eval()
            size = 3 * backbone._coarsest - 1, 4 * backbone._coarsest + 1  # of no square and no whole patches
            maps = backbone(torch.empty(1, 3, *size))
    except UserError as error:
        return str(error)
    except Exception as error:  # each of timm's networks has its own way to refuse an image
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return f"model.backbone: timm's {architecture} cannot take images of any size ({reason}); choose another"
    for own, count, stride in zip(maps, backbone.channels, backbone.strides, strict=True):
        if own.shape != (1, count, -(-size[0] // stride), -(-size[1] // stride)):
            return (
                f"model.backbone: timm's {architecture} gives maps {tuple(own.shape)} where it promises {count} channels "
                f"at a stride of {stride}; choose another"
            )
    return None


def weights_problem(published: str) -> str | None:
    """Why timm's weights of this name cannot be used here, or None. Nothing is fetched."""
    import timm
    from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    made_for = timm.get_pretrained_cfg(published)
    if not timm.models.is_model_pretrained(published) or made_for is None:
        return f"timm has no weights {published}"
    if (made_for.mean, made_for.std) != (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD):
        return (
            f"timm's weights {published} were made for the mean {made_for.mean} and the deviation {made_for.std}, which "
            "model.normalization 'imagenet_rgb' is not"
        )
    return None
