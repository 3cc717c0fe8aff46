"""Which target images are labeled: drawn by seed, or named in a file of the user's. Needs no torch."""

from __future__ import annotations

import re
import reprlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from dstc.core.errors import UserError, nearest
from dstc.core.files import atomic_folder
from dstc.core.index import SPLIT_FILES
from dstc.core.names import IMAGE_ENDINGS, normal_form, stays_inside

LONGEST_NAME = 4096  # of a path, in Linux


def choose_labeled(names: Sequence[str], count: int, *, generator: np.random.Generator) -> tuple[list[str], list[str]]:
    """Draw `count` of the names as the labeled ones; the second list holds the others, sorted.

    Nested: all counts cut one permutation of the sorted names, so that of one seed the 100 are the first of the 200.
    """
    if count > len(names):
        raise UserError(f"split.size is {count}, but only {len(names)} target train images have labels")
    ordered = sorted(names)
    order = generator.permutation(len(ordered))
    return [ordered[i] for i in order[:count]], sorted(ordered[i] for i in order[count:])


def read_labeled(folder: Path, file: str, labeled_names: Sequence[str], unlabeled_names: Sequence[str]) -> list[str]:
    """The image names that a split file inside `folder` lists, one a line; blank lines and lines with # are skipped.

    A line may leave out the ending, Cityscapes' `_leftImg8bit`, and leading folders, or have more leading folders than
    the index has, as long as it means exactly one labeled image. A second column, the label's file, is passed over (so
    public lists such as UniMatch's have it), and so is the `train_` of the released code's lists.
    """
    lines = list(_lines(folder, file))
    if not lines:
        raise UserError(f"{folder / file}: names no image; write one name a line")
    finder = _Finder([*labeled_names, *unlabeled_names])
    found, problems = [], []
    for number, text in lines:
        try:
            found.append(_one_labeled(finder.matches(text), text, finder, set(unlabeled_names)))
        except UserError as error:
            problems.append(f"{folder / file}:{number}: {error}")
    problems += [f"{folder / file}: {name} is named {n} times" for name, n in Counter(found).items() if n > 1]
    if problems:
        raise UserError("\n".join(problems))
    return found


def _lines(folder: Path, file: str) -> Iterator[tuple[int, str]]:
    try:
        if not stays_inside(file) or not (folder / file).resolve().is_relative_to(folder.resolve()):
            raise UserError(f"split.file: '{file}' must be a file inside the folder {folder}, which git tracks")
        text = (folder / file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, RuntimeError) as error:  # the last of a link to itself
        known = sorted(path.name for path in folder.glob("*") if path.is_file()) if folder.is_dir() else []
        raise UserError(f"split.file: {folder / file} cannot be read ({error}){nearest(file, known)}") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.strip().startswith("#"):
            yield number, line.strip()


def _one_labeled(matches: list[str], text: str, finder: _Finder, unlabeled: set[str]) -> str:
    if not matches:
        shown = repr(text) if len(text) <= LONGEST_NAME else reprlib.repr(text)
        raise UserError(f"{shown} is no target train image{finder.nearest(text[:LONGEST_NAME])}")
    if len(matches) > 1:
        raise UserError(f"'{text}' could mean {', '.join(matches[:3])}; write more of its path")
    if matches[0] in unlabeled:
        raise UserError(f"'{text}' has no label")
    return matches[0]


class _Finder:
    """Finds image names by what people call them."""

    def __init__(self, names: Sequence[str]) -> None:
        self._by_last: dict[str, list[str]] = defaultdict(list)
        for name in names:
            self._by_last[_parts(name)[-1]].append(name)

    def matches(self, text: str) -> list[str]:
        """The names whose parts end in the text's, or the other way round, by the first reading that has any."""
        found = (
            [name for name in self._by_last.get(parts[-1], ()) if _one_ends_in_other(parts, _parts(name))]
            for parts in map(_parts, _readings(text))
        )
        return next(filter(None, found), [])

    def nearest(self, text: str) -> str:
        last = _parts(list(_readings(text))[-1])[-1]
        return (
            f", only: {', '.join(self._by_last[last][:3])}" if last in self._by_last else nearest(last, self._by_last)
        )


def _readings(line: str) -> Iterator[str]:
    """What a line may mean: the name as it stands, or without what lists of other projects or systems have around it."""
    yield line
    if "\\" in line:
        line = line.replace("\\", "/")
        yield line
    columns = re.split(r"[\s,]+", line)
    if len(columns) == 2 and PurePosixPath(columns[1]).suffix.lower() in IMAGE_ENDINGS:
        line = columns[0]
        yield line
    if line.startswith("train_"):
        yield line.removeprefix("train_")


def _one_ends_in_other(parts: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shorter = min(len(parts), len(other))
    return parts[-shorter:] == other[-shorter:]


def _parts(name: str) -> tuple[str, ...]:
    """The path's parts in their normal form, without ending and without Cityscapes' suffix."""
    path = PurePosixPath(normal_form(name))
    last = path.stem if path.suffix.lower() in IMAGE_ENDINGS else path.name
    return (*(part for part in path.parent.parts if part != "/"), last.removesuffix("_leftImg8bit"))


def write_split(folder: Path, labeled: Sequence[str], unlabeled: Sequence[str]) -> None:
    """Write labeled.txt and unlabeled.txt, one name a line, as `dstc.core.index.read_split` reads them."""
    with atomic_folder(folder) as partial:
        for file, names in zip(SPLIT_FILES, (labeled, unlabeled), strict=True):
            (partial / file).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
