"""Train one baseline in a prepared folder and write its mIoU: `python -m experiments.baseline NAME ITERATIONS [WEIGHTS]`.

source, target: a warm-up of that many iterations; joint: plain joint training on source plus labeled target, half of each
batch from either; all_labels: the same network on the labels of all target train images. Rate, crops and batch size are
those of the warm-ups, the schedule reaches zero at the last iteration. WEIGHTS are class weights, none if not given.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dstc.config.params import Params, read_params
from dstc.core.files import write_text
from dstc.core.index import load_index, read_split, root_folders
from dstc.core.places import INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT
from dstc.data.cache import open_cache
from dstc.data.loaders import Stream, ValidationImages
from dstc.supervised import train_supervised
from dstc.training.context import Setting


def streams_of(name: str, params: Params) -> dict[str, Stream]:
    schedule = params.warm_up.target
    source_roots = root_folders(params.paths.source, "gta5")
    target_roots = root_folders(params.paths.target, "cityscapes")
    source, target = load_index(INDEX_SOURCE), load_index(INDEX_TARGET_TRAIN)
    labeled, _ = read_split(SPLIT)
    batch, half, crop = schedule.batch, schedule.batch // 2, schedule.crop
    cache = open_cache(params.runtime.cache, params.runtime.cache_gigabytes)
    return {
        "source": {"source": Stream(source, source_roots, batch, crop, cache)},
        "target": {"target": Stream(target.named(labeled), target_roots, batch, crop, cache)},
        "all_labels": {"target": Stream(target, target_roots, batch, crop, cache)},
        "joint": {
            "source": Stream(source, source_roots, half, crop, cache),
            "target": Stream(target.named(labeled), target_roots, batch - half, crop, cache),
        },
    }[name]


def main(name: str, iterations: int, weights: str = "none") -> None:
    params = read_params()
    schedule = params.warm_up.target.model_copy(
        update={
            "iterations": iterations,
            "schedule_iterations": iterations,
            "validate_every": iterations,
            "class_weights": weights,
        }
    )
    val = ValidationImages(
        load_index(INDEX_TARGET_VAL),
        root_folders(params.paths.target, "cityscapes"),
        open_cache(params.runtime.cache, params.runtime.cache_gigabytes),
        own_labels=False,
    )
    setting = Setting.of(params, val.index.classes)
    network = setting.new_network()
    title = f"{name}_{iterations}_{weights}"
    streams = streams_of(name, params)
    state = train_supervised(network, streams, name=title, setting=setting, schedule=schedule, val=val)
    write_text(Path(f"{title}.json"), json.dumps({"miou": state.validation.rows[-1]["target_miou"]}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
