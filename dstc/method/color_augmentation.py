"""Color augmentation of the student's unlabeled images: jitter, gray and blur.

The released code has ClassMix's ("mild" here), but no script turns it on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from dstc.models.normalization import Normalization


@dataclass(frozen=True)
class Strength:
    """How far brightness, contrast and saturation (factors 1 ± jitter) and hue (turns) go, with which probabilities."""

    jitter: float
    hue: float
    jitter_probability: float
    gray_probability: float
    sigma: tuple[float, float]  # of the blur, in pixels


STRENGTHS: Mapping[str, Strength] = MappingProxyType(
    {
        "mild": Strength(0.25, 0.1, 1.0, 0.0, (0.15, 1.15)),  # ClassMix's code
        "strong": Strength(0.5, 0.25, 0.8, 0.2, (0.1, 2.0)),  # UniMatch (Yang et al., CVPR 2023)
    }
)
BLUR_PROBABILITY = 0.5


def color_augmentation(
    images: Tensor, normalization: Normalization, strength: str, *, generator: torch.Generator
) -> Tensor:
    """Normalized images (N, 3, H, W), each changed by draws of its own; `strength` is "mild" or "strong"."""
    rgb = normalization.invert(images).permute(0, 3, 1, 2)
    augmented = [_augmented(image, STRENGTHS[strength], torch.rand(8, generator=generator).tolist()) for image in rgb]
    return normalization.apply(torch.stack(augmented).permute(0, 2, 3, 1))


def _augmented(image: Tensor, strength: Strength, draws: list[float]) -> Tensor:
    """uint8 (3, H, W) by eight numbers from 0 to 1."""
    from torchvision.transforms.v2 import functional as transforms  # two seconds, for an option that is off by default

    if draws[0] < strength.jitter_probability:
        brightness, contrast, saturation = (1 + strength.jitter * (2 * draw - 1) for draw in draws[1:4])
        image = transforms.adjust_brightness(image, brightness)
        image = transforms.adjust_contrast(image, contrast)
        image = transforms.adjust_saturation(image, saturation)
        image = transforms.adjust_hue(image, strength.hue * (2 * draws[4] - 1))
    if draws[5] < strength.gray_probability:
        image = transforms.rgb_to_grayscale(image, num_output_channels=3)
    if draws[6] < BLUR_PROBABILITY:
        low, high = strength.sigma
        sigma = low + (high - low) * draws[7]
        image = transforms.gaussian_blur(image, [2 * round(2 * high) + 1] * 2, [sigma])
    return image
