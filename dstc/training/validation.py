"""mIoU on the target's val images while training: for curves, and for nothing that is learnt."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from dstc.core import processes
from dstc.data.loaders import ValidationImages
from dstc.label_maps.confusion_matrix import ConfusionMatrix, mean_iou, most_likely
from dstc.training.context import TrainingContext

BATCH = 4


def validate(networks: Mapping[str, nn.Module], images: ValidationImages, context: TrainingContext) -> dict[str, float]:
    """Percent mIoU of each network (half protocol: at the size it is trained at). Leaves the networks in train mode."""
    matrices = count_pixels(networks, images, context)
    return {f"{name}_miou": 100 * mean_iou(matrix.iou()) for name, matrix in matrices.items()}


def count_pixels(
    networks: Mapping[str, nn.Module], images: ValidationImages, context: TrainingContext
) -> dict[str, ConfusionMatrix]:
    """The confusion matrix of each network over all images: each process counts its share, the counts are added up."""
    device, normalize = context.device, context.networks.preprocessing.apply
    matrices = {name: ConfusionMatrix(len(images.index.class_names), device) for name in networks}
    for network in networks.values():
        network.eval()
    with torch.inference_mode():
        for raw, label, _, _ in images.share(context.share).batches(BATCH, context.runtime.workers):
            image, truth = normalize(raw.to(device)), label.to(device)
            for name, network in networks.items():
                matrices[name].update(truth, most_likely(network(image)))
    for name, network in networks.items():
        matrices[name].add_up(processes.total)
        network.train()
    return matrices
