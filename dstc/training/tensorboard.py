"""A training's curves and pictures for TensorBoard, an optional package that runtime.tensorboard asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from dstc.training.curves import Curve


class TensorBoard:
    """Writes events to a folder of one training's own; what an earlier run wrote there, TensorBoard shows no longer."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=0)  # so that an interrupted run's points are not doubled
        self._rows: dict[str, int] = {}
        self._pictures: set[Path] = set()

    def show_curve(self, curve: Curve, prefix: str = "") -> None:
        """Write the rows that are new: a scalar for each column, by its name after `prefix`."""
        for row in curve.rows[self._rows.get(prefix, 0) :]:
            for name, value in row.items():
                if name != "iteration":
                    self._writer.add_scalar(f"{prefix}{name}", value, int(row["iteration"]))
        self._rows[prefix] = len(curve.rows)

    def show_pictures(self, folder: Path, done: int) -> None:
        """Write the pictures of the first `done` iterations that are new: FOLDER/<what>/iteration_<number>.png."""
        for path in sorted(folder.glob("*/iteration_*.png")):
            iteration = int(path.stem.removeprefix("iteration_"))
            if path not in self._pictures and iteration <= done:  # later ones are left from an interrupted run
                with Image.open(path) as picture:
                    pixels = np.asarray(picture.convert("RGB"))
                self._writer.add_image(path.parent.name, pixels, iteration, dataformats="HWC")
                self._pictures.add(path)

    def flush(self) -> None:
        """Let readers see what was written."""
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


@contextmanager
def tensorboard(folder: Path | None) -> Iterator[TensorBoard | None]:
    """A writer to the folder, closed at the end; None without a folder."""
    if folder is None:
        yield None
        return
    board = TensorBoard(folder)
    try:
        yield board
    finally:
        board.close()
