"""A few co-training steps in a process of their own: `python -m bench.one_step BACKBONE CROP IMAGES` prints JSON with the
seconds of a step (CPU time on the CPU) and the bytes that the steps needed over what the networks take.

IMAGES of each of the three kinds; without ClassMix, which one image alone cannot have. Parameters are those of
params.yaml but for that; runs on the GPU where there is one.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import torch

from dstc.index import DomainIndex
from dstc.loading.loaders import Crops, ValidationImages
from dstc.method.domain_specific_initialization import Branches
from dstc.params import read_params
from dstc.runtime import peak_bytes, wait_for
from dstc.taxonomy import CITYSCAPES_19
from dstc.training.co_trainer import CoTrainer
from dstc.training.setting import Setting

STEPS = 3
STREAMS = ("source", "labeled_target", "unlabeled_target")


def main(backbone: str, crop: int, images: int) -> None:
    params = read_params()
    model = params.model.model_copy(update={"backbone": backbone, "initial_weights": "none"})
    always = {"cross_supervision": True, "class_mix": False, "cross_supervision_from": 0.0, "pictures_every": 10**9}
    setting = Setting.of(params.model_copy(update={"model": model}), CITYSCAPES_19)
    branches = Branches(setting.new_network(), setting.new_network())
    val = ValidationImages(DomainIndex("target_val", (), (), {}, ()), [])
    trainer = CoTrainer(branches, setting=setting, co_train=params.co_train.model_copy(update=always), val=val)
    batch = {name: _crops(number, crop, images) for number, name in enumerate(STREAMS)}
    before, seconds = peak_bytes(setting.device), []
    with tempfile.TemporaryDirectory() as pictures:
        for iteration in range(1, STEPS + 1):
            wait_for(setting.device)
            clock = time.process_time if setting.device.type == "cpu" else time.perf_counter
            began = clock()
            trainer.step(iteration, batch, 1e-4, Path(pictures))
            wait_for(setting.device)
            seconds.append(clock() - began)
    print(json.dumps({"seconds": min(seconds[1:]), "bytes": peak_bytes(setting.device) - before}))


def _crops(number: int, crop: int, images: int) -> Crops:
    draws = torch.Generator().manual_seed(number)
    image = torch.randint(0, 256, (images, crop, crop, 3), generator=draws, dtype=torch.uint8)
    return image, torch.randint(0, len(CITYSCAPES_19), (images, crop, crop), generator=draws, dtype=torch.uint8)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
