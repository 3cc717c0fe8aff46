"""Training with cross entropy alone: both warm-ups, and the baselines that co-training is measured against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from dstc.config.params import Params
from dstc.config.sections import Training
from dstc.core import processes
from dstc.core.batches import LabeledBatch
from dstc.core.places import NETWORK
from dstc.core.randomness import stream_seed
from dstc.data.loaders import Crops, Stream, ValidationImages, image_names, training_batches
from dstc.models.segmentation import SegmentationNetwork
from dstc.training.context import TrainingContext
from dstc.training.cross_entropy import cross_entropy
from dstc.training.loop import CheckpointPolicy, Plan, train
from dstc.training.optimizer import poly_schedule, set_learning_rate
from dstc.training.stage import checkpoints_of, write_training
from dstc.training.state import TrainingState
from dstc.training.validation import validate

# (iteration, a batch of each stream) -> a batch for each pass, by name
Combine = Callable[[int, dict[str, LabeledBatch]], dict[str, LabeledBatch]]


def as_they_are(_: int, batches: dict[str, LabeledBatch]) -> dict[str, LabeledBatch]:
    """A pass of each stream."""
    return batches


def train_and_write(
    name: str,
    streams: Mapping[str, Stream],
    schedule: Training,
    folder: Path,
    *,
    params: Params,
    val: ValidationImages,
    inputs: Sequence[Path],
) -> None:
    """A stage's work: train a new network on the streams, and write it and its curves to `folder`. An interrupted run of the
    same parameters and `inputs` is resumed."""
    context = TrainingContext.of(params, val.index.classes)
    network = context.networks.new()
    tracked = {"seed": params.seed, **params.model_dump(include={"model", "optim"}), name: schedule.model_dump()}
    weights = Path(params.model.initial_weights)
    inputs = [*inputs, weights] if weights.is_absolute() else inputs
    with checkpoints_of(name, tracked=tracked, inputs=inputs, outputs=folder, context=context) as checkpoints:
        state = train_supervised(
            network, streams, name=name, context=context, schedule=schedule, val=val, checkpoints=checkpoints
        )
        write_training(
            state,
            {name: folder / NETWORK},
            context=context,
            checkpoints=checkpoints,
            streams=streams,
            target=val.index,
            schedule=schedule,
        )


def train_supervised(
    network: SegmentationNetwork,
    streams: Mapping[str, Stream],
    *,
    name: str,
    context: TrainingContext,
    schedule: Training,
    val: ValidationImages,
    combine: Combine = as_they_are,
    checkpoints: CheckpointPolicy | None = None,
) -> TrainingState:
    """Train `network` in place on every stream, or on what `combine` makes of them: a pass each per iteration
    ("stream_cross_entropy" in the curve).

    One stream is a warm-up; source and labeled target together are plain joint training.
    """
    learner, workers = context.learner(name, network), context.runtime.workers
    state = TrainingState([learner])
    val.warm_cache(workers)
    seed = stream_seed(context.seed, name)
    ce = partial(cross_entropy, class_weights=context.class_weights(schedule, streams), total=processes.total)

    def step(iteration: int, batch: dict[str, Crops], learning_rate: float) -> dict[str, Tensor]:
        set_learning_rate(learner.optimizer, learning_rate)
        learner.zero_grad()
        batches = {stream: context.on_device(crops) for stream, crops in batch.items()}
        for name_of_pass, labeled in combine(iteration, batches).items():
            learner.back_propagate({f"{name_of_pass}_cross_entropy": ce(*learner(labeled))})
        learner.step()
        return learner.losses

    plan = Plan(
        name=name,
        iterations=schedule.iterations,
        learning_rate=poly_schedule(schedule, context.optim.poly_power),
        batches=lambda first: training_batches(
            streams, seed=seed, first=first, iterations=schedule.iterations, workers=workers, share=context.share
        ),
        step=step,
        validate=lambda _: validate(_named_for_the_curve(state), val, context),
        validate_every=schedule.validate_every,
        images=lambda iteration: image_names(streams, iteration, seed=seed),
    )
    train(plan, state, device=context.device, checkpoints=checkpoints)
    return state


def _named_for_the_curve(state: TrainingState) -> dict[str, nn.Module]:
    """The network and its average, called by what they are scored on, so that the curves of all trainings agree."""
    (learner,) = state.learners
    return {name.replace(learner.name, "target", 1): network for name, network in state.networks.items()}
