"""Which images are meant by files, folders and patterns, and what their results are called."""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dstc.core.errors import UserError
from dstc.core.names import IMAGE_ENDINGS, is_clutter
from dstc.preparation.layouts import list_images


def find_images(arguments: Sequence[str], out: Path) -> dict[str, Path]:
    """Each image by the name of its results: its path without ending, relative to the folder that was given or, of files
    and patterns, to the folder that they have in common. Sorted by name. What lies below `out` is passed over, with a note.
    """
    found: list[tuple[str, Path]] = []
    files: list[Path] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            found += [(pair.image, path / pair.image) for pair in list_images(path)]
        else:
            files += _files(argument)
    if files:
        base = os.path.commonpath([file.absolute().parent for file in files])
        found += [(file.absolute().relative_to(base).as_posix(), file) for file in files]
    results = out.resolve()
    kept = [(name, path) for name, path in found if results not in path.resolve().parents]
    if not kept:
        raise UserError(
            f"{', '.join(arguments)}: holds only what lies below --out {out}, where images are taken for results of an "
            "earlier run; give --out another folder"
        )
    if len(kept) < len(found):
        print(f"note: {len(found) - len(kept)} images below --out {out} are passed over, as results of an earlier run")
    return _by_name(kept)


def _files(argument: str) -> list[Path]:
    path = Path(argument)
    if path.is_file():
        return [path]
    if not glob.has_magic(argument):
        raise UserError(f"{argument}: no such file or folder")
    matches = [Path(match) for match in glob.glob(argument, recursive=True)]  # noqa: PTH207 (Path.glob takes no absolute one)
    typed = path.parts
    matches = [match for match in matches if not any(map(is_clutter, set(match.parts) - set(typed)))]
    images = [match for match in matches if match.is_file() and match.suffix.lower() in IMAGE_ENDINGS]
    if not images:
        raise UserError(f"{argument}: no image has such a name; known endings are {', '.join(sorted(IMAGE_ENDINGS))}")
    return images


def _by_name(found: Sequence[tuple[str, Path]]) -> dict[str, Path]:
    by_name: dict[str, set[Path]] = defaultdict(set)
    for name, path in found:
        by_name[str(PurePosixPath(name).with_suffix(""))].add(path)
    clashes = [f"{' and '.join(map(str, sorted(paths)))}: both results would be called {name}; predict them in two runs "
               "with an --out each" for name, paths in by_name.items() if len(paths) > 1]  # fmt: skip
    if clashes:
        raise UserError("\n".join(clashes[:10]))
    return {name: min(paths) for name, paths in sorted(by_name.items())}
