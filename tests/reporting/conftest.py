"""Results of a small run, with names that a careless page would take for markup or for mathematics."""

import numpy as np
import pandas as pd
import pytest

from dstc.core.costs import RunRecord
from dstc.core.index import DomainIndex, Entry
from dstc.evaluation.rows import ROWS
from dstc.label_maps.pictures import legend_of, save_grid
from dstc.reporting.results import Results

CLASSES = ("<b>road</b>", "a & b", "$x$")
RECORD = RunRecord(
    seconds=125.4,
    memory=3 * 2**29,
    gpu_memory=None,
    cores=2,
    ended="2026-11-27 04:05",
    commit="abc1234+",
    experiment="six",
)
COLORS = ((200, 0, 0), (0, 200, 0), (0, 0, 200))


def index_of(domain, *pixels):
    entries = tuple(Entry(f"{i}.png", "0", 8, 8, f"{i}_label.png", "0", counts) for i, counts in enumerate(pixels))
    return DomainIndex(domain, CLASSES, COLORS, {0: 0, 1: 1, 2: 2}, entries)


def scores_of(miou):
    iou = dict(zip(CLASSES, (87.65, 1.0, None), strict=True))
    return {
        row: {"miou": miou + position, "miou_13": None, "pixel_accuracy": 77.0, "iou": iou}
        for position, row in enumerate(ROWS)
    }


def photo(seed):
    return np.random.default_rng(seed).integers(0, 256, (24, 48, 3), dtype=np.uint8)


def labels(seed):
    return np.asarray(COLORS, np.uint8)[np.random.default_rng(seed).integers(0, 3, (24, 48))]


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("results")
    legend = legend_of(index_of("val").classes)
    for image in range(2):
        views = [(title, labels(i)) for i, title in enumerate(["truth", *ROWS.values()])]
        save_grid(tmp_path / f"pictures/<i>{image}.png", [("input", photo(image)), *views], legend)
    for iteration in range(1, 8):
        panels = [("source", photo(iteration)), ("source: label", labels(iteration))]
        save_grid(tmp_path / f"mixing/iteration_{iteration * 100:06d}.png", panels, legend)
    losses = pd.DataFrame({"iteration": [1, 2], "learning_rate": [0.2, 0.1], "source_biased/alignment": [3.0, None]})
    joint = pd.DataFrame({"iteration": [1, 2], "joint/source_cross_entropy": [3.0, 1.0]})
    warm_up = pd.DataFrame({"iteration": [1, 2], "warm_up_source/source_cross_entropy": [3.0, 1.0]})
    miou = pd.DataFrame({"iteration": [1, 2], "target_miou": [10.0, 20.0]})
    branches = pd.DataFrame({"iteration": [2], "source_biased_miou": [30.0], "target_biased_miou": [25.0]})
    pairs = [(a, b, 80.0 if a == b else 10.0) for a in CLASSES[:2] for b in CLASSES]
    return Results(
        data="built-in data set",
        trained_with={row: {"torch": "2.12.1", "runtime.device": "cpu <some>"} for row in list(ROWS)[:-1]},
        scores={"half": scores_of(31.4), "full": scores_of(31.4), "half_tta": scores_of(52.6)},
        chosen_on_val=False,
        confusion=pd.DataFrame(pairs, columns=["actual", "predicted", "rate"]),
        losses={"warm_up_source": warm_up, "joint": joint, "co_train": losses},
        validation={"warm_up_source": miou, "warm_up_target": miou, "joint": miou, "co_train": branches},
        source=index_of("source", (10, 10, 80), (0, 0, 100)),
        target_train=index_of("target_train", (50, 50, 0), (0, 0, 1000)),
        target_val=index_of("target_val", (100, 0, 0)),
        labeled=["0.png"],
        unlabeled=["1.png"],
        pictures=sorted((tmp_path / "pictures").iterdir()),
        mixing=sorted((tmp_path / "mixing").iterdir()),
        params={"seed": 7, "model": {"backbone": "narrow_resnet"}, "co_train": {"batch": {"source": 2}}},
        versions={"torch": "2.11.0"},
        records={"co_train": RECORD, "evaluate": None},
    )
