"""The method on real images: rendered CARLA to photographed CamVid, preset carla_camvid, in settings side by side.

    python -m experiments.carla_camvid run --source DIR --target DIR --weights FILE [--co-training 400] [--seed 0]
    python -m experiments.carla_camvid table

One process at a time, one thread. What has its row in results/carla_camvid.csv is not computed again, and a training
that was cut off goes on; so the same command resumes. `recommended` is the preset as it is. `released` takes the
released side of every switch of co-training and of the optimizer (presets/_released.yaml), but not the weights file,
strides and normalization, which belong to ResNet; it also is compared by its last checkpoint, its best one on val
standing in a column of its own. `plain` is the preset's method as the full-size presets have it, without averaged
teachers, confidence weight, class weights and the later start of unlabeled images; `averaged_teachers` lacks class
weights only. All begin with the same warm-ups; `released_throughout` has warm-ups of the released setting too.
Baselines run for as many iterations as the whole pipeline, without class weights but for `joint_class_weights`. Rows
called `earlier` are of the plain setting at an earlier state of the code, measured by hand.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import pandas as pd

from dstc.config.params import read_params, read_yaml
from dstc.core.files import write_text
from dstc.core.places import CO_TRAIN
from dstc.evaluation.protocols import evaluate
from dstc.evaluation.rows import BRANCHES
from dstc.label_maps.confusion_matrix import mean_iou
from dstc.presets import leaves, resolve
from dstc.training.context import Setting
from experiments.folders import PROJECT, WORK, borrow, folder_with_params, run, run_once
from experiments.rows import Rows
from stages.evaluate import batches_of, val_images

ROWS = Rows("carla_camvid", ("setting", "row", "iterations", "seed"))
WARM_UPS = ("source", "target")
AVERAGE_FILE = "average.json"
SETTINGS = ("recommended", "released", "plain", "averaged_teachers", "released_throughout")
BASELINES = {  # what it trains on, and the class weights of its cross entropy
    "joint": ("joint", "none"),
    "joint_class_weights": ("joint", "inverse_log"),
    "all_labels": ("all_labels", "none"),
    "target": ("target", "none"),
    "source": ("source", "none"),
}


def preset_changes(given: argparse.Namespace) -> dict[str, Any]:
    """The preset with this machine's folders, as changes of params.yaml by dotted key."""
    typed = {
        "paths.source": given.source.absolute(),
        "paths.target": given.target.absolute(),
        "model.initial_weights": given.weights.absolute(),
        "seed": given.seed,
        "co_train.iterations": given.co_training,
        "co_train.schedule_iterations": given.co_training,
        "co_train.validate_every": max(1, given.co_training // 2),
        "runtime.cache": WORK / "cache",  # one for all settings
    }
    params = read_yaml(PROJECT / "params.yaml")
    overlay, _ = resolve(
        "carla_camvid", [f"{key}={value}" for key, value in typed.items()], params, PROJECT / "presets"
    )
    return dict(leaves(overlay, params))


def setting_changes(setting: str, preset: dict[str, Any]) -> dict[str, Any]:
    """What a setting changes in the preset, by dotted key."""
    params = read_yaml(PROJECT / "params.yaml")
    if setting == "recommended":
        return {}
    common = dict(leaves(read_yaml(PROJECT / "presets/_recommended.yaml"), params))
    if setting == "plain":
        return {key: value for key, value in common.items() if key.startswith("co_train.")}
    if setting == "averaged_teachers":
        return {"co_train.class_weights": common["co_train.class_weights"]}
    released = common | dict(leaves(read_yaml(PROJECT / "presets/_released.yaml"), params))
    parts = ("optim.", "co_train.") if setting == "released" else ("optim.", "co_train.", "warm_up.")
    changes = {key: value for key, value in released.items() if key.startswith(parts)}
    full = read_yaml(PROJECT / "presets/gta5_cityscapes.yaml")["co_train"]["iterations"]
    for key, value in changes.items():  # the schedule goes as far beyond the end as it does in a full run
        section, _, last = key.rpartition(".")
        if last == "schedule_iterations":
            changes[key] = round(value / full * preset[f"{section}.iterations"])
    return changes | {"co_train.choose_checkpoint": "last"}


def last_and_best(curve: Path, column: str) -> dict[str, float]:
    scores = pd.read_csv(curve)[column]
    return {"miou": round(float(scores.iloc[-1]), 2), "best_on_val": round(float(scores.max()), 2)}


def score_average() -> None:
    """In a setting's folder: write the mIoU of both branches' average.

    Not the stage evaluate, which would score all four networks by both protocols, the same here; on few cores that takes
    as long as the co-training.
    """
    params = read_params()
    images = val_images(params)
    setting = Setting.of(params, images.index.classes)
    confusion = evaluate(
        {branch: setting.trained_network(CO_TRAIN / f"{branch}.pt").eval() for branch in BRANCHES},
        batches_of(images, params, "scoring"),
        normalize=setting.normalization.apply,
        num_classes=len(images.index.classes),
        protocols=["half"],
        device=setting.device,
    )
    write_text(Path(AVERAGE_FILE), json.dumps({"miou": 100 * mean_iou(confusion["half"]["average"].iou())}) + "\n")


class Comparison:
    """All measurements of one seed and one number of iterations."""

    def __init__(self, preset: dict[str, Any]) -> None:
        self.preset, self.seed = preset, preset["seed"]
        self.warm_up = preset["warm_up.target.iterations"]
        self.whole = 2 * self.warm_up + preset["co_train.iterations"]
        self.name = f"carla_camvid_seed_{self.seed}"
        self.base = folder_with_params(self.name, preset)

    def prepare(self) -> None:
        run_once(self.base, "data/index/target_val.json", "stages.prepare_data")
        run_once(self.base, "data/split", "stages.make_split")
        self.warm_ups(self.base, "recommended")

    def warm_ups(self, folder: Path, setting: str) -> None:
        for domain in WARM_UPS:
            began = time.perf_counter()
            run_once(folder, f"data/warm_up_{domain}/network.pt", "stages.warm_up", domain)
            scores = last_and_best(folder / f"data/warm_up_{domain}/validation.csv", "target_miou")
            self.add(setting, domain, self.warm_up, began, **scores)

    def co_training(self, setting: str) -> None:
        if ROWS.has(setting=setting, row="average", iterations=self.whole, seed=self.seed):
            return
        changes = setting_changes(setting, self.preset)
        folder = folder_with_params(f"{self.name}_{setting}_{self.whole}", self.preset | changes)
        borrow(folder, self.base, ("index", "split"))
        if any(key.startswith("warm_up.") for key in changes):
            self.warm_ups(folder, setting)
        else:
            borrow(folder, self.base, tuple(f"warm_up_{domain}" for domain in WARM_UPS))
        began = time.perf_counter()
        run_once(folder, "data/co_train/target_biased.pt", "stages.co_train")
        run(folder, "experiments.carla_camvid", "average")
        average = json.loads((folder / AVERAGE_FILE).read_text(encoding="utf-8"))["miou"]
        for branch in BRANCHES:
            scores = last_and_best(folder / "data/co_train/validation.csv", f"{branch}_miou")
            self.add(setting, branch, self.whole, began, **scores)
        self.add(setting, "average", self.whole, began, miou=round(average, 2))

    def baseline(self, name: str) -> None:
        if ROWS.has(setting="baseline", row=name, iterations=self.whole, seed=self.seed):
            return
        began = time.perf_counter()
        streams, weights = BASELINES[name]
        run(self.base, "experiments.baseline", streams, str(self.whole), weights)
        miou = json.loads((self.base / f"{streams}_{self.whole}_{weights}.json").read_text(encoding="utf-8"))["miou"]
        self.add("baseline", name, self.whole, began, miou=round(miou, 2))

    def add(self, setting: str, row: str, iterations: int, began: float, **scores: float) -> None:
        """A row, unless it is there (a run that goes on would know its minutes only in part)."""
        key = {"setting": setting, "row": row, "iterations": iterations, "seed": self.seed}
        if not ROWS.has(**key):
            minutes = round((time.perf_counter() - began) / 60, 1)
            ROWS.add([{**key, "labels": self.preset["split.size"], **scores, "minutes": minutes}])
            print(key, scores, f"{minutes} minutes", flush=True)


def table() -> str:
    rows = ROWS.table().sort_values(["setting", "iterations"], kind="stable")
    lines = ["| setting | network | iterations | seed | mIoU, percent |", "|---|---|---|---|---|"]
    for row in rows.itertuples():
        lines.append(f"| {row.setting} | {row.row} | {row.iterations} | {row.seed} | {row.miou:.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m experiments.carla_camvid", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("table", help="the rows as a table")
    commands.add_parser("average", help="used by run, in a setting's folder: score the average of both branches")
    running = commands.add_parser("run", help="compute what has no row yet")
    running.add_argument("--source", type=Path, required=True, help="folder in GTA5's layout")
    running.add_argument("--target", type=Path, required=True, help="folder in Cityscapes' layout")
    running.add_argument("--weights", type=Path, required=True, help="MobileNetV2's ImageNet weights")
    running.add_argument(
        "--co-training", type=int, default=400, help="its iterations; the preset's warm-ups come on top"
    )
    running.add_argument("--seed", type=int, default=0)
    running.add_argument("--only", nargs="*", choices=[*SETTINGS, *BASELINES], default=[*SETTINGS[:3], *BASELINES])
    given = parser.parse_args()
    if given.command == "table":
        print(table())
        return
    if given.command == "average":
        score_average()
        return
    comparison = Comparison(preset_changes(given))
    comparison.prepare()
    for name in given.only:
        (comparison.co_training if name in SETTINGS else comparison.baseline)(name)


if __name__ == "__main__":
    main()
