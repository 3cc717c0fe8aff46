"""What prepare_data tells a person about the data it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from dstc.core.index import DomainIndex


def summary_table(indexes: Sequence[DomainIndex]) -> str:
    """A line for each domain: images, labels, sizes in pixels, and the five rarest of the classes that occur."""
    rows = [("domain", "images", "labeled", "sizes", "rarest classes (share of pixels)")]
    rows += [
        (
            index.domain,
            str(len(index)),
            str(sum(e.label is not None for e in index.entries)),
            _sizes(index),
            _rarest(index),
        )
        for index in indexes
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines + [line for index in indexes for line in _absent(index)])


def _sizes(index: DomainIndex, shown: int = 3) -> str:
    counts = Counter(f"{entry.width}x{entry.height}" for entry in index.entries).most_common()
    listed = [f"{size} ({count})" if len(counts) > 1 else size for size, count in counts[:shown]]
    return ", ".join(listed) + (f" and {len(counts) - shown} more" if len(counts) > shown else "")


def pixels_of(index: DomainIndex) -> np.ndarray:
    """Labeled pixels of each class, int64 (K,)."""
    return np.array(index.pixels_of_class(), dtype=np.int64)


def _rarest(index: DomainIndex, shown: int = 5) -> str:
    pixels = pixels_of(index)
    order = [train_id for train_id in np.argsort(pixels, kind="stable") if pixels[train_id] > 0]
    return (
        ", ".join(f"{index.class_names[i]} {share_in_words(pixels[i] / pixels.sum())}" for i in order[:shown]) or "none"
    )


def share_in_words(share: float) -> str:
    """A fraction in percent, with two digits where it is small."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _absent(index: DomainIndex) -> list[str]:
    names = [name for name, count in zip(index.class_names, pixels_of(index), strict=True) if count == 0]
    return [f"{index.domain} has no pixel of: {', '.join(names)}"] if names else []
