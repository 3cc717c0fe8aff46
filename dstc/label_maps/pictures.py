"""Label maps in their classes' colors, and panels side by side with titles and a legend. Knows nothing of networks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from dstc.core.files import atomic_write
from dstc.core.taxonomy import IGNORE, Classes

Color = tuple[int, int, int]
Panel = tuple[str, np.ndarray]
"""A title and an RGB image, uint8 (H, W, 3)."""

VOID_COLOR = (0, 0, 0)
PLACES = "panels"  # the text chunk that says where in a picture its panels lie
_MARGIN = 8  # pixels between panels and around everything
_PANEL_WIDTHS = (240, 640)  # narrower panels cannot hold their titles; wider ones make files of many megabytes


def colorize(label: np.ndarray, classes: Classes) -> np.ndarray:
    """A label map, uint8 (H, W), in its classes' colors, uint8 RGB (H, W, 3); void is black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(classes)] = classes.colors
    palette[IGNORE] = VOID_COLOR
    return palette[label]


def legend_of(classes: Classes) -> list[tuple[str, Color]]:
    """The names and colors that `colorize` uses."""
    return [*zip(classes.names, classes.colors, strict=True), ("void", VOID_COLOR)]


def grid(panels: Sequence[Panel], legend: Sequence[tuple[str, Color]] = (), *, columns: int = 4) -> Image.Image:
    """Panels of one size in rows, each under its title, above a legend: an RGB picture on white.

    Its `info` says where each panel lies, as `read_panels` wants it.
    """
    images = [_at_readable_size(pixels) for _, pixels in panels]
    width, height = images[0].size
    font = cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=max(13, width // 32)))
    line = round(font.size * 1.4)
    columns = min(columns, len(panels))
    total_width = columns * (width + _MARGIN) + _MARGIN
    legend_top = -(-len(panels) // columns) * (line + height + _MARGIN) + _MARGIN
    keys = _flowing(legend, font, limit=total_width - 2 * _MARGIN)
    legend_height = line * (keys[-1][1] + 1) + _MARGIN if keys else 0

    picture = Image.new("RGB", (total_width, legend_top + legend_height), "white")
    draw, places = ImageDraw.Draw(picture), []
    for position, (image, (title, _)) in enumerate(zip(images, panels, strict=True)):
        left = _MARGIN + position % columns * (width + _MARGIN)
        top = _MARGIN + position // columns * (line + height + _MARGIN)
        draw.text((left, top), title, fill="black", font=font)
        picture.paste(image, (left, top + line))
        places.append([title, left, top + line])
    for (x, row), (name, color) in zip(keys, legend, strict=True):
        left, top, box = _MARGIN + x, legend_top + row * line, round(font.size)
        draw.rectangle((left, top, left + box, top + box), fill=color)
        draw.text((left + box + 5, top), name, fill="black", font=font)
    enlarged = max(1, width // panels[0][1].shape[1])
    picture.info[PLACES] = json.dumps({"width": width, "height": height, "enlarged": enlarged, "panels": places})
    return picture


def save_grid(path: Path, panels: Sequence[Panel], legend: Sequence[tuple[str, Color]] = ()) -> None:
    """Write panels as `grid` lays them out: a PNG file that also tells `read_panels` where they lie."""
    picture, text = grid(panels, legend), PngInfo()
    text.add_text(PLACES, picture.info[PLACES])
    with atomic_write(path) as partial:
        picture.save(partial, format="PNG", pnginfo=text)


def read_panels(path: Path) -> list[Panel]:
    """The panels of a file that `save_grid` wrote, without its enlargement; any other picture is one untitled panel."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
        places = json.loads(picture.info.get(PLACES, "null"))
    if places is None:
        return [("", pixels)]
    width, height, step = places["width"], places["height"], places["enlarged"]
    return [
        (title, pixels[top : top + height : step, left : left + width : step]) for title, left, top in places["panels"]
    ]


def _at_readable_size(pixels: np.ndarray) -> Image.Image:
    """Small panels are enlarged by a whole factor, so that pixels stay square and sharp; large ones are shrunk."""
    image, (least, most) = Image.fromarray(pixels), _PANEL_WIDTHS
    if image.width < least:
        factor = -(-least // image.width)
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    if image.width > most:
        return image.resize((most, max(1, round(image.height * most / image.width))), Image.Resampling.BOX)
    return image


def _flowing(legend: Sequence[tuple[str, Color]], font: ImageFont.FreeTypeFont, *, limit: int) -> list[tuple[int, int]]:
    """Where each entry of the legend goes, in lines no wider than `limit`: (x in pixels, number of its line)."""
    places, x, row = [], 0, 0
    for name, _ in legend:
        width = round(font.size + font.getlength(name)) + 3 * _MARGIN
        if x and x + width > limit:
            x, row = 0, row + 1
        places.append((x, row))
        x += width
    return places
