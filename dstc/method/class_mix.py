"""ClassMix (Olsson et al., WACV 2021): half of the classes of one image, with their pixels, pasted onto another.

No function here loops over classes or asks the device for a value, so a GPU is never made to wait.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dstc.core.batches import LabeledBatch
from dstc.core.sending import sent
from dstc.core.taxonomy import IGNORE


def classes_present(label: Tensor, num_classes: int) -> Tensor:
    """bool (N, K): which classes occur in each label (N, H, W) uint8; void does not count."""
    flat = label.flatten(1).long()
    flat = torch.where(flat == IGNORE, num_classes, flat)
    present = torch.zeros(len(label), num_classes + 1, dtype=torch.bool, device=label.device)
    return present.scatter_(1, flat, True)[:, :num_classes]


def sample_half_of_classes(
    label: Tensor, num_classes: int, *, generator: torch.Generator, with_replacement: bool = False
) -> Tensor:
    """bool (N, K): half of the classes present in each label (N, H, W), rounded up, drawn at random.

    With replacement (as the released code draws from the source) duplicates make the distinct classes fewer than half.
    `generator` is a CPU generator, so that every device draws the same.
    """
    present = classes_present(label, num_classes)
    uniform = sent(torch.rand(present.shape, generator=generator), label.device)
    count = present.sum(1, keepdim=True)
    half = (count + 1) // 2
    if not with_replacement:
        rank = uniform.masked_fill(~present, 2.0).argsort(1).argsort(1)
        return present & (rank < half)
    position = present.cumsum(1) - 1  # of each class among those present
    drawn = (uniform * count).long()  # (N, draws): draw j takes the class at this position
    is_a_draw = torch.arange(num_classes, device=label.device) < half
    hit = (drawn[:, None, :] == position[:, :, None]) & is_a_draw[:, None, :]
    return present & hit.any(2)


def paste_mask(label: Tensor, chosen: Tensor) -> Tensor:
    """bool (N, H, W): the pixels of the chosen classes. chosen bool (N, K). Void pixels are never pasted."""
    never = torch.zeros(len(chosen), 1, dtype=torch.bool, device=chosen.device)
    table = torch.cat([chosen, never], dim=1)
    flat = label.flatten(1).long()
    flat = torch.where(flat == IGNORE, chosen.shape[1], flat)
    return table.gather(1, flat).view(label.shape)


def paste(foreground: LabeledBatch, background: LabeledBatch, mask: Tensor) -> LabeledBatch:
    """Image and label of the foreground where the mask (N, H, W) is true, of the background elsewhere."""
    return LabeledBatch(
        image=torch.where(mask[:, None], foreground.image, background.image),
        label=torch.where(mask, foreground.label, background.label),
    )


def class_mix(foreground: LabeledBatch, background: LabeledBatch, chosen: Tensor) -> LabeledBatch:
    """Paste the chosen classes of foreground i onto background i-1 (so image i receives from image i+1, modulo N).

    Both are N images, as a rule the same ones with their pseudo-labels, N at least 2; chosen bool (N, K) over the
    foreground's labels. Entry i of the result holds the pasted classes of foreground i. Mixing hard labels equals mixing
    soft predictions and taking the argmax.
    """
    receiving = LabeledBatch(background.image.roll(1, dims=0), background.label.roll(1, dims=0))
    return paste(foreground, receiving, paste_mask(foreground.label, chosen))
