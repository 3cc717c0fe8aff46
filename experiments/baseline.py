"""Train one network with cross entropy alone, as `warm_up.target` says.

    python -m experiments.baseline joint|all_labels|source|target

joint: plain joint training on source and labeled target, half of each batch from either; all_labels: on the labels of all
target train images; source, target: on what the warm-ups have.
"""

from __future__ import annotations

import argparse

from dstc.config.params import read_params
from dstc.core.errors import exit_on_user_error
from dstc.core.places import INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT
from dstc.data.cache import open_cache
from dstc.data.domains import Domains
from dstc.supervised import train_and_write
from experiments.tasks import BASELINE


def main() -> None:
    parser = argparse.ArgumentParser("python -m experiments.baseline", description=__doc__)
    parser.add_argument("name", choices=["joint", "all_labels", "source", "target"])
    name = parser.parse_args().name
    params = read_params()
    schedule = params.warm_up.target
    cache = open_cache(params.runtime.cache, params.runtime.cache_gigabytes)
    domains = Domains(params.paths.source, params.paths.target, params.paths.unlabeled, cache)
    batch, half, crop = schedule.batch, schedule.batch // 2, schedule.crop
    streams = {
        "source": lambda: {"source": domains.source(batch, crop)},
        "target": lambda: {"target": domains.labeled_target(batch, crop)},
        "all_labels": lambda: {"target": domains.every_labeled_target(batch, crop)},
        "joint": lambda: {"source": domains.source(half, crop), "target": domains.labeled_target(batch - half, crop)},
    }[name]()
    inputs = [INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT]
    train_and_write(name, streams, schedule, BASELINE, params=params, val=domains.val(), inputs=inputs)


if __name__ == "__main__":
    with exit_on_user_error():
        main()
