"""Names of files and images: what may stand on a line of a list, what stays inside its folder, what is an image, what is
passed over, and when two names are the same."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

IMAGE_ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
LOSSLESS_ENDINGS = frozenset({".png", ".bmp", ".tif", ".tiff"})  # of files whose values are those that were written
# In lower case: what archives, network disks and file managers leave among a user's files, thumbnails included.
CLUTTER = frozenset(
    {"__macosx", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "lost+found",
     "system volume information", "network trash folder", "temporary items", "thumbs.db", "desktop.ini"}
)  # fmt: skip


def is_one_line(text: str) -> bool:
    """Whether a name can stand on a line of a list or a table: no line break, no control character, valid UTF-8."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)


def stays_inside(name: str) -> bool:
    """Whether a relative path, as written, does not leave the folder that it is relative to."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name is passed over where images are listed: hidden, or not of the user's making."""
    return name.startswith(".") or name.lower() in CLUTTER


def normal_form(name: str) -> str:
    """The form by which names are compared: a Mac writes ü as two characters, others as one."""
    return unicodedata.normalize("NFC", name)
