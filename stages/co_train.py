"""Stage co_train: the two warmed-up networks teach each other (the method of the paper).

python -m stages.co_train
"""

from __future__ import annotations

import argparse
import shutil

from dstc.co_training.trainer import CoTrainer
from dstc.config.params import Params, read_params
from dstc.core import processes
from dstc.core.errors import exit_on_user_error
from dstc.core.files import atomic_folder
from dstc.core.places import (
    CO_TRAIN,
    INDEX_SOURCE,
    INDEX_TARGET_TRAIN,
    INDEX_TARGET_VAL,
    JOINT,
    NETWORK,
    SPLIT,
    WARM_UP_SOURCE,
    WARM_UP_TARGET,
)
from dstc.data.cache import open_cache
from dstc.data.domains import Domains
from dstc.data.loaders import Stream
from dstc.method.domain_specific_initialization import initialize_branches
from dstc.training.context import TrainingContext
from dstc.training.stage import checkpoints_of, run_training_stage, write_training

WARM_UPS = [WARM_UP_SOURCE / NETWORK, WARM_UP_TARGET / NETWORK]
INPUTS = [INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT, *WARM_UPS]


def co_train(params: Params) -> None:
    settings = params.co_train
    cache = open_cache(params.runtime.cache, params.runtime.cache_gigabytes)
    domains = Domains(params.paths.source, params.paths.target, params.paths.unlabeled, cache)
    streams, val = streams_of(params, domains), domains.val()
    context = TrainingContext.of(params, val.index.classes)
    on_source, on_target = WARM_UPS
    jointly = JOINT / NETWORK
    branches = initialize_branches(
        lambda: context.networks.trained(on_source),
        lambda: context.networks.trained(on_target),
        lambda: context.networks.trained(jointly),
        initialization=settings.initialization,
    )
    trainer = CoTrainer(branches, context=context, settings=settings, val=val)

    tracked = params.model_dump(include={"seed", "model", "optim", "co_train"})
    inputs = [*INPUTS, jointly] if settings.initialization == "both_from_joint" else INPUTS
    with checkpoints_of("co_train", tracked=tracked, inputs=inputs, outputs=CO_TRAIN, context=context) as checkpoints:
        pictures = checkpoints.folder.path / "mixing"
        state = trainer.run(streams, pictures, checkpoints)
        if processes.is_first():
            with atomic_folder(CO_TRAIN / "mixing") as folder:
                for picture in pictures.glob("*.png"):
                    shutil.copy(picture, folder)
        write_training(
            state,
            {learner.name: CO_TRAIN / f"{learner.name}.pt" for learner in trainer.learners},
            context=context,
            checkpoints=checkpoints,
            streams=streams,
            target=val.index,
            schedule=settings,
        )


def streams_of(params: Params, domains: Domains) -> dict[str, Stream]:
    """The parts of each batch, by name; without unlabeled images where there are none."""
    batch, crop = params.co_train.batch, params.co_train.crop
    streams = {
        "source": domains.source(batch.source, crop),
        "labeled_target": domains.labeled_target(batch.labeled_target, crop),
    }
    unlabeled = domains.unlabeled_target(batch.unlabeled_target, crop)
    if unlabeled is None:
        print("co_train: every target image is labeled, so the terms on unlabeled images are skipped")
        return streams
    return {**streams, "unlabeled_target": unlabeled}


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m stages.co_train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    with exit_on_user_error():
        params = read_params(tell=["model", "optim", "co_train"])
        run_training_stage(
            "co_train",
            ["stages.co_train"],
            lambda: co_train(params),
            runtime=params.runtime,
            batches={f"co_train.batch.{name}": batch for name, batch in params.co_train.batch.model_dump().items()},
        )


if __name__ == "__main__":
    main()
