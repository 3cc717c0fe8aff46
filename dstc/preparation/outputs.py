"""A stage's output folder: whole or not at all, and a message instead of a stack trace where it cannot be written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dstc.errors import UserError
from dstc.files import folder_written_whole


@contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """As `folder_written_whole`; a full disk or a missing permission is the user's to mend."""
    try:
        with folder_written_whole(folder) as partial:
            yield partial
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror or error}); nothing was changed") from None
