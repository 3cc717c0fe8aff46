"""Look at data of one's own and draft the preset that trains on it.

    python -m dstc.own_data /data/rendered /data/photos
    python -m dstc.own_data /data/rendered /data/photos --label-suffix _mask

The first folder is the source, all labeled: train/images and train/labels. The second is the target: train/images, with
train/labels for some of them, and val/images with val/labels. An image and its label have the same name (endings do not
count), or the label's name ends in --label-suffix; then the lists train.csv and val.csv are written into the folders.
Prints which values the labels hold and writes presets/own.yaml, in which you then give the classes their names.
See docs/own_data.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dstc.core.errors import UserError, exit_on_user_error
from dstc.core.files import write_text
from dstc.core.image_files import decode_image
from dstc.preparation.csv_lists import write_list
from dstc.preparation.label_rules import Value
from dstc.preparation.label_values import Found, all_values, find_values, values_table
from dstc.preparation.layouts import Pair, likely_suffix, list_pairs, list_suffix_pairs
from dstc.presets import PRESETS

USUAL_VOID = (255, "#000000")
CROP = 192  # of presets/_mobilenet.yaml
MOST_WIDTH = 480  # of images that presets/_mobilenet.yaml and its crops of 192 pixels are made for

DRAFT = """\
about: {about}
extends: [_recommended, _mobilenet] # a pretrained network; `[]` is the small one of params.yaml, from random weights

paths:
  source: {source}
  target: {target}
  unlabeled: [] # further folders of images without labels

data:
  classes: own
  source: {{layout: {source_layout}, resize: {source_size}, held_out: 0}} # resize: [width, height], or null
  target: {{layout: {target_layout}, resize: {target_size}, train: train, val: val}}
  own: # give the classes their names, here and in labels; several values may mean one class
    class_names: [{names}]
    labels:
{labels}
    ignored: [{ignored}] # values that mean nothing
    target_labels: {target_labels}
    target_ignored: [{target_ignored}]
    tolerance: {tolerance} # how far a value may be from the nearest one that is named
    colors: {{}} # class name: "#rrggbb" to draw it with; the others get colors of their own

split:
  size: {labeled} # all labeled target train images; fewer: a seeded choice of them, the others are used without labels
  file: null
{crops}"""


@dataclass(frozen=True)
class DataSet:
    """A folder as found: its layout, and the pairs of each split."""

    root: Path
    layout: str
    splits: Mapping[str, list[Pair]]


def find(root: Path, splits: Sequence[str], suffix: str | None) -> DataSet:
    """List a data set; where no label has its image's name, the message tells the suffix that they seem to have."""
    if suffix:
        found = {split: list_suffix_pairs(root, split, suffix) for split in splits}
        if any(pair.label for pairs in found.values() for pair in pairs):
            return DataSet(root, "csv", found)
    layout = "csv" if (root / "train.csv").is_file() and not (root / "train/images").is_dir() else "folders"
    try:
        found = {split: list_pairs(layout, root, split) for split in splits}
        _require_labels(root, found)
    except UserError as error:
        likely = likely_suffix(root, splits[0])
        hint = f"\nlabels seem to be called x{likely}.png; give --label-suffix {likely}" if likely else ""
        raise UserError(f"{error}{hint}") from None
    return DataSet(root, layout, found)


def _require_labels(root: Path, splits: Mapping[str, list[Pair]]) -> None:
    for split, pairs in splits.items():
        bare = [pair.image for pair in pairs if pair.label is None]
        if len(bare) == len(pairs) and split == "train" and len(splits) > 1:
            raise UserError(f"{root.name}/train: no image has a label; the method needs a few labeled target images")
        if bare and not (split == "train" and len(splits) > 1):
            raise UserError(f"{root.name}/{split}: {len(bare)} images have no label, such as {bare[0]}; "
                            "only target train images may lack one")  # fmt: skip


def draft(source: DataSet, target: DataSet, *, tolerance: int = 0) -> tuple[str, str]:
    """(what was found, the text of a preset): each value a class of its own, but for those that usually are void."""
    in_source = find_values(source.root, source.splits, tolerance=tolerance)
    in_target = find_values(target.root, target.splits, tolerance=tolerance)
    text = DRAFT.format(
        about=_yaml(f"{source.root} to {target.root}, drafted by dstc.own_data"),
        source=_yaml(str(source.root)),
        target=_yaml(str(target.root)),
        source_layout=source.layout,
        target_layout=target.layout,
        source_size=_resize(source),
        target_size=_resize(target),
        crops=_crops(source, target),
        tolerance=tolerance,
        labeled=in_target[0].labels,
        **_tables(in_source, in_target),
    )
    return values_table([*in_source, *in_target]), text


