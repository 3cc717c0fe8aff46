"""The method once more, pixel by pixel in plain Python: slow, and independent of the code that it checks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

VOID = 255


def random_label(seed: int, *shape: int, classes: int = 5, void: float = 0.2) -> Tensor:
    """uint8 of the shape: random classes, a part of it void."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, classes, shape, generator=generator, dtype=torch.uint8)
    label[torch.rand(shape, generator=generator) < void] = VOID
    return label


def random_tensor(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def classes_present(label: Tensor) -> set[int]:
    return {value for value in label.flatten().tolist() if value != VOID}


def cross_entropy(logits: Tensor, label: Tensor) -> float:
    total, valid = 0.0, 0
    for n, y, x in pixels_of(label):
        if label[n, y, x] != VOID:
            scores = logits[n, :, y, x].tolist()
            total += math.log(sum(math.exp(score) for score in scores)) - scores[label[n, y, x]]
            valid += 1
    return total / valid if valid else 0.0


def prototypes(logits: Tensor, label: Tensor, *, counts_void: bool = False) -> dict[int, list[float]]:
    """Of every class that has pixels (and of VOID, if asked to) the mean logits over its pixels in all images."""
    vectors: dict[int, list[list[float]]] = {}
    for n, y, x in pixels_of(label):
        if counts_void or label[n, y, x] != VOID:
            vectors.setdefault(int(label[n, y, x]), []).append(logits[n, :, y, x].tolist())
    return {name: [sum(column) / len(found) for column in zip(*found, strict=True)] for name, found in vectors.items()}


def alignment(student: Tensor, teacher: Tensor, label: Tensor, *, counts_void: bool = False) -> float:
    mine = prototypes(student, label, counts_void=counts_void)
    theirs = prototypes(teacher, label, counts_void=counts_void)
    distances = [abs(a - b) for name in mine for a, b in zip(mine[name], theirs[name], strict=True)]
    return sum(distances) / len(distances) if distances else 0.0


def pseudo_label(logits: Tensor) -> Tensor:
    label = torch.empty(len(logits), *logits.shape[2:], dtype=torch.uint8)
    for n, y, x in pixels_of(label):
        scores = logits[n, :, y, x].tolist()
        label[n, y, x] = scores.index(max(scores))
    return label


def paste(
    foreground: tuple[Tensor, Tensor], background: tuple[Tensor, Tensor], classes: set[int]
) -> tuple[Tensor, Tensor]:
    """One image (3, H, W) and label (H, W): the foreground's pixels of these classes over the background."""
    image, label = background[0].clone(), background[1].clone()
    for y in range(label.shape[0]):
        for x in range(label.shape[1]):
            if int(foreground[1][y, x]) in classes:
                image[:, y, x], label[y, x] = foreground[0][:, y, x], foreground[1][y, x]
    return image, label


def listed(chosen: Tensor) -> list[set[int]]:
    """The classes that bool (N, K) marks, image by image."""
    return [set(row.nonzero().flatten().tolist()) for row in chosen]


def pixels_of(label: Tensor) -> list[tuple[int, int, int]]:
    count, height, width = label.shape
    return [(n, y, x) for n in range(count) for y in range(height) for x in range(width)]
