"""Scoring. The straightforward confusion matrix goes through the rows of an image with numpy's bincount, as the released
evaluation does; "all but the forward passes" is what the stage evaluate adds to the passes of both warm-ups and both
branches: their scores, the branches' average and its, both protocols at one size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.clock import cpu_milliseconds
from bench.rows import Row, share_of, times_as_fast
from dstc.core.taxonomy import IGNORE
from dstc.evaluation.protocols import evaluate
from dstc.evaluation.rows import AVERAGE, ROWS
from dstc.label_maps.confusion_matrix import ConfusionMatrix, most_likely
from dstc.models.segmentation import SegmentationNetwork, build_network

K = 19
NETWORKS = [row for row in ROWS if row != AVERAGE]
CASES = {  # backbone: images, height and width
    "narrow_resnet": (4, 144, 256),  # the built-in data set
    "resnet101": (1, 512, 1024),  # Cityscapes
}


def rows() -> Iterator[Row]:
    torch.set_num_threads(1)
    yield _counting()
    for backbone in CASES:
        yield _all_but_forward(backbone)


def _scene(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """A label in blocks, some void, and scores as smooth as a network's: uint8 (N, H, W), float32 (N, K, H, W)."""
    draws = torch.Generator().manual_seed(0)
    label = torch.randint(0, K, (count, height // 16, width // 16), generator=draws, dtype=torch.uint8)
    label = label.repeat_interleave(16, 1).repeat_interleave(16, 2)
    label[:, : height // 12] = IGNORE
    coarse = torch.randn(count, K, height // 8, width // 8, generator=draws)
    return label, F.interpolate(coarse, scale_factor=8, mode="bilinear")


def _counting() -> Row:
    label, score = _scene(1, 512, 1024)
    prediction = most_likely(score)
    matrix = ConfusionMatrix(K)
    matrix.update(label, prediction)
    by_rows = straightforward_counts(label[0].numpy(), prediction[0].numpy())
    assert np.array_equal(by_rows, matrix.counts.numpy())
    slow, fast = cpu_milliseconds(
        (lambda: straightforward_counts(label[0].numpy(), prediction[0].numpy()), 10),
        (lambda: matrix.update(label, prediction), 50),
    )
    return times_as_fast("confusion matrix of an image at 1024x512", slow, fast, "ms", at_least=6)


def straightforward_counts(label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    counts = np.zeros((K, K))
    for truth, predicted in zip(label, prediction, strict=True):
        known = (truth >= 0) & (truth < K)
        cells = K * truth[known].astype(int) + predicted[known]
        counts += np.bincount(cells, minlength=K * K).reshape(K, K)
    return counts


def _all_but_forward(backbone: str) -> Row:
    count, height, width = CASES[backbone]
    label, _ = _scene(count, height, width)
    image = torch.randn(count, 3, height, width).to(memory_format=torch.channels_last)
    network = _network(backbone)
    batch = (torch.zeros(count, height, width, 3, dtype=torch.uint8), label, label, ["a"] * count)
    with torch.inference_mode():
        logits = network(image)
    # The same evaluation with networks that cost nothing: beside real ones it is too cheap to be told from the noise.
    known = {row: lambda _: logits for row in NETWORKS}

    def scored() -> object:
        cpu = torch.device("cpu")
        return evaluate(
            known, [batch], normalize=lambda _: image, num_classes=K, protocols=["half", "full"], device=cpu
        )

    @torch.inference_mode()
    def forward() -> None:
        network(image)

    calls = 10 if backbone == "narrow_resnet" else 1
    one_pass, rest = cpu_milliseconds((forward, calls), (scored, calls), rounds=3)
    what = f"all but the forward passes, {backbone}, {count} x {width}x{height}"
    return share_of(what, len(NETWORKS) * one_pass, rest, "ms", at_most=0.2)


def _network(backbone: str) -> SegmentationNetwork:
    form: dict[str, Any] = {"stride_on": "first_conv", "output_stride": 8, "atrous_rates": (6, 12, 18, 24)}
    form |= {"batch_norm_affine": "frozen", "batch_norm_statistics": "batch", "precision": "fp32"}
    return build_network(backbone, K, seed=0, **form).eval()
