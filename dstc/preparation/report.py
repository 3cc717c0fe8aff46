"""What a person should look at before training: shares of the classes, rare ones, files that look wrong. From the indexes
alone, so that it costs nothing beyond the check itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from dstc.core.index import DomainIndex, Entry
from dstc.preparation.summary import pixels_of, share_in_words

RARE_SHARE = 0.005  # of a domain's labeled pixels
RARE_IMAGES = 3
MOSTLY_VOID = 0.9  # of a label's pixels
NAMES_SHOWN = 3


def class_table(indexes: Sequence[DomainIndex]) -> str:
    """A line for each class: in every domain its share of the labeled pixels, and in how many labels it occurs."""
    rows = [["class", *(index.domain for index in indexes)]]
    for train_id, name in enumerate(indexes[0].class_names):
        rows.append([name, *(_occurrence(index, train_id) for index in indexes)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def remarks(source: DomainIndex, train: DomainIndex, val: DomainIndex) -> list[str]:
    """What is suspicious though it is no problem, one line each."""
    return [
        *_rare(source),
        *_rare(train),
        *_unlearnable(source, train, val),
        *_files(source),
        *_files(train),
        *_files(val),
    ]


def _images_with(index: DomainIndex, train_id: int) -> int:
    return sum(entry.pixels is not None and entry.pixels[train_id] > 0 for entry in index.entries)


def _occurrence(index: DomainIndex, train_id: int) -> str:
    pixels = pixels_of(index)
    if not pixels[train_id]:
        return "-"
    return f"{share_in_words(pixels[train_id] / pixels.sum())} in {_images_with(index, train_id)}"


def _rare(index: DomainIndex) -> Iterator[str]:
    pixels = pixels_of(index)
    rare = [
        f"{name} ({_occurrence(index, train_id)})"
        for train_id, name in enumerate(index.class_names)
        if pixels[train_id]
        and (pixels[train_id] < RARE_SHARE * pixels.sum() or _images_with(index, train_id) < RARE_IMAGES)
    ]
    if rare:
        yield f"{index.domain}: in few pixels or few labels, so hardly learnt from it: {', '.join(rare)}"


def _unlearnable(source: DomainIndex, train: DomainIndex, val: DomainIndex) -> Iterator[str]:
    seen, wanted = pixels_of(source) + pixels_of(train), pixels_of(val)
    names = [name for name, known, asked in zip(val.class_names, seen, wanted, strict=True) if asked and not known]
    if names:
        yield f"{val.domain} asks for {', '.join(names)}, which no label of {source.domain} or {train.domain} shows"


def _files(index: DomainIndex) -> Iterator[str]:
    labeled = [entry for entry in index.entries if entry.pixels is not None]
    shares = [sum(entry.pixels or ()) / (entry.width * entry.height) for entry in labeled]
    void = [entry for entry, share in zip(labeled, shares, strict=True) if 0 < share < 1 - MOSTLY_VOID]
    yield from _told(index, void, f"labels are more than {MOSTLY_VOID:.0%} void".replace("%", " %"))
    yield from _told(
        index, [e for e in labeled if np.count_nonzero(e.pixels or ()) == 1], "labels hold one class alone"
    )
    yield from _told(index, _same_label(labeled), "labels are, byte for byte, those of other images")
    yield from _told(index, _odd_sizes(index), "images have a size of their own")


def _same_label(labeled: Sequence[Entry]) -> list[Entry]:
    by_label: dict[str | None, list[Entry]] = defaultdict(list)
    for entry in labeled:
        by_label[entry.label_digest].append(entry)
    groups = (group for group in by_label.values() if len({entry.image_digest for entry in group}) > 1)
    return [entry for group in groups for entry in group[1:]]


def _odd_sizes(index: DomainIndex) -> list[Entry]:
    """Images of which fewer than 1 % have the size, where nearly all others agree."""
    counts = Counter((entry.width, entry.height) for entry in index.entries)
    if not counts or counts.most_common(1)[0][1] < 0.9 * len(index):
        return []
    return [entry for entry in index.entries if counts[entry.width, entry.height] < max(1.01, 0.01 * len(index))]


def _told(index: DomainIndex, entries: Sequence[Entry], what: str) -> Iterator[str]:
    if entries:
        names = ", ".join(entry.name for entry in entries[:NAMES_SHOWN])
        yield f"{index.domain}: {len(entries)} {what}: {names}{', ...' if len(entries) > NAMES_SHOWN else ''}"
