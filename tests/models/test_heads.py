"""Heads on maps of random numbers: sizes, values against slow versions, gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dstc.core.errors import UserError
from dstc.models.heads import DPT, AtrousClassifiers, LinearClassifier, side_by_side

OF_ONE_STRIDE = ([16, 16, 16, 16], [14, 14, 14, 14])
OF_A_PYRAMID = ([8, 16, 24, 32], [4, 8, 16, 32])


def maps_of(height: int, width: int, channels: list[int], strides: list[int]) -> list[Tensor]:
    """What a backbone gives for an image of this size."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, count, -(-height // stride), -(-width // stride), generator=generator)
        for count, stride in zip(channels, strides, strict=True)
    ]


def dpt(channels: list[int], strides: list[int]) -> DPT:
    torch.manual_seed(0)
    return DPT(channels, strides, 5, width=6)


@pytest.mark.parametrize("size", [(64, 96), (61, 45), (7, 3)])
@pytest.mark.parametrize(("form", "stride"), [(OF_ONE_STRIDE, 1.75), (OF_A_PYRAMID, 2)])
def test_dpt_covers_the_image_at_half_its_finest_stride(form: Any, stride: float, size: tuple[int, int]) -> None:
    head = dpt(*form)
    logits = head(maps_of(*size, *form))
    assert head.stride == stride
    finest = form[1][0] / (4 if form is OF_ONE_STRIDE else 1)
    rows, columns = (-(-side // form[1][0]) * form[1][0] / finest for side in size)
    assert logits.shape == (2, 5, 2 * rows, 2 * columns)
    assert all(covered * stride >= side for covered, side in zip(logits.shape[-2:], size, strict=True))


@pytest.mark.parametrize("form", [OF_ONE_STRIDE, OF_A_PYRAMID])
def test_dpt_trains_all_that_it_holds(form: Any) -> None:
    head = dpt(*form)
    head(maps_of(64, 96, *form)).square().mean().backward()
    assert [key for key, own in head.named_parameters() if own.grad is None or not own.grad.any()] == []


def unit(block: Any, features: Tensor) -> Tensor:
    inner = F.conv2d(features.relu(), block.first.weight, block.first.bias, padding=1)
    return features + F.conv2d(inner.relu(), block.second.weight, block.second.bias, padding=1)


@torch.no_grad()
def test_dpt_joins_from_coarse_to_fine_as_the_paper_does() -> None:
    """In the paper's order: units, enlarged, and the projection after it. Sides that are whole, so that nothing is cut."""
    head, maps = dpt(*OF_A_PYRAMID), maps_of(64, 96, *OF_A_PYRAMID)
    joined: Tensor | None = None
    for level in (3, 2, 1, 0):
        fusion: Any = head.fusions[level]
        own = F.conv2d(maps[level], head.narrow[level].weight, padding=1)  # type: ignore[arg-type]
        joined = own if joined is None else joined + unit(fusion.of_finer, own)
        large = F.interpolate(unit(fusion.of_all, joined), scale_factor=2, mode="bilinear", align_corners=False)
        joined = F.conv2d(large, fusion.project.weight, fusion.project.bias)
    assert joined is not None
    torch.testing.assert_close(head(maps), head.output(joined))


@torch.no_grad()
def test_maps_of_one_stride_are_brought_to_strides_that_double() -> None:
    head, maps = dpt(*OF_ONE_STRIDE), maps_of(70, 98, *OF_ONE_STRIDE)  # 5 x 7 patches
    sizes = [resize(own).shape[1:] for resize, own in zip(head.reassemble, maps, strict=True)]
    assert sizes == [(2, 20, 28), (4, 10, 14), (8, 5, 7), (16, 3, 4)]


@pytest.mark.parametrize(
    ("channels", "strides"), [([8] * 3, [8] * 3), ([8] * 4, [2, 4, 16, 32]), ([8] * 4, [4, 4, 8, 8])]
)
def test_dpt_names_the_strides_that_it_cannot_join(channels: list[int], strides: list[int]) -> None:
    with pytest.raises(
        UserError, match=r"model\.head 'dpt': takes four levels, .* have \[.*\]; choose others with model"
    ):
        dpt(channels, strides)


@torch.no_grad()
def test_the_linear_head_is_a_matrix_on_the_maps_side_by_side() -> None:
    head, maps = LinearClassifier([3, 4], [8, 16], 5), maps_of(40, 24, [3, 4], [8, 16])
    features = torch.cat([maps[0], F.interpolate(maps[1], size=(6, 4), mode="bilinear")[..., :5, :3]], dim=1)
    expected = torch.einsum("kc,nchw->nkhw", head.linear.weight[..., 0, 0], features)
    torch.testing.assert_close(head(maps), expected)
    assert head.stride == 8


@torch.no_grad()
def test_a_coarser_map_is_enlarged_and_cut_to_the_finest() -> None:
    maps = maps_of(50, 30, [1, 2], [8, 32])
    joined = side_by_side(maps, [8, 32])
    assert joined.shape == (2, 3, 7, 4)
    torch.testing.assert_close(joined[:, :1], maps[0])
    torch.testing.assert_close(joined[:, 1:], F.interpolate(maps[1], scale_factor=4, mode="bilinear")[..., :7, :4])


def test_a_single_map_passes_as_it_is() -> None:
    (only,) = maps_of(32, 32, [4], [8])
    assert side_by_side([only], [8]) is only


def test_classifiers_begin_small() -> None:
    for head in (AtrousClassifiers([64], [8], 5, atrous_rates=[1, 2]), LinearClassifier([512], [8], 5)):
        for module in head.modules():
            if isinstance(module, nn.Conv2d):
                assert 0.008 < float(module.weight.detach().std()) < 0.012
                assert module.bias is not None and not module.bias.any()
