"""How each known data set lies on disk: from a folder to pairs of image and label, by name alone.

Nothing is opened here but the list of layout csv. Names are relative to the data set's folder, with "/" between parts.
Folders that are symbolic links are followed; what hides or is not of the user's making is passed over (`is_clutter`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from dstc.core.errors import UserError
from dstc.core.names import IMAGE_ENDINGS, LOSSLESS_ENDINGS, normal_form, stays_inside
from dstc.preparation.csv_lists import read_list
from dstc.preparation.found_files import files_below, image_names, is_image, name_of
from dstc.preparation.problems import Problem, told


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
    _require_root(root, split)
    pairs = sorted(_READERS[layout](root, split), key=lambda pair: pair.image)
    if not pairs:
        raise UserError(f"{root}: no images found; layout '{layout}' expects {_EXPECTED[layout].format(split=split)}")
    return pairs


def list_suffix_pairs(root: Path, split: str, suffix: str) -> list[Pair]:
    """The pairs below <split>/, where the label of x.jpg is x<suffix>.png: in the same folder, or below <split>/labels
    the image being below <split>/images. Sorted by image."""
    _require_root(root, split)
    _require_folder(root, split, "folders", split)
    names = [name_of(entry, root) for entry in files_below(root / split)]
    labels = sorted(name for name in names if _without_ending(name).endswith(suffix))
    by_key: dict[str, str] = {}
    problems = []
    for name in sorted(labels, key=lambda label: is_image(root / label)):  # a sidecar of a label gives way to it
        other = by_key.get(key := _suffix_key(name, split))
        if other and is_image(root / other):
            problems.append(Problem(root / name, f"a second label of one image, beside {other}; remove one"))
        by_key[key] = name
    images = sorted(set(image_names(root, split)) - set(labels))
    images = [name for name in images if not name.startswith(f"{split}/labels/")]
    pairs = [Pair(name, by_key.pop(f"{_suffix_key(name, split)}{suffix}", None), f"*{suffix}.png") for name in images]
    problems += [Problem(root / label, "no image has this name without its suffix") for label in by_key.values()]
    problems += [_passed_over(root / pair.label) for pair in pairs if pair.label and not is_image(root / pair.label)]
    if problems:
        raise UserError("\n".join(told(problems)))
    return pairs


def likely_suffix(root: Path, split: str) -> str | None:
    """What the labels' names may have behind those of their images, None if nothing tells."""
    keys = {_suffix_key(name, split) for name in image_names(root, split)} if (root / split).is_dir() else set()
    ends = (key[cut:] for key in keys for cut in range(1, len(key)) if not key[cut].isdigit() and key[:cut] in keys)
    most = Counter(end for end in ends if "/" not in end).most_common(1)
    return most[0][0] if most else None


def _suffix_key(name: str, split: str) -> str:
    key = normal_form(_without_ending(name)).removeprefix(f"{split}/")
    return key.removeprefix("images/").removeprefix("labels/")


def list_images(root: Path) -> list[Pair]:
    """Every image file anywhere below `root`, without labels."""
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    pairs = [Pair(name, None) for name in image_names(root, "")]
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
    present = {normal_form(path.name): f"{labels}/{path.name}" for path in (root / labels).iterdir()}
    for path in (root / images).iterdir():
        if is_image(path) and path.suffix.lower() == ".png":
            yield Pair(f"{images}/{path.name}", present.get(normal_form(path.name)), f"{labels}/{path.name}")


def _cityscapes(root: Path, split: str) -> Iterator[Pair]:
    images, labels = folders_of("cityscapes", split)
    _require_folder(root, images, "cityscapes", split)
    # At any depth, so that `val/frankfurt` (one city alone) is a split as well.
    found = image_names(root, labels) if (root / labels).is_dir() else []
    present = {normal_form(name): name for name in found}
    for name in image_names(root, images):
        if name.endswith("_leftImg8bit.png"):
            scene = name.removeprefix("leftImg8bit/").removesuffix("_leftImg8bit.png")
            wanted = f"gtFine/{scene}_gtFine_labelIds.png"
            yield Pair(name, present.get(normal_form(wanted)), wanted)


def _folders(root: Path, split: str) -> Iterator[Pair]:
    _require_folder(root, f"{split}/images", "folders", split)
    has_labels = (root / split / "labels").is_dir()
    images: dict[str, str] = {}
    labels: dict[str, str] = {}
    problems: list[Problem] = []
    for folder, by_key in (("images", images), *((("labels", labels),) if has_labels else ())):
        for name in image_names(root, f"{split}/{folder}"):
            key = _key(name, f"{split}/{folder}/")
            if key in by_key:
                problems.append(Problem(root / name, "one of several files of this name; endings do not count"))
            by_key[key] = name
    # A label that is named otherwise than its image would silently make the image an unlabeled one.
    problems += [
        Problem(root / name, f"no image of this name in {split}/images; rename or remove it. Where labels are called "
                "x_mask.png, `python -m dstc.own_data --label-suffix _mask` pairs them")
        for key, name in labels.items() if key not in images
    ]  # fmt: skip
    problems += _unreadable_labels(root, split, images.keys() - labels.keys()) if has_labels else []
    if problems:
        raise UserError("\n".join(told(problems)))
    for key, name in images.items():
        yield Pair(name, labels.get(key), f"{split}/labels/{key}.png")


def _unreadable_labels(root: Path, split: str, without_label: Iterable[str]) -> Iterator[Problem]:
    """Files of the images' names that are no label images: their images would silently be unlabeled ones."""
    wanted = set(without_label)
    for path in sorted(Path(entry.path) for entry in files_below(root / split / "labels")):
        name = path.relative_to(root).as_posix()
        if path.suffix.lower() not in IMAGE_ENDINGS and _key(name, f"{split}/labels/") in wanted:
            yield _passed_over(path)


def _passed_over(path: Path) -> Problem:
    endings = ", ".join(sorted(LOSSLESS_ENDINGS))
    return Problem(path, f"ends in {path.suffix or 'nothing'}, so it is no label image; convert it to one ({endings})")


def _csv(root: Path, split: str) -> Iterator[Pair]:
    path = root / f"{split}.csv"
    if not path.exists():
        raise UserError(f"{path}: no such file; layout 'csv' expects {_EXPECTED['csv'].format(split=split)}")
    return (Pair(image, label or None, f"an entry in column label of {path.name}") for image, label in read_list(path))


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


def _require_root(root: Path, split: str) -> None:
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    if not stays_inside(split):
        raise UserError(f"split '{split}': must be the name of a folder or list inside {root}")


def _require_folder(root: Path, folder: str, layout: str, split: str) -> None:
    if not (root / folder).is_dir():
        raise UserError(
            f"{root / folder}: no such folder; layout '{layout}' expects {_EXPECTED[layout].format(split=split)}"
        )


def _without_ending(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _key(name: str, folder: str) -> str:
    """By what an image finds its label."""
    return normal_form(_without_ending(name).removeprefix(folder))
