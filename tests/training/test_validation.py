from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dstc.data.loaders import ValidationImages
from dstc.training import validation
from dstc.training.context import TrainingContext
from dstc.training.validation import count_pixels
from tests.co_training.test_trainer import CLASSES, params
from tests.data.small_domain import small_domain
from tests.models.small import small_network


class Recording(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network, self.seen = small_network(), []  # type: ignore[var-annotated]

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        return self.network(images)


@pytest.mark.parametrize(("fit", "expected"), [(9.0, [4, 2]), (2.5, [2, 2, 2]), (0.5, [1] * 6)])
def test_large_images_are_validated_few_at_a_time_and_count_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: float, expected: list[int]
) -> None:
    one = small_domain(tmp_path, 1)
    images = ValidationImages(replace(one, entries=one.entries * 6), [tmp_path])  # of one size: they share batches
    context, recording = TrainingContext.of(params(), CLASSES), Recording()
    whole = count_pixels({"small": recording.network}, images, context)["small"].counts
    monkeypatch.setattr(validation, "PIXELS", int(fit * images.most_pixels))
    few = count_pixels({"small": recording}, images, context)["small"].counts
    assert recording.seen == expected
    assert torch.equal(few, whole)
