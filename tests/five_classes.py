"""A data set of five classes for the tutorial: meadows with a path, a tree, a house and sky, in flat colors (source) and in
dusty ones with noise (target)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SKY, MEADOW, PATH, TREE, HOUSE, VOID = 1, 2, 3, 4, 9, 255
WIDTH, HEIGHT = 128, 96
LOOKS = {
    "rendered": {
        SKY: (90, 170, 250),
        MEADOW: (60, 200, 60),
        PATH: (200, 180, 120),
        TREE: (20, 110, 30),
        HOUSE: (220, 60, 50),
    },
    "photos": {
        SKY: (190, 200, 205),
        MEADOW: (110, 130, 70),
        PATH: (150, 140, 120),
        TREE: (60, 80, 50),
        HOUSE: (140, 90, 80),
    },
}
COUNTS = {"rendered": {"train": (24, 24)}, "photos": {"train": (16, 6), "val": (6, 6)}}  # images, of them labeled


def scene(draws: np.random.Generator) -> np.ndarray:
    """A label, uint8 (HEIGHT, WIDTH); the lowest rows are void."""
    label = Image.new("L", (WIDTH, HEIGHT), SKY)
    canvas, horizon = ImageDraw.Draw(label), int(draws.integers(30, 50))
    canvas.rectangle((0, horizon, WIDTH, HEIGHT), fill=MEADOW)
    foot = int(draws.integers(20, 100))
    canvas.polygon([(foot, horizon), (foot + 6, horizon), (foot + 40, HEIGHT), (foot - 20, HEIGHT)], fill=PATH)
    for _ in range(int(draws.integers(1, 4))):
        x, size = int(draws.integers(10, WIDTH - 10)), int(draws.integers(8, 16))
        canvas.ellipse((x - size, horizon - 2 * size, x + size, horizon + 4), fill=TREE)
    left, high = int(draws.integers(0, WIDTH - 30)), int(draws.integers(12, 26))
    canvas.rectangle((left, horizon - high, left + 26, horizon + 6), fill=HOUSE)
    canvas.rectangle((0, HEIGHT - 4, WIDTH, HEIGHT), fill=VOID)
    return np.asarray(label)


def write_data(root: Path) -> None:
    """Write rendered/ and photos/ below `root`, in layout folders."""
    for domain, splits in COUNTS.items():
        palette = np.zeros((256, 3))
        for value, color in LOOKS[domain].items():
            palette[value] = color
        for split, (images, labeled) in splits.items():
            draws = np.random.default_rng([*f"{domain}/{split}".encode()])
            for part in ("images", "labels"):
                (root / domain / split / part).mkdir(parents=True)
            for number in range(images):
                label = scene(draws)
                noise = draws.normal(0, 4 if domain == "rendered" else 16, (HEIGHT, WIDTH, 3))
                photo = np.clip(palette[label] + noise, 0, 255).astype(np.uint8)
                Image.fromarray(photo).save(root / domain / split / f"images/{number:03d}.png")
                if number < labeled:
                    Image.fromarray(label).save(root / domain / split / f"labels/{number:03d}.png")


if __name__ == "__main__":
    write_data(Path(sys.argv[1]))
