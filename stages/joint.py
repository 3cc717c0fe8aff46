"""Stage joint: train one network on source and labeled target images together, cross entropy alone.

    python -m stages.joint

It is what co-training is compared with, and with joint.iterations null it takes as many iterations as both warm-ups and
co-training together. With 0 it is left out: data/joint/network.pt is then a line of text that says so, the curves are empty,
and the stages after this one do without.
"""

from __future__ import annotations

import argparse

from dstc.config.params import Params, read_params
from dstc.config.sections import JointTraining
from dstc.core.costs import measured
from dstc.core.errors import UserError, exit_on_user_error
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
from dstc.data.cache import open_cache
from dstc.data.domains import Domains
from dstc.data.loaders import Stream
from dstc.models.checkpoints import LEFT_OUT
from dstc.supervised import train_and_write
from dstc.training.curves import Curve
from dstc.training.stage import run_training_stage


def joint(params: Params, schedule: JointTraining) -> None:
    cache = open_cache(params.runtime.cache, params.runtime.cache_gigabytes)
    domains = Domains(params.paths.source, params.paths.target, params.paths.unlabeled, cache)
    train_and_write(
        "joint",
        joint_streams(domains, schedule),
        schedule,
        JOINT,
        params=params,
        val=domains.val(),
        inputs=[INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT],
    )


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


def joint_schedule(params: Params) -> JointTraining:
    """Section `joint` with its iterations counted out."""
    if (iterations := iterations_of(params)) == 0:
        raise UserError("joint.iterations: must not be 0 for a command that trains jointly; set it to null or a number")
    return JointTraining.model_validate({**params.joint.model_dump(), "iterations": iterations})


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
        if iterations_of(params) == 0:
            with measured("joint", MADE_BY["joint"]):
                leave_out(averaged=params.optim.ema_decay > 0)
            return
        schedule = joint_schedule(params)
        run_training_stage(
            "joint",
            ["stages.joint"],
            lambda: joint(params, schedule),
            runtime=params.runtime,
            batches={f"joint.batch.{name}": batch for name, batch in schedule.batch.model_dump().items()},
        )


if __name__ == "__main__":
    main()
