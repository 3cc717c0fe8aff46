"""mIoU on the target's val images while training: for curves, and for nothing that is learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import nn

from dstc.core import processes
from dstc.data.loaders import ValidationImages
from dstc.label_maps.confusion_matrix import ConfusionMatrix, mean_iou, most_likely
from dstc.training.context import TrainingContext

BATCH = 4
NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})


def validate(
    networks: Mapping[str, nn.Module],
    images: ValidationImages,
    context: TrainingContext,
    together: Mapping[str, Sequence[str]] = NOTHING,
) -> dict[str, float]:
    """Percent mIoU of each network (half protocol: at the size it is trained at), then of each mean of the class
    probabilities of several, which `together` names. Leaves the networks in train mode."""
    matrices = count_pixels(networks, images, context, together)
    return {f"{name}_miou": 100 * mean_iou(matrix.iou()) for name, matrix in matrices.items()}


def count_pixels(
    networks: Mapping[str, nn.Module],
    images: ValidationImages,
    context: TrainingContext,
    together: Mapping[str, Sequence[str]] = NOTHING,
) -> dict[str, ConfusionMatrix]:
    """The confusion matrices over all images: each process counts its share, the counts are added up."""
    device, normalize = context.device, context.networks.preprocessing.apply
    matrices = {name: ConfusionMatrix(len(images.index.class_names), device) for name in (*networks, *together)}
    for network in networks.values():
        network.eval()
    with torch.inference_mode():
        for raw, label, _, _ in images.share(context.share).batches(BATCH, context.runtime.workers):
            image, truth = normalize(raw.to(device)), label.to(device)
            scores = {name: network(image) for name, network in networks.items()}
            for name, names in together.items():
                scores[name] = torch.stack([scores[one].softmax(1) for one in names]).sum(0)
            for name, score in scores.items():
                matrices[name].update(truth, most_likely(score))
    for network in networks.values():
        network.train()
    for matrix in matrices.values():
        matrix.add_up(processes.total)
    return matrices
