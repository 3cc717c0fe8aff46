import os
from typing import TypeVar

import pytest
import torch
from torch import nn
from torchvision.models import get_model_weights, mobilenet_v2
from torchvision.models.resnet import Bottleneck
from torchvision.models.resnet import ResNet as TorchvisionResNet

from dstc.models.backbones import BACKBONES, IMAGENET, lacking
from dstc.models.deeplab_v2 import build_backbone
from dstc.models.mobilenet_v2 import MobileNetV2
from dstc.models.resnet import ResNet

Network = TypeVar("Network", bound=nn.Module)
SIZES = [(64, 64), (65, 97), (7, 1)]


def image(height: int, width: int, count: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def settle_statistics(network: Network) -> Network:
    """Statistics and scales other than the 0 and 1 they start with, so that a mix-up of layers shows; eval mode."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                assert tensor is not None
                tensor.copy_(0.5 + 0.5 * torch.rand(tensor.shape, generator=generator))
    return network.eval()


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("name", BACKBONES)
def test_every_entry_builds_features_of_the_image_divided_by_the_output_stride_and_rounded_up(
    name: str, stride: int
) -> None:
    if complaint := lacking(name, BACKBONES[name]):
        pytest.skip(complaint)
    with torch.device("meta"):  # shapes without arithmetic
        backbone = build_backbone(name, stride_on="first_conv", output_stride=stride).eval()
        assert backbone.output_stride == stride
        for height, width in SIZES:
            features = backbone(torch.empty(2, 3, height, width))
            assert features.shape == (2, backbone.out_channels, -(-height // stride), -(-width // stride))


@pytest.mark.parametrize("name", [name for name, backbone in BACKBONES.items() if backbone.on_imagenet])
def test_torchvision_has_the_weights_that_an_entry_promises(name: str) -> None:
    for version in IMAGENET.values():
        assert get_model_weights(name)[version].url.startswith("https://")


def test_resnet_101_has_torchvisions_names_shapes_and_order() -> None:
    with torch.device("meta"):
        ours = build_backbone("resnet101", stride_on="second_conv", output_stride=8).state_dict()
        theirs = TorchvisionResNet(Bottleneck, [3, 4, 23, 3]).state_dict()
    expected = {name: value.shape for name, value in theirs.items() if not name.startswith("fc.")}
    assert {name: value.shape for name, value in ours.items()} == expected
    assert list(ours) == list(expected)


@pytest.mark.parametrize(("output_stride", "dilations"), [(8, (1, 1, 2, 4)), (16, (1, 1, 1, 2))])
@pytest.mark.parametrize(("stride_on", "strides"), [("first_conv", [2, 1]), ("second_conv", [1, 2])])
def test_strides_are_where_they_are_asked_for_and_the_layers_after_them_are_dilated(
    stride_on: str, strides: list[int], output_stride: int, dilations: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        network = build_backbone("resnet50", stride_on=stride_on, output_stride=output_stride)
    strided_layers = (2,) if output_stride == 8 else (2, 3)
    for number, dilation in enumerate(dilations, start=1):
        for position, block in enumerate(network.get_submodule(f"layer{number}")):
            is_strided = number in strided_layers and position == 0
            assert [block.conv1.stride[0], block.conv2.stride[0]] == (strides if is_strided else [1, 1])
            assert block.conv2.dilation == block.conv2.padding == (dilation, dilation)


def test_the_same_weights_give_other_features_with_the_stride_elsewhere() -> None:
    first, second = (ResNet((1, 1, 1, 1), stem=16, stride_on=form) for form in ("first_conv", "second_conv"))
    second.load_state_dict(first.state_dict())  # without an error: that is why files are told apart by their kind
    features = [settle_statistics(network)(image(48, 48)) for network in (first, second)]
    assert features[0].shape == features[1].shape
    assert (features[0] - features[1]).abs().max() > 0.1 * features[0].abs().max()


@pytest.mark.parametrize(("output_stride", "dilations"), [(8, {"layer3": 2, "layer4": 4}), (16, {"layer4": 2})])
@torch.no_grad()
def test_with_the_stride_on_the_3x3_features_are_those_of_torchvisions_dilated_resnet_but_for_its_first_blocks(
    output_stride: int, dilations: dict[str, int]
) -> None:
    ours = settle_statistics(ResNet((1, 2, 1, 2), stride_on="second_conv", output_stride=output_stride))
    dilated = [layer in dilations for layer in ("layer2", "layer3", "layer4")]
    theirs = TorchvisionResNet(Bottleneck, [1, 2, 1, 2], replace_stride_with_dilation=dilated)
    theirs.load_state_dict(ours.state_dict() | {k: v for k, v in theirs.state_dict().items() if k.startswith("fc.")})
    theirs.eval()
    for layer, dilation in dilations.items():
        first = theirs.get_submodule(layer)[0].conv2
        assert first.dilation == (dilation // 2, dilation // 2)  # the deviation that the class names
        first.dilation = first.padding = (dilation, dilation)
    theirs.avgpool, theirs.fc = nn.Identity(), nn.Identity()
    for size in ((48, 40), (41, 57)):
        features = ours(image(*size))
        torch.testing.assert_close(theirs(image(*size)), features.flatten(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("output_stride", [8, 16])
@torch.no_grad()
def test_dilated_mobilenet_features_hold_torchvisions_plain_ones(output_stride: int) -> None:
    """Dilation instead of a stride computes the strided features at more positions, and the same at the old ones."""
    assert_holds_plain_features(settle_statistics(MobileNetV2(output_stride=output_stride)))


def assert_holds_plain_features(ours: MobileNetV2) -> None:
    stride, every = ours.output_stride, 32 // ours.output_stride
    plain = mobilenet_v2(weights=None).features
    plain.load_state_dict(ours.features.state_dict())
    plain.eval()
    for height, width in ((64, 96), (65, 97), (50, 71)):
        sparse = plain[:18](image(height, width))
        dense = ours(image(height, width))
        assert dense.shape[-2:] == (-(-height // stride), -(-width // stride))
        torch.testing.assert_close(
            dense[..., ::every, ::every], sparse, rtol=1e-4, atol=1e-4 * float(sparse.abs().max())
        )


@torch.no_grad()
def test_real_mobilenet_features_load_strictly_and_mean_what_they_meant() -> None:
    path = os.environ.get("DSTC_REAL_WEIGHTS")
    if not path:
        pytest.skip("DSTC_REAL_WEIGHTS is not set: it names a file of torchvision's MobileNetV2 features")
    network = MobileNetV2()
    network.load_state_dict(torch.load(path, weights_only=True), strict=True)
    assert_holds_plain_features(network.eval())


def test_every_backbone_has_a_gradient_in_all_that_it_trains() -> None:
    for name in ("mobilenet_v2", "narrow_resnet"):
        backbone = build_backbone(name, stride_on="first_conv", output_stride=8).train()
        backbone(image(32, 32, count=2)).square().mean().backward()
        for key, parameter in backbone.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, key
            if not parameter.requires_grad:
                assert key.startswith("features.18.")  # kept for strict loading, never run


@pytest.mark.parametrize("size", [(64, 96), (40, 72)])  # sides that the phases of a dilation divide, and others
def test_mobilenets_dilated_convolutions_give_what_torch_gives(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = MobileNetV2(output_stride=8).double().eval()
    image = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def features_and_gradients() -> list[torch.Tensor]:
        network.zero_grad()
        features = network(image)
        features.square().sum().backward()
        return [features, *(parameter.grad for parameter in network.parameters() if parameter.grad is not None)]

    ours = features_and_gradients()
    monkeypatch.setattr("dstc.models.mobilenet_v2._DilatedDepthwise.forward", torch.nn.Conv2d.forward)
    for one, plain in zip(ours, features_and_gradients(), strict=True):
        torch.testing.assert_close(one, plain)
