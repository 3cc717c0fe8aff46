"""What is written of a prediction: label maps for programs, color maps and overlays for people, and one file that
explains them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from dstc.core.errors import UserError
from dstc.core.files import atomic_write, write_text
from dstc.evaluation.inference import Views
from dstc.label_maps.pictures import colorize
from dstc.prediction.trained import Trained

ABOUT = "about.json"


def _train_ids(_: Image.Image, label: np.ndarray, __: Trained) -> Image.Image:
    return Image.fromarray(label)


def _label_ids(_: Image.Image, label: np.ndarray, trained: Trained) -> Image.Image:
    ids = np.array(trained.label_ids)
    return Image.fromarray(ids.astype(np.uint8 if ids.max() < 256 else np.uint16)[label])


def _colors(_: Image.Image, label: np.ndarray, trained: Trained) -> Image.Image:
    return Image.fromarray(colorize(label, trained.classes))


def _overlay(image: Image.Image, label: np.ndarray, trained: Trained) -> Image.Image:
    return Image.blend(image, _colors(image, label, trained), 0.5)


KINDS: Mapping[str, tuple[str, Callable[[Image.Image, np.ndarray, Trained], Image.Image]]] = {
    "train_ids": (".png", _train_ids),
    "label_ids": (".png", _label_ids),
    "colors": (".png", _colors),
    "overlays": (".jpg", _overlay),  # ten times smaller than PNG, and only to be looked at
}
"""Name of a folder of results: the ending of its files, and what makes one of image, train ids (H, W) and network."""


def kinds_for(trained: Trained, wanted: Sequence[str]) -> list[str]:
    """The wanted kinds that this network's classes allow: there are no label ids where the label files held colors."""
    kinds = [kind for kind in wanted if kind != "label_ids" or trained.label_ids is not None]
    if not kinds:
        raise UserError(f"--write label_ids: the labels of {trained.path} were colors and have no ids; write train_ids")
    return kinds


def write_results(
    out: Path, name: str, image: Image.Image, label: np.ndarray, trained: Trained, kinds: Sequence[str]
) -> None:
    """Write one file of each kind, at the image's own size."""
    for kind in kinds:
        ending, make = KINDS[kind]
        with atomic_write(out / kind / f"{name}{ending}") as partial:
            options = {"format": "JPEG", "quality": 90} if ending == ".jpg" else {"format": "PNG"}
            make(image, label, trained).save(partial, **options)


def write_about(
    out: Path, trained: Sequence[Trained], kinds: Sequence[str], *, weights: str, size: str, views: Views
) -> None:
    """Say what the values in the label maps mean, which folders are of this run, which networks predicted them, and how."""
    first = trained[0]
    ids = first.label_ids or [None] * len(first.classes)
    classes = [
        {"train_id": train_id, "label_id": label_id, "name": name, "color": list(color)}
        for train_id, (label_id, name, color) in enumerate(
            zip(ids, first.classes.names, first.classes.colors, strict=True)
        )
    ]
    networks = [{"file": str(one.path), **one.description} for one in trained]
    about = {
        "written": list(kinds),
        "weights": weights,
        "classes": classes,
        "seen_at": size,
        "views": asdict(views),
        "averaged_networks": networks,
    }
    write_text(out / ABOUT, json.dumps(about, indent=1) + "\n")
