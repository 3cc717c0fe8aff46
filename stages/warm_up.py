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
    SPLIT,
    WARM_UP_SOURCE,
    WARM_UP_TARGET,
)
from dstc.data.cache import open_cache
from dstc.data.domains import Domains
from dstc.supervised import train_and_write
from dstc.training.stage import run_training_stage

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
    train_and_write(
        f"warm_up_{domain}",
        {domain: stream_of(schedule.batch, schedule.crop)},
        schedule,
        FOLDERS[domain],
        params=params,
        val=domains.val(),
        inputs=INPUTS[domain],
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m stages.warm_up", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("domain", choices=list(FOLDERS))
    domain = parser.parse_args().domain
    with exit_on_user_error():
        params = read_params(tell=["model", "optim", f"warm_up.{domain}"])
        run_training_stage(
            f"warm_up_{domain}",
            ["stages.warm_up", domain],
            lambda: warm_up(domain, params),
            runtime=params.runtime,
            batches={f"warm_up.{domain}.batch": getattr(params.warm_up, domain).batch},
        )


if __name__ == "__main__":
    main()
