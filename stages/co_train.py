"""Stage co_train: the two warmed-up networks teach each other (the method of the paper).

python -m stages.co_train
"""

from __future__ import annotations

import argparse
import math
import shutil
from contextlib import nullcontext

from dstc.co_trainer import CoTrainer
from dstc.config.params import Params, read_params
from dstc.core import processes
from dstc.core.costs import measured
from dstc.core.device import peak_gpu_bytes
from dstc.core.errors import exit_on_user_error
from dstc.core.files import atomic_folder, require_writable
from dstc.core.index import load_index, read_split, root_folders
from dstc.core.places import (
    CO_TRAIN,
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
from dstc.method.domain_specific_initialization import initialize_branches
from dstc.training.context import Setting, training_record
from dstc.training.launching import in_processes
from dstc.training.loop import CheckpointPolicy
from dstc.training.working_folder import WorkingFolder, remove_recorded


def co_train(params: Params) -> None:
    settings = params.co_train
    target_roots = root_folders(params.paths.target, "cityscapes", params.paths.unlabeled)
    source, target = load_index(INDEX_SOURCE), load_index(INDEX_TARGET_TRAIN)
    labeled, unlabeled = read_split(SPLIT)
    cache = open_cache(params.runtime.cache, params.runtime.cache_gigabytes)
    batch, crop, source_roots = settings.batch, settings.crop, root_folders(params.paths.source, "gta5")
    streams = {
        "source": Stream(source, source_roots, batch.source, crop, cache),
        "labeled_target": Stream(target.labeled(labeled), target_roots, batch.labeled_target, crop, cache),
    }
    if unlabeled:
        images = target.named(unlabeled).without_labels()
        first = settings.iterations  # where no term reads them; else they are not read before cross supervision starts
        if settings.cross_supervision:
            first = math.ceil(settings.cross_supervision_start * settings.iterations)
        streams["unlabeled_target"] = Stream(images, target_roots, batch.unlabeled_target, crop, cache, first)
    else:
        print("co_train: every target image is labeled, so the terms on unlabeled images are skipped")

    if processes.is_first():
        remove_recorded()
        require_writable(CO_TRAIN)
    setting = Setting.of(params, source.classes)
    branches = initialize_branches(
        lambda: setting.trained_network(WARM_UP_SOURCE / NETWORK),
        lambda: setting.trained_network(WARM_UP_TARGET / NETWORK),
        initialization=settings.initialization,
    )
    val = ValidationImages(load_index(INDEX_TARGET_VAL), target_roots, cache, own_labels=False)
    trainer = CoTrainer(branches, setting=setting, co_train=settings, val=val)
    inputs = [
        INDEX_SOURCE,
        INDEX_TARGET_TRAIN,
        INDEX_TARGET_VAL,
        SPLIT,
        WARM_UP_SOURCE / NETWORK,
        WARM_UP_TARGET / NETWORK,
    ]
    tracked = params.model_dump(include={"seed", "model", "optim", "co_train"})
    run = WorkingFolder("co_train", params=tracked, inputs=inputs, computing=setting.computing, outputs=CO_TRAIN)
    with run.held() as working:
        pictures, runtime = working.path / "mixing", params.runtime
        state = trainer.run(
            streams,
            pictures,
            CheckpointPolicy(working, runtime.checkpoint_every_iterations, runtime.checkpoint_every_minutes),
        )
        if not processes.is_first():
            return
        with atomic_folder(CO_TRAIN / "mixing") as folder:
            shutil.copytree(pictures, folder, dirs_exist_ok=True)
        state.losses.save(CO_TRAIN / "losses.csv")
        state.validation.save(CO_TRAIN / "validation.csv")
        for learner in trainer.learners:
            path = CO_TRAIN / f"{learner.name}.pt"
            record = training_record(
                learner.name, streams=streams, target=val.index, schedule=settings, inputs=working.inputs
            )
            setting.save(path, learner.network, **record)
        working.finish(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m stages.co_train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    with exit_on_user_error():
        params = read_params()

        def work() -> None:
            record = measured("co_train", MADE_BY["co_train"], gpu_memory=peak_gpu_bytes)
            with record if processes.is_first() else nullcontext():
                co_train(params)

        in_processes(
            work,
            ["stages.co_train"],
            wanted=params.runtime.processes,
            device=params.runtime.device,
            batches={f"co_train.batch.{name}": batch for name, batch in params.co_train.batch.model_dump().items()},
        )


if __name__ == "__main__":
    main()
