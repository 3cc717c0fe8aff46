"""From patches to pixels: which patch each pixel shows, and where in the world that is.

All patches are drawn, far to near, into one image of patch numbers; everything else is looked up by that number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from dstc.world.camera import Camera
from dstc.world.patches import Patch

OVERSAMPLING = 2  # pixels are drawn at twice the size and averaged; labels take one of the four
FARTHEST = 400.0  # metres


@dataclass(frozen=True)
class View:
    """What each oversampled pixel sees, all (H, W): the patch's number intp, the place on it in metres (`along` it
    and `up` it), its depth in metres, the size of a pixel there in metres, the ray's (x, y), all float32, and whether
    it is ground that lies in shadow (bool)."""

    patch: np.ndarray
    along: np.ndarray
    up: np.ndarray
    depth: np.ndarray
    footprint: np.ndarray
    ray_x: np.ndarray
    ray_y: np.ndarray
    shadow: np.ndarray


def planes(patches: Sequence[Patch], eye: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The planes n.p = d of the patches, seen from the eye: unit normals (P, 3) towards it and d (P,), not positive."""
    sizes = [len(patch.points) for patch in patches]
    points = np.concatenate([patch.points for patch in patches]) - eye
    starts = np.cumsum([0, *sizes[:-1]])
    following = np.arange(1, len(points) + 1)
    following[starts + np.array(sizes) - 1] = starts
    normals = np.add.reduceat(np.cross(points, points[following]), starts)  # Newell's sum
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    distances = np.einsum("ij,ij->i", normals, points[starts])
    flip = np.where(distances > 0, -1.0, 1.0)
    return normals * flip[:, None], distances * flip


def draw_polygons(camera: Camera, polygons: Sequence[np.ndarray], fills: Sequence[int], mode: str) -> np.ndarray:
    """World polygons drawn in order over 0, as an oversampled array before the lens."""
    image = Image.new(mode, (camera.width * OVERSAMPLING, camera.height * OVERSAMPLING), 0)
    if polygons:
        pen = ImageDraw.Draw(image)
        flat = (camera.project(np.concatenate(polygons)) * OVERSAMPLING).ravel().tolist()
        start = 0
        for polygon, fill in zip(polygons, fills, strict=True):
            end = start + 2 * len(polygon)
            pen.polygon(flat[start:end], fill=fill)
            start = end
    return np.asarray(image)


def cast_shadows(patches: Sequence[Patch], sun: np.ndarray) -> list[np.ndarray]:
    """The ground polygons that the casting patches keep the sun (a unit vector towards it) from."""
    slope = sun / sun[1]
    return [patch.points - patch.points[:, 1:2] * slope for patch in patches if patch.casts]


def look_at(patches: Sequence[Patch], camera: Camera, sun: np.ndarray) -> tuple[View, np.ndarray]:
    """The view of the patches (number 0 is the sky behind all) and their normals (P, 3)."""
    numbers = draw_polygons(camera, [patch.points for patch in patches[1:]], range(1, len(patches)), "I")
    shaded = draw_polygons(camera, polygons := cast_shadows(patches, sun), [255] * len(polygons), "L")
    columns, rows = camera.seen(OVERSAMPLING)
    place = (rows * OVERSAMPLING).astype(np.intp) * numbers.shape[1] + (columns * OVERSAMPLING).astype(np.intp)
    seen = numbers.ravel().take(place).astype(np.intp)  # what take wants: it would convert at every look-up
    ray_x, ray_y = camera.rays(columns, rows)

    normals, distances = planes(patches, camera.eye)
    n, d = normals.astype(np.float32), distances.astype(np.float32)
    toward = n[:, 0].take(seen) * ray_x + n[:, 1].take(seen) * ray_y + n[:, 2].take(seen)
    depth = np.clip(d.take(seen) / np.minimum(toward, np.float32(-1e-6)), 0.3, FARTHEST)
    x = np.float32(camera.lateral) + ray_x * depth
    y = np.float32(camera.eye_height) + ray_y * depth
    lies = np.abs(n[:, 1]) > 0.9
    horizontal = np.stack([-n[:, 2], n[:, 0]]) / (np.hypot(n[:, 0], n[:, 2]) + np.float32(1e-6))
    horizontal[:, lies] = [[1], [0]]
    flat = lies.take(seen)
    along = x * horizontal[0].take(seen) + depth * horizontal[1].take(seen)
    up = np.where(flat, depth, y)
    shadow = (shaded.ravel().take(place) > 0) & flat
    footprint = depth / np.float32(camera.focal * OVERSAMPLING)
    return View(seen, along, up, depth, footprint, ray_x, ray_y, shadow), normals
