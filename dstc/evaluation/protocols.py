"""Which prediction is compared with which label, and for which networks.

half: the prediction at the network's input size, against the label shrunk to that size (DSTC, DACS).
full: the logits enlarged to the label's own size, against the label as it is on disk (AdaptSegNet, ADVENT, DAFormer).
Where both sizes agree, so do both protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dstc.evaluation.confusion_matrix import ConfusionMatrix

Network = Callable[[Tensor], Tensor]
"""Normalized images, float32 (N, 3, H, W), to logits, (N, K, H, W)."""

Normalize = Callable[[Tensor], Tensor]
"""RGB images, uint8 (N, H, W, 3), to what the networks take."""

ValBatch = tuple[Tensor, Tensor, Tensor, Sequence[str]]
"""Images, uint8 RGB (N, H, W, 3); labels of that size, uint8 (N, H, W); labels of their own size, (N, h, w); names."""

Confusion = dict[str, dict[str, ConfusionMatrix]]
"""By protocol, then by row."""

AVERAGE = "average"
ROWS: Mapping[str, str] = {
    "warm_up_source": "warm-up source",
    "warm_up_target": "warm-up target",
    "source_biased": "source-biased branch",
    "target_biased": "target-biased branch",
    AVERAGE: "average of branches",
}
"""The rows of every table in their order: name in files, and name in pictures."""


def row_scores(networks: Mapping[str, Network], images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Each row's class scores, float32 (N, K, H, W): logits of every network, probabilities for the branches' average.

    `networks` holds every row but the average. Yielded one by one: a batch of four takes 160 MB a row at 1024x512.
    """
    branches = []
    for row, network in networks.items():
        logits = network(images).float()
        if row in ("source_biased", "target_biased"):
            branches.append(logits.softmax(dim=1))
        yield row, logits
    yield AVERAGE, torch.stack(branches).mean(dim=0)


def predict(score: Tensor, size: tuple[int, ...]) -> Tensor:
    """Train ids, int64 (N, *size), of class scores (N, K, H, W) that are first brought to `size` (height, width)."""
    if score.shape[-2:] == size:
        return score.argmax(dim=1)
    # Image by image: at 2048x1024 the scores of each take 160 MB.
    enlarged = (F.interpolate(one, size=size, mode="bilinear", align_corners=False) for one in score.split(1))
    return torch.cat([one.argmax(dim=1) for one in enlarged])


@torch.inference_mode()
def evaluate(
    networks: Mapping[str, Network],
    batches: Iterable[ValBatch],
    *,
    normalize: Normalize,
    num_classes: int,
    protocols: Sequence[str],
    device: torch.device,
) -> Confusion:
    """One pass over the val images that fills a confusion matrix for every protocol and row."""
    rows = (*networks, AVERAGE)
    confusion = {protocol: {row: ConfusionMatrix(num_classes, device) for row in rows} for protocol in protocols}
    for images, labels, own_labels, _ in batches:
        truths = {"half": labels.to(device), "full": own_labels.to(device)}
        for row, score in row_scores(networks, normalize(images.to(device))):
            predictions: dict[torch.Size, Tensor] = {}  # one for both protocols where their sizes agree
            for protocol in protocols:
                truth = truths[protocol]
                size = truth.shape[-2:]
                if size not in predictions:
                    predictions[size] = predict(score, size)
                confusion[protocol][row].update(truth, predictions[size])
    return confusion
