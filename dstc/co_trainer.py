"""Co-training: the method's losses, given to the loop."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dstc.config.sections import CoTrain
from dstc.core import processes
from dstc.core.randomness import stream_seed
from dstc.data.loaders import Crops, Stream, ValidationImages, image_names, training_batches
from dstc.label_maps.pictures import colorize, legend_of, save_grid
from dstc.method.batches import CoTrainingBatch, LabeledBatch
from dstc.method.class_mix import sample_half_of_classes
from dstc.method.co_training import PASTE, SOURCE_BIASED_LOSSES, TARGET_BIASED_LOSSES, CoTraining, Step
from dstc.method.color_augmentation import color_augmentation
from dstc.method.domain_specific_initialization import Branches
from dstc.models.batch_norm import average_statistics
from dstc.models.deeplab_v2 import DeepLabV2
from dstc.training.context import Setting
from dstc.training.curves import Curve
from dstc.training.loop import CheckpointPolicy, train
from dstc.training.optimizer import poly_learning_rate, set_learning_rate
from dstc.training.state import TrainingState
from dstc.training.step import Learner, training_step
from dstc.training.validation import validate


class CoTrainer:
    """Two learners with four and two losses, one batch for both."""

    def __init__(self, branches: Branches, *, setting: Setting, co_train: CoTrain, val: ValidationImages) -> None:
        self.branches, self.setting, self.co_train, self.val = branches, setting, co_train, val
        self.seed = stream_seed(setting.seed, "co_train")
        self.method = CoTraining(
            combination=co_train.combination,
            alignment=co_train.alignment_weight > 0,
            alignment_counts_void=co_train.alignment_counts_void,
            cross_supervision=co_train.cross_supervision,
            class_mix=co_train.class_mix,
            teacher_batch_norm=co_train.teacher_batch_norm,
            teachers_run=co_train.teachers_run,
            confidence_threshold=co_train.confidence_threshold,
        )
        if co_train.student_batch_norm == "running":
            for network in (branches.source_biased, branches.target_biased):
                assert isinstance(network, DeepLabV2)
                network.keep_batch_norm_statistics()
        self.labeled_only = replace(self.method, cross_supervision=False)
        self.source_biased = setting.learner(
            "source_biased", branches.source_biased, {"alignment": co_train.alignment_weight}
        )
        self.target_biased = setting.learner("target_biased", branches.target_biased)
        losses = [
            *(f"source_biased/{name}" for name in SOURCE_BIASED_LOSSES),
            *(f"target_biased/{name}" for name in TARGET_BIASED_LOSSES),
        ]
        self.class_weights: Tensor | None = None  # of what `run` trains on
        self.averaged = {learner.name: self._averaged(learner) for learner in self.learners if co_train.ema_decay}
        self.state = TrainingState(self.learners, losses=Curve(losses), averaged=self.averaged)

    @property
    def learners(self) -> tuple[Learner, Learner]:
        return self.source_biased, self.target_biased

    def _averaged(self, learner: Learner) -> AveragedModel:
        """Deviation: a teacher that is the moving average of its branch, as in Mean Teacher (Tarvainen and Valpola, 2017).

        In the middle of a run the rate is high and each single state of a branch is a poor labeler.
        """
        average = get_ema_multi_avg_fn(self.co_train.ema_decay)
        return AveragedModel(learner.network, multi_avg_fn=average, use_buffers=True)

    def run(
        self, streams: Mapping[str, Stream], pictures: Path, keeping: CheckpointPolicy | None = None
    ) -> TrainingState:
        """Train both branches in place on the streams source, labeled_target and (unless there is none) unlabeled_target.

        Pictures of what is being mixed go to the folder `pictures`.
        """
        schedule, setting = self.co_train, self.setting
        workers = setting.runtime.workers
        self.class_weights = setting.class_weights(schedule, streams)
        self.val.warm_cache(workers)
        train(
            lambda first: training_batches(
                streams,
                seed=self.seed,
                first=first,
                iterations=schedule.iterations,
                workers=workers,
                share=setting.share,
            ),
            lambda iteration, batch, rate: self.step(iteration, batch, rate, pictures),
            self.state,
            name="co_train",
            iterations=schedule.iterations,
            learning_rate=lambda iteration: poly_learning_rate(
                schedule.learning_rate,
                iteration,
                schedule_iterations=schedule.schedule_iterations,
                power=setting.optim.poly_power,
                lr_ramp_iterations=schedule.lr_ramp_iterations,
            ),
            validate=self._validate,
            validate_every=schedule.validate_every,
            device=setting.device,
            keeping=keeping,
            images=lambda iteration: image_names(streams, iteration, seed=self.seed),
        )
        if schedule.choose_checkpoint == "best_on_val":
            for learner in self.learners:
                learner.network.load_state_dict(self.state.best[learner.name]["weights"])
        return self.state

    def step(
        self, iteration: int, batch: Mapping[str, Crops], learning_rate: float, pictures: Path
    ) -> dict[str, Tensor]:
        """One co-training step; `iteration` counts from 0."""
        for learner in self.learners:
            set_learning_rate(learner.optimizer, learning_rate)
        unlabeled = batch.get("unlabeled_target")
        parts = CoTrainingBatch(
            source=self.setting.on_device(batch["source"]),
            labeled_target=self.setting.on_device(batch["labeled_target"]),
            unlabeled_target=None if unlabeled is None else self.setting.on_device(unlabeled).image,
        )
        step = Step(
            self.branches,
            parts,
            # Deviation: the released code labels from the first iteration on, also with teachers that know little yet.
            self.method if self._has_unlabeled(iteration) else self.labeled_only,
            choose=lambda what, label: self._choose(iteration, what, label),
            augment=lambda student, images: self._augment(iteration, student, images),
            teachers=Branches(**self.averaged) if self.averaged else None,
            division=self.setting.division,
            class_weights=self.class_weights,
        )
        values = training_step(
            [(self.source_biased, step.source_biased_losses), (self.target_biased, step.target_biased_losses)],
            sequential=self.co_train.update == "sequential",
        )
        for learner in self.learners:
            if learner.name in self.averaged:
                average_statistics(self.averaged[learner.name])  # which labeling with batch statistics has moved
                self.averaged[learner.name].update_parameters(learner.network)
        if iteration % self.co_train.pictures_every == 0 and processes.is_first():
            self._draw(iteration, parts, step, pictures)
        return values

    def _has_unlabeled(self, iteration: int) -> bool:
        return iteration >= self.co_train.cross_supervision_start * self.co_train.iterations

    def _choose(self, iteration: int, what: str, label: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(stream_seed(self.seed, what, iteration))
        with_replacement = what == PASTE and self.co_train.paste_with_replacement
        classes = len(self.setting.classes)
        return sample_half_of_classes(label, classes, generator=generator, with_replacement=with_replacement)

    def _augment(self, iteration: int, student: str, images: Tensor) -> Tensor:
        if not self.co_train.color_augmentation:
            return images
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "color", student, iteration))
        return color_augmentation(images, self.setting.normalization, generator=generator)

    def _validate(self, _: int) -> dict[str, float]:
        scores = validate(
            {learner.name: learner.network for learner in self.learners},
            self.val,
            normalization=self.setting.normalization,
            device=self.setting.device,
            batch=4,
            workers=self.setting.runtime.workers,
        )
        if self.co_train.choose_checkpoint == "best_on_val":
            for learner in self.learners:
                score, best = scores[f"{learner.name}_miou"], self.state.best
                if learner.name not in best or score > best[learner.name]["score"]:
                    best[learner.name] = {"score": score, "weights": copy.deepcopy(learner.network.state_dict())}
        return scores

    def _draw(self, iteration: int, parts: CoTrainingBatch, step: Step, folder: Path) -> None:
        """Input, pseudo-label, mixed image and mixed label of each branch's passes, as one picture."""
        classes, panels = self.setting.classes, []

        def add(title: str, what: LabeledBatch | Tensor) -> None:
            if isinstance(what, LabeledBatch):
                image = self.setting.normalization.invert(what.image[:1])[0].cpu().numpy()
                panels.append((title, image))
                panels.append((f"{title}: label", colorize(what.label[0].cpu().numpy(), classes)))
            else:
                panels.append((title, colorize(what[0].cpu().numpy(), classes)))

        add("source", parts.source)
        add("labeled target", parts.labeled_target)
        if parts.unlabeled_target is not None:
            unlabeled = self.setting.normalization.invert(parts.unlabeled_target[:1])[0].cpu().numpy()
            panels.append(("unlabeled target", unlabeled))
        for name, what in sorted(step.seen.items()):
            add(name.replace("_", " "), what)
        save_grid(folder / f"iteration_{iteration + 1:06d}.png", panels, legend_of(classes))
