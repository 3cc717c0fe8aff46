"""The lists of layout csv: images and labels by name, as spreadsheets and scripts of any system write them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from dstc.core.errors import UserError
from dstc.core.files import write_text
from dstc.core.names import normal_form, stays_inside

COLUMNS = ("image", "label")


def read_list(path: Path) -> list[tuple[str, str]]:
    """(image, label or nothing) of each row, relative to the list's folder and spelled as the files are on disk.

    The text is UTF-8, with or without a mark at its beginning; cells are divided by commas, semicolons or tabs.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
        rows = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    head = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    missing = sorted(set(COLUMNS) - set(head))
    if missing:
        raise UserError(f"{path}: the first line must name the columns image and label; missing: {missing}")
    image, label = (head.index(column) for column in COLUMNS)
    spelling = _Spelling(path.parent)
    cells = ((line, [*(cell.strip() for cell in row), "", ""]) for line, row in rows[1:])  # a row may end early
    named = [(line, spelling.on_disk(row[image]), spelling.on_disk(row[label])) for line, row in cells]
    problems = list(_problems(path, named))
    if problems:
        raise UserError("\n".join(problems))
    return [(name, label_name) for _, name, label_name in named]


def write_list(path: Path, pairs: Iterable[tuple[str, str | None]]) -> None:
    """Write a list as `read_list` reads it; one that is there with other content is not overwritten."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *((image, label or "") for image, label in pairs)])
    if path.exists() and path.read_bytes() != text.getvalue().encode():
        raise UserError(f"{path}: exists already, with other content; remove it")
    write_text(path, text.getvalue())


def _delimiter(text: str) -> str:
    first = text.partition("\n")[0]
    return max(",;\t", key=first.count)


class _Spelling:
    """Names below a folder as the file system spells them: a list may have Windows' backslashes, another form of ü, or
    `./` before a name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names: dict[Path, dict[str, str]] = {}  # of a folder, by their normal form

    def on_disk(self, name: str) -> str:
        if name.isascii() and "\\" not in name:
            return str(PurePosixPath(name)) if name else name
        try:
            if (self.root / name).exists():
                return str(PurePosixPath(name))
            name = name.replace("\\", "/")
            return self._in_other_form(name) if stays_inside(name) else name
        except OSError:  # such as of a name that is too long; whoever reads the file will say so
            return name

    def _in_other_form(self, name: str) -> str:
        found = PurePosixPath()
        for part in PurePosixPath(name).parts:
            found /= self._beside(self.root / found).get(normal_form(part), part)
        return str(found)

    def _beside(self, folder: Path) -> dict[str, str]:
        if folder not in self._names:
            listed = folder.iterdir() if folder.is_dir() else ()
            self._names[folder] = {normal_form(path.name): path.name for path in listed}
        return self._names[folder]


def _problems(path: Path, rows: Iterable[tuple[int, str, str]]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for line, image, label in rows:
        if not image:
            yield f"{path}:{line}: column image is empty"
        elif image in seen:
            yield f"{path}:{line}: '{image}' is listed already, in line {seen[image]}"
        seen.setdefault(image, line)
        for name in filter(None, (image, label)):
            if not stays_inside(name):
                yield f"{path}:{line}: '{name}' must be a path relative to {path.parent} that does not leave it"
