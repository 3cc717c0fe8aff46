"""Stages warm_up_source and warm_up_target: train one network on one domain's labeled images, cross entropy alone.

python -m stages.warm_up source      on the source
python -m stages.warm_up target      on the few labeled target images
"""

from __future__ import annotations

import argparse

from dstc.errors import reported
from dstc.files import require_writable
from dstc.index import load_index, read_split, root_folders
from dstc.loading.loaders import Stream, ValidationImages
from dstc.params import read_params
from dstc.training.setting import Setting
from dstc.training.supervised import train_supervised
from stages.places import (
    INDEX_SOURCE,
    INDEX_TARGET_TRAIN,
    INDEX_TARGET_VAL,
    NETWORK,
    SPLIT,
    WARM_UP_SOURCE,
    WARM_UP_TARGET,
)


def warm_up(domain: str) -> None:
    params = read_params()
    target_roots = root_folders(params.paths.target, "cityscapes", params.paths.unlabeled)
    val = ValidationImages(load_index(INDEX_TARGET_VAL), target_roots)
    if domain == "source":
        index, roots, schedule, folder = (
            load_index(INDEX_SOURCE),
            root_folders(params.paths.source, "gta5"),
            params.warm_up.source,
            WARM_UP_SOURCE,
        )
    else:
        labeled, _ = read_split(SPLIT)
        index, roots, schedule, folder = (
            load_index(INDEX_TARGET_TRAIN).named(labeled),
            target_roots,
            params.warm_up.target,
            WARM_UP_TARGET,
        )
    require_writable(folder)
    setting = Setting.of(params, index.classes)
    network = setting.new_network()
    streams = {domain: Stream(index, roots, schedule.batch, schedule.crop)}
    name = f"warm_up_{domain}"
    curves = train_supervised(network, streams, name=name, setting=setting, schedule=schedule, val=val)
    curves.losses.save(folder / "losses.csv")
    curves.validation.save(folder / "validation.csv")
    setting.save(folder / NETWORK, network, trained=name, images=len(index), schedule=schedule.model_dump())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("domain", choices=["source", "target"])
    with reported():
        warm_up(parser.parse_args().domain)


if __name__ == "__main__":
    main()
