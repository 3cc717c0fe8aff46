"""Whether the palette files of a data set agree.

A palette file holds ids and the color of each. Programs that save color masks in that form number the colors anew in each
file, so that id 0 is sky in one and tree in the next: such files mean what their colors say, not their ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from dstc.preparation.problems import Problem

CURE = "store the labels as gray ids"
CURE_OF_OWN = "give the colors of the classes in data.own instead of ids, or store the labels as gray ids"


class Palettes:
    """The colors that ids have been seen in, and where first."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[str, Path]] = {}

    def problems(self, file: Path, palette: Mapping[int, str], own: bool) -> Iterator[Problem]:
        """What is wrong with a file whose ids have these colors ("#rrggbb"): at most one problem."""
        for index, color in palette.items():
            before, where = self._seen.setdefault(index, (color, file))
            if before != color:
                yield Problem(
                    file,
                    f"its palette gives an id another color than that of another label does (id {index} is {color}, but "
                    f"{before} in {where}), so ids have no fixed meaning; {CURE_OF_OWN if own else CURE}",
                )
                return
