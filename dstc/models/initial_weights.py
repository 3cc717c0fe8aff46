"""Initial weights of a backbone: torchvision's ImageNet ones by name, or a file whose kind its keys tell.

The kinds differ in what they expect, and a wrong pairing loads without an error and is wrong, so it is refused here:

| kind | told by | stride on | images |
|---|---|---|---|
| DeepLab init file (Caffe) | keys begin with `Scale.` | first_conv | caffe_bgr |
| torchvision ResNet | `conv1.weight` at the top | second_conv | imagenet_rgb |
| MobileNetV2 features | keys begin with `features.` | - | imagenet_rgb |
| checkpoint of this project | its format field | as it says | as it says |
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor

from dstc.checkpoints import FORMAT, load_network, load_strictly, read_tensors
from dstc.errors import UserError
from dstc.models.deeplab_v2 import DeepLabV2


def load_initial_weights(
    network: DeepLabV2, weights: str, *, backbone: str, stride_on: str, normalization: str
) -> None:
    """Fill the backbone (of a checkpoint of this project: the whole network). "none" leaves the random weights."""
    if weights == "none":
        return
    if weights == "imagenet":
        state: Mapping[str, Tensor] = _from_torchvision(backbone)
        _load_backbone(network, state, Path("imagenet"), stride_on=stride_on, normalization=normalization)
        return
    path = Path(weights)
    content = read_tensors(path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        _check_description(path, content["description"], backbone, stride_on, normalization)
        load_network(path, network)
        return
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path}: holds no plain state dict; save a network's state_dict() alone")
    _load_backbone(network, content, path, stride_on=stride_on, normalization=normalization)


def _from_torchvision(backbone: str) -> Mapping[str, Tensor]:
    try:
        weights = torchvision.models.get_model_weights(backbone)["IMAGENET1K_V1"]
        return weights.get_state_dict(progress=True, check_hash=True)
    except OSError as error:
        raise UserError(
            f"model.initial_weights 'imagenet': torchvision's weights for {backbone} could not be fetched ({error}); "
            "fetch the file elsewhere and give its path"
        ) from None


def _load_backbone(
    network: DeepLabV2, state: Mapping[str, Tensor], path: Path, *, stride_on: str, normalization: str
) -> None:
    if any(key.startswith("Scale.") for key in state):
        _expect(path, "the DeepLab init file (Caffe form)", "first_conv", stride_on, "caffe_bgr", normalization)
        state = {key.removeprefix("Scale."): value for key, value in state.items()}
    elif any(key.startswith("features.") for key in state):
        _expect(path, "MobileNetV2 features of torchvision", stride_on, stride_on, "imagenet_rgb", normalization)
    elif "conv1.weight" in state:
        _expect(path, "a ResNet of torchvision", "second_conv", stride_on, "imagenet_rgb", normalization)
    heads = ("fc.", "layer5.", "layer6.", "classifier.")  # classifiers of other tasks
    kept = {key: value for key, value in state.items() if not key.startswith(heads)}
    counters = {
        key: value for key, value in network.backbone.state_dict().items() if key.endswith("num_batches_tracked")
    }
    load_strictly(network.backbone, {**counters, **kept}, path)  # old files know no such counters


def _expect(path: Path, kind: str, stride: str, stride_on: str, images: str, normalization: str) -> None:
    if stride != stride_on:
        raise UserError(f"{path}: is {kind}, made for model.stride_on '{stride}', but it is '{stride_on}'")
    if images != normalization:
        raise UserError(f"{path}: is {kind}, made for model.normalization '{images}', but it is '{normalization}'")


def _check_description(
    path: Path, described: dict[str, Any], backbone: str, stride_on: str, normalization: str
) -> None:
    asked = {"backbone": backbone, "stride_on": stride_on, "normalization": normalization}
    for key, value in asked.items():
        if described["model"][key] != value:
            raise UserError(f"{path}: was trained with model.{key} '{described['model'][key]}', but it is '{value}'")
