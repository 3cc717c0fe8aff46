"""The presets of the full runs, each for one step as it is: whole networks, crops and images of the real sizes, on the CPU.

    pytest -m slow tests/test_full_size.py                                    all eight
    pytest -m slow "tests/test_full_size.py::test_one_step[gta5_cityscapes]"  one

Each prints its time and peak memory, wants 6 GB of memory and 3 GB of space for temporary files, and takes minutes.
"""

from __future__ import annotations

import csv
import math
import multiprocessing
import os
import resource
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from ruamel.yaml import YAML

from dstc.co_training.trainer import CoTrainer
from dstc.config.params import read_params, read_yaml
from dstc.core.index import load_index
from dstc.core.places import CO_TRAIN, INDEX_TARGET_VAL, NETWORK, WARM_UP_SOURCE, WARM_UP_TARGET
from dstc.core.taxonomy import LABEL_IDS
from dstc.presets import resolve
from dstc.training.context import TrainingContext
from stages import make_split, prepare_data
from stages.co_train import co_train
from stages.evaluate import score_checkpoints
from tests.preparation.trees import png_16_bit

ROOT = Path(__file__).parents[1]
KINDS = ("", "_released", "_dinov2", "_dinov3")
PRESETS = [f"{source}_cityscapes{kind}" for source in ("gta5", "synthia") for kind in KINDS]
DINO = {"dinov2": "vit_small_patch14_dinov2", "dinov3": "vit_small_patch16_dinov3"}
# What a step moves, and what it does not: BatchNorm's frozen scale, a transformer's nothing.
OF_A_RESNET = {"backbone.layer4.2.conv3.weight", "classifier.3.weight", "backbone.bn1.running_mean"}
OF_A_TRANSFORMER = {
    "backbone.pyramid.model.patch_embed.proj.weight",
    "backbone.pyramid.model.blocks.11.mlp.fc2.weight",
    "classifier.reassemble.0.1.weight",
    "classifier.output.2.weight",
}
BRANCHES = ("source_biased", "target_biased")
# All that a run of one step on a handful of images cannot have as the preset says.
ONE_STEP = [
    "co_train.iterations=1",
    "co_train.lr_ramp_iterations=0",
    "co_train.cross_supervision_start=0.0",
    "split.size=2",
    "data.source.held_out=0",
    "runtime.device=cpu",
    "runtime.workers=0",
]


