"""Training with cross entropy alone: both warm-ups, and the baselines that co-training is measured against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from dstc.config.sections import Training
from dstc.core.randomness import stream_seed
from dstc.data.loaders import Crops, Stream, ValidationImages, image_names, training_batches
from dstc.models.deeplab_v2 import DeepLabV2
from dstc.training.context import Setting
from dstc.training.cross_entropy import cross_entropy_in_parts
from dstc.training.loop import CheckpointPolicy, train
from dstc.training.optimizer import poly_learning_rate, set_learning_rate
from dstc.training.state import TrainingState
from dstc.training.step import Losses, training_step
from dstc.training.validation import validate


def train_supervised(
    network: DeepLabV2,
    streams: Mapping[str, Stream],
    *,
    name: str,
    setting: Setting,
    schedule: Training,
    val: ValidationImages,
    keeping: CheckpointPolicy | None = None,
) -> TrainingState:
    """Train `network` in place on every stream, a pass each per iteration ("stream_cross_entropy" in the curve).

    One stream is a warm-up; source and labeled target together are plain joint training.
    """
    learner = setting.learner(name, network)
    state = TrainingState([learner])
    val.warm_cache(setting.runtime.workers)

    seed, class_weights = stream_seed(setting.seed, name), setting.class_weights(schedule, streams)

    def batches(first: int) -> Iterator[dict[str, Crops]]:
        workers = setting.runtime.workers
        return training_batches(
            streams, seed=seed, first=first, iterations=schedule.iterations, workers=workers, share=setting.share
        )

    def step(_: int, batch: dict[str, Crops], learning_rate: float) -> dict[str, Tensor]:
        set_learning_rate(learner.optimizer, learning_rate)

        def losses() -> Losses:
            for stream, crops in batch.items():
                for loss in cross_entropy_in_parts(network, setting.on_device(crops), setting.division, class_weights):
                    yield {f"{stream}_cross_entropy": loss}

        return training_step([(learner, losses)])

    train(
        batches,
        step,
        state,
        name=name,
        iterations=schedule.iterations,
        learning_rate=lambda iteration: poly_learning_rate(
            schedule.learning_rate,
            iteration,
            schedule_iterations=schedule.schedule_iterations,
            power=setting.optim.poly_power,
        ),
        validate=lambda _: validate(
            {"target": network},
            val,
            normalization=setting.normalization,
            device=setting.device,
            batch=4,
            workers=setting.runtime.workers,
        ),
        validate_every=schedule.validate_every,
        device=setting.device,
        keeping=keeping,
        images=lambda iteration: image_names(streams, iteration, seed=seed),
    )
    return state
