"""Co-training: both branches through all iterations, with the curves and pictures of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import torch
from torch import Tensor

from dstc.co_training.step import (
    CONFIDENT_SHARE,
    PASTE,
    SOURCE_BIASED,
    SOURCE_BIASED_LOSSES,
    TARGET_BIASED,
    TARGET_BIASED_LOSSES,
    Method,
    Seen,
    co_training_step,
)
from dstc.co_training.validation import ACCURACY, validate_branches
from dstc.config.sections import CoTrain
from dstc.core import processes
from dstc.core.batches import LabeledBatch
from dstc.core.randomness import stream_seed
from dstc.data.loaders import Crops, Stream, ValidationImages, image_names, training_batches
from dstc.label_maps.pictures import Panel, colorize, legend_of, save_grid
from dstc.method.batches import CoTrainingBatch
from dstc.method.class_mix import sample_half_of_classes
from dstc.method.color_augmentation import color_augmentation
from dstc.method.domain_specific_initialization import Branches
from dstc.models.segmentation import SegmentationNetwork
from dstc.training.context import TrainingContext
from dstc.training.curves import Curve
from dstc.training.learner import Learner
from dstc.training.loop import CheckpointPolicy, Plan, train
from dstc.training.optimizer import poly_schedule, set_learning_rate
from dstc.training.state import EMA, TrainingState


class CoTrainer:
    """The two branches as learners, and what a step of them needs."""

    def __init__(
        self, branches: Branches, *, context: TrainingContext, settings: CoTrain, val: ValidationImages
    ) -> None:
        self.branches, self.context, self.settings, self.val = branches, context, settings, val
        self.seed = stream_seed(context.seed, "co_train")
        self.method = Method(**{field.name: getattr(settings, field.name) for field in fields(Method)})
        if settings.student_batch_norm == "running":
            for network in (branches.source_biased, branches.target_biased):
                assert isinstance(network, SegmentationNetwork)
                network.keep_batch_norm_statistics()
        self.source_biased = context.learner(SOURCE_BIASED, branches.source_biased)
        self.target_biased = context.learner(TARGET_BIASED, branches.target_biased)
        # Deviation: a teacher can be the moving average of its branch, as in Mean Teacher (Tarvainen and Valpola, 2017).
        averages = (learner.average or learner.network for learner in (self.source_biased, self.target_biased))
        self.teachers = Branches(*averages) if settings.teachers == "averaged" else branches
        self.class_weights: Tensor | None = None  # of what `run` trains on
        losses = [
            *(f"{SOURCE_BIASED}/{name}" for name in SOURCE_BIASED_LOSSES),
            *(f"{TARGET_BIASED}/{name}" for name in TARGET_BIASED_LOSSES),
            *(f"{learner.name}/{CONFIDENT_SHARE}" for learner in self.learners),
        ]
        validation = Curve([f"{learner.name}_{ACCURACY}" for learner in self.learners])
        self.state = TrainingState(self.learners, losses=Curve(losses), validation=validation)

    @property
    def learners(self) -> tuple[Learner, ...]:
        return self.source_biased, self.target_biased

    def run(
        self, streams: Mapping[str, Stream], pictures: Path, checkpoints: CheckpointPolicy | None = None
    ) -> TrainingState:
        """Train both branches in place on the streams source, labeled_target and (unless there is none) unlabeled_target.

        Pictures of what is being mixed go to the folder `pictures`.
        """
        settings, context = self.settings, self.context
        workers, streams = context.runtime.workers, self._used(streams)
        self.class_weights = context.class_weights(settings, streams)
        self.val.warm_cache(workers)
        plan = Plan(
            name="co_train",
            iterations=settings.iterations,
            learning_rate=poly_schedule(settings, context.optim.poly_power),
            batches=lambda first: training_batches(
                streams,
                seed=self.seed,
                first=first,
                iterations=settings.iterations,
                workers=workers,
                share=context.share,
            ),
            step=lambda iteration, batch, rate: self.step(iteration, batch, rate, pictures),
            validate=self._validate,
            validate_every=settings.validate_every,
            images=lambda iteration: image_names(streams, iteration, seed=self.seed),
        )
        train(plan, self.state, device=context.device, checkpoints=checkpoints)
        if settings.choose_checkpoint == "best_on_val":
            for name, network in self.state.networks.items():
                network.load_state_dict(self.state.best[name]["weights"])
        return self.state

    def _used(self, streams: Mapping[str, Stream]) -> dict[str, Stream]:
        """The streams, the unlabeled one from where cross supervision starts on, so that no image is read in vain."""
        settings, used = self.settings, dict(streams)
        unlabeled = used.pop("unlabeled_target", None)
        if unlabeled is not None and settings.cross_supervision:
            # Deviation: the released code labels from the first iteration on, also with teachers that know little yet.
            first = math.ceil(settings.cross_supervision_start * settings.iterations)
            used["unlabeled_target"] = replace(unlabeled, first_iteration=first)
        return used

    def step(
        self, iteration: int, batch: Mapping[str, Crops], learning_rate: float, pictures: Path
    ) -> dict[str, Tensor]:
        """One co-training step; `iteration` counts from 0. Gives the losses by name, and what else was observed."""
        for learner in self.learners:
            set_learning_rate(learner.optimizer, learning_rate)
        whole = CoTrainingBatch(**{name: self.context.on_device(crops) for name, crops in batch.items()})
        seen = co_training_step(
            self.source_biased,
            self.target_biased,
            whole,
            self.method,
            teachers=self.teachers,
            choose=lambda what, label: self.choose(iteration, what, label),
            augment=lambda student, images: self.augment(iteration, student, images),
            class_weights=self.class_weights,
        )
        if iteration % self.settings.pictures_every == 0 and processes.is_first():
            self._draw(iteration, whole, seen, pictures)
        b1, b2 = self.learners
        return b1.losses | b2.losses | b1.observed | b2.observed

    def choose(self, iteration: int, what: str, label: Tensor) -> Tensor:
        """The classes that are pasted, bool (N, K): a draw of its own for each iteration and purpose."""
        generator = torch.Generator().manual_seed(stream_seed(self.seed, what, iteration))
        with_replacement = what == PASTE and self.settings.paste_with_replacement
        classes = len(self.context.classes)
        return sample_half_of_classes(label, classes, generator=generator, with_replacement=with_replacement)

    def augment(self, iteration: int, student: str, images: Tensor) -> Tensor:
        """The images as the student sees them: other draws for each iteration and student."""
        strength = self.settings.color_augmentation
        if strength == "none":
            return images
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "color", student, iteration))
        return color_augmentation(images, self.context.networks.preprocessing, strength, generator=generator)

    def _validate(self, _: int) -> dict[str, float]:
        networks = self.state.networks
        pairs = {f"average{kind}": [f"{learner.name}{kind}" for learner in self.learners] for kind in ("", EMA)}
        together = {name: pair for name, pair in pairs.items() if networks.keys() >= set(pair)}
        teaching = EMA if self.settings.teachers == "averaged" else ""
        scores = validate_branches(
            networks,
            self.val,
            self.context,
            together=together,
            teachers={learner.name: f"{learner.name}{teaching}" for learner in self.learners},
            threshold=self.settings.confidence_threshold,
        )
        if self.settings.choose_checkpoint == "best_on_val":
            best = self.state.best
            for name, network in networks.items():
                score = scores[f"{name}_miou"]
                if name not in best or score > best[name]["score"]:
                    best[name] = {"score": score, "weights": copy.deepcopy(network.state_dict())}
        return scores

    def _draw(self, iteration: int, batch: CoTrainingBatch, seen: Seen, folder: Path) -> None:
        """Input, pseudo-label, mixed image and mixed label of each branch's passes, as one picture."""
        classes, invert = self.context.classes, self.context.networks.preprocessing.invert

        def panels_of(title: str, what: LabeledBatch | Tensor) -> list[Panel]:
            if isinstance(what, Tensor):
                return [(title, colorize(what[0].cpu().numpy(), classes))]
            image, label = invert(what.image[:1])[0].cpu().numpy(), what.label[0].cpu().numpy()
            return [(title, image), (f"{title}: label", colorize(label, classes))]

        panels = [*panels_of("source", batch.source), *panels_of("labeled target", batch.labeled_target)]
        if batch.unlabeled_target is not None:
            panels += panels_of("unlabeled target", batch.unlabeled_target)[:1]
        for name, what in sorted(seen.items()):
            panels += panels_of(name.replace("_", " "), what)
        save_grid(folder / f"iteration_{iteration + 1:06d}.png", panels, legend_of(classes))
