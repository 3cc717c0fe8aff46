"""On one GPU, without DVC, in at most 5 minutes: co-training steps of ResNet-101 DeepLabV2 at 512x512 and of DINOv2-B with
DPT at 504x504, with 2 + 2 + 2 and 8 + 8 + 8 images, in bf16 and fp32, with NCHW instead of channels last, and compiled.
Steps per second with their losses fetched each time, as trainings do; the limit is the rate of a large product of bf16
matrices on this GPU over the work of a step. fp32 convolutions are TF32, as torch has it. Algorithms are those of the
variable BENCH_DETERMINISTIC, exact (else) or fast. The share of the time that is spent waiting for data is that of a run
with loader workers on images of the built-in data set, enlarged, in the cache.
Then 300 co-training steps from random weights on enlarged images, those of the folder DSTC_REAL_DATA (gta5/ and cityscapes/)
where it is set and scenes of the built-in data set elsewhere: the mean of the supervised losses of the first 50 and the last
50; and where the time of the bf16 step goes.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from bench.one_step import LEARNING_RATE, STREAMS, Case, params_of, random_batch, step_of
from bench.rows import Row, share_of_limit
from dstc.config.params import read_params
from dstc.core.device import peak_bytes, wait_for
from dstc.core.errors import UserError
from dstc.core.index import DomainIndex, Entry, digest
from dstc.core.taxonomy import CITYSCAPES_19, IGNORE, train_ids
from dstc.data.cache import Cache
from dstc.data.loaders import Crops, Stream, training_batches
from dstc.preparation.layouts import list_pairs
from dstc.training.context import TrainingContext
from dstc.training.failure_snapshot import FailureSnapshot
from dstc.training.learner import finite_losses
from dstc.world.build import render_scene

# Passes of a step, in forward passes over two crops: a backward pass is two of them.
PASSES = {"co_training": 8 + 5 * 2, "supervised": 1 + 2}
STEPS_AT_LEAST = 20  # a second: ResNet-101, 2 + 2 + 2 images, bf16, on an H100 or H200; 30 would be fine
SHARE_AT_LEAST = 0.45  # of the limit: ResNet-101, 8 + 8 + 8 images, bf16
ENOUGH = 240  # seconds: what has not begun by then is left out, so that all ends within 5 minutes
SUPERVISED = (
    "source_biased/source_cross_entropy",
    "source_biased/target_cross_entropy",
    "target_biased/combined_cross_entropy",
)
NAMES = {"co_training": "co-training", "supervised": "warm-up"}


@dataclass(frozen=True)
class Size:
    """What is measured: full, or so small that a test can do it."""

    backbone: str = "resnet101"
    crop: int = 512
    transformer: str = "dinov2_base"
    patches: int = 504  # the transformer's crop
    images: tuple[int, ...] = (2, 8)
    steps: int = 30  # counted, after a few that are not
    trained: int = 300
    matrix: int = 8192


def rows() -> Iterator[Row | str]:
    if not torch.cuda.is_available():
        raise UserError("gpu: there is no GPU that torch can use here; nothing was measured")
    yield from rows_on(torch.device("cuda"), Size())


def rows_on(device: torch.device, size: Size, *, compiled: bool = True) -> Iterator[Row | str]:
    """Everything, on this device; what is no row goes below the table."""
    began = time.monotonic()
    limit = matrix_rate(device, size.matrix)
    yield f"A product of bf16 matrices of {size.matrix}x{size.matrix} runs at {limit / 1e12:.3g} TFLOP/s.\n"
    first = Case(size.crop, size.images[0], backbone=size.backbone, device=str(device), precision="bf16")
    parts: list[Callable[[], Iterator[Row | str]]] = [partial(_speed, case, size, limit) for case in cases(first, size)]
    parts += [
        lambda: iter([waiting(first, size.steps)]),
        lambda: iter([where_the_time_goes(first)]),
        *(partial(_trained, replace(first, precision=precision), size.trained) for precision in ("bf16", "fp32")),
    ]
    if compiled:
        parts.append(partial(_compiled, replace(first, compiled=True), size, limit))
    for number, part in enumerate(parts):
        if time.monotonic() - began > ENOUGH:
            yield f"The last {len(parts) - number} of {len(parts)} parts were left out: {ENOUGH} seconds were over.\n"
            return
        yield from part()


def cases(first: Case, size: Size) -> Iterator[Case]:
    """What is timed, but for the compiled case, which may take minutes; the most important first."""
    transformer = replace(first, crop=size.patches, backbone=size.transformer, preset="gta5_cityscapes_dinov2")
    for images in size.images:
        yield replace(first, images=images)
    yield replace(first, channels_last=False)
    for images in size.images:
        yield replace(transformer, images=images)
    for images in size.images:
        yield replace(first, images=images, precision="fp32")
    yield replace(transformer, precision="fp32")
    yield replace(first, kind="supervised")


def _named(case: Case) -> str:
    images = " + ".join([str(case.images)] * (3 if case.kind == "co_training" else 1))
    how = ("" if case.channels_last else ", NCHW") + (", compiled" if case.compiled else "")
    return f"{NAMES[case.kind]}, {case.backbone}, {images}, {case.precision}{how}"


def _speed(case: Case, size: Size, limit: float) -> Iterator[Row]:
    run = Run(case)
    speed = size.steps / run.seconds(random_batch(case.crop, case.images), size.steps)
    possible, what = limit / (PASSES[case.kind] * forward_flops(run.context, case)), _named(case)
    aimed = case == Case(512, case.images, precision="bf16", device=case.device)
    at_least = SHARE_AT_LEAST if aimed and case.images == 8 else None
    yield share_of_limit(f"{what}: steps per second", possible, speed, at_least=at_least)
    if aimed and case.images == 2:
        yield Row(
            f"{what}: the aim", "", f"{speed:.3g}", "", f"at least {STEPS_AT_LEAST} a second", speed >= STEPS_AT_LEAST
        )
    yield Row(f"{what}: peak memory", "", f"{peak_bytes(run.context.device) / 1e9:.3g} GB", "")


def _compiled(case: Case, size: Size, limit: float) -> Iterator[Row | str]:
    try:
        yield from _speed(case, size, limit)
    except Exception as error:  # it needs compilers that this machine may lack; the rest of the table does not
        yield f"torch.compile failed here: {type(error).__name__}: {str(error).splitlines()[:1]}\n"


def _trained(case: Case, steps: int) -> Iterator[Row]:
    yield trained(case, steps)


def waiting(case: Case, steps: int) -> Row:
    """Which share of the time of some steps goes by until the loader has their batch, with the workers of params.yaml."""
    workers = read_params().runtime.workers
    with tempfile.TemporaryDirectory() as folder:
        run, streams = Run(case), written(Scenes(case.crop), Path(folder), case.images)
        batches = training_batches(streams, seed=0, first=0, iterations=steps + 4, workers=workers)
        for _ in range(3):
            run.step(next(batches))
        batch, waited, began = next(batches), 0.0, time.perf_counter()
        for _ in range(steps):
            values, asked = run.begin(batch), time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            run.end(values)
        took = time.perf_counter() - began
    return Row(
        f"{_named(case)}: waiting for data, {workers} workers",
        f"{took:.3g} s",
        f"{waited:.3g} s",
        f"{waited / took:.3f}",
    )


def written(scenes: Scenes, folder: Path, images: int) -> dict[str, Stream]:
    """The three streams, of scenes that now are files in the folder, with a cache there."""
    streams = {}
    for domain, pool in scenes.pool.items():
        entries = []
        for number, pair in enumerate(pool):
            paths = [folder / f"{domain}_{number}_{part}.png" for part in ("image", "label")]
            for path, pixels in zip(paths, pair, strict=True):
                Image.fromarray(pixels).save(path)
            digests = [digest(path.read_bytes()) for path in paths]
            height, width = pair[1].shape
            entries.append(Entry(paths[0].name, digests[0], width, height, paths[1].name, digests[1]))
        ids = {number: number for number in range(len(CITYSCAPES_19))} | {IGNORE: IGNORE}
        index = DomainIndex(domain, CITYSCAPES_19.names, CITYSCAPES_19.colors, ids, tuple(entries))
        cache = Cache(folder / "cache", 10**10)
        for name in STREAMS:
            if (name == "source") == (domain == "source"):
                streams[name] = Stream(index, [folder], images, (scenes.crop, scenes.crop), cache)
    return streams


class Run:
    """Steps as a training takes them: a copy of the weights before each; its losses fetched, its averages moved after it."""

    def __init__(self, case: Case) -> None:
        params = params_of(case)
        self.context = TrainingContext.of(params, CITYSCAPES_19)
        forget_peak(self.context.device)
        self._step, self._learners = step_of(case, self.context, params)
        self._snapshot = FailureSnapshot({learner.name: learner.network for learner in self._learners})

    def step(self, batch: dict[str, Crops]) -> dict[str, float]:
        return self.end(self.begin(batch))

    def begin(self, batch: dict[str, Crops]) -> dict[str, torch.Tensor]:
        self._snapshot.take()
        values: dict[str, torch.Tensor] = self._step(batch)
        return values

    def end(self, values: dict[str, torch.Tensor]) -> dict[str, float]:
        losses = finite_losses(values, self._learners, iteration=1, learning_rate=LEARNING_RATE)
        for learner in self._learners:
            learner.update_average()
        return losses

    def seconds(self, batch: dict[str, Crops], steps: int, *, before: int = 3) -> float:
        """Of so many steps, after some that are not counted."""
        for _ in range(before):
            self.step(batch)
        wait_for(self.context.device)
        began = time.perf_counter()
        for _ in range(steps):
            self.step(batch)
        wait_for(self.context.device)
        return time.perf_counter() - began


def forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def matrix_rate(device: torch.device, width: int, products: int = 20) -> float:
    """FLOP per second of a product of square bf16 matrices."""
    one, other = (torch.randn(width, width, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        one @ other
    wait_for(device)
    began = time.perf_counter()
    for _ in range(products):
        one @ other
    wait_for(device)
    return products * 2 * width**3 / (time.perf_counter() - began)


def forward_flops(context: TrainingContext, case: Case) -> float:
    """Of a forward pass over the images of one kind; nothing is computed for it."""
    # In fp32, for there is no autocast without values.
    network = replace(context.networks, precision="fp32", device=torch.device("meta")).new()
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(case.images, 3, case.crop, case.crop, device="meta"))
    return counter.get_total_flops()


def trained(case: Case, steps: int) -> Row:
    """The supervised losses at both ends of a short training; one that is not finite ends the benchmark."""
    run, scenes = Run(case), Scenes(case.crop)
    losses = []
    for number in range(steps):
        values = run.step(scenes.batch(number, case.images))
        losses.append(float(np.mean([value for name, value in values.items() if name in SUPERVISED])))
    end = max(1, min(50, steps // 2))
    before, after = np.mean(losses[:end]), np.mean(losses[-end:])
    what = f"supervised loss of {steps} steps on {scenes.origin}, {case.precision}: the first {end}, the last {end}"
    return Row(what, f"{before:.3f}", f"{after:.3f}", f"{after / before:.2f}", "below 1", bool(after < before))


class Scenes:
    """Crops of enlarged images of both domains: of the folder DSTC_REAL_DATA, or else of the built-in data set."""

    def __init__(self, crop: int, count: int = 12) -> None:
        self.crop, size = crop, (2 * crop, -(-9 * crop // 8))
        real = os.environ.get("DSTC_REAL_DATA")
        self.origin = "real images" if real else "the built-in data set"
        table = np.full(256, IGNORE, np.uint8)
        for label_id, train_id in train_ids("cityscapes", CITYSCAPES_19).items():
            if label_id >= 0:
                table[label_id] = train_id
        self.pool = {
            domain: [
                (
                    np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)),
                    table[np.asarray(Image.fromarray(label).resize(size, Image.Resampling.NEAREST))],
                )
                for image, label in (_real(Path(real), domain, count) if real else _rendered(domain, count))
            ]
            for domain in ("source", "target")
        }

    def batch(self, number: int, images: int) -> dict[str, Crops]:
        """Labeled target images are a third of the scenes, unlabeled ones the rest."""
        target = self.pool["target"]
        third = len(target) // 3
        pools = (self.pool["source"], target[:third], target[third:])
        draws = np.random.default_rng(number)
        return {
            name: self._crops([pool[draws.integers(len(pool))] for _ in range(images)], draws)
            for name, pool in zip(STREAMS, pools, strict=True)
        }

    def _crops(self, scenes: list[tuple[np.ndarray, np.ndarray]], draws: np.random.Generator) -> Crops:
        cut = []
        for image, label in scenes:
            top, left = (int(draws.integers(side - self.crop + 1)) for side in label.shape)
            window = slice(top, top + self.crop), slice(left, left + self.crop)
            cut.append((image[window], label[window]))
        images, labels = zip(*cut, strict=True)
        return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))


def _rendered(domain: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [render_scene(domain, seed=0, split="train", number=number) for number in range(count)]


def _real(folder: Path, domain: str, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Evenly spread images (H, W, 3) RGB with their label ids (H, W)."""
    layout = {"source": "gta5", "target": "cityscapes"}[domain]
    pairs = [pair for pair in list_pairs(layout, folder / layout, "train") if pair.label]
    chosen = pairs[:: max(1, len(pairs) // count)][:count]
    return [
        (
            np.asarray(Image.open(folder / layout / pair.image).convert("RGB")),
            np.asarray(Image.open(folder / layout / str(pair.label))),
        )
        for pair in chosen
    ]


def where_the_time_goes(case: Case, *, steps: int = 3, listed: int = 25) -> str:
    """The costliest operations of some steps, as a table."""
    run, batch = Run(case), random_batch(case.crop, case.images)
    on_gpu = run.context.device.type == "cuda"
    run.step(batch)
    wait_for(run.context.device)
    began = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as profiled:
        for _ in range(steps):
            run.step(batch)
        wait_for(run.context.device)
        took = 1e6 * (time.perf_counter() - began)
    costs = {
        event.key: (event.self_device_time_total if on_gpu else event.self_cpu_time_total, event.count)
        for event in profiled.key_averages()
        if not on_gpu or event.device_type == DeviceType.CUDA  # kernels, not what started them
    }
    busy = sum(cost for cost, _ in costs.values())
    lines = [
        f"Where the time of a co-training step in {case.precision} goes; the device is busy {busy / took:.0%} of it.\n",
        "| share | ms a step | times | what |",
        "| ----- | --------- | ----- | ---- |",
    ]
    for name, (cost, count) in sorted(costs.items(), key=lambda item: -item[1][0])[:listed]:
        shown = name.replace("|", " ")[:100]
        lines.append(f"| {100 * cost / busy:.1f} % | {cost / 1000 / steps:.2f} | {count / steps:.0f} | `{shown}` |")
    return "\n".join(lines) + "\n"
