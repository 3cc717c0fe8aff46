"""Steps of one kind in a process of their own: `python -m bench.one_step '{"crop": 128, "backbone": "narrow_resnet"}'`.

Prints JSON: the seconds of a step (CPU time on the CPU), those of the first (which with `compiled` compiles), and bytes of
peak memory: over what was taken before there were networks (`whole`), and over the networks (`bytes`). Runs on the GPU
where there is one.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench import straightforward
from dstc.co_training.trainer import CoTrainer
from dstc.config.params import Params, check_params, read_yaml
from dstc.core.device import peak_bytes, wait_for
from dstc.core.index import DomainIndex
from dstc.core.taxonomy import CITYSCAPES_19
from dstc.data.loaders import Crops, ValidationImages
from dstc.method.domain_specific_initialization import Branches
from dstc.presets import resolve
from dstc.training.context import TrainingContext
from dstc.training.cross_entropy import cross_entropy
from dstc.training.learner import Learner
from dstc.training.optimizer import set_learning_rate

STREAMS = ("source", "labeled_target", "unlabeled_target")
WARM_UP_CROP = 64
Step = Callable[[dict[str, Crops]], Any]
LEARNING_RATE = 2.5e-4
AS_PUBLISHED = {  # so that the straightforward way does the same work
    "combination": "differentiated",
    "teachers": "branches",
    "confidence_threshold": 0.0,
    "cross_supervision_start": 0.0,
    "color_augmentation": "none",
}


@dataclass(frozen=True)
class Case:
    """`images` of each kind, random ones. Parameters are those of the preset ("": of params.yaml) but for what is said."""

    crop: int
    images: int = 2
    kind: str = "co_training"  # co_training | supervised | straightforward
    preset: str = "gta5_cityscapes"
    backbone: str = "resnet101"
    precision: str = "fp32"
    ema_decay: float | None = None  # None: the preset's
    class_mix: bool = True
    compiled: bool = False
    channels_last: bool = True  # as trainings have it
    steps: int = 1  # counted; the cheapest is given. A first one, on crops of 64 pixels, is not
    device: str = "auto"


def params_of(case: Case) -> Params:
    raw = read_yaml(Path("params.yaml"))
    if case.preset:
        raw = resolve(case.preset, ["paths.source=/nowhere", "paths.target=/nowhere"], raw)[1]
    raw["model"] |= {"backbone": case.backbone, "initial_weights": "none", "precision": case.precision}
    raw["co_train"] |= AS_PUBLISHED | {"class_mix": case.class_mix, "pictures_every": 10**9}
    if case.ema_decay is not None:
        raw["optim"]["ema_decay"] = case.ema_decay
    raw["runtime"] |= {"device": case.device, "deterministic": os.environ.get("BENCH_DETERMINISTIC", "exact")}
    return check_params(raw, "the benchmark's parameters")


def step_of(case: Case, context: TrainingContext, params: Params) -> tuple[Step, Sequence[Learner]]:
    """A function that takes one step of the case on a batch of the three streams, and what learns by it (if it is ours)."""
    network = _laid_out(context.networks.new(), case)
    if case.kind == "supervised":
        return _supervised(context, _compiled(network, case))
    branches = network, _laid_out(context.networks.new(), case)
    if case.kind == "straightforward":
        return _straightforward(context, branches), ()
    val = ValidationImages(DomainIndex("target_val", (), (), {}, ()), [])
    trainer = CoTrainer(
        Branches(*(_compiled(branch, case) for branch in branches)), context=context, settings=params.co_train, val=val
    )
    for learner in trainer.learners:
        if learner.average is not None:
            _compiled(learner.average.module, case)
    # Iteration 1, for pictures are drawn at 0.
    return lambda batch: trainer.step(1, batch, LEARNING_RATE, Path("nowhere")), trainer.learners


def _laid_out(network: nn.Module, case: Case) -> nn.Module:
    """Weights and images in the order of the case: NCHW all through, or channels last as the project has them."""
    if not case.channels_last:
        network.to(memory_format=torch.contiguous_format)
        network.register_forward_pre_hook(lambda _, images: (images[0].contiguous(),))
    return network


def _compiled(network: nn.Module, case: Case) -> nn.Module:
    if case.compiled:
        network.compile()
    return network


def _supervised(context: TrainingContext, network: nn.Module) -> tuple[Step, Sequence[Learner]]:
    learner = context.learner("warm_up", network)
    set_learning_rate(learner.optimizer, LEARNING_RATE)

    def step(batch: dict[str, Crops]) -> dict[str, Tensor]:
        learner.zero_grad()
        learner.back_propagate({"loss": cross_entropy(*learner(context.on_device(batch["source"])))})
        learner.step()
        return learner.losses

    return step, (learner,)


def _straightforward(context: TrainingContext, branches: tuple[nn.Module, nn.Module]) -> Step:
    first, second = (branch.to(memory_format=torch.contiguous_format) for branch in branches)
    optimizers = [
        torch.optim.SGD(
            [parameter for parameter in branch.parameters() if parameter.requires_grad],
            lr=LEARNING_RATE,
            momentum=context.optim.momentum,
            weight_decay=context.optim.weight_decay,
        )
        for branch in (first.train(), second.train())
    ]
    mean, std = context.networks.preprocessing.mean, context.networks.preprocessing.std

    def step(batch: dict[str, Crops]) -> object:
        parts = [(straightforward.normalize(images, mean, std), labels) for images, labels in batch.values()]
        source, labeled_target, (unlabeled, _) = parts
        return straightforward.step((first, second), (optimizers[0], optimizers[1]), source, labeled_target, unlabeled)

    return step


def random_batch(crop: int, images: int) -> dict[str, Crops]:
    return {name: _crops(number, crop, images) for number, name in enumerate(STREAMS)}


def _crops(number: int, crop: int, images: int) -> Crops:
    draws = torch.Generator().manual_seed(number)
    image = torch.randint(0, 256, (images, crop, crop, 3), generator=draws, dtype=torch.uint8)
    across = -(-crop // 16)
    blocks = torch.randint(0, len(CITYSCAPES_19), (images, across, across), generator=draws, dtype=torch.uint8)
    return image, blocks.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, :crop, :crop].contiguous()


def measure(case: Case) -> dict[str, Any]:
    """The costs of the case's steps, in this process."""
    params = params_of(case)
    context = TrainingContext.of(params, CITYSCAPES_19)
    small, batch = (random_batch(crop, case.images) for crop in (WARM_UP_CROP, case.crop))
    _load_libraries(case)
    bare = _resident(context.device)
    step, _ = step_of(case, context, params)
    before, seconds = peak_bytes(context.device), []
    if not case.compiled:  # else it would be compiled for two sizes, and for any size the second time
        step(small)
    for _ in range(case.steps + case.compiled):
        wait_for(context.device)
        began = _clock(context.device)
        step(batch)
        wait_for(context.device)
        seconds.append(_clock(context.device) - began)
    peak = peak_bytes(context.device)
    counted = seconds[case.compiled :]
    return {"seconds": min(counted), "first": seconds[0], "bytes": peak - before, "whole": peak - bare}


def _load_libraries(case: Case) -> None:
    """Take a small step of another network: what torch loads and keeps for the first one is no step's memory."""
    tiny = replace(case, backbone="narrow_resnet", kind="supervised", compiled=False)
    params = params_of(tiny)
    step_of(tiny, TrainingContext.of(params, CITYSCAPES_19), params)[0](random_batch(WARM_UP_CROP, 1))


def _clock(device: torch.device) -> float:
    """CPU time, of compilers that were started too; on a GPU the time of day."""
    if device.type != "cpu":
        return time.perf_counter()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _resident(device: torch.device) -> int:
    """Bytes that this process holds now."""
    if device.type != "cpu":
        return torch.cuda.memory_allocated(device)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@functools.cache
def measured(case: Case, turn: int = 0) -> dict[str, float]:
    """The costs of the case in a process of its own; each turn once for all groups of a run."""
    command = [sys.executable, "-m", "bench.one_step", json.dumps(asdict(case))]
    changed = {key: value for key, value in asdict(case).items() if value != getattr(Case, key, None)}
    print(f"bench: {changed}, turn {turn + 1}", flush=True)
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(measure(Case(**json.loads(sys.argv[1])))))
