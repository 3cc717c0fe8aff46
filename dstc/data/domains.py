"""The parts of a run's data, as what earlier stages wrote and where the images lie: read when asked for, and no sooner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dstc.core.index import load_index, read_split, root_folders
from dstc.core.places import INDEX_SOURCE, INDEX_TARGET_TRAIN, INDEX_TARGET_VAL, SPLIT
from dstc.core.selection import spread
from dstc.data.cache import Cache
from dstc.data.loaders import Stream, ValidationImages


class Domains:
    """Streams of the source and of the target's labeled and unlabeled images, and the target's val images.

    `source`, `target` and `unlabeled` are those of section `paths`. A method reads what its stage depends on alone.
    """

    def __init__(self, source: str, target: str, unlabeled: Sequence[str], cache: Cache | None) -> None:
        self.source_roots: Sequence[Path] = root_folders(source, "gta5")
        self.target_roots: Sequence[Path] = root_folders(target, "cityscapes", unlabeled)
        self.cache = cache

    def source(self, batch: int, crop: Sequence[int]) -> Stream:
        return Stream(load_index(INDEX_SOURCE), self.source_roots, batch, crop, self.cache)

    def labeled_target(self, batch: int, crop: Sequence[int]) -> Stream:
        labeled, _ = read_split(SPLIT)
        index = load_index(INDEX_TARGET_TRAIN).labeled(labeled)
        return Stream(index, self.target_roots, batch, crop, self.cache)

    def every_labeled_target(self, batch: int, crop: Sequence[int]) -> Stream:
        """Every target train image that has a label on disk, whatever the split: for a comparison."""
        index = load_index(INDEX_TARGET_TRAIN)
        index = index.named(entry.name for entry in index.entries if entry.label is not None)
        return Stream(index, self.target_roots, batch, crop, self.cache)

    def unlabeled_target(self, batch: int, crop: Sequence[int]) -> Stream | None:
        """None where every target image is labeled."""
        _, unlabeled = read_split(SPLIT)
        if not unlabeled:
            return None
        index = load_index(INDEX_TARGET_TRAIN).named(unlabeled).without_labels()
        return Stream(index, self.target_roots, batch, crop, self.cache)

    def unlabeled_images(self, count: int) -> ValidationImages:
        """Up to `count` whole target images of those without labels, evenly spread; none where all are labeled."""
        _, unlabeled = read_split(SPLIT)
        index = load_index(INDEX_TARGET_TRAIN).named(spread(unlabeled, count)).without_labels()
        return ValidationImages(index, self.target_roots, self.cache)

    def val(self, *, own_labels: bool = False) -> ValidationImages:
        return ValidationImages(load_index(INDEX_TARGET_VAL), self.target_roots, self.cache, own_labels)
