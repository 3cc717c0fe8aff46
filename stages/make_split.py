"""Stage make_split: choose which target train images are labeled, and write their names to data/split.

Reads data/index/target_train.json, `split` of params.yaml and, where split.file names one, a file of the folder splits.
Splits of one split.seed are nested: the 100 images of split.size 100 are the first of the 200.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dstc.config.params import read_params
from dstc.config.sections import Split
from dstc.core.costs import measured
from dstc.core.errors import UserError, exit_on_user_error
from dstc.core.index import load_index
from dstc.core.places import INDEX_TARGET_TRAIN, MADE_BY, SPLIT
from dstc.core.randomness import generator
from dstc.split import choose_labeled, read_labeled, write_split

LISTS = Path("splits")


def make_split(split: Split) -> None:
    """Write the split that the parameters ask for."""
    entries = load_index(INDEX_TARGET_TRAIN).entries
    with_label = [entry.name for entry in entries if entry.label is not None]
    without = [entry.name for entry in entries if entry.label is None]
    if split.file is None:
        labeled, rest = choose_labeled(with_label, split.size, generator=generator(split.seed, "split"))
    else:
        labeled = read_labeled(LISTS, split.file, with_label, without)
        _refuse_other_size(split, len(labeled))
        rest = sorted(set(with_label) - set(labeled))
    unlabeled = sorted([*rest, *without])
    write_split(SPLIT, labeled, unlabeled)
    print(f"{SPLIT}: {len(labeled)} labeled and {len(unlabeled)} unlabeled target images")


def _refuse_other_size(split: Split, named: int) -> None:
    if split.size != named:  # split.size is what experiment tables show, so it must be true
        raise UserError(
            f"split.size is {split.size}, but {LISTS / str(split.file)} names {named} images; "
            f"set split.size to {named} (`-S split.size={named}`)"
        )


def main() -> None:
    argparse.ArgumentParser(
        "python -m stages.make_split", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with exit_on_user_error(), measured("make_split", MADE_BY["make_split"]):
        make_split(read_params(tell=["split"]).split)


if __name__ == "__main__":
    main()
