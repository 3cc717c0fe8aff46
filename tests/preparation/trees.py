"""Small data sets written in the layouts of the real ones, for tests."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dstc.config.params import Params, check_params, read_yaml

ROAD, SKY, CAR, LICENSE_PLATE = 7, 23, 26, 34  # Cityscapes label ids; the last is void
SYNTHIA_SKY, SYNTHIA_ROAD, SYNTHIA_CAR = 1, 3, 8
PROJECT = Path(__file__).parents[2]


def write(path: Path, array: np.ndarray | None = None, *, size: tuple[int, int] = (12, 8), fill: int = 0) -> Path:
    """Write a uint8 image; without `array` one of `size` (width, height) whose gray value is `fill`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0]), fill, np.uint8) if array is None else array).save(path)
    return path


def write_photo(path: Path, *, size: tuple[int, int] = (12, 8), seed: int = 0) -> Path:
    rng = np.random.default_rng([seed, *str(path).encode()])
    return write(path, rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def png_bytes(rows: list[bytes], width: int, *, depth: int, color_type: int) -> bytes:
    """A PNG file of any bit depth, which Pillow cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def png_16_bit(channels: np.ndarray) -> bytes:
    """A 16-bit PNG of uint16 (H, W, C) with C of 1, 3 or 4."""
    color_type = {1: 0, 3: 2, 4: 6}[channels.shape[2]]
    rows = [row.astype(">u2").tobytes() for row in channels]
    return png_bytes(rows, channels.shape[1], depth=16, color_type=color_type)


def gta5(root: Path, count: int = 4, *, size: tuple[int, int] = (12, 8)) -> Path:
    """Labels are palette images on odd numbers and gray ones on even numbers; the left half is road, the right sky."""
    for number in range(1, count + 1):
        write_photo(root / f"images/{number:05d}.png", size=size)
        ids = np.full((size[1], size[0]), ROAD, np.uint8)
        ids[:, size[0] // 2 :] = SKY
        label = Image.fromarray(ids)
        if number % 2:
            label = label.convert("P")
            label.putdata(ids.ravel().tolist())
            label.putpalette([255 - i // 3 for i in range(768)])
        (root / "labels").mkdir(exist_ok=True)
        label.save(root / f"labels/{number:05d}.png")
    return root


def synthia(root: Path, count: int = 2) -> Path:
    """16-bit labels with three channels on even and four on odd numbers; the instance in the second channel."""
    for number in range(count):
        write_photo(root / f"RGB/{number:07d}.png")
        channels = np.zeros((8, 12, 4 if number % 2 else 3), np.uint16)
        channels[..., 0], channels[..., 1] = SYNTHIA_ROAD, 0x0A0B
        channels[:4, :, 0] = SYNTHIA_CAR
        path = root / f"GT/LABELS/{number:07d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png_16_bit(channels))
    return root


def cityscapes(root: Path, train: int = 4, val: int = 2, *, labeled: int | None = None) -> Path:
    """Two cities in train; the first `labeled` train images have labels (None: all). No labelTrainIds files."""
    for split, count in (("train", train), ("val", val)):
        for number in range(count):
            city = ("aachen", "bremen")[number % 2] if split == "train" else "munster"
            name = f"{city}/{city}_{number:06d}_000019"
            write_photo(root / f"leftImg8bit/{split}/{name}_leftImg8bit.png")
            if split == "val" or labeled is None or number < labeled:
                write(root / f"gtFine/{split}/{name}_gtFine_labelIds.png", fill=CAR)
                write(root / f"gtFine/{split}/{name}_gtFine_color.png", fill=1)
    return root


def raw_params(**sections: dict[str, Any]) -> dict[str, Any]:
    """The project's params.yaml with dotted changes in its sections: raw_params(data={"source.held_out": 2})."""
    raw = read_yaml(PROJECT / "params.yaml")
    raw["runtime"]["workers"] = 0
    raw["data"]["source"]["resize"] = None
    for section, changes in sections.items():
        for key, value in changes.items():
            *path, last = key.split(".")
            place = raw[section]
            for part in path:
                place = place[part]
            place[last] = value
    return raw


def params_for(source: Path, target: Path, **sections: dict[str, Any]) -> Params:
    paths = {"source": str(source), "target": str(target)} | sections.pop("paths", {})
    return check_params(raw_params(paths=paths, **sections), "params.yaml")
