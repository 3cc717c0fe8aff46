"""A network small enough for tests."""

from typing import Any

from dstc.models.segmentation import SegmentationNetwork, build_network


def small_network(seed: int = 0, **changes: Any) -> SegmentationNetwork:
    known = {
        "stride_on": "first_conv",
        "output_stride": 8,
        "atrous_rates": (6, 12, 18, 24),
        "batch_norm_affine": "trained",
        "batch_norm_statistics": "batch",
        "precision": "fp32",
    }
    return build_network(changes.pop("backbone", "narrow_resnet"), 5, seed=seed, **(known | changes))
