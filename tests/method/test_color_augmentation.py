import pytest
import torch

from dstc.method.color_augmentation import STRENGTHS, color_augmentation
from dstc.models.normalization import NORMALIZATIONS


def images(count: int = 3) -> torch.Tensor:
    """uint8 (N, H, W, 3), smooth, so that a blur does not hide what happens to the colors."""
    ramp = torch.linspace(40, 210, 16)
    one = torch.stack([ramp.expand(16, 16), ramp.expand(16, 16).T, torch.full((16, 16), 90.0)], dim=-1)
    return torch.stack([one.roll(shift, dims=-1) for shift in range(count)]).to(torch.uint8)


def augmented(seed: int, name: str = "imagenet_rgb", count: int = 3, strength: str = "mild") -> torch.Tensor:
    normalization = NORMALIZATIONS[name]
    generator = torch.Generator().manual_seed(seed)
    return color_augmentation(normalization.apply(images(count)), normalization, strength, generator=generator)


def test_the_same_generator_seed_gives_the_same_colors_and_another_seed_others() -> None:
    assert torch.equal(augmented(0), augmented(0))
    assert not torch.equal(augmented(0), augmented(1))


def test_torchs_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    augmented(0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_an_augmented_image_is_a_normalized_image_of_the_same_size_again(name: str, strength: str) -> None:
    result = augmented(0, name, strength=strength)
    assert result.shape == (3, 3, 16, 16)
    assert result.dtype == torch.float32
    normalization = NORMALIZATIONS[name]
    torch.testing.assert_close(normalization.apply(normalization.invert(result)), result)


def test_both_normalizations_see_the_same_colors() -> None:
    first, second = (NORMALIZATIONS[name].invert(augmented(3, name)) for name in NORMALIZATIONS)
    assert torch.equal(first, second)


def test_each_image_of_a_batch_has_its_own_colors_and_the_first_does_not_depend_on_the_batchs_size() -> None:
    assert torch.equal(augmented(0, count=3)[:1], augmented(0, count=1))
    changes = [(augmented(0)[i] - NORMALIZATIONS["imagenet_rgb"].apply(images())[i]).abs().mean() for i in range(3)]
    assert len({round(float(change), 4) for change in changes}) == 3


def test_strong_changes_more_than_mild_makes_some_images_gray_and_leaves_some_colors_as_they_are() -> None:
    before = images(64).float()
    normalization = NORMALIZATIONS["imagenet_rgb"]
    mild, strong = (normalization.invert(augmented(0, count=64, strength=each)).float() for each in ("mild", "strong"))
    assert (strong - before).abs().mean() > (mild - before).abs().mean()
    gray = (strong.amax(-1) - strong.amin(-1)).amax((1, 2)) <= 1
    assert 0.1 * 64 < gray.sum() < 0.3 * 64  # a fifth of them
    untouched = (strong - before).abs().amax((1, 2, 3)) <= 2
    assert untouched.any() and not untouched.all()
