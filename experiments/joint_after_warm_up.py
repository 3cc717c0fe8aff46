"""Joint training that starts where the target-biased branch does: from the warm-up on the labeled target.

    python -m experiments.joint_after_warm_up

It tells what of that branch's lead is in its start, and with `joint.combination`, what is in its labels.
"""

from __future__ import annotations

from pathlib import Path

from dstc.config.params import read_params
from dstc.config.sections import JointTraining
from dstc.core.errors import exit_on_user_error
from dstc.core.places import INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, NETWORK, SPLIT, WARM_UP_TARGET
from dstc.data.cache import open_cache
from dstc.data.domains import Domains
from dstc.supervised import train_supervised
from dstc.training.context import TrainingContext
from dstc.training.stage import checkpoints_of, write_training
from experiments.tasks import BASELINE
from stages.joint import iterations_of, joint_combination, joint_streams


def main() -> None:
    params = read_params()
    schedule = JointTraining.model_validate({**params.joint.model_dump(), "iterations": iterations_of(params)})
    cache = open_cache(params.runtime.cache, params.runtime.cache_gigabytes)
    domains = Domains(params.paths.source, params.paths.target, params.paths.unlabeled, cache)
    streams, val = joint_streams(domains, schedule), domains.val()
    context, start = TrainingContext.of(params, val.index.classes), WARM_UP_TARGET / NETWORK
    tracked = {"seed": params.seed, **params.model_dump(include={"model", "optim"}), "joint": schedule.model_dump()}
    inputs, folder = [INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT, start], Path(BASELINE)
    with checkpoints_of(
        "after_warm_up", tracked=tracked, inputs=inputs, outputs=folder, context=context
    ) as checkpoints:
        state = train_supervised(
            context.networks.trained(start),
            streams,
            name="joint",
            context=context,
            schedule=schedule,
            val=val,
            combine=joint_combination(params.seed, schedule, val),
            checkpoints=checkpoints,
        )
        write_training(
            state,
            {"joint": folder / NETWORK},
            context=context,
            checkpoints=checkpoints,
            streams=streams,
            target=val.index,
            schedule=schedule,
        )


if __name__ == "__main__":
    with exit_on_user_error():
        main()
