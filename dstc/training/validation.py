"""mIoU on the target's val images while training: for curves, and for nothing that is learnt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from dstc.core import processes
from dstc.data.loaders import ValidationImages
from dstc.label_maps.confusion_matrix import ConfusionMatrix, mean_iou, most_likely
from dstc.training.context import TrainingContext

BATCH = 4
PIXELS = BATCH * 1024 * 512  # of a batch, unless a single image has more: the scores of all networks are held at once
NOTHING: Mapping[str, Any] = MappingProxyType({})
Scores = Mapping[str, Tensor]
"""By network: logits (N, K, H, W)."""
Pair = Callable[[Scores, Tensor], tuple[Tensor, Tensor]]
"""(scores, truth) -> what `ConfusionMatrix.update` takes; the truth is uint8 (N, H, W)."""


def validate(
    networks: Mapping[str, nn.Module],
    images: ValidationImages,
    context: TrainingContext,
    together: Mapping[str, Sequence[str]] = NOTHING,
) -> dict[str, float]:
    """Percent mIoU of each network (half protocol: at the size it is trained at), then of each mean of the class
    probabilities of several, which `together` names. Leaves the networks in train mode."""
    return percent_miou(count_pixels(networks, images, context, together))


def percent_miou(matrices: Mapping[str, ConfusionMatrix]) -> dict[str, float]:
    """As the curves have it: a column for each name."""
    return {f"{name}_miou": 100 * mean_iou(matrix.iou()) for name, matrix in matrices.items()}


def count_pixels(
    networks: Mapping[str, nn.Module],
    images: ValidationImages,
    context: TrainingContext,
    together: Mapping[str, Sequence[str]] = NOTHING,
    pairs: Mapping[str, Pair] = NOTHING,
) -> dict[str, ConfusionMatrix]:
    """The confusion matrices over all images: each process counts its share, the counts are added up. `pairs` names more
    that is to be counted of the same scores."""
    device, normalize = context.device, context.networks.preprocessing.apply
    matrices = {name: ConfusionMatrix(len(images.index.class_names), device) for name in (*networks, *together, *pairs)}
    for network in networks.values():
        network.eval()
    with processes.failing_together(), torch.inference_mode():
        batch = max(1, min(BATCH, PIXELS // images.most_pixels))
        for raw, label, _, _ in images.share(context.share).batches(batch, context.runtime.workers):
            image, truth = normalize(raw.to(device)), label.to(device)
            scores = {name: network(image) for name, network in networks.items()}
            for name, names in together.items():
                scores[name] = torch.stack([scores[one].softmax(1) for one in names]).sum(0)
            for name, score in scores.items():
                matrices[name].update(truth, most_likely(score))
            for name, pair in pairs.items():
                matrices[name].update(*pair(scores, truth))
    for network in networks.values():
        network.train()
    for matrix in matrices.values():
        matrix.add_up(processes.total)
    return matrices
