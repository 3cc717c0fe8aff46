"""Names of files and images: what may stand on a line of a list, what stays inside its folder, what is an image."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})


def is_one_line(text: str) -> bool:
    """Whether a name can stand on a line of a list or a table: no line break, no control character, valid UTF-8."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


def stays_inside(name: str) -> bool:
    """Whether a relative path, as written, does not leave the folder that it is relative to."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
