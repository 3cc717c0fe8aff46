"""What can be watched of a training while it runs: its curves, as files that grow, and TensorBoard. No training reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dstc.core.places import LOSSES, VALIDATION
from dstc.training.curves import LiveFile
from dstc.training.state import TrainingState
from dstc.training.tensorboard import tensorboard


@contextmanager
def shown_live(state: TrainingState, folder: Path | None, board_folder: Path | None) -> Iterator[Callable[[], None]]:
    """Give a function to call when the state has a new row: it brings the curves in the working folder `folder` up to date,
    and TensorBoard's events in `board_folder`, if there is one. Without a working folder it does nothing."""
    if folder is None:
        yield lambda: None
        return
    losses, validation = LiveFile(folder / LOSSES), LiveFile(folder / VALIDATION)
    with tensorboard(board_folder) as board:

        def show() -> None:
            losses.show(state.losses)
            validation.show(state.validation)
            if board is not None:
                board.show_curve(state.losses)
                board.show_curve(state.validation, "validation/")
                board.show_pictures(folder, state.iteration)
                board.flush()

        show()
        yield show
