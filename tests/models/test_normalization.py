import pytest
import torch

from dstc.data.samples import VOID_COLOR
from dstc.models.normalization import NORMALIZATIONS


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_inverting_gives_every_value_of_every_channel_back(name: str) -> None:
    normalization = NORMALIZATIONS[name]
    ramp = torch.arange(256, dtype=torch.uint8)
    image = torch.stack([ramp, ramp.flip(0), ramp.roll(77)], dim=-1).view(1, 16, 16, 3)
    assert torch.equal(normalization.invert(normalization.apply(image)), image)


def test_caffe_images_are_bgr_minus_the_mean() -> None:
    image = torch.tensor([[[10, 20, 30]]], dtype=torch.uint8)
    normalized = NORMALIZATIONS["caffe_bgr"].apply(image)
    expected = torch.tensor([30 - 104.00698793, 20 - 116.66876762, 10 - 122.67891434])
    torch.testing.assert_close(normalized, expected.view(1, 3, 1, 1))


def test_imagenet_images_are_rgb_in_0_to_1_minus_the_mean_by_the_deviation() -> None:
    image = torch.tensor([[[10, 20, 30]]], dtype=torch.uint8)
    normalized = NORMALIZATIONS["imagenet_rgb"].apply(image)
    expected = [(10 / 255 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (30 / 255 - 0.406) / 0.225]
    torch.testing.assert_close(normalized, torch.tensor(expected).view(1, 3, 1, 1))


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_a_batch_is_normalized_image_by_image(name: str) -> None:
    images = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    together = NORMALIZATIONS[name].apply(images)
    assert together.dtype == torch.float32
    assert torch.equal(together, torch.cat([NORMALIZATIONS[name].apply(image) for image in images]))


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_padding_is_close_to_zero(name: str) -> None:
    padding = torch.tensor(VOID_COLOR, dtype=torch.uint8).view(1, 1, 3)
    normalization = NORMALIZATIONS[name]
    assert (normalization.apply(padding).abs() < 0.02 * 255 / normalization.scale).all()


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_inverting_values_out_of_range_stays_within_a_byte(name: str) -> None:
    picture = NORMALIZATIONS[name].invert(torch.tensor([-1e4, 0.0, 1e4]).view(1, 3, 1, 1))
    assert {picture.min().item(), picture.max().item()} == {0, 255}
