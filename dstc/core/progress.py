"""Progress bars; plain lines, one every half minute, where the output is not a terminal."""

from __future__ import annotations

import sys
from typing import Any, TextIO

from tqdm import tqdm


class _Lines:
    """A stream that turns a bar redrawn in place into lines of its own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> None:
        line = text.replace("\r", "").strip()
        if line:
            self.stream.write(line + "\n")

    def flush(self) -> None:
        self.stream.flush()


def progress(*, total: int, desc: str, unit: str, initial: int = 0, shown: bool = True) -> tqdm[Any]:
    """A bar for `total` units of work (`unit` in the singular), to be used as a context with `.update(n)`; one that shows
    nothing if not `shown`."""
    if not shown:
        return tqdm(total=total, disable=True)
    unit = f" {unit}s"  # tqdm sets it right behind a number
    if sys.stderr.isatty():
        return tqdm(total=total, desc=desc, unit=unit, initial=initial, mininterval=0.5, dynamic_ncols=True)
    return tqdm(
        total=total,
        desc=desc,
        unit=unit,
        initial=initial,
        mininterval=30,
        maxinterval=60,
        file=_Lines(sys.stderr),
        bar_format="{desc}: {n_fmt} of {total_fmt}{unit} in {elapsed}, {rate_fmt}, {remaining} left{postfix}",
    )
