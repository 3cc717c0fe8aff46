"""Stages warm_up_source and warm_up_target: train one network on one domain's labeled images, cross entropy alone.

python -m stages.warm_up source      on the source
python -m stages.warm_up target      on the few labeled target images
"""

from __future__ import annotations

import argparse

from dstc.config.params import Params, read_params
from dstc.core.errors import exit_on_user_error
from dstc.core.places import (
    INDEX_SOURCE,
    INDEX_TARGET_TRAIN,
    INDEX_TARGET_VAL,
    NETWORK,
    SPLIT,
    WARM_UP_SOURCE,
    WARM_UP_TARGET,
)
from dstc.data.cache import open_cache
from dstc.data.domains import Domains
from dstc.supervised import train_supervised
from dstc.training.context import TrainingContext
from dstc.training.stage import checkpoints_of, run_training_stage, write_training

FOLDERS = {"source": WARM_UP_SOURCE, "target": WARM_UP_TARGET}
INPUTS = {
    "source": [INDEX_SOURCE, INDEX_TARGET_VAL],
    "target": [INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT],
}


def warm_up(domain: str, params: Params) -> None:
    schedule = params.warm_up.source if domain == "source" else params.warm_up.target
    cache = open_cache(params.runtime.cache, params.runtime.cache_gigabytes)
    domains = Domains(params.paths.source, params.paths.target, params.paths.unlabeled, cache)
    stream_of = domains.source if domain == "source" else domains.labeled_target
    streams, val = {domain: stream_of(schedule.batch, schedule.crop)}, domains.val()
    context = TrainingContext.of(params, val.index.classes)
    network, name, folder = context.networks.new(), f"warm_up_{domain}", FOLDERS[domain]

    tracked = {"seed": params.seed, **params.model_dump(include={"model", "optim"}), name: schedule.model_dump()}
    with checkpoints_of(
        name, tracked=tracked, inputs=INPUTS[domain], outputs=folder, runtime=params.runtime
    ) as checkpoints:
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


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m stages.warm_up", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("domain", choices=list(FOLDERS))
    domain = parser.parse_args().domain
    with exit_on_user_error():
        params = read_params()
        run_training_stage(
            f"warm_up_{domain}",
            ["stages.warm_up", domain],
            lambda: warm_up(domain, params),
            runtime=params.runtime,
            batches={f"warm_up.{domain}.batch": getattr(params.warm_up, domain).batch},
        )


if __name__ == "__main__":
    main()
