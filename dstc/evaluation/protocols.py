"""Which prediction is compared with which label, and for which networks.

half: the prediction at the network's input size, against the label shrunk to that size (DSTC, DACS).
full: the logits enlarged to the label's own size, against the label as it is on disk (AdaptSegNet, ADVENT, DAFormer).
Where both sizes agree, so do both protocols. half_tta and full_tta are the same with test-time augmentation: reported apart,
since what the literature reports is, as a rule, one look at each image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from dstc.evaluation.inference import ONE_VIEW, Network, Views, average, class_scores, predict
from dstc.evaluation.rows import AVERAGE, BRANCHES, TTA
from dstc.label_maps.confusion_matrix import ConfusionMatrix

Normalize = Callable[[Tensor], Tensor]
"""RGB images, uint8 (N, H, W, 3), to what the networks take."""

ValBatch = tuple[Tensor, Tensor, Tensor, Sequence[str]]
"""Images, uint8 RGB (N, H, W, 3); labels of that size, uint8 (N, H, W); labels of their own size, (N, h, w); names."""

Confusion = dict[str, dict[str, ConfusionMatrix]]
"""By protocol, then by row."""


def row_scores(
    networks: Mapping[str, Network],
    images: Tensor,
    views: Views = ONE_VIEW,
    averaged: Sequence[str] = BRANCHES,
) -> Iterator[tuple[str, Tensor]]:
    """Each row's class scores, float32 (N, K, H, W), as `class_scores` gives them, then, as `average` gives them, those of
    the networks that `averaged` names, if it names any.

    `networks` holds every row but the average. Yielded one by one: a batch of four takes 160 MB a row at 1024x512.
    """
    branches: list[Tensor] = []
    for row, network in networks.items():
        scores = class_scores(network, images, views)
        if row in averaged:
            branches.append(scores)
        yield row, scores
    if branches:
        yield AVERAGE, average(branches, views)


@torch.inference_mode()
def evaluate(
    networks: Mapping[str, Network],
    batches: Iterable[ValBatch],
    *,
    normalize: Normalize,
    num_classes: int,
    protocols: Sequence[str],
    device: torch.device,
    views: Views = ONE_VIEW,
    averaged: Sequence[str] = BRANCHES,
) -> Confusion:
    """One pass over the val images that fills a confusion matrix for every protocol and row.

    Always in one view; where `views` are several, in these as well, under the protocols' names with "_tta".
    """
    passes = {"": ONE_VIEW} | ({TTA: views} if views.is_augmented else {})
    rows = (*networks, AVERAGE) if averaged else tuple(networks)
    confusion = {
        protocol + suffix: {row: ConfusionMatrix(num_classes, device) for row in rows}
        for suffix in passes
        for protocol in protocols
    }
    for images, labels, own_labels, _ in batches:
        truths = {"half": labels.to(device), "full": own_labels.to(device)}
        normalized = normalize(images.to(device))
        for suffix, seen in passes.items():
            for row, score in row_scores(networks, normalized, seen, averaged):
                predictions: dict[torch.Size, Tensor] = {}  # one for both protocols where their sizes agree
                for protocol in protocols:
                    truth = truths[protocol]
                    size = truth.shape[-2:]
                    if size not in predictions:
                        predictions[size] = predict(score, size)
                    confusion[protocol + suffix][row].update(truth, predictions[size])
    return confusion