def _tables(in_source: Sequence[Found], in_target: Sequence[Found]) -> dict[str, str]:
    """What the values mean. Where no class could be the same value in both domains, the target has a table of its own, to
    be filled in: nobody but the user knows which of its values means which class."""
    source, target = all_values(in_source), all_values(in_target)
    shared = bool((set(source) & set(target)) - {*_void(source), *_void(target)})
    values = all_values([*in_source, *in_target]) if shared else source
    if len(values) < 2:
        raise UserError(f"the labels hold one value alone ({values[0]}); there must be at least two classes")
    void = _void(values)
    classes = {f"class_{str(value).removeprefix('#')}": value for value in values if value not in void}
    own_table = f"# which of {', '.join(map(str, target))} mean the class?\n" + _lines(dict.fromkeys(classes))
    return {
        "names": ", ".join(classes),
        "labels": _lines(classes),
        "ignored": ", ".join(map(_yaml, void)),
        "target_labels": "null # or a table like labels, where the target's values mean something else"
        if shared
        else own_table,
        "target_ignored": "" if shared else ", ".join(map(_yaml, _void(target))),
    }


def _void(values: Sequence[Value]) -> list[Value]:
    """Those that usually are void, unless without them there would be no two classes: binary masks have 0 and 255."""
    void = [value for value in values if value in USUAL_VOID]
    return void if len(values) - len(void) >= 2 else []


def _lines(classes: Mapping[str, Value | None]) -> str:
    return "\n".join(f"      {name}: [{'' if value is None else _yaml(value)}]" for name, value in classes.items())


def _yaml(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False)


def _resize(data: DataSet) -> str:
    """What to resize to, so that crops show whole objects."""
    own, seen = _own_size(data), _size(data)
    return "null" if seen == own else f"[{seen[0]}, {seen[1]}]"


def _size(data: DataSet) -> tuple[int, int]:
    """(width, height) at which the networks see the images."""
    width, height = _own_size(data)
    return (width, height) if width <= MOST_WIDTH else (MOST_WIDTH, round(height * MOST_WIDTH / width))


def _own_size(data: DataSet) -> tuple[int, int]:
    """(width, height) of the first image, which stands for all."""
    path = data.root / data.splits["train"][0].image
    return decode_image(path.read_bytes(), str(path)).size


def _crops(source: DataSet, target: DataSet) -> str:
    """Crops no larger than small images, or padding would be most of them; nothing where those of the preset fit."""
    widths, heights = zip(_size(source), _size(target), strict=True)
    width, height = (min(CROP, max(sides)) for sides in (widths, heights))
    if (width, height) == (CROP, CROP):
        return ""
    crop = f"crop: [{width}, {height}]"
    return (
        f"\n# The images, as they are seen, are smaller than the {CROP} pixels that crops have otherwise.\n"
        f"warm_up: {{source: {{{crop}}}, target: {{{crop}}}}}\njoint: {{{crop}}}\nco_train: {{{crop}}}\n"
    )


def _write_lists(data: DataSet) -> None:
    for split, pairs in data.splits.items():
        write_list(data.root / f"{split}.csv", ((pair.image, pair.label) for pair in pairs))


def main(arguments: Sequence[str] | None = None, prog: str = "python -m dstc.own_data") -> None:
    parser = argparse.ArgumentParser(prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of the labeled source")
    parser.add_argument("target", type=Path, help="folder of the target")
    parser.add_argument("--preset", default="own", metavar="NAME", help="name of the preset to write (%(default)s)")
    parser.add_argument("--label-suffix", metavar="_mask", help="what labels' names have behind those of their images")
    parser.add_argument("--tolerance", type=int, choices=range(256), default=0, metavar="0..255",
                        help="how far values may be off, of masks with JPEG noise or smoothed edges")  # fmt: skip
    options = parser.parse_args(arguments)
    path = PRESETS / f"{options.preset}.yaml"
    with exit_on_user_error():
        if path.exists():
            raise UserError(f"{path}: exists already; remove it, or name another with --preset")
        if not PRESETS.is_dir():
            raise UserError(f"{PRESETS}: no such folder; run from the project's root")
        source = find(options.source.absolute(), ["train"], options.label_suffix)
        target = find(options.target.absolute(), ["train", "val"], options.label_suffix)
        found, text = draft(source, target, tolerance=options.tolerance)
        for data in (source, target):
            if options.label_suffix and data.layout == "csv":
                _write_lists(data)
        write_text(path, text)
        fill_in = "" if "target_labels: null" in text else ", fill in target_labels"
        print(
            found,
            "",
            f"{path} drafted: name the classes in it{fill_in}, then `python -m dstc.presets {options.preset}`",
            sep="\n",
        )


if __name__ == "__main__":
    main()
