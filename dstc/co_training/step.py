"""One co-training step: which loss goes to which branch (the paper's overview figure).

Every process holds the whole batch, because mixing looks at several images at once. A pass sees a process's share of it
(`Learner`), and what is counted or averaged over a batch is added up over all shares (`processes.total`). So the gradients
of all processes add up to that of the undivided batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

from torch import Tensor, nn

from dstc.core import processes
from dstc.core.batches import LabeledBatch
from dstc.method.batches import CoTrainingBatch
from dstc.method.class_mix import class_mix
from dstc.method.cross_domain_combination import combine_whole_images, combine_within_images
from dstc.method.cross_supervision import confident_share, pseudo_label, teacher_mode
from dstc.method.domain_specific_initialization import Branches
from dstc.method.target_preferred_alignment import class_sums, target_preferred_alignment
from dstc.training.cross_entropy import cross_entropy
from dstc.training.learner import Learner

# (what for, labels (N, H, W)) -> bool (N, K); the random choice of classes, which tests can hand in
ChooseClasses = Callable[[str, Tensor], Tensor]
# (for whom, images (N, 3, H, W)) -> images of the same form; color augmentation, or nothing
Augment = Callable[[str, Tensor], Tensor]
# what the branches were given to learn from, for pictures
Seen = dict[str, LabeledBatch | Tensor]

SOURCE_BIASED, TARGET_BIASED = "source_biased", "target_biased"
SOURCE_BIASED_LOSSES = ("source_cross_entropy", "alignment", "target_cross_entropy", "cross_supervision")
TARGET_BIASED_LOSSES = ("combined_cross_entropy", "target_cross_entropy", "cross_supervision")
CONFIDENT_SHARE = "confident_share"  # percent, of a branch's pseudo-labels
PASTE = "paste"
CLASS_MIX_DRAW = {SOURCE_BIASED: "class_mix_source_biased", TARGET_BIASED: "class_mix_target_biased"}


@dataclass(frozen=True)
class Method:
    """The switches of a step, under the names of section `co_train`.

    The defaults are the method as published, with teachers in eval mode, for users of `dstc.api`; the pipeline sets every
    one, and presets/_recommended.yaml adds to the method. With a `confidence_threshold` the weight of cross supervision is
    the share of pixels surer than it; no pixel is left out.
    """

    combination: str = "differentiated"  # or "differentiated_and_target", "whole_images"
    alignment_weight: float = 0.1
    alignment_counts_void: bool = False
    cross_supervision: bool = True
    cross_supervision_weight: float = 1.0
    class_mix: bool = True
    teacher_batch_norm: str = "running"
    teachers_run: str = "in_turn"
    confidence_threshold: float = 0.0
    update: str = "simultaneous"


def co_training_step(
    b1: Learner,
    b2: Learner,
    batch: CoTrainingBatch,
    method: Method,
    *,
    teachers: Branches,
    choose: ChooseClasses,
    augment: Augment = lambda _, images: images,
    class_weights: Tensor | None = None,
) -> Seen:
    """A step of the source-biased branch `b1` and the target-biased branch `b2`; the learners then hold their losses.

    `teachers` label and are aligned to: the branches themselves, as in the paper, or averages of them. `class_weights` (K,)
    are those of every cross entropy. Each loss is back-propagated before the next pass: one graph is alive at a time.

    `b1(batch)` and `b2(batch)` give logits and labels of this process's share of a batch, which is what `ce` takes. The
    caller sets the learning rate, updates averaged teachers, and leaves unlabeled images out until they are used.
    """
    ce = partial(cross_entropy, class_weights=class_weights, total=processes.total)
    source, labeled_target = combine_whole_images(batch.source, batch.labeled_target)  # data combination 1
    teaching = Teaching(teachers, batch, method, choose, augment)

    b1.zero_grad()
    b1.back_propagate(_losses_on_source(b1, source, teaching, ce), {"alignment": method.alignment_weight})
    b1.back_propagate({"target_cross_entropy": ce(*b1(labeled_target))})
    if teaching.cross_supervises:
        unlabeled, weight = teaching.for_student(SOURCE_BIASED, labeled_by=TARGET_BIASED)
        b1.back_propagate({"cross_supervision": weight * ce(*b1(unlabeled))})
    if method.update == "sequential":
        b1.step()

    b2.zero_grad()
    if method.combination == "whole_images":
        b2.back_propagate({"source_cross_entropy": ce(*b2(source))})
    else:
        combined = combine_within_images(source, labeled_target, choose(PASTE, source.label))  # data combination 2
        teaching.seen["combination_2"] = combined
        b2.back_propagate({"combined_cross_entropy": ce(*b2(combined))})
    if method.combination != "differentiated":
        b2.back_propagate({"target_cross_entropy": ce(*b2(labeled_target))})
    if teaching.cross_supervises:
        unlabeled, weight = teaching.for_student(TARGET_BIASED, labeled_by=SOURCE_BIASED)
        b2.back_propagate({"cross_supervision": weight * ce(*b2(unlabeled))})

    if method.update == "simultaneous":
        b1.step()
    b2.step()
    teaching.observe(b1, b2)
    return teaching.seen


def _losses_on_source(
    b1: Learner, source: LabeledBatch, teaching: Teaching, ce: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, Tensor]:
    """Cross entropy, and target-preferred alignment: both of one pass."""
    method = teaching.method
    teacher_sums, pixels = teaching.on_source if method.alignment_weight else (None, None)
    logits, label = b1(source)
    losses = {"source_cross_entropy": ce(logits, label)}
    if teacher_sums is not None and pixels is not None:
        sums, _ = class_sums(logits, label, counts_void=method.alignment_counts_void)
        losses["alignment"] = target_preferred_alignment(processes.total(sums), teacher_sums, pixels)
    return losses


class Teaching:
    """What the teachers say of a batch, each once: when it is asked for, or before any student learns (`teachers_run`)."""

    def __init__(
        self, teachers: Branches, batch: CoTrainingBatch, method: Method, choose: ChooseClasses, augment: Augment
    ) -> None:
        self.teachers, self.batch, self.method = teachers, batch, method
        self.choose, self.augment = choose, augment
        self.seen: Seen = {}
        self._labels: dict[str, tuple[Tensor, Tensor | float]] = {}
        if method.teachers_run == "first":
            if method.alignment_weight:
                _ = self.on_source
            if self.cross_supervises:
                self._labels_by(TARGET_BIASED)
                self._labels_by(SOURCE_BIASED)

    @property
    def cross_supervises(self) -> bool:
        return self.method.cross_supervision and self.batch.unlabeled_target is not None

    @cached_property
    def on_source(self) -> tuple[Tensor, Tensor]:
        """Class sums of the target-biased teacher on the whole source batch, and the pixels of each class."""
        source, teacher = self.batch.source, self.teachers.target_biased
        with teacher_mode(teacher, self.method.teacher_batch_norm):
            logits = teacher(processes.share(source.image))
        sums, pixels = class_sums(logits, processes.share(source.label), counts_void=self.method.alignment_counts_void)
        return processes.total(sums), processes.total(pixels)

    def for_student(self, student: str, *, labeled_by: str) -> tuple[LabeledBatch, Tensor | float]:
        """Unlabeled images with the other branch's pseudo-labels, mixed, as the student sees them; the loss's weight."""
        assert self.batch.unlabeled_target is not None
        labels, weight = self._labels_by(labeled_by)
        unlabeled = mixed = LabeledBatch(self.batch.unlabeled_target.image, labels)
        if self.method.class_mix:
            mixed = class_mix(unlabeled, unlabeled, self.choose(CLASS_MIX_DRAW[student], unlabeled.label))
        mixed = LabeledBatch(self.augment(student, mixed.image), mixed.label)
        self.seen |= {f"pseudo_label_by_{labeled_by}": labels, f"mixed_for_{student}": mixed}
        return mixed, weight * self.method.cross_supervision_weight

    def observe(self, b1: Learner, b2: Learner) -> None:
        """Note with each branch how much of what it labeled in this step it was sure of, where that was asked."""
        for learner, name in ((b1, SOURCE_BIASED), (b2, TARGET_BIASED)):
            _, share = self._labels.get(name, (None, None))
            if isinstance(share, Tensor):
                learner.observe({CONFIDENT_SHARE: 100 * share})

    def _labels_by(self, name: str) -> tuple[Tensor, Tensor | float]:
        """Pseudo-labels of the whole unlabeled batch, and their weight."""
        if name not in self._labels:
            assert self.batch.unlabeled_target is not None
            teacher: nn.Module = getattr(self.teachers, name)
            unlabeled = self.batch.unlabeled_target
            images, padding = processes.share(unlabeled.image), processes.share(unlabeled.label)
            with teacher_mode(teacher, self.method.teacher_batch_norm):
                logits = teacher(images)
            label, threshold = pseudo_label(logits, padding), self.method.confidence_threshold
            weight = confident_share(logits, label, threshold, total=processes.total) if threshold else 1.0
            self._labels[name] = processes.gather(label), weight
        return self._labels[name]
