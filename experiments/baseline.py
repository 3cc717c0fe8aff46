"""Train one network with cross entropy alone, as `warm_up.target` says: `python -m experiments.baseline NAME`.

joint: plain joint training on source and labeled target, half of each batch from either; all_labels: on the labels of all
target train images; source, target: on what the warm-ups have.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dstc.config.params import read_params
from dstc.core.errors import exit_on_user_error
from dstc.core.index import load_index, read_split, root_folders
from dstc.core.places import INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT
from dstc.data.cache import open_cache
from dstc.data.loaders import Stream, ValidationImages
from experiments.tasks import BASELINE
from stages.warm_up import train_and_save


def main(name: str) -> None:
    params = read_params()
    schedule = params.warm_up.target
    source, target, val = (load_index(place) for place in (INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL))
    source_roots = root_folders(params.paths.source, "gta5")
    target_roots = root_folders(params.paths.target, "cityscapes", params.paths.unlabeled)
    cache = open_cache(params.runtime.cache, params.runtime.cache_gigabytes)
    labeled = target.labeled(read_split(SPLIT)[0])
    with_label = target.named(entry.name for entry in target.entries if entry.label is not None)
    batch, half, crop = schedule.batch, schedule.batch // 2, schedule.crop
    streams = {
        "source": {"source": Stream(source, source_roots, batch, crop, cache)},
        "target": {"target": Stream(labeled, target_roots, batch, crop, cache)},
        "all_labels": {"target": Stream(with_label, target_roots, batch, crop, cache)},
        "joint": {
            "source": Stream(source, source_roots, half, crop, cache),
            "target": Stream(labeled, target_roots, batch - half, crop, cache),
        },
    }[name]
    images = ValidationImages(val, target_roots, cache, own_labels=False)
    inputs = [INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT]
    train_and_save(name, streams, schedule, Path(BASELINE), params=params, val=images, inputs=inputs)


if __name__ == "__main__":
    with exit_on_user_error():
        main(sys.argv[1])
