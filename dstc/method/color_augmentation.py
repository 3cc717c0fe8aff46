"""Strong color augmentation of the student's unlabeled images: jitter and blur, as ClassMix's code offers it.

The released code has it but no script turns it on; here it is `co_train.color_augmentation`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dstc.models.normalization import Normalization


def color_augmentation(images: Tensor, normalization: Normalization, *, generator: torch.Generator) -> Tensor:
    """Jitter brightness, contrast, saturation and hue of each normalized image (N, 3, H, W), and blur half of them."""
    from torchvision.transforms.v2 import functional as transforms  # two seconds, for an option that is off by default

    rgb = normalization.invert(images).permute(0, 3, 1, 2)
    augmented = []
    for image in rgb:
        draws = torch.rand(6, generator=generator).tolist()
        image = transforms.adjust_brightness(image, 0.75 + 0.5 * draws[0])
        image = transforms.adjust_contrast(image, 0.75 + 0.5 * draws[1])
        image = transforms.adjust_saturation(image, 0.75 + 0.5 * draws[2])
        image = transforms.adjust_hue(image, 0.2 * (draws[3] - 0.5))
        if draws[4] < 0.5:
            image = transforms.gaussian_blur(image, [5, 5], [0.15 + draws[5]])
        augmented.append(image)
    return normalization.apply(torch.stack(augmented).permute(0, 2, 3, 1))
