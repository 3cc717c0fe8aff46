"""Train a second network jointly, of the same split and another seed, and score it together with that of stage joint.

    python -m experiments.joint_pair

The mean of two networks is better than one, whatever trained them. So the average of co-training's branches is to be read
beside this pair.
"""

from __future__ import annotations

from dstc.config.params import Params, read_params
from dstc.core.errors import UserError, exit_on_user_error
from dstc.core.places import INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, JOINT, NETWORK, SPLIT, VALIDATION
from dstc.data.cache import open_cache
from dstc.data.domains import Domains
from dstc.supervised import train_supervised
from dstc.training.context import TrainingContext
from dstc.training.curves import Curve
from dstc.training.stage import checkpoints_of
from dstc.training.validation import validate
from experiments.tasks import BASELINE
from stages.joint import joint_schedule, joint_streams

SECOND = 1000  # added to the seed


def main() -> None:
    params = read_params()
    if not params.optim.ema_decay:
        raise UserError("optim.ema_decay: must be above 0, for the averages of the pair are scored, too")
    schedule = joint_schedule(params)
    params = Params.model_validate({**params.model_dump(), "seed": params.seed + SECOND})
    cache = open_cache(params.runtime.cache, params.runtime.cache_gigabytes)
    domains = Domains(params.paths.source, params.paths.target, params.paths.unlabeled, cache)
    streams, val = joint_streams(domains, schedule), domains.val()
    context = TrainingContext.of(params, val.index.classes)
    second = context.networks.new()
    tracked = {"seed": params.seed, **params.model_dump(include={"model", "optim"}), "joint": schedule.model_dump()}
    inputs, folder = [INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT], BASELINE
    with checkpoints_of("joint_pair", tracked=tracked, inputs=inputs, outputs=folder, context=context) as checkpoints:
        state = train_supervised(
            second, streams, name="joint", context=context, schedule=schedule, val=val, checkpoints=checkpoints
        )
        first = JOINT / NETWORK
        networks = state.networks | {f"first_{kind}": context.networks.trained(first, kind) for kind in ("last", "ema")}
        pairs = {"pair": ["joint", "first_last"], "pair_ema": ["joint_ema", "first_ema"]}
        scores = Curve()
        scores.add(validate(networks, val, context, pairs))
        scores.close_row(schedule.iterations)
        scores.save(folder / VALIDATION)
        context.save(folder / NETWORK, second, trained="joint, the second of a pair")
        checkpoints.folder.finish(folder / NETWORK)


if __name__ == "__main__":
    with exit_on_user_error():
        main()
