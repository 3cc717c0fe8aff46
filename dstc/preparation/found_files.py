"""The files below a folder, what hides there or is not of the user's making left out (`is_clutter`).

Folders that are symbolic links are followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from dstc.core.names import IMAGE_ENDINGS, is_clutter


def files_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[os.DirEntry[str]]:
    """All files below; a symbolic link to a folder that it lies in would never end, and is passed over."""
    real = folder.resolve()
    if real in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_clutter(entry.name):
                continue
            if _is_folder(entry):
                yield from files_below(Path(entry.path), (*above, real))
            else:
                yield entry


def name_of(entry: os.DirEntry[str], root: Path) -> str:
    """The file's name relative to the folder `root` that it was found below, with "/" between parts."""
    return Path(entry.path).relative_to(root).as_posix()


def image_names(root: Path, below: str) -> list[str]:
    """Names of all image files below `root / below`, relative to `root`, sorted."""
    return sorted(name_of(entry, root) for entry in files_below(root / below) if is_image(Path(entry.path)))


def is_image(path: Path) -> bool:
    """Whether the file's name is one of an image, and no clutter."""
    return path.suffix.lower() in IMAGE_ENDINGS and not is_clutter(path.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
