"""One co-training step: which loss goes to which branch (the paper's overview figure).

| branch | passes, one graph each |
|---|---|
| source-biased (B1) | source: cross entropy and alignment; labeled target: cross entropy; ClassMix with B2's pseudo-labels |
| target-biased (B2) | data combination 2: cross entropy; ClassMix with B1's pseudo-labels |

Losses come as one dict per graph; whoever trains propagates each back before asking for the next, so that one graph is
alive at a time. The sums of the gradients are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from dstc.method.batches import CoTrainingBatch, LabeledBatch
from dstc.method.class_mix import class_mix
from dstc.method.cross_domain_combination import combine_whole_images, combine_within_images
from dstc.method.cross_entropy import cross_entropy
from dstc.method.cross_supervision import confident_share, cross_supervision, labeling, pseudo_label
from dstc.method.domain_specific_initialization import Branches
from dstc.method.target_preferred_alignment import target_preferred_alignment

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

    `teachers` are the networks that label and that the alignment looks up to, if not the branches themselves.
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
    ) -> None:
        self.branches, self.batch, self.method = branches, batch, method
        self.teachers = teachers or branches
        self.choose, self.augment = choose, augment
        self.seen: dict[str, LabeledBatch | Tensor] = {}
        self._labeled: dict[str, Tensor] = {}
        if method.teachers_run == "first":
            self._label_everything()

    def source_biased_losses(self) -> Iterator[dict[str, Tensor]]:
        """Losses of B1, one dict per graph."""
        student = self.branches.source_biased
        source, labeled_target = combine_whole_images(self.batch.source, self.batch.labeled_target)
        logits = student(source.image)
        losses = {"source_cross_entropy": cross_entropy(logits, source.label)}
        if self.method.alignment:
            losses["alignment"] = target_preferred_alignment(
                logits,
                self._logits_of("target_biased", source.image, "source"),
                source.label,
                counts_void=self.method.alignment_counts_void,
            )
        del logits
        yield losses
        yield {"target_cross_entropy": cross_entropy(student(labeled_target.image), labeled_target.label)}
        if self._is_cross_supervised:
            yield {"cross_supervision": cross_supervision(student, *self._unlabeled_for("source_biased"))}

    def target_biased_losses(self) -> Iterator[dict[str, Tensor]]:
        """Losses of B2, one dict per graph."""
        student = self.branches.target_biased
        if self.method.combination == "differentiated":
            chosen = self.choose(PASTE, self.batch.source.label)
            combined = combine_within_images(self.batch.source, self.batch.labeled_target, chosen)
            self.seen["combination_2"] = combined
            yield {"combined_cross_entropy": cross_entropy(student(combined.image), combined.label)}
        else:  # switched off: both branches see data combination 1
            for name, part in (("source", self.batch.source), ("target", self.batch.labeled_target)):
                yield {f"{name}_cross_entropy": cross_entropy(student(part.image), part.label)}
        if self._is_cross_supervised:
            yield {"cross_supervision": cross_supervision(student, *self._unlabeled_for("target_biased"))}

    @property
    def _is_cross_supervised(self) -> bool:
        return self.method.cross_supervision and self.batch.unlabeled_target is not None

    def _unlabeled_for(self, student: str) -> tuple[LabeledBatch, Tensor | None]:
        """Unlabeled images with the other branch's pseudo-labels, mixed, as the student sees them; the loss's weight."""
        images = self.batch.unlabeled_target
        assert images is not None
        teacher = "target_biased" if student == "source_biased" else "source_biased"
        logits, threshold = self._logits_of(teacher, images, "unlabeled"), self.method.confidence_threshold
        labels, weight = pseudo_label(logits), confident_share(logits, threshold) if threshold else None
        del logits
        mixed = LabeledBatch(images, labels)
        if self.method.class_mix:
            mixed, _ = class_mix(images, labels, self.choose(CLASS_MIX[student], labels))
        mixed = LabeledBatch(self.augment(student, mixed.image), mixed.label)
        self.seen |= {f"pseudo_label_by_{teacher}": labels, f"mixed_for_{student}": mixed}
        return mixed, weight

    def _logits_of(self, teacher: str, images: Tensor, what: str) -> Tensor:
        """The teacher's logits, run now, or at the start of the step with `teachers_run` "first"."""
        key = f"{teacher} on {what}"
        if key not in self._labeled:
            network: nn.Module = getattr(self.teachers, teacher)
            with labeling(network, self.method.teacher_batch_norm):
                self._labeled[key] = network(images)
        return self._labeled.pop(key)

    def _label_everything(self) -> None:
        passes = [("target_biased", "source", self.batch.source.image)] if self.method.alignment else []
        if self._is_cross_supervised:
            images = self.batch.unlabeled_target
            assert images is not None
            passes += [("target_biased", "unlabeled", images), ("source_biased", "unlabeled", images)]
        for teacher, what, images in passes:
            logits = self._logits_of(teacher, images, what)
            self._labeled[f"{teacher} on {what}"] = logits


__all__ = ["CLASS_MIX", "PASTE", "Augment", "ChooseClasses", "CoTraining", "Step"]
