"""The built-in data set: driving scenes rendered for two domains and written in the layouts of GTA5 and Cityscapes.

An image depends on nothing but (world seed, domain, split, number), so any number of workers writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dstc.core.progress import progress
from dstc.core.taxonomy import CITYSCAPES_19, label_id_of
from dstc.core.workers import read_ahead
from dstc.world import layout, raster, sensor, shading
from dstc.world.camera import Camera
from dstc.world.looks import LOOKS, Look, Painter, take_camera
from dstc.world.patches import Patch, Pattern, upright
from dstc.world.traffic import Traffic

DOMAIN_NUMBERS = {"source": 0, "target": 1}
SPLIT_NUMBERS = {"train": 0, "val": 1}
CITIES = {"train": ("northam", "weststadt", "lakeside", "oldbridge"), "val": ("harbour",)}
LABEL_IDS = {name: label_id_of(name) for name in (*CITYSCAPES_19.names, "void")} | {"ego vehicle": 1}


@dataclass(frozen=True)
class Order:
    """One image to render and the two files to write."""

    domain: str
    seed: int
    split: str
    number: int
    image: Path
    label: Path


def _bonnet(look: Look, camera: Camera, paint: Painter) -> list[Patch]:
    """The camera car's own bonnet, which on most dashboard images hides the bottom."""
    rng = paint.rng
    if rng.random() >= look.ego_vehicle:
        return []
    z = 1.0
    bottom = camera.eye_height - (camera.height - camera.horizon) / camera.focal * z
    reach = camera.width / camera.focal * z * rng.uniform(0.4, 0.5)
    high = rng.uniform(0.02, 0.06)
    turns = np.linspace(0, np.pi, 13)
    outline = [(reach * np.cos(t), bottom + high * np.sin(t) ** 0.6) for t in turns]
    outline += [(-reach, bottom - 0.2), (reach, bottom - 0.2)]
    return [Patch(upright(camera.lateral, z, outline), "ego vehicle", paint("bonnet"))]


def render_scene(domain: str, *, seed: int, split: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Render one scene of "source" or "target".

    :return: image uint8 (H, W, 3) RGB and label ids uint8 (H, W), Cityscapes label ids (taxonomy.label_id_of)
    """
    look = LOOKS[domain]
    sequence = np.random.SeedSequence([seed, DOMAIN_NUMBERS[domain], SPLIT_NUMBERS[split], number])
    rng = np.random.default_rng(sequence)
    paint = Painter(look.palette, look.jitter, rng)
    names = tuple(look.streets)
    street = layout.lay_street(names[rng.choice(len(names), p=tuple(look.streets.values()))], rng)
    lane = street.half * (0.42 if street.half < 6 else 0.3)
    camera = take_camera(look, lane + rng.normal(0, 0.2), rng)
    light = look.weathers[rng.choice(len(look.weathers), p=look.weather_shares)](rng)

    layout.pave(street, paint)
    layout.build_roadsides(street, paint)
    Traffic(street, look, paint, camera.lateral).fill()
    backdrop = Patch(upright(0, raster.FARTHEST, ((-1, 0), (1, 0), (1, 1))), "sky", light.sky_low, pattern=Pattern.SKY)
    patches = [backdrop, *street.patches(), *_bonnet(look, camera, paint)]

    view, normals = raster.look_at(patches, camera, light.sun)
    pixels = sensor.averaged(shading.shade(patches, normals, view, light, shading.Tiles(rng)))
    ids = np.array([LABEL_IDS[patch.thing] for patch in patches], dtype=np.uint8)
    labels = ids[view.patch[:: raster.OVERSAMPLING, :: raster.OVERSAMPLING]]
    return sensor.develop(pixels, light, rng), labels


def _label_palette() -> list[int]:
    """RGB triples for the indices 0..255: Cityscapes colors by label id, black for the rest."""
    colors = [(0, 0, 0)] * 256
    for name, color in zip(CITYSCAPES_19.names, CITYSCAPES_19.colors, strict=True):
        colors[label_id_of(name)] = color
    return [channel for color in colors for channel in color]


def _fill(order: Order) -> None:
    """Render one order and write its two files."""
    image, labels = render_scene(order.domain, seed=order.seed, split=order.split, number=order.number)
    Image.fromarray(image).save(order.image, compress_level=1)
    mode = "P" if order.domain == "source" else "L"
    drawn = Image.frombytes(mode, (labels.shape[1], labels.shape[0]), labels.tobytes())
    if mode == "P":
        drawn.putpalette(_label_palette())
    drawn.save(order.label, compress_level=1)


def _source_orders(folder: Path, seed: int, count: int) -> Iterator[Order]:
    for number in range(1, count + 1):
        name = f"{number:05d}.png"
        yield Order("source", seed, "train", number, folder / "images" / name, folder / "labels" / name)


def _target_orders(folder: Path, seed: int, split: str, count: int) -> Iterator[Order]:
    """Images spread evenly over the split's cities; every city counts its own frames."""
    cities = CITIES[split]
    for number in range(count):
        city, frame = cities[number % len(cities)], number // len(cities)
        stem = f"{city}_{frame:06d}_{19:06d}"
        image = folder / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png"
        label = folder / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png"
        yield Order("target", seed, split, number, image, label)


def _fill_all(orders: Sequence[Order], workers: int) -> None:
    for parent in sorted({path.parent for order in orders for path in (order.image, order.label)}):
        parent.mkdir(parents=True, exist_ok=True)
    with progress(total=len(orders), desc="render world", unit="image") as bar:
        for _ in read_ahead(_fill, orders, workers, what="rendering the built-in data set"):
            bar.update()


def build_world(
    folder: Path, *, seed: int, source_images: int, train_images: int, val_images: int, workers: int
) -> None:
    """Write the world below the empty `folder` as PNG in the layouts of GTA5 and Cityscapes."""
    orders = [
        *_source_orders(folder / "gta5", seed, source_images),
        *_target_orders(folder / "cityscapes", seed, "train", train_images),
        *_target_orders(folder / "cityscapes", seed, "val", val_images),
    ]
    _fill_all(orders, workers)
