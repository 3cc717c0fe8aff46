"""The index of one domain: what prepare_data found on disk, and all that later stages need to know of the data.

Later stages depend on the index instead of on the images: it carries a digest of every file's bytes, so a changed file
changes the index, and a file that no longer matches its digest stops the training that reads it.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dstc.core.errors import UserError
from dstc.core.files import write_text
from dstc.core.taxonomy import KNOWN_CLASSES, Classes

WORLD = Path("data/world")  # where prepare_data builds the built-in data set
SPLIT_FILES = ("labeled.txt", "unlabeled.txt")


def digest(content: bytes) -> str:
    """The digest of a file's bytes that the index keeps: 16 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


@dataclass(frozen=True)
class Entry:
    """One image: names relative to its root, size in pixels, digests of the files, pixels per class in the label."""

    image: str
    image_digest: str
    width: int
    height: int
    label: str | None = None
    label_digest: str | None = None
    pixels: tuple[int, ...] | None = None
    root: int = 0  # position among the domain's folders: 0 is paths.source or paths.target, then paths.unlabeled

    @property
    def name(self) -> str:
        """What split files and messages call this image: unlike `image` alone, unique among several folders."""
        return self.image if self.root == 0 else f"unlabeled[{self.root - 1}]/{self.image}"


@dataclass(frozen=True)
class DomainIndex:
    """All images of one domain and split, with what it takes to read them.

    `label_ids` maps an id in a label file to a train id or IGNORE; `label_colors` does so for RGB label images, keyed
    by "#rrggbb"; the one that does not apply is empty. A value may be off by `tolerance`. `resize` is the (width, height)
    that images and labels are brought to before cropping, or None to leave them as they are. Sizes of images are those of
    the upright image, whatever its EXIF orientation.
    """

    domain: str
    class_names: tuple[str, ...]
    class_colors: tuple[tuple[int, int, int], ...]
    label_ids: dict[int, int]
    entries: tuple[Entry, ...]
    label_colors: dict[str, int] = field(default_factory=dict)
    tolerance: int = 0
    resize: tuple[int, int] | None = None

    @property
    def classes(self) -> Classes:
        for known in KNOWN_CLASSES.values():
            if known.names == self.class_names:
                return known
        return Classes(self.class_names, self.class_colors)

    @functools.cached_property
    def label_meaning(self) -> str:
        """A digest of what the values in label files mean."""
        return digest(json.dumps([self.label_ids, self.label_colors, self.tolerance], sort_keys=True).encode())

    def __len__(self) -> int:
        return len(self.entries)

    def label_id_of_class(self) -> list[int] | None:
        """The id that this domain's label files hold for each class, the first where several mean the same; None where
        they hold colors, or where a class has no id."""
        by_class = {train_id: label_id for label_id, train_id in reversed(self.label_ids.items())}
        ids = [by_class.get(train_id) for train_id in range(len(self.class_names))]
        return None if None in ids else [label_id for label_id in ids if label_id is not None]

    def pixels_of_class(self) -> list[int]:
        """How many pixels each class has in all labels together."""
        counts = [entry.pixels for entry in self.entries if entry.pixels is not None]
        return [sum(column) for column in zip(*counts, strict=True)] or [0] * len(self.class_names)

    def named(self, names: Iterable[str]) -> DomainIndex:
        """This index cut down to the named images, in the order of the names."""
        by_name, names = {entry.name: entry for entry in self.entries}, list(names)
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise UserError(f"'{unknown[0]}' is no image of index {self.domain}; run `dvc repro make_split`")
        return replace(self, entries=tuple(by_name[name] for name in names))

    def labeled(self, names: Iterable[str]) -> DomainIndex:
        """This index cut down to the named images, each of which has a label."""
        index = self.named(names)
        bare = [entry.name for entry in index.entries if entry.label is None]
        if bare:
            raise UserError(f"'{bare[0]}' of data/split/labeled.txt has no label; run `dvc repro -f make_split`")
        return index

    def without_labels(self) -> DomainIndex:
        """This index as if no image had a label file."""
        bare = (replace(entry, label=None, label_digest=None, pixels=None) for entry in self.entries)
        return replace(self, entries=tuple(bare))


def save_index(index: DomainIndex, path: Path) -> None:
    """Write as JSON, one key or image a line, so that people can read and diff it."""
    head = {key: value for key, value in asdict(index).items() if key != "entries"}
    lines = "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in head.items())
    entries = ",\n".join("  " + json.dumps(_compact(entry)) for entry in index.entries)
    write_text(path, f'{{\n{lines} "entries": [\n{entries}\n ]\n}}\n')


def _compact(entry: Entry) -> dict[str, object]:
    return {
        key: value for key, value in asdict(entry).items() if value is not None and not (key == "root" and value == 0)
    }


def _entry(row: dict[str, Any]) -> Entry:
    entry = Entry(**{**row, "pixels": tuple(row["pixels"]) if "pixels" in row else None})
    if not (entry.width > 0 and entry.height > 0):
        raise ValueError(f"{entry.image} is {entry.width}x{entry.height}")
    return entry


def load_index(path: Path) -> DomainIndex:
    """Read an index that `save_index` wrote."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        entries = tuple(map(_entry, raw.pop("entries")))
        return DomainIndex(
            domain=raw["domain"],
            class_names=tuple(raw["class_names"]),
            class_colors=tuple((r, g, b) for r, g, b in raw["class_colors"]),
            label_ids={int(key): value for key, value in raw["label_ids"].items()},
            label_colors=raw["label_colors"],
            tolerance=raw["tolerance"],
            resize=tuple(raw["resize"]) if raw["resize"] else None,
            entries=entries,
        )
    except FileNotFoundError:
        raise UserError(f"{path}: no such index; run `dvc repro prepare_data` first") from None
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not an index of this version ({error}); run `dvc repro -f prepare_data`") from None


def root_folders(main: str, embedded: str, extra: Sequence[str] = ()) -> tuple[Path, ...]:
    """The folders that `Entry.root` counts: `main` (paths.source or paths.target), then `extra` (paths.unlabeled).

    Where `main` is "embedded", the first is that half ("gta5" or "cityscapes") of the world that prepare_data builds.
    """
    return (WORLD / embedded if main == "embedded" else Path(main), *map(Path, extra))


def read_split(folder: Path) -> tuple[list[str], list[str]]:
    """The names (`Entry.name`) of the labeled and of the unlabeled target images that make_split wrote."""
    try:
        labeled, unlabeled = ((folder / part).read_text(encoding="utf-8").splitlines() for part in SPLIT_FILES)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such file; run `dvc repro make_split` first") from None
    except UnicodeDecodeError:
        raise UserError(f"{folder}: not a split of this project; run `dvc repro -f make_split`") from None
    doubled = [name for name, count in Counter([*labeled, *unlabeled]).items() if count > 1]
    if doubled:
        raise UserError(f"{folder}: names {doubled[0]} more than once; run `dvc repro -f make_split`")
    if not labeled:
        raise UserError(f"{folder / SPLIT_FILES[0]}: names no image; run `dvc repro -f make_split`")
    return labeled, unlabeled
