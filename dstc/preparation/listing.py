"""What a run reads from outside the project, in lines that differ as soon as it does.

Data by names, sizes and times alone; initial weights by their content, for what depends on it takes hours.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from dstc.core.names import stays_inside
from dstc.preparation.found_files import files_below
from dstc.preparation.layouts import folders_of


def read_folders(layout: str, root: Path, splits: Iterable[str]) -> Iterator[Path]:
    """The folders that prepare_data reads of a data set at `root`: a data set may hold much that it does not use."""
    for split in filter(stays_inside, splits):  # prepare_data refuses the others
        yield from (root / folder for folder in folders_of(layout, split))


def listing(folders: Iterable[Path]) -> str:
    """One line on all files below the folders; a folder that is missing holds none."""
    there = (entry for folder in folders if folder.is_dir() for entry in files_below(folder))
    lines = sorted({_line(entry) for entry in there})
    content = hashlib.blake2b("".join(lines).encode(errors="surrogateescape"), digest_size=16)
    return (
        f"{len(lines)} data files outside the project; digest of their names, sizes and times: {content.hexdigest()}\n"
    )


def weights_line(initial_weights: str) -> str:
    """One line on the content of the file that `model.initial_weights` names, wherever it lies and whenever it was copied.

    Of weights by name it says the same for all: the name is a parameter. A training refuses a file that is missing.
    """
    file = Path(initial_weights)
    if not file.is_absolute():
        return "initial weights: of no file\n"
    if not file.is_file():
        return "initial weights: the file is missing\n"
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16))
    return f"initial weights: digest of the file: {digest.hexdigest()}\n"


def _line(entry: os.DirEntry[str]) -> str:
    """`ctime` is there because unpacking or copying may set `mtime` back to what it was; nothing sets `ctime` back."""
    with suppress(OSError):  # a link to nothing: prepare_data says so
        found = entry.stat()
        return f"{entry.path}\0{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}\0"
    return f"{entry.path}\0gone\0"
