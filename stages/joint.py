"""Stage joint: train one network on source and labeled target images together, cross entropy alone.

    python -m stages.joint

With joint.combination within_images the source is pasted, class by class, into labeled target images.
It is what co-training is compared with, and with joint.iterations null it takes as many iterations as both warm-ups and
co-training together. With 0 it is left out: data/joint/network.pt is then a line of text that says so, the curves are empty,
and the stages after this one do without.
"""

from __future__ import annotations

import argparse

import torch

from dstc.config.params import Params, read_params
from dstc.config.sections import JointTraining
from dstc.core.batches import LabeledBatch
from dstc.core.costs import measured
from dstc.core.errors import exit_on_user_error
from dstc.core.files import write_text
from dstc.core.places import (
    INDEX_SOURCE,
    INDEX_TARGET_TRAIN,
    INDEX_TARGET_VAL,
    JOINT,
    LOSSES,
    MADE_BY,
    NETWORK,
    SPLIT,
    VALIDATION,
)
from dstc.core.randomness import stream_seed
from dstc.data.cache import open_cache
from dstc.data.domains import Domains
from dstc.data.loaders import Stream, ValidationImages
from dstc.method.class_mix import sample_half_of_classes
from dstc.method.cross_domain_combination import combine_within_images
from dstc.supervised import Combine, as_they_are, train_and_write
from dstc.training.curves import Curve
from dstc.training.stage import run_training_stage

LEFT_OUT = "joint.iterations is 0: no network was trained\n"


def joint(params: Params, schedule: JointTraining) -> None:
    cache = open_cache(params.runtime.cache, params.runtime.cache_gigabytes)
    domains = Domains(params.paths.source, params.paths.target, params.paths.unlabeled, cache)
    val = domains.val()
    train_and_write(
        "joint",
        joint_streams(domains, schedule),
        schedule,
        JOINT,
        params=params,
        val=val,
        inputs=[INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT],
        combine=joint_combination(params.seed, schedule, val),
    )


def joint_combination(seed: int, schedule: JointTraining, val: ValidationImages) -> Combine:
    """What a step sees of both domains: see `joint.combination`."""
    if schedule.combination == "whole_images":
        return as_they_are
    return combined_within_images(stream_seed(seed, "joint"), len(val.index.classes))


def combined_within_images(seed: int, classes: int) -> Combine:
    """What the target-biased branch sees of the labels: half of a source image's classes pasted into each labeled target
    image (data combination 2), and these images whole. The former keep the name of the source, which plots know."""

    def combine(iteration: int, parts: dict[str, LabeledBatch]) -> dict[str, LabeledBatch]:
        source, labeled_target = parts["source"], parts["labeled_target"]
        generator = torch.Generator().manual_seed(stream_seed(seed, "paste", iteration))
        chosen = sample_half_of_classes(source.label, classes, generator=generator)
        return {
            "source": combine_within_images(source, labeled_target, chosen),
            "labeled_target": labeled_target,
        }

    return combine


def joint_streams(domains: Domains, schedule: JointTraining) -> dict[str, Stream]:
    """The parts of each batch, by name."""
    batch, crop = schedule.batch, schedule.crop
    return {
        "source": domains.source(batch.source, crop),
        "labeled_target": domains.labeled_target(batch.labeled_target, crop),
    }


def iterations_of(params: Params) -> int:
    if params.joint.iterations is not None:
        return params.joint.iterations
    return params.warm_up.source.iterations + params.warm_up.target.iterations + params.co_train.iterations


def leave_out(averaged: bool) -> None:
    """Write what DVC expects of the stage, with the columns that plots name and that the other trainings have."""
    write_text(JOINT / NETWORK, LEFT_OUT)
    terms = ("joint/source_cross_entropy", "joint/labeled_target_cross_entropy")
    Curve(["iteration", "learning_rate", *terms]).save(JOINT / LOSSES)
    scores = ["target_miou", *(["target_ema_miou"] if averaged else [])]
    Curve(["iteration", *scores]).save(JOINT / VALIDATION)
    print(f"joint: {LEFT_OUT}", end="")


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m stages.joint", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    with exit_on_user_error():
        params = read_params(tell=["model", "optim", "joint"])
        iterations = iterations_of(params)
        if iterations == 0:
            with measured("joint", MADE_BY["joint"]):
                leave_out(averaged=params.optim.ema_decay > 0)
            return
        schedule = JointTraining.model_validate({**params.joint.model_dump(), "iterations": iterations})
        run_training_stage(
            "joint",
            ["stages.joint"],
            lambda: joint(params, schedule),
            runtime=params.runtime,
            batches={f"joint.batch.{name}": batch for name, batch in schedule.batch.model_dump().items()},
        )


if __name__ == "__main__":
    main()
