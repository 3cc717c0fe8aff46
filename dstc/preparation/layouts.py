"""How each known data set lies on disk: from a folder to pairs of image and label, by name alone.

Nothing is opened here but the list of layout csv. Names are relative to the data set's folder, with "/" between parts.
Folders that are symbolic links are followed; hidden files (".DS_Store", "._00001.png") are passed over.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from dstc.core.errors import UserError
from dstc.core.names import IMAGE_ENDINGS, stays_inside

LOSSLESS_ENDINGS = frozenset({".png", ".bmp", ".tif", ".tiff"})  # what a label may be stored as


@dataclass(frozen=True)
class Pair:
    """An image and its label; where there is none, `wanted` is the name under which it was looked for."""

    image: str
    label: str | None
    wanted: str = ""


FOLDERS: Mapping[str, tuple[str, str]] = MappingProxyType(  # of the images and of the labels, below the data set's own
    {
        "gta5": ("images", "labels"),
        "synthia": ("RGB", "GT/LABELS"),
        "cityscapes": ("leftImg8bit/{split}", "gtFine/{split}"),
        "folders": ("{split}/images", "{split}/labels"),
        "csv": (".", "."),
    }
)


def folders_of(layout: str, split: str) -> tuple[str, str]:
    """Below which two folders of a data set all files of this layout and split lie: the images and the labels."""
    images, labels = FOLDERS[layout]
    return images.format(split=split), labels.format(split=split)


def list_pairs(layout: str, root: Path, split: str) -> list[Pair]:
    """The pairs of a data set that lies at `root`, sorted by image.

    Layouts (`split` is "train", "val" or what data.target calls them; GTA5 and SYNTHIA have none):
    - gta5: images/*.png and labels/*.png of the same name
    - synthia: RGB/*.png and GT/LABELS/*.png of the same name
    - cityscapes: leftImg8bit/<split>/<city>/<x>_leftImg8bit.png and gtFine/<split>/<city>/<x>_gtFine_labelIds.png
    - folders: <split>/images/** and <split>/labels/**, paired by their paths without ending
    - csv: <split>.csv with the columns image and label (may be empty), paths relative to `root`
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    if not stays_inside(split):
        raise UserError(f"split '{split}': must be the name of a folder or list inside {root}")
    pairs = sorted(_READERS[layout](root, split), key=lambda pair: pair.image)
    if not pairs:
        raise UserError(f"{root}: no images found; layout '{layout}' expects {_EXPECTED[layout].format(split=split)}")
    return pairs


def list_images(root: Path) -> list[Pair]:
    """Every image file anywhere below `root`, without labels."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    pairs = [Pair(name, None) for name in _files_below(root, "")]
    if not pairs:
        raise UserError(f"{root}: no images found; any {', '.join(sorted(IMAGE_ENDINGS))} file below it would do")
    return pairs


def _gta5(root: Path, split: str) -> Iterator[Pair]:
    return _same_names(root, *folders_of("gta5", split), "gta5")


def _synthia(root: Path, split: str) -> Iterator[Pair]:
    return _same_names(root, *folders_of("synthia", split), "synthia")


def _same_names(root: Path, images: str, labels: str, layout: str) -> Iterator[Pair]:
    for folder in (images, labels):
        _require_folder(root, folder, layout, "")
    present = {path.name for path in (root / labels).iterdir()}
    for path in (root / images).iterdir():
        if _is_image(path) and path.suffix.lower() == ".png":
            wanted = f"{labels}/{path.name}"
            yield Pair(f"{images}/{path.name}", wanted if path.name in present else None, wanted)


def _cityscapes(root: Path, split: str) -> Iterator[Pair]:
    images, labels = folders_of("cityscapes", split)
    _require_folder(root, images, "cityscapes", split)
    # At any depth, so that `val/frankfurt` (one city alone) is a split as well.
    present = {path.relative_to(root).as_posix() for path in (root / labels).glob("**/*_gtFine_labelIds.png")}
    for path in (root / images).glob("**/*_leftImg8bit.png"):
        if _is_image(path):
            scene = path.name.removesuffix("_leftImg8bit.png")
            city = path.parent.relative_to(root / "leftImg8bit").as_posix()
            wanted = f"gtFine/{city}/{scene}_gtFine_labelIds.png"
            yield Pair(path.relative_to(root).as_posix(), wanted if wanted in present else None, wanted)


