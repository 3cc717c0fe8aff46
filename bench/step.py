"""A co-training step: ResNet-101, 2 + 2 + 2 images, the preset gta5_cityscapes. The straightforward way is fp32 in NCHW with
loops over images and classes, written out in bench/straightforward.py; ours is bf16 (`model.precision`) with channels last.
"All but networks and cross entropy" is normalization, masks, mixing, pseudo-labels and alignment, with its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import straightforward
from bench.clock import cpu_milliseconds
from bench.one_step import Case, measured, params_of, random_batch
from bench.rows import Row, share_of, times_as_fast
from dstc.co_training.trainer import CoTrainer
from dstc.core.batches import LabeledBatch
from dstc.core.index import DomainIndex
from dstc.core.taxonomy import CITYSCAPES_19
from dstc.data.loaders import ValidationImages
from dstc.method.class_mix import class_mix, paste_mask, sample_half_of_classes
from dstc.method.domain_specific_initialization import Branches
from dstc.method.target_preferred_alignment import class_sums, target_preferred_alignment
from dstc.training.context import TrainingContext
from dstc.training.cross_entropy import cross_entropy
from dstc.training.failure_snapshot import FailureSnapshot
from dstc.training.learner import Learner, finite_losses

AT_LEAST = {256: 2.0, 512: 2.5}
ROUNDS = {256: 2, 512: 1}
K = len(CITYSCAPES_19)
CROP, IMAGES = 512, 2


def rows() -> Iterator[Row]:
    torch.set_num_threads(1)
    yield from _masks_mixing_alignment()
    ours = 0.0
    for crop, at_least in AT_LEAST.items():
        slow, ours = _whole_steps(crop)
        yield times_as_fast(f"a step at {crop}x{crop}", slow, ours, "s", at_least=at_least)
    rest, updates, averages = (cost / 1000 for cost in _all_but_networks())
    yield share_of("all but networks and cross entropy, of a step at 512x512", ours, rest, "s", at_most=0.03)
    yield share_of("SGD, check of gradients and failure snapshot, of a step at 512x512", ours, updates, "s")
    yield share_of("moving averages of both networks, of a step at 512x512", ours, averages, "s")


def _whole_steps(crop: int) -> tuple[float, float]:
    """The cheapest of several steps each; a process each, in turns."""
    slow, ours = Case(crop, kind="straightforward", device="cpu"), Case(crop, precision="bf16", device="cpu")
    costs = [(measured(slow, turn)["seconds"], measured(ours, turn)["seconds"]) for turn in range(ROUNDS[crop])]
    return min(cost for cost, _ in costs), min(cost for _, cost in costs)


def _masks_mixing_alignment() -> Iterator[Row]:
    images, label = torch.randn(IMAGES, 3, CROP, CROP), random_batch(CROP, IMAGES)["source"][1]
    channels_last = images.to(memory_format=torch.channels_last)
    chosen = sample_half_of_classes(label, K, generator=torch.Generator().manual_seed(0))
    listed = [row.nonzero().flatten().tolist() for row in chosen]
    mine, theirs = (smooth_logits(number) for number in range(2))

    def masks() -> Tensor:
        return torch.stack([straightforward.mask_of(*pair) for pair in zip(label, listed, strict=True)])

    def mixed() -> tuple[Tensor, Tensor]:
        return straightforward.class_mix(images, label, "", lambda _, number, __: listed[number])

    assert torch.equal(masks(), paste_mask(label, chosen))
    labeled = LabeledBatch(channels_last, label)
    assert torch.equal(mixed()[1], class_mix(labeled, labeled, chosen).label)
    slow, fast = cpu_milliseconds((masks, 10), (lambda: paste_mask(label, chosen), 10))
    yield times_as_fast("masks of 2 labels at 512x512", slow, fast, "ms")
    slow, fast = cpu_milliseconds((mixed, 10), (lambda: class_mix(labeled, labeled, chosen), 10))
    yield times_as_fast("ClassMix of 2 images at 512x512", slow, fast, "ms")
    slow, fast = cpu_milliseconds(
        (lambda: straightforward.alignment(mine, theirs, label).backward(), 2),
        (lambda: aligned(mine, theirs, label).backward(), 2),
    )
    yield times_as_fast("alignment of 2 images at 512x512, with its gradient", slow, fast, "ms")


def aligned(student: Tensor, teacher: Tensor, label: Tensor) -> Tensor:
    """Our alignment of two branches' logits (N, K, H, W)."""
    return target_preferred_alignment(class_sums(student, label)[0], *class_sums(teacher.detach(), label))


def smooth_logits(seed: int) -> Tensor:
    """float32 (N, K, H, W) as a network gives them, with a gradient to be."""
    coarse = torch.randn(IMAGES, K, CROP // 8, CROP // 8, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, scale_factor=8, mode="bilinear").requires_grad_()


class _Costless(nn.Module):
    """A network that has its logits ready."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(smooth_logits(seed).detach())

    def forward(self, _: Tensor) -> Tensor:
        return self.logits


def _all_but_networks() -> tuple[float, float, float]:
    """Milliseconds of a step beside its passes and cross entropies; of what the weights of two networks cost it; and of
    their averages."""
    params = params_of(Case(CROP, device="cpu"))
    context = TrainingContext.of(params, CITYSCAPES_19)
    val, batch = ValidationImages(DomainIndex("target_val", (), (), {}, ()), []), random_batch(CROP, IMAGES)
    branches = Branches(_Costless(0), _Costless(1))
    trainer = CoTrainer(branches, context=context, settings=params.co_train, val=val)
    logits, label = smooth_logits(0), batch["source"][1]
    whole, one_cross_entropy = cpu_milliseconds(
        (lambda: trainer.step(1, batch, 1e-4, Path("nowhere")), 1),
        (lambda: cross_entropy(logits, label).backward(), 5),
    )
    learners = [context.learner(name, context.networks.new()) for name in ("source_biased", "target_biased")]
    updates, averages = cpu_milliseconds((_updates(learners), 1), (lambda: _average(learners), 1))
    return whole - 5 * one_cross_entropy, updates, averages


def _average(learners: Sequence[Learner]) -> None:
    for learner in learners:
        learner.update_average()


def _updates(learners: Sequence[Learner]) -> Callable[[], None]:
    snapshot = FailureSnapshot({learner.name: learner.network for learner in learners})
    for learner in learners:
        for parameter in learner.network.parameters():
            parameter.grad = torch.full_like(parameter, 1e-6) if parameter.requires_grad else None

    def update() -> None:
        snapshot.take()
        for learner in learners:
            learner.optimizer.step()
        finite_losses({"loss": torch.zeros(())}, learners, iteration=1, learning_rate=1e-4)

    return update
