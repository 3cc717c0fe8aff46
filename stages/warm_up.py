"""Stages warm_up_source and warm_up_target: train one network on one domain's labeled images, cross entropy alone.

python -m stages.warm_up source      on the source
python -m stages.warm_up target      on the few labeled target images
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext

from dstc.config.params import Params, read_params
from dstc.core import processes
from dstc.core.costs import measured
from dstc.core.device import peak_gpu_bytes
from dstc.core.errors import exit_on_user_error
from dstc.core.files import require_writable
from dstc.core.index import load_index, read_split, root_folders
from dstc.core.places import (
    INDEX_SOURCE,
    INDEX_TARGET_TRAIN,
    INDEX_TARGET_VAL,
    MADE_BY,
    NETWORK,
    SPLIT,
    WARM_UP_SOURCE,
    WARM_UP_TARGET,
)
from dstc.data.cache import open_cache
from dstc.data.loaders import Stream, ValidationImages
from dstc.supervised import train_supervised
from dstc.training.context import Setting, training_record
from dstc.training.launching import in_processes
from dstc.training.loop import CheckpointPolicy
from dstc.training.working_folder import WorkingFolder, remove_recorded


def warm_up(domain: str, params: Params) -> None:
    target_roots = root_folders(params.paths.target, "cityscapes", params.paths.unlabeled)
    cache = open_cache(params.runtime.cache, params.runtime.cache_gigabytes)
    val = ValidationImages(load_index(INDEX_TARGET_VAL), target_roots, cache, own_labels=False)
    if domain == "source":
        index, roots, schedule, folder = (
            load_index(INDEX_SOURCE),
            root_folders(params.paths.source, "gta5"),
            params.warm_up.source,
            WARM_UP_SOURCE,
        )
        inputs = [INDEX_SOURCE, INDEX_TARGET_VAL]
    else:
        labeled, _ = read_split(SPLIT)
        index, roots, schedule, folder = (
            load_index(INDEX_TARGET_TRAIN).labeled(labeled),
            target_roots,
            params.warm_up.target,
            WARM_UP_TARGET,
        )
        inputs = [INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT]
    if processes.is_first():
        remove_recorded()
        require_writable(folder)
    setting = Setting.of(params, index.classes)
    network = setting.new_network()
    streams = {domain: Stream(index, roots, schedule.batch, schedule.crop, cache)}
    name = f"warm_up_{domain}"
    tracked = {"seed": params.seed, **params.model_dump(include={"model", "optim"}), name: schedule.model_dump()}
    run = WorkingFolder(name, params=tracked, inputs=inputs, computing=setting.computing, outputs=folder)
    with run.held() as working:
        runtime = params.runtime
        state = train_supervised(
            network,
            streams,
            name=name,
            setting=setting,
            schedule=schedule,
            val=val,
            keeping=CheckpointPolicy(working, runtime.checkpoint_every_iterations, runtime.checkpoint_every_minutes),
        )
        if not processes.is_first():
            return
        state.losses.save(folder / "losses.csv")
        state.validation.save(folder / "validation.csv")
        record = training_record(name, streams=streams, target=val.index, schedule=schedule, inputs=working.inputs)
        setting.save(folder / NETWORK, network, **record)
        working.finish(folder / NETWORK)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m stages.warm_up", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("domain", choices=["source", "target"])
    domain = parser.parse_args().domain
    stage = f"warm_up_{domain}"
    with exit_on_user_error():
        params = read_params()

        def work() -> None:
            record = measured(stage, MADE_BY[stage], gpu_memory=peak_gpu_bytes)
            with record if processes.is_first() else nullcontext():
                warm_up(domain, params)

        in_processes(
            work,
            ["stages.warm_up", domain],
            wanted=params.runtime.processes,
            device=params.runtime.device,
            batches={f"warm_up.{domain}.batch": getattr(params.warm_up, domain).batch},
        )


if __name__ == "__main__":
    main()