def _folders(root: Path, split: str) -> Iterator[Pair]:
    of_images, of_labels = folders_of("folders", split)
    _require_folder(root, of_images, "folders", split)
    images = _files_below(root, of_images)
    labels = _files_below(root, of_labels) if (root / of_labels).is_dir() else []
    by_key = {_without_ending(name): name for name in labels}
    wanted = {name: of_labels + _without_ending(name).removeprefix(of_images) for name in images}
    needed = set(wanted.values())
    _refuse(
        [f"{root / name}: one of several files of this name; endings do not count" for name in _doubled(images)]
        + [f"{root / name}: one of several files of this name; endings do not count" for name in _doubled(labels)]
        + [
            # A label that is named otherwise than its image would silently make the image an unlabeled one.
            f"{root / name}: no image of this name in {of_images}; rename or remove it"
            for key, name in by_key.items()
            if key not in needed
        ]
        + [fault for name in labels for fault in _lossy(root, name)]
    )
    for name in images:
        yield Pair(name, by_key.get(wanted[name]), f"{wanted[name]}.png")


def _csv(root: Path, split: str) -> Iterator[Pair]:
    path = root / f"{split}.csv"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin their files with a mark
            reader = csv.DictReader(file)
            missing = {"image", "label"} - set(reader.fieldnames or ())
            if missing:
                raise UserError(
                    f"{path}: the first line must name the columns image and label; missing: {sorted(missing)}"
                )
            rows = [(reader.line_num, (row["image"] or "").strip(), (row["label"] or "").strip()) for row in reader]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; layout 'csv' expects {_EXPECTED['csv'].format(split=split)}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    _refuse(list(_row_faults(root, path, rows)))
    return (Pair(image, label or None, f"an entry in column label of {path.name}") for _, image, label in rows)


def _row_faults(root: Path, path: Path, rows: Iterable[tuple[int, str, str]]) -> Iterator[str]:
    seen: dict[str, int] = {}
    for line, image, label in rows:
        if not image:
            yield f"{path}:{line}: column image is empty"
        elif image in seen:
            yield f"{path}:{line}: '{image}' is listed already, in line {seen[image]}"
        seen.setdefault(image, line)
        for name in filter(None, (image, label)):
            if not stays_inside(name):
                yield f"{path}:{line}: '{name}' must be a path relative to {root} that does not leave it"
        yield from (f"{path}:{line}: {fault}" for fault in _lossy(root, label) if label)


_READERS: Mapping[str, Callable[[Path, str], Iterator[Pair]]] = MappingProxyType(
    {"gta5": _gta5, "synthia": _synthia, "cityscapes": _cityscapes, "folders": _folders, "csv": _csv}
)
_EXPECTED: Mapping[str, str] = MappingProxyType(
    {
        "gta5": "images/*.png and labels/*.png of the same names",
        "synthia": "RGB/*.png and GT/LABELS/*.png of the same names",
        "cityscapes": "leftImg8bit/{split}/<city>/*_leftImg8bit.png and gtFine/{split}/<city>/*_gtFine_labelIds.png",
        "folders": "{split}/images/** and {split}/labels/**, paired by their paths without ending",
        "csv": "{split}.csv with the columns image and label, paths relative to the folder",
    }
)


def _require_folder(root: Path, folder: str, layout: str, split: str) -> None:
    if not (root / folder).is_dir():
        raise UserError(
            f"{root / folder}: no such folder; layout '{layout}' expects {_EXPECTED[layout].format(split=split)}"
        )


def _refuse(faults: list[str]) -> None:
    if faults:
        raise UserError("\n".join(faults))


def _lossy(root: Path, label: str) -> list[str]:
    if PurePosixPath(label).suffix.lower() in LOSSLESS_ENDINGS:
        return []
    return [f"{root / label}: a label must be stored without loss ({', '.join(sorted(LOSSLESS_ENDINGS))})"]


def _without_ending(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _doubled(names: list[str]) -> list[str]:
    counts = Counter(map(_without_ending, names))
    return [name for name in names if counts[_without_ending(name)] > 1]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".")


def _files_below(root: Path, below: str) -> list[str]:
    """Names of all image files below `root / below`, relative to `root`, sorted."""
    paths = (Path(entry.path) for entry in files_below(root / below))
    return sorted(path.relative_to(root).as_posix() for path in paths if _is_image(path))


def files_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[os.DirEntry[str]]:
    """All files below; a symbolic link to a folder that it lies in would never end, and is passed over."""
    real = folder.resolve()
    if real in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _is_folder(entry):
                yield entry
            elif not entry.name.startswith("."):
                yield from files_below(Path(entry.path), (*above, real))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
