"""How costs grow with what there is to do. Time and memory of a co-training step over pixels (crops of 128 to 512, 1, 2 and
4 images of each kind; a process each, memory over that before the first step), prepare_data over images. The columns give
the smallest and the largest case; the backbone is that of the variable BENCH_BACKBONE, else narrow_resnet.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from bench.clock import slope
from bench.one_step import Case, measured
from bench.rows import Row, slope_of
from dstc.core.taxonomy import CITYSCAPES_19
from dstc.preparation.indexing import Domain, index_domains
from dstc.preparation.label_rules import label_rules
from dstc.world.build import render_scene

BACKBONE = os.environ.get("BENCH_BACKBONE", "narrow_resnet")
CROPS = (128, 256, 384, 512)
IMAGES = (1, 2, 4)
PREPARED = (500, 1000, 2000)


def rows() -> Iterator[Row]:
    yield from _steps()
    yield _preparation()


def _steps() -> Iterator[Row]:
    found = {
        (crop, images): measured(Case(crop, images, preset="", backbone=BACKBONE, class_mix=False, steps=2))
        for crop in CROPS
        for images in IMAGES  # without ClassMix, which one image alone cannot have
    }
    for images in IMAGES:
        cases = {crop**2 * images: found[crop, images] for crop in CROPS}
        yield from _grown(f"step of {BACKBONE} over pixels of the crop, {images} x 3 images", cases)
    for crop in CROPS:
        yield from _grown(f"step of {BACKBONE} over images, crop {crop}", {n: found[crop, n] for n in IMAGES})


def _grown(what: str, cases: dict[int, dict[str, float]]) -> Iterator[Row]:
    amounts = list(cases)
    for measure, unit, scale in (("seconds", "s", 1.0), ("bytes", "GB", 1e-9)):
        costs = [case[measure] for case in cases.values()]
        shown = [f"{cost * scale:.3g} {unit}" for cost in costs]
        name = "time" if measure == "seconds" else "memory"
        yield slope_of(f"{name} of a {what}", slope(amounts, costs), shown[0], shown[-1], at_most=1.1)


def _preparation() -> Row:
    """CPU time of indexing; most images are links to a few rendered ones, but each is read and decoded."""
    with tempfile.TemporaryDirectory() as folder:
        costs = [_indexing(Path(folder) / str(count), count) for count in PREPARED]
    shown = [f"{cost:.3g} s ({count})" for cost, count in zip(costs, PREPARED, strict=True)]
    what = "prepare_data over images of the built-in data set"
    return slope_of(what, slope(PREPARED, costs), shown[0], shown[-1], at_most=1.1)


def _indexing(root: Path, count: int) -> float:
    counts = {"source": count, "target_train": 1, "target_val": 1}
    rules = label_rules("cityscapes", CITYSCAPES_19, {}, [])
    for name, images in counts.items():
        _write_images(root / name, images)
    domains = [Domain(name, "paths.source", "folders", name, (root,), CITYSCAPES_19, rules, True) for name in counts]
    began = time.process_time()
    index_domains(*domains, workers=0)
    return time.process_time() - began


def _write_images(folder: Path, count: int) -> None:
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    rendered = [render_scene("target", seed=0, split="train", number=number) for number in range(min(count, 20))]
    for number in range(count):
        for part, array in zip(("images", "labels"), rendered[number % 20], strict=True):
            path = folder / part / f"{number:05d}.png"
            if number < 20:
                Image.fromarray(array).save(path)
            else:
                path.hardlink_to(folder / part / f"{number % 20:05d}.png")
