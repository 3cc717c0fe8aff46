import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dstc.models import heads
from dstc.models.segmentation import SegmentationNetwork, build_network, upsample_logits
from tests.models.small import small_network


def image(height: int, width: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def norms_of(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def statistics_of(network: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for norm in norms_of(network) for value in (norm.running_mean, norm.running_var)]


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (33, 41), (9, 17)])
@pytest.mark.parametrize("backbone", ["narrow_resnet", "mobilenet_v2"])
@pytest.mark.parametrize("output_stride", [8, 16])
@torch.no_grad()
def test_logits_have_the_images_size_whatever_it_is(backbone: str, output_stride: int, size: tuple[int, int]) -> None:
    logits = small_network(backbone=backbone, output_stride=output_stride).eval()(image(*size))
    assert logits.shape == (2, 5, *size)
    assert logits.dtype == torch.float32


@torch.no_grad()
@pytest.mark.parametrize("rates", [(6, 12, 18, 24), (2, 5, 7)])
def test_the_outputs_of_the_atrous_classifiers_are_summed(rates: tuple[int, ...]) -> None:
    network = small_network(atrous_rates=rates).eval()
    (features,) = network.backbone(image(64, 64))
    expected = sum(
        F.conv2d(features, conv.weight, conv.bias, padding=rate, dilation=rate)
        for conv, rate in zip(network.classifier, rates, strict=True)
    )
    torch.testing.assert_close(network.low_resolution_logits(image(64, 64)), expected)


@torch.no_grad()
@pytest.mark.parametrize("output_stride", [8, 16])
def test_upsampling_to_a_multiple_of_the_output_stride_is_bilinear_to_the_images_size(output_stride: int) -> None:
    low = torch.randn(1, 5, 6, 9, generator=torch.Generator().manual_seed(0))
    size = (6 * output_stride, 9 * output_stride)
    expected = F.interpolate(low, size=size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsample_logits(low, output_stride), expected)


@pytest.mark.parametrize("output_stride", [8, 16])
@torch.no_grad()
def test_an_odd_image_keeps_its_pixels_where_they_are(output_stride: int) -> None:
    """Enlarged to a multiple of the output stride, the low-resolution logits are cut, not stretched."""
    network = small_network(output_stride=output_stride).eval()
    logits, low = network(image(61, 59)), network.low_resolution_logits(image(61, 59))
    assert low.shape[-2:] == (-(-61 // output_stride), -(-59 // output_stride))
    assert torch.equal(logits, upsample_logits(low, output_stride)[..., :61, :59])


@pytest.mark.parametrize(("affine", "trained"), [("frozen", False), ("trained", True)])
def test_batch_norm_scale_and_shift_are_frozen_or_trained_and_everything_else_is_trained(
    affine: str, trained: bool
) -> None:
    network = small_network(batch_norm_affine=affine)
    of_norms = {parameter for norm in norms_of(network) for parameter in norm.parameters()}
    assert len(of_norms) > 0
    for parameter in network.parameters():
        assert parameter.requires_grad == (trained if parameter in of_norms else True)


def test_the_mobilenet_layer_that_never_runs_stays_frozen_when_batch_norm_is_trained() -> None:
    network = small_network(backbone="mobilenet_v2", batch_norm_affine="trained")
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    last = network.get_submodule("backbone.features.18")
    assert frozen == {f"backbone.features.18.{name}" for name, _ in last.named_parameters()}


def test_running_statistics_normalize_in_training_too_and_are_left_alone() -> None:
    network = small_network(batch_norm_statistics="running")
    before = statistics_of(network)
    learning = network.train()(image(32, 32))
    assert network.training
    assert learning.requires_grad
    torch.testing.assert_close(learning, network.eval()(image(32, 32)))
    network.train()(image(32, 32))
    assert all(torch.equal(old, new) for old, new in zip(before, statistics_of(network), strict=True))


def test_batch_statistics_move_the_running_ones_in_training_alone() -> None:
    network = small_network(batch_norm_statistics="batch")
    before = statistics_of(network)
    network.eval()(image(32, 32))
    assert all(torch.equal(old, new) for old, new in zip(before, statistics_of(network), strict=True))
    network.train()(image(32, 32))
    assert not any(torch.equal(old, new) for old, new in zip(before, statistics_of(network), strict=True))


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_a_batch_of_one_crop_trains(statistics: str) -> None:
    network = small_network(batch_norm_statistics=statistics).train()
    network(image(32, 32, count=1)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_bfloat16_gives_float32_logits_close_to_the_exact_ones() -> None:
    exact, coarse = small_network().eval(), small_network(precision="bf16").eval()
    with torch.no_grad():
        logits = exact(image(32, 32)), coarse(image(32, 32))
    assert logits[1].dtype == torch.float32
    assert not torch.equal(*logits)
    assert (logits[0] - logits[1]).abs().max() < 0.05 * logits[0].abs().max()


def build(seed: int) -> SegmentationNetwork:
    return small_network(seed)


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before_and_another_seed_others() -> None:
    first = build(7).state_dict()
    torch.rand(5)
    again, other = build(7).state_dict(), build(8).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if name.endswith("conv1.weight") or name in ("classifier.0.weight",)]
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


def test_building_a_network_leaves_torchs_global_generator_alone() -> None:
    before = torch.get_rng_state()
    build(7)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_papers_network_has_43_9_million_parameters() -> None:
    with torch.device("meta"):
        network = build_network(
            "resnet101",
            19,
            stride_on="first_conv",
            output_stride=8,
            atrous_rates=(6, 12, 18, 24),
            batch_norm_affine="frozen",
            batch_norm_statistics="batch",
            precision="fp32",
            seed=0,
        )
    assert sum(parameter.numel() for parameter in network.parameters()) == 43_901_068


@pytest.mark.parametrize("size", [(5, 7), (16, 16), (16, 40), (40, 16), (30, 30)])
def test_leaving_out_taps_that_only_meet_padding_changes_neither_logits_nor_gradients(size: tuple[int, int]) -> None:
    features = torch.randn(2, 8, *size, generator=torch.Generator().manual_seed(0))
    for rate in (6, 12, 18, 24):
        conv = nn.Conv2d(8, 3, kernel_size=3, padding=rate, dilation=rate)
        whole, cut = conv(features), heads._atrous(conv, features)
        torch.testing.assert_close(cut, whole)
        expected = torch.autograd.grad(whole.square().sum(), list(conv.parameters()))
        torch.testing.assert_close(torch.autograd.grad(cut.square().sum(), list(conv.parameters())), expected)
