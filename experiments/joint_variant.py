"""Joint training that differs as the target-biased branch does: in its start, in what it sees of the labels, or in both.

    python -m experiments.joint_variant warm_up|initial within|whole

`warm_up`: it starts from the warm-up on the labeled target. `within`: in place of source images it sees data combination 2,
labeled target images with half of a source image's classes pasted in; labeled target images it sees whole as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import torch

from dstc.config.params import read_params
from dstc.core.batches import LabeledBatch
from dstc.core.errors import exit_on_user_error
from dstc.core.places import INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, NETWORK, SPLIT, WARM_UP_TARGET
from dstc.core.randomness import stream_seed
from dstc.data.cache import open_cache
from dstc.data.domains import Domains
from dstc.method.class_mix import sample_half_of_classes
from dstc.method.cross_domain_combination import combine_within_images
from dstc.supervised import Combine, as_they_are, train_supervised
from dstc.training.context import TrainingContext
from dstc.training.stage import checkpoints_of, write_training
from experiments.tasks import BASELINE
from stages.joint import joint_schedule, joint_streams


def within_images(seed: int, classes: int) -> Combine:
    """Other classes in each iteration. The combined images keep the name of the source in the curves."""

    def combine(iteration: int, batches: Mapping[str, LabeledBatch]) -> dict[str, LabeledBatch]:
        source, labeled_target = batches["source"], batches["labeled_target"]
        generator = torch.Generator().manual_seed(stream_seed(seed, "paste", iteration))
        chosen = sample_half_of_classes(source.label, classes, generator=generator)
        return {"source": combine_within_images(source, labeled_target, chosen), "labeled_target": labeled_target}

    return combine


def main() -> None:
    parser = argparse.ArgumentParser("python -m experiments.joint_variant", description=__doc__)
    parser.add_argument("start", choices=["warm_up", "initial"])
    parser.add_argument("combination", choices=["within", "whole"])
    variant = parser.parse_args()
    params = read_params()
    schedule = joint_schedule(params)
    cache = open_cache(params.runtime.cache, params.runtime.cache_gigabytes)
    domains = Domains(params.paths.source, params.paths.target, params.paths.unlabeled, cache)
    streams, val = joint_streams(domains, schedule), domains.val()
    context, warm_up = TrainingContext.of(params, val.index.classes), WARM_UP_TARGET / NETWORK
    before = [warm_up] if variant.start == "warm_up" else []
    tracked = {"seed": params.seed, **params.model_dump(include={"model", "optim"}), "joint": schedule.model_dump()}
    tracked["variant"] = vars(variant)
    inputs, folder = [INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT, *before], BASELINE
    seed = stream_seed(params.seed, "joint")
    with checkpoints_of("variant", tracked=tracked, inputs=inputs, outputs=folder, context=context) as checkpoints:
        state = train_supervised(
            context.networks.trained(warm_up) if before else context.networks.new(),
            streams,
            name="joint",
            context=context,
            schedule=schedule,
            val=val,
            combine=within_images(seed, len(val.index.classes)) if variant.combination == "within" else as_they_are,
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
