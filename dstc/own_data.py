"""Look at data of one's own and draft the preset that trains on it.

    python -m dstc.own_data /data/rendered /data/photos

The first folder is the source, all labeled: train/images and train/labels. The second is the target: train/images, with
train/labels for some of them, and val/images with val/labels. An image and its label have the same name (endings do not
count). Prints which values the labels hold and writes presets/own.yaml, in which you then give the classes their names.
See docs/own_data.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from dstc.core.errors import UserError, exit_on_user_error
from dstc.core.files import write_text
from dstc.preparation.label_rules import Value
from dstc.preparation.label_values import all_values, find_values, values_table
from dstc.preparation.layouts import list_pairs
from dstc.presets import PRESETS

USUAL_VOID = (255, "#000000")
MOST_WIDTH = 320  # of images that the default network and its crops of 128 pixels are made for

DRAFT = """\
about: {source} to {target}, drafted by dstc.own_data

paths:
  source: {source}
  target: {target}
  unlabeled: [] # further folders of images without labels

data:
  classes: own
  source: {{layout: folders, resize: {source_size}, held_out: 0}} # resize: [width, height] before cropping; null: as on disk
  target: {{layout: folders, resize: {target_size}, train: train, val: val}}
  own: # give the classes their names, here and in labels; several values may mean one class
    class_names: [{names}]
    labels:
{labels}
    ignored: [{ignored}] # values that mean nothing
    colors: {{}} # class name: "#rrggbb" to draw it with; the others get colors of their own

split:
  size: {labeled} # all labeled target train images; fewer: a seeded choice of them, the others are used without labels
  file: null
"""


def draft(source: Path, target: Path) -> tuple[str, str]:
    """(what was found, the text of a preset): each value a class of its own, but for those that usually are void."""
    found = [find_values(source, "train"), find_values(target, "train"), find_values(target, "val")]
    for one in (found[0], found[2]):
        if one.labels < one.images:
            raise UserError(
                f"{one.split}: {one.images - one.labels} images have no label; only target train images may lack one"
            )
    if found[1].labels == 0:
        raise UserError(f"{found[1].split}: no image has a label; the method needs a few labeled target images")
    values = all_values(found)
    void = [value for value in values if value in USUAL_VOID]
    classes = {f"class_{str(value).removeprefix('#')}": value for value in values if value not in void}
    text = DRAFT.format(
        source=source,
        target=target,
        source_size=_size(source),
        target_size=_size(target),
        names=", ".join(classes),
        labels="\n".join(f"      {name}: [{_yaml(value)}]" for name, value in classes.items()),
        ignored=", ".join(map(_yaml, void)),
        labeled=found[1].labels,
    )
    return values_table(found), text


def _yaml(value: Value) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _size(root: Path) -> str:
    """What to resize to, so that the default network sees whole objects: judged by the first image."""
    with Image.open(root / list_pairs("folders", root, "train")[0].image) as image:
        width, height = image.size
    return "null" if width <= MOST_WIDTH else f"[{MOST_WIDTH}, {round(height * MOST_WIDTH / width)}]"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m dstc.own_data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="folder of the labeled source")
    parser.add_argument("target", type=Path, help="folder of the target")
    parser.add_argument("--preset", default="own", metavar="NAME", help="name of the preset to write (%(default)s)")
    options = parser.parse_args(arguments)
    path = PRESETS / f"{options.preset}.yaml"
    with exit_on_user_error():
        if path.exists():
            raise UserError(f"{path}: exists already; remove it, or name another with --preset")
        if not PRESETS.is_dir():
            raise UserError(f"{PRESETS}: no such folder; run from the project's root")
        found, text = draft(options.source.absolute(), options.target.absolute())
        write_text(path, text)
        print(
            found,
            "",
            f"{path} drafted: name the classes in it, then `python -m dstc.presets {options.preset}`",
            sep="\n",
        )


if __name__ == "__main__":
    main()
