"""The picture in README: image, truth, warm-up on the target, joint training and the average of both branches, in a row.

    python -m docs.strip [PICTURE ...]      writes docs/strip.png

PICTURE is a file of metrics/pictures, which `make repro` draws; each is a row. Without one, the first two are taken.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from dstc.core.errors import UserError, exit_on_user_error
from dstc.core.files import atomic_write
from dstc.core.taxonomy import CITYSCAPES_19
from dstc.label_maps.pictures import Panel, grid, legend_of, read_panels

PICTURES = Path("metrics/pictures")
STRIP = Path("docs/strip.png")
PANELS = {
    "input": "image",
    "truth": "truth",
    "warm-up target": "warm-up on the labeled target images",
    "joint training": "joint training",
    "average of branches": "co-training, average of both branches",
}


def strip(pictures: Sequence[Path]) -> list[Panel]:
    """Five panels of each picture; titles stand above the first row alone."""
    rows: list[list[Panel]] = []
    for path in pictures:
        try:
            panels = dict(read_panels(path))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: cannot be read ({error}); name a file of {PICTURES}") from None
        if missing := sorted(PANELS.keys() - panels.keys()):
            raise UserError(f"{path}: has no panel '{missing[0]}'; name a file of {PICTURES}")
        rows.append([("" if rows else title, panels[name]) for name, title in PANELS.items()])
    return [panel for row in rows for panel in row]


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m docs.strip", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE")
    pictures = parser.parse_args().pictures or sorted(PICTURES.glob("*.png"))[:2]
    with exit_on_user_error():
        if not pictures:
            raise UserError(f"{PICTURES}: no pictures; run `make repro`, which draws them")
        picture = grid(strip(pictures), legend_of(CITYSCAPES_19), columns=len(PANELS))
        with atomic_write(STRIP) as partial:
            picture.quantize(256).save(partial, format="PNG", optimize=True)
        print(f"{STRIP}: {STRIP.stat().st_size / 1000:.0f} kB, {picture.width}x{picture.height}")


if __name__ == "__main__":
    main()
