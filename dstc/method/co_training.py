"""One co-training step: which loss goes to which branch (the paper's overview figure).

| branch | passes, one graph each |
|---|---|
| source-biased (B1) | source: cross entropy and alignment; labeled target: cross entropy; ClassMix with B2's pseudo-labels |
| target-biased (B2) | data combination 2: cross entropy; ClassMix with B1's pseudo-labels |

Losses come as one dict per graph; whoever trains propagates each back before asking for the next, so that one graph is
alive at a time. The sums of the gradients are the same. Where the batch is divided, each pass of the table is several,
whose losses add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dstc.method.batches import CoTrainingBatch, LabeledBatch
from dstc.method.class_mix import class_mix
from dstc.method.cross_domain_combination import combine_whole_images, combine_within_images
from dstc.method.cross_supervision import (
    confident_pixels,
    confident_share,
    cross_supervision,
    pseudo_label,
    teacher_mode,
)
from dstc.method.division import UNDIVIDED, Division
from dstc.method.domain_specific_initialization import Branches
from dstc.method.target_preferred_alignment import DividedAlignment, class_sums
from dstc.models.batch_norm import statistics_kept
from dstc.training.cross_entropy import cross_entropy, cross_entropy_in_parts, valid_pixels

# (what for, labels (N, H, W)) -> bool (N, K); the random choice of classes, which tests can hand in
ChooseClasses = Callable[[str, Tensor], Tensor]
# (what for, images (N, 3, H, W)) -> images of the same form; color augmentation, or nothing
Augment = Callable[[str, Tensor], Tensor]

SOURCE_BIASED_LOSSES = ("source_cross_entropy", "alignment", "target_cross_entropy", "cross_supervision")
TARGET_BIASED_LOSSES = ("combined_cross_entropy", "cross_supervision")
PASTE = "paste"
CLASS_MIX = {"source_biased": "class_mix_source_biased", "target_biased": "class_mix_target_biased"}


@dataclass(frozen=True)
class CoTraining:
    """The parts of the method, each of which can be switched, and the loss weights (all 1 but the alignment's)."""

    combination: str = "differentiated"
    alignment: bool = True
    alignment_counts_void: bool = False
    cross_supervision: bool = True
    class_mix: bool = True
    teacher_batch_norm: str = "running"
    teachers_run: str = "in_turn"
    confidence_threshold: float = 0.0


class Step:
    """The losses of both branches on one batch. What a branch gets to label is kept for the pictures in `seen`.

    `teachers` are the networks that label and that the alignment looks up to, if not the branches themselves;
    `class_weights` (K,) are those of every cross entropy.
    """

    def __init__(
        self,
        branches: Branches,
        batch: CoTrainingBatch,
        method: CoTraining,
        *,
        choose: ChooseClasses,
        augment: Augment = lambda _, images: images,
        teachers: Branches | None = None,
        division: Division = UNDIVIDED,
        class_weights: Tensor | None = None,
    ) -> None:
        self.branches, self.batch, self.method, self.division = branches, batch, method, division
        self.class_weights = class_weights
        self.teachers = teachers or branches
        self.choose, self.augment = choose, augment
        self.seen: dict[str, LabeledBatch | Tensor] = {}
        self._sums: tuple[Tensor, Tensor] | None = None
        self._labels: dict[str, tuple[Tensor, Tensor | None]] = {}
        if method.teachers_run == "first":
            self._label_everything()

    def source_biased_losses(self) -> Iterator[dict[str, Tensor]]:
        """Losses of B1, one dict per graph."""
        student = self.branches.source_biased
        source, labeled_target = combine_whole_images(self.batch.source, self.batch.labeled_target)
        valid = valid_pixels(source.label, self.class_weights)
        alignment = self._alignment(source) if self.method.alignment else None
        for part in self.division.labeled(source):
            logits = student(part.image)
            losses = {"source_cross_entropy": cross_entropy(logits, part.label, valid, self.class_weights)}
            if alignment:
                losses["alignment"] = alignment(logits, part.label)
            del logits
            yield losses
        for loss in self._cross_entropy(student, labeled_target):
            yield {"target_cross_entropy": loss}
        yield from self._cross_supervision("source_biased")

    def target_biased_losses(self) -> Iterator[dict[str, Tensor]]:
        """Losses of B2, one dict per graph."""
        student = self.branches.target_biased
        if self.method.combination == "differentiated":
            chosen = self.choose(PASTE, self.batch.source.label)
            combined = combine_within_images(self.batch.source, self.batch.labeled_target, chosen)
            self.seen["combination_2"] = combined
            for loss in self._cross_entropy(student, combined):
                yield {"combined_cross_entropy": loss}
        else:  # switched off: both branches see data combination 1
            for name, batch in (("source", self.batch.source), ("target", self.batch.labeled_target)):
                for loss in self._cross_entropy(student, batch):
                    yield {f"{name}_cross_entropy": loss}
        yield from self._cross_supervision("target_biased")

    def _cross_entropy(self, student: nn.Module, batch: LabeledBatch) -> Iterator[Tensor]:
        return cross_entropy_in_parts(student, batch, self.division, self.class_weights)

    def _cross_supervision(self, name: str) -> Iterator[dict[str, Tensor]]:
        if self._is_cross_supervised:
            student: nn.Module = getattr(self.branches, name)
            mixed, weight = self._unlabeled_for(name)
            for loss in cross_supervision(student, mixed, weight, self.division, self.class_weights):
                yield {"cross_supervision": loss}

    @property
    def _is_cross_supervised(self) -> bool:
        return self.method.cross_supervision and self.batch.unlabeled_target is not None

    def _unlabeled_for(self, student: str) -> tuple[LabeledBatch, Tensor | None]:
        """Unlabeled images with the other branch's pseudo-labels, mixed, as the student sees them; the loss's weight."""
        images = self.batch.unlabeled_target
        assert images is not None
        teacher = "target_biased" if student == "source_biased" else "source_biased"
        labels, weight = self._labels_by(teacher)
        mixed = LabeledBatch(images, labels)
        if self.method.class_mix:
            mixed, _ = class_mix(images, labels, self.choose(CLASS_MIX[student], labels))
        mixed = LabeledBatch(self.augment(student, mixed.image), mixed.label)
        self.seen |= {f"pseudo_label_by_{teacher}": labels, f"mixed_for_{student}": mixed}
        return mixed, weight

    def _alignment(self, source: LabeledBatch) -> DividedAlignment:
        teacher, pixels = self._sums_of_the_teacher()
        parts, student = self.division.labeled(source), None
        if len(parts) > 1:  # a part's gradient depends on the sums of all
            network = self.branches.source_biased
            with torch.no_grad(), statistics_kept(network):
                student, _ = self._class_sums(network, parts)
        return DividedAlignment(teacher, pixels, student, len(parts), self.division, self.method.alignment_counts_void)

    def _class_sums(self, network: nn.Module, parts: Iterable[LabeledBatch]) -> tuple[Tensor, Tensor]:
        """Class sums of the network's logits, and pixels, of the whole batch of which these are this process's parts."""
        counts_void = self.method.alignment_counts_void
        sums, pixels = zip(
            *(class_sums(network(part.image), part.label, counts_void=counts_void) for part in parts), strict=True
        )
        return self.division.total(torch.stack(sums).sum(0)), self.division.total(torch.stack(pixels).sum(0))

    def _sums_of_the_teacher(self) -> tuple[Tensor, Tensor]:
        """The target-biased teacher's on the source: now, or at the start of the step with `teachers_run` "first"."""
        if self._sums is None:
            teacher = self.teachers.target_biased
            with teacher_mode(teacher, self.method.teacher_batch_norm):
                self._sums = self._class_sums(teacher, self.division.labeled(self.batch.source))
        return self._sums

    def _labels_by(self, teacher: str) -> tuple[Tensor, Tensor | None]:
        """Pseudo-labels of the whole unlabeled batch, and their weight: now, or at the start of the step."""
        if teacher not in self._labels:
            network: nn.Module = getattr(self.teachers, teacher)
            images, threshold = self.batch.unlabeled_target, self.method.confidence_threshold
            assert images is not None
            labels, confident = [], []
            with teacher_mode(network, self.method.teacher_batch_norm):
                for part in self.division.images(images):
                    logits = network(part)
                    labels.append(pseudo_label(logits))
                    if threshold:
                        confident.append(confident_pixels(logits, threshold))
            label = self.division.gather(torch.cat(labels))
            weight = confident_share(self.division.gather(torch.cat(confident)), label) if threshold else None
            self._labels[teacher] = label, weight
        return self._labels[teacher]

    def _label_everything(self) -> None:
        if self.method.alignment:
            self._sums_of_the_teacher()
        if self._is_cross_supervised:
            for teacher in ("target_biased", "source_biased"):
                self._labels_by(teacher)


__all__ = ["CLASS_MIX", "PASTE", "Augment", "ChooseClasses", "CoTraining", "Step"]
