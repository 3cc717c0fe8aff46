"""From images to class scores: in one view of each image, or averaged over several. Used by evaluate and by predict.

Views are what the literature calls test-time augmentation: the image and its mirror image, the image at several scales,
the image in overlapping windows. They multiply; each view's class probabilities are brought back to the image and averaged.
Pure tensors: nothing here knows of files or parameters.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dstc.core.errors import UserError
from dstc.label_maps.confusion_matrix import most_likely

Network = Callable[[Tensor], Tensor]
"""Normalized images, float32 (N, 3, H, W), to logits, (N, K, H, W)."""

OVERLAP = 1 / 3  # of a window with the next one, at least: a pixel at one's border lies well inside another


@dataclass(frozen=True)
class Views:
    """How an image is shown to a network: mirrored as well, at these scales, in windows (width, height) of pixels.

    A window that is larger than the (scaled) image is as large as the image.
    """

    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    window: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise UserError(f"scales: must be one or more numbers above 0, not {self.scales}")
        if self.window is not None and min(self.window) < 1:
            raise UserError(f"window: must be (width, height) in pixels, not {self.window}")

    @property
    def is_augmented(self) -> bool:
        """Whether this is more than one look at the whole image as it is."""
        return self != Views()


ONE_VIEW = Views()


def class_scores(network: Network, images: Tensor, views: Views = ONE_VIEW) -> Tensor:
    """Scores of normalized images (N, 3, H, W) whose argmax is the prediction, float32 (N, K, H, W).

    Logits for one view; for several the mean of their class probabilities.
    """
    if not views.is_augmented:
        return network(images).float()
    total = functools.reduce(torch.add, _probabilities(network, images, views))
    return total / (len(views.scales) * (1 + views.flip))


def average(scores: Sequence[Tensor], views: Views = ONE_VIEW) -> Tensor:
    """Several networks' `class_scores` in those views as one: the mean of their class probabilities; a single one as is."""
    if len(scores) == 1:
        return scores[0]
    total = functools.reduce(torch.add, (one if views.is_augmented else _softmax(one) for one in scores))
    return total.div_(len(scores))


def _softmax(logits: Tensor) -> Tensor:
    """Over the classes of (N, K, H, W), as the last dimension: the networks' logits lie in memory with the channels last,
    and would be copied for a softmax over the second, which takes 2.4 times as long."""
    return logits.permute(0, 2, 3, 1).softmax(dim=-1).permute(0, 3, 1, 2)


def predict(score: Tensor, size: tuple[int, ...]) -> Tensor:
    """Train ids, int64 (N, *size), of class scores (N, K, H, W) that are first brought to `size` (height, width)."""
    if score.shape[-2:] == size:
        return most_likely(score)
    # Image by image: at 2048x1024 the scores of each take 160 MB.
    enlarged = (F.interpolate(one, size=size, mode="bilinear", align_corners=False) for one in score.split(1))
    return torch.cat([most_likely(one) for one in enlarged])


def _probabilities(network: Network, images: Tensor, views: Views) -> Iterator[Tensor]:
    """Each view's class probabilities at the images' size."""
    height, width = images.shape[-2:]
    for scale in views.scales:
        scaled = _resized(images, max(1, round(scale * height)), max(1, round(scale * width)))
        yield _resized(in_windows(network, scaled, views.window), height, width)
        if views.flip:
            yield _resized(in_windows(network, scaled.flip(-1), views.window).flip(-1), height, width)


def _resized(values: Tensor, height: int, width: int) -> Tensor:
    if values.shape[-2:] == (height, width):
        return values
    # Antialiased: when an image is made smaller, all of its pixels have a say.
    return F.interpolate(values, size=(height, width), mode="bilinear", align_corners=False, antialias=True)


def in_windows(network: Network, images: Tensor, window: tuple[int, int] | None) -> Tensor:
    """Class probabilities (N, K, H, W), the mean of those of all windows (width, height) that see a pixel."""
    height, width = images.shape[-2:]
    if window is None or (window[0] >= width and window[1] >= height):
        return _softmax(network(images).float())
    total: Tensor | None = None
    seen = images.new_zeros(height, width)
    for top, left in itertools.product(starts(height, window[1]), starts(width, window[0])):
        place = (..., slice(top, top + window[1]), slice(left, left + window[0]))
        probabilities = _softmax(network(images[place]).float())
        if total is None:  # only the network knows the number of classes
            total = probabilities.new_zeros(*probabilities.shape[:2], height, width)
        total[place] += probabilities
        seen[place] += 1
    assert total is not None
    return total / seen


def starts(length: int, window: int) -> list[int]:
    """Where windows begin along a side: as few as cover it with the wanted overlap, evenly spread, the last at its end."""
    if window >= length:
        return [0]
    steps = -(-(length - window) // max(1, int(window * (1 - OVERLAP))))
    return [round(step * (length - window) / steps) for step in range(steps + 1)]
