"""Where each stage finds what an earlier one made. dvc.yaml names the same paths; a test compares them."""

from __future__ import annotations

from pathlib import Path

from dstc.core import index

LISTING = Path("data/listing.txt")
INITIAL_WEIGHTS = Path("data/initial_weights.txt")
WORLD = index.WORLD
INDEX_SOURCE = Path("data/index/source.json")
INDEX_TARGET_TRAIN = Path("data/index/target_train.json")
INDEX_TARGET_VAL = Path("data/index/target_val.json")
SPLIT = Path("data/split")
WARM_UP_SOURCE = Path("data/warm_up_source")
WARM_UP_TARGET = Path("data/warm_up_target")
JOINT = Path("data/joint")
CO_TRAIN = Path("data/co_train")
METRICS = Path("metrics")
REPORT = METRICS / "report.html"
NETWORK, LOSSES, VALIDATION = "network.pt", "losses.csv", "validation.csv"

# Files by which the record of a stage's cost is found again: small, and different where the run was.
MADE_BY = {
    "prepare_data": (INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL),
    "make_split": tuple(SPLIT / file for file in index.SPLIT_FILES),
    "warm_up_source": (WARM_UP_SOURCE / LOSSES,),
    "warm_up_target": (WARM_UP_TARGET / LOSSES,),
    "joint": (JOINT / LOSSES,),
    "co_train": (CO_TRAIN / LOSSES,),
    "evaluate": (METRICS / "scores.json",),
}