def blocks(layout: str, width: int, height: int, draws: np.random.Generator) -> np.ndarray:
    """uint8 (H, W) of label ids in blocks of 64 pixels."""
    known = [ids[0] for ids in LABEL_IDS[layout].values() if ids[0] >= 0]
    small = draws.choice(np.array(known, np.uint8), (-(-height // 64), -(-width // 64)))
    return small.repeat(64, 0).repeat(64, 1)[:height, :width]


def write_photo(path: Path, width: int, height: int, draws: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = Image.fromarray(draws.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8))
    small.resize((width, height), Image.Resampling.BICUBIC).save(path, compress_level=1)


def write_source(preset: str, root: Path) -> None:
    draws = np.random.default_rng(0)
    if preset.startswith("gta5"):
        for number, (width, height) in enumerate([(1914, 1052), (1914, 1046)], start=1):
            write_photo(root / f"images/{number:05d}.png", width, height, draws)
            (root / "labels").mkdir(exist_ok=True)
            Image.fromarray(blocks("gta5", width, height, draws)).save(root / f"labels/{number:05d}.png")
    else:
        for number in range(2):
            write_photo(root / f"RGB/{number:07d}.png", 1280, 760, draws)
            channels = np.zeros((760, 1280, 3), np.uint16)
            channels[..., 0] = blocks("synthia", 1280, 760, draws)
            (root / "GT/LABELS").mkdir(parents=True, exist_ok=True)
            (root / f"GT/LABELS/{number:07d}.png").write_bytes(png_16_bit(channels))


def write_target(root: Path) -> None:
    draws = np.random.default_rng(1)
    for split, city, count in (("train", "aachen", 4), ("val", "munster", 1)):
        for number in range(count):
            name = f"{split}/{city}/{city}_{number:06d}_000019"
            write_photo(root / f"leftImg8bit/{name}_leftImg8bit.png", 2048, 1024, draws)
            label = root / f"gtFine/{name}_gtFine_labelIds.png"
            label.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(blocks("cityscapes", 2048, 1024, draws)).save(label)


def write_initial_weights(preset: str, path: Path) -> None:
    """Random weights by the names of the file that the preset wants: the DeepLab init file, torchvision's, or timm's."""
    torch.manual_seed(0)
    if "_dinov" in preset:
        torch.save(timm.create_model(DINO[preset.rpartition("_")[2]], num_classes=0).state_dict(), path)
        return
    prefix = "Scale." if preset.endswith("_released") else ""
    torch.save({prefix + name: value for name, value in torchvision.models.resnet101().state_dict().items()}, path)


def one_step(preset: str, folder: Path) -> str:
    """Run the preset in `folder` and say what it took; in a process of its own, so that the peak of memory is its own."""
    os.chdir(folder)
    write_source(preset, folder / "source")
    write_target(folder / "target")
    write_initial_weights(preset, folder / "init.pth")
    given = [f"paths.{side}={folder / side}" for side in ("source", "target")]
    settings = [*given, f"model.initial_weights={folder / 'init.pth'}", *ONE_STEP]
    raw = resolve(preset, settings, read_yaml(ROOT / "params.yaml"), ROOT / "presets")[1]
    YAML(typ="safe").dump(raw, folder / "params.yaml")
    params = read_params()
    prepare_data.prepare(params)
    make_split.make_split(params.split)
    context = TrainingContext.of(params, load_index(INDEX_TARGET_VAL).classes)
    for warm_up in (WARM_UP_SOURCE, WARM_UP_TARGET):
        context.save(warm_up / NETWORK, context.networks.new(), trained="nothing yet")

    steps, step = [], CoTrainer.step

    def timed(*arguments: Any) -> Any:
        values, took = measured(lambda: step(*arguments))
        steps.append(took)
        return values

    CoTrainer.step = timed  # type: ignore[method-assign]
    _, stage = measured(lambda: co_train(read_params()))
    _, scored = measured(lambda: score_checkpoints([CO_TRAIN / f"{branch}.pt" for branch in BRANCHES]))
    (took,) = steps
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # kilobytes on Linux
    return (
        f"{preset}: one co-training step {took}; the stage with validation and checkpoints {stage}; two checkpoints "
        f"scored on one image by both protocols {scored}; {torch.get_num_threads()} threads; peak {peak:.1f} GiB"
    )


def measured(work: Callable[[], Any]) -> tuple[Any, str]:
    """What came of it, and how long it took: on a busy machine the two times differ."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, f"{time.perf_counter() - wall:.0f} s ({time.process_time() - cpu:.0f} s of CPU)"


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_one_step(preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as child:
            report = child.submit(one_step, preset, tmp_path).result()
        with capsys.disabled():
            print(f"\n{report}")
        with (tmp_path / CO_TRAIN / "losses.csv").open() as file:
            (losses,) = csv.DictReader(file)
        published = preset.endswith("_released")
        # Iteration and rate, the method's six, B2's on whole target images, and how much either branch is sure of.
        assert len(losses) == (9 if published else 11)
        assert {name for name, value in losses.items() if not value} == (
            {"target_biased/target_cross_entropy"} if published else set()
        )
        assert all(math.isfinite(float(value)) for value in losses.values() if value)
        with (tmp_path / CO_TRAIN / "validation.csv").open() as file:
            (scores,) = csv.DictReader(file)
        assert all(0 <= float(scores[f"{branch}_miou"]) <= 100 for branch in BRANCHES)
        files = [tmp_path / CO_TRAIN / f"{branch}.pt" for branch in BRANCHES]
        before, *after = (torch.load(file, weights_only=True) for file in (tmp_path / WARM_UP_SOURCE / NETWORK, *files))
        for content in after:
            version = preset.rpartition("_")[2]
            backbone, moves = (f"{version}_small", OF_A_TRANSFORMER) if version in DINO else ("resnet101", OF_A_RESNET)
            assert content["description"]["model"]["backbone"] == backbone
            assert content["description"]["schedule"]["crop"] == ([504, 504] if version == "dinov2" else [512, 512])
            assert content["state"].keys() == before["state"].keys()
            moved = {key for key, value in content["state"].items() if not torch.equal(value, before["state"][key])}
            assert moves <= moved
            assert "backbone.bn1.weight" not in moved  # frozen
    finally:
        shutil.rmtree(tmp_path, ignore_errors=True)  # pytest would keep 2 GB of each
