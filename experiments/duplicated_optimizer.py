"""How near `optim.backbone_multiplier: 3` comes to the released optimizer, which holds most convolutions three times.

    python -m experiments.duplicated_optimizer run      rows go to results/duplicated_optimizer.csv
    python -m experiments.duplicated_optimizer table

Joint training on world 0, 200 iterations from the same start on the same batches, with the released optimizer (repeated by
tests/golden/duplicating_sgd.py), with multipliers in its place, and with the released optimizer once more on other batches
or from a start that is off by rounding: how far apart two runs end anyway. Two settings: `from scratch` is params.yaml's;
`fine-tuning` begins with a warm-up on the source and has the rates of the `_released` presets, whose start it stands for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from dstc.training.step import Learner
from torch import Tensor

from dstc.config.params import Params, read_params
from dstc.core.index import load_index, root_folders
from dstc.core.places import INDEX_TARGET_VAL, NETWORK, WARM_UP_SOURCE
from dstc.data.loaders import ValidationImages
from dstc.models.deeplab_v2 import DeepLabV2
from dstc.supervised import train_supervised
from dstc.training.context import Setting
from experiments.baseline import streams_of
from experiments.folders import borrow, folder_with_params, run_once
from experiments.rows import Rows
from experiments.statistics import mean_and_spread
from tests.golden.duplicating_sgd import DuplicatingSGD, released_visits

MODULE = "experiments.duplicated_optimizer"
ITERATIONS = 200
SEEDS = (0, 1, 2)
SETTINGS: dict[str, dict[str, Any]] = {
    "from scratch": {"warm_up.target.iterations": ITERATIONS, "warm_up.target.schedule_iterations": ITERATIONS},
    "fine-tuning": {
        "warm_up.target.iterations": ITERATIONS,
        "model.batch_norm_affine": "frozen",
        "optim.classifier_multiplier": 10.0,
        "warm_up.target.learning_rate": 0.00025,
        "warm_up.target.schedule_iterations": 250_000,
    },
}


@dataclass(frozen=True)
class Variant:
    """What a run has in place of the released optimizer, or changes beside it."""

    multiplier: float | None = None  # None: the released optimizer
    other_batches: bool = False
    rounded_start: bool = False


RELEASED = "as released"
VARIANTS = {
    RELEASED: Variant(),
    "multiplier 3": Variant(multiplier=3.0),
    "multiplier 1": Variant(multiplier=1.0),
    "as released, other batches": Variant(other_batches=True),
    "as released, start off by rounding": Variant(rounded_start=True),
}
ROWS = Rows("duplicated_optimizer", ("setting", "seed", "optimizer"))


class Duplicating(Setting):
    """A setting whose learners have the released optimizer."""

    def learner(self, name: str, network: Any, *more: Any) -> Learner:
        learner = super().learner(name, network, *more)
        assert isinstance(learner.optimizer, torch.optim.SGD)
        return replace(learner, optimizer=DuplicatingSGD(learner.optimizer, released_visits(network)))


def place(setting: str, seed: int) -> Path:
    """A folder with world 0 indexed and split in it, and a warm-up on the source with params.yaml's setting."""
    world = folder_with_params("duplicated_world", {})
    run_once(world, "data/index/target_val.json", "stages.prepare_data")
    run_once(world, "data/split", "stages.make_split")
    base = folder_with_params(f"duplicated_seed_{seed}", {"seed": seed})
    borrow(base, world, ("world", "index", "split"))
    run_once(base, "data/warm_up_source/network.pt", "stages.warm_up", "source")
    folder = folder_with_params(f"{base.name}_{setting.replace(' ', '_')}", {"seed": seed, **SETTINGS[setting]})
    borrow(folder, base, ("world", "index", "split", "warm_up_source"))
    return folder


def trained(name: str, file: str) -> None:
    """In a prepared folder: train one variant and write down where it began, where it ended and how good it was."""
    params, variant = read_params(), VARIANTS[name]
    optim = params.optim.model_copy(update={"backbone_multiplier": variant.multiplier or 1.0})
    setting_class = Setting if variant.multiplier else Duplicating
    val_index = load_index(INDEX_TARGET_VAL)
    setting = setting_class.of(params.model_copy(update={"optim": optim}), val_index.classes)
    network = start(setting, params)
    if variant.rounded_start:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(1 + 2e-7)
    began = backbone_of(network)
    state = train_supervised(
        network,
        streams_of("joint", params),
        name="joint",
        setting=replace(setting, seed=params.seed + 1000) if variant.other_batches else setting,
        schedule=params.warm_up.target,
        val=ValidationImages(val_index, root_folders(params.paths.target, "cityscapes"), own_labels=False),
    )
    last = state.losses.rows[-10:]  # of two iterations each
    losses = [sum(value for name, value in row.items() if name.endswith("_cross_entropy")) for row in last]
    scores = {"loss": sum(losses) / len(losses), "miou": state.validation.rows[-1]["target_miou"]}
    torch.save({"began": began, "ended": backbone_of(network), "scores": scores}, file)


def start(setting: Setting, params: Params) -> DeepLabV2:
    """Random weights, or those of the warm-up where BatchNorm's scales are frozen and so must come from somewhere."""
    if params.model.batch_norm_affine == "trained":
        return setting.new_network()
    return setting.trained_network(WARM_UP_SOURCE / NETWORK)


def backbone_of(network: DeepLabV2) -> Tensor:
    """All convolution weights of the backbone in a row, float64."""
    return torch.cat([p.detach().flatten().double() for p in network.backbone.parameters() if p.ndim == 4])


def measure(setting: str, seed: int, name: str) -> None:
    if ROWS.has(setting=setting, seed=seed, optimizer=name):
        return
    folder = place(setting, seed)
    found = {}
    for one in (RELEASED, name):
        file = f"{one.replace(' ', '_').replace(',', '')}.pt"
        run_once(folder, file, MODULE, one, file)
        found[one] = torch.load(folder / file)
    began = found[RELEASED]["began"]
    released, own = (found[one]["ended"] - began for one in (RELEASED, name))
    row = {
        **{key: round(value, 4) for key, value in found[name]["scores"].items()},
        # lengths of the way from the start to the end, and between the ends, in lengths of the released optimizer's way
        "path": round(float(own.norm() / released.norm()), 4),
        "distance": round(float((own - released).norm() / released.norm()), 4),
        "cosine": round(float(own @ released / (own.norm() * released.norm())), 4),
    }
    ROWS.add([{"setting": setting, "seed": seed, "optimizer": name, **row}])
    print(setting, seed, name, row, flush=True)


def table() -> str:
    lines = [
        "| setting | optimizer | loss | mIoU | path | distance | cosine |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = ROWS.table()
    for setting in SETTINGS:
        for name in VARIANTS:
            own = rows[(rows["setting"] == setting) & (rows["optimizer"] == name)]
            numbers = [f"{own['loss'].mean():.3f}", mean_and_spread(own["miou"])]
            numbers += [f"{own[column].mean():.2f}" for column in ("path", "distance", "cosine")]
            lines.append(f"| {setting} | {name} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def jobs() -> Iterable[partial[None]]:
    return (
        partial(measure, setting, seed, name) for seed in SEEDS for setting in reversed(SETTINGS) for name in VARIANTS
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run"]:
            for job in jobs():
                job()
        case ["table"]:
            print(table())
        case [name, file]:
            trained(name, file)
        case _:
            sys.exit(__doc__)
