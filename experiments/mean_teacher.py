"""Train one network on source and labeled target, and on unlabeled images that its own average labels: Mean Teacher.

    python -m experiments.mean_teacher

What co-training adds to it is the second network. All else is as section `co_train` says: batches, schedule, mixing, color
augmentation, weight and start of the unlabeled term. It starts from the initial weights, without a warm-up.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from torch import Tensor

from dstc.co_training.step import SOURCE_BIASED, Teaching
from dstc.co_training.trainer import CoTrainer
from dstc.config.params import read_params
from dstc.core import processes
from dstc.core.errors import UserError, exit_on_user_error
from dstc.core.places import INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, NETWORK, SPLIT
from dstc.data.cache import open_cache
from dstc.data.domains import Domains
from dstc.data.loaders import Crops
from dstc.method.batches import CoTrainingBatch
from dstc.method.domain_specific_initialization import Branches
from dstc.training.context import TrainingContext
from dstc.training.cross_entropy import cross_entropy
from dstc.training.learner import Learner
from dstc.training.optimizer import set_learning_rate
from dstc.training.stage import checkpoints_of, write_training
from dstc.training.validation import validate
from experiments.tasks import BASELINE
from stages.co_train import streams_of


class MeanTeacher(CoTrainer):
    """A co-trainer of a single branch, which is its own teacher."""

    @property
    def learners(self) -> tuple[Learner, ...]:
        return (self.source_biased,)

    def _validate(self, _: int) -> dict[str, float]:
        return validate(self.state.networks, self.val, self.context)

    def step(self, iteration: int, batch: Mapping[str, Crops], learning_rate: float, _: Path) -> dict[str, Tensor]:
        """One step; `iteration` counts from 0. Gives the losses by name."""
        student, teacher = self.source_biased, self.source_biased.average
        if teacher is None:
            raise UserError("optim.ema_decay: must be above 0, for Mean Teacher's teacher is the average")
        ce = partial(cross_entropy, class_weights=self.class_weights, total=processes.total)
        set_learning_rate(student.optimizer, learning_rate)
        whole = CoTrainingBatch(**{name: self.context.on_device(crops) for name, crops in batch.items()})
        teaching = Teaching(
            Branches(teacher, teacher),
            whole,
            self.method,
            choose=lambda what, label: self.choose(iteration, what, label),
            augment=lambda student, images: self.augment(iteration, student, images),
        )
        student.zero_grad()
        student.back_propagate({"source_cross_entropy": ce(*student(whole.source))})
        student.back_propagate({"target_cross_entropy": ce(*student(whole.labeled_target))})
        if teaching.cross_supervises:
            unlabeled, weight = teaching.for_student(SOURCE_BIASED, labeled_by=SOURCE_BIASED)
            student.back_propagate({"cross_supervision": weight * ce(*student(unlabeled))})
        student.step()
        return student.losses


def main() -> None:
    params = read_params()
    if params.co_train.choose_checkpoint != "last":
        raise UserError("co_train.choose_checkpoint: must be last here, for only the end of a single network is scored")
    settings, cache = params.co_train, open_cache(params.runtime.cache, params.runtime.cache_gigabytes)
    domains = Domains(params.paths.source, params.paths.target, params.paths.unlabeled, cache)
    streams, val = streams_of(params, domains), domains.val()
    context = TrainingContext.of(params, val.index.classes)
    network = context.networks.new()
    trainer = MeanTeacher(Branches(network, network), context=context, settings=settings, val=val)
    tracked = params.model_dump(include={"seed", "model", "optim", "co_train"})
    inputs, folder = [INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT], BASELINE
    with checkpoints_of("mean_teacher", tracked=tracked, inputs=inputs, outputs=folder, context=context) as checkpoints:
        state = trainer.run(streams, checkpoints.folder.path / "mixing", checkpoints)
        write_training(
            state,
            {SOURCE_BIASED: folder / NETWORK},
            context=context,
            checkpoints=checkpoints,
            streams=streams,
            target=val.index,
            schedule=settings,
        )


if __name__ == "__main__":
    with exit_on_user_error():
        main()
