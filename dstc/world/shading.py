"""The light on every pixel: patterns, grain, sun, shadow, haze and sky."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dstc.world.looks import Light
from dstc.world.patches import Patch, Pattern
from dstc.world.raster import View

_TILE = 256
Mix = Callable[[np.ndarray, np.ndarray, np.ndarray, "Tiles"], np.ndarray]


class Tiles:
    """Two square noise tiles, float32 in -1..1, that repeat: one rough, one smooth."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rough = rng.uniform(-1, 1, (_TILE, _TILE)).astype(np.float32)
        smooth = rng.uniform(-1, 1, (_TILE // 8, _TILE // 8)).astype(np.float32)
        for axis in (0, 1):
            smooth = self._stretched(smooth, axis)
        self.smooth = smooth / np.abs(smooth).max()

    @staticmethod
    def _stretched(tile: np.ndarray, axis: int) -> np.ndarray:
        """Eight times as long along an axis, interpolated around the seam too."""
        following = np.roll(tile, -1, axis)
        steps = [tile + (following - tile) * np.float32(i / 8) for i in range(8)]
        stacked = np.stack(steps, axis + 1)
        return stacked.reshape([size * (8 if i == axis else 1) for i, size in enumerate(tile.shape)])

    def read(self, tile: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        flat = (y.astype(np.int32) & (_TILE - 1)) * _TILE + (x.astype(np.int32) & (_TILE - 1))
        return tile.ravel()[flat]


def _part(values: np.ndarray) -> np.ndarray:
    return values - np.floor(values)


def _windows(along: np.ndarray, up: np.ndarray, fade: np.ndarray, tiles: Tiles) -> np.ndarray:
    s, t = _part(along), _part(up)
    pane = (s > 0.27) & (s < 0.75) & (t > 0.28) & (t < 0.78)
    lit = 0.75 + 0.25 * tiles.read(tiles.rough, along, up)
    return lit * pane * (1 - fade) + 0.22 * fade


def _bricks(along: np.ndarray, up: np.ndarray, fade: np.ndarray, tiles: Tiles) -> np.ndarray:
    course = np.floor(up)
    s = along + 0.5 * (course % 2)
    joint = (_part(up) < 0.16) | (_part(s) < 0.08)
    tone = 0.1 + 0.35 * tiles.read(tiles.rough, s + 7 * course, course)
    return np.where(joint, 1.0, tone) * (1 - fade) + 0.35 * fade


def _foliage(along: np.ndarray, up: np.ndarray, fade: np.ndarray, tiles: Tiles) -> np.ndarray:
    clumps = tiles.read(tiles.smooth, along * 9, up * 9)
    leaves = tiles.read(tiles.rough, along * 5, up * 5)
    return np.clip(0.45 + 0.6 * clumps + 0.5 * leaves * (1 - 0.6 * fade), 0, 1)


def _grass(along: np.ndarray, up: np.ndarray, fade: np.ndarray, tiles: Tiles) -> np.ndarray:
    clumps = tiles.read(tiles.smooth, along * 3, up * 3)
    blades = tiles.read(tiles.rough, along * 11, up * 6)
    return np.clip(0.4 + 0.5 * clumps + 0.35 * blades * (1 - fade), 0, 1)


def _asphalt(along: np.ndarray, up: np.ndarray, fade: np.ndarray, tiles: Tiles) -> np.ndarray:
    worn = tiles.read(tiles.smooth, along * 4, up * 1.3)
    grain = tiles.read(tiles.rough, along * 14, up * 9)
    return np.clip(0.3 + 0.5 * worn + 0.25 * grain * (1 - fade), 0, 1)


def _paving(along: np.ndarray, up: np.ndarray, fade: np.ndarray, tiles: Tiles) -> np.ndarray:
    joint = (_part(along) < 0.1) | (_part(up) < 0.1)
    tone = 0.25 + 0.25 * tiles.read(tiles.rough, along, up)
    return np.where(joint, 1.0, tone) * (1 - fade) + 0.3 * fade


def _bars(along: np.ndarray, up: np.ndarray, fade: np.ndarray, _: Tiles) -> np.ndarray:
    gap = (_part(along) > 0.42) & (_part(up) > 0.12)
    return gap * (1 - fade) + 0.5 * fade


MIXES: Mapping[Pattern, Mix] = {
    Pattern.WINDOWS: _windows, Pattern.BRICKS: _bricks, Pattern.FOLIAGE: _foliage, Pattern.GRASS: _grass,
    Pattern.ASPHALT: _asphalt, Pattern.PAVING: _paving, Pattern.BARS: _bars,
}  # fmt: skip


def _albedo(patches: Sequence[Patch], view: View, light: Light, tiles: Tiles) -> np.ndarray:
    """Each pixel's own color, float32 (N, 3), N pixels in reading order."""
    seen, footprint = view.patch.ravel(), view.footprint.ravel()
    along, up = view.along.ravel(), view.up.ravel()
    first = np.array([patch.color for patch in patches], dtype=np.float32)
    second = np.array([patch.color if patch.second is None else patch.second for patch in patches], dtype=np.float32)
    change = second - first
    patterns = np.array([patch.pattern for patch in patches], dtype=np.uint8)
    per_metre = 1 / np.array([patch.period for patch in patches], dtype=np.float32).T
    detail = 3 * per_metre.max(axis=0)  # a pattern fades to its mean where pixels grow coarser than its period
    color = first.take(seen, axis=0)
    pattern = patterns.take(seen)
    for kind, mix in MIXES.items():
        at = np.flatnonzero(pattern == kind)
        if len(at):
            numbers = seen[at]
            fade = np.clip(footprint[at] * detail.take(numbers) - np.float32(0.3), 0, 1)
            s, t = along[at] * per_metre[0].take(numbers), up[at] * per_metre[1].take(numbers)
            share = mix(s, t, fade, tiles).astype(np.float32, copy=False)
            color[at] += change.take(numbers, axis=0) * share[:, None]
    dirt = tiles.read(tiles.smooth, along * 5, up * 5) * np.float32(0.12 * light.texture)
    dirt += tiles.read(tiles.rough, along * 23, up * 23) * np.float32(0.08 * light.texture)
    color *= (1 + dirt)[:, None]
    return color


def _sky(x: np.ndarray, y: np.ndarray, light: Light, tiles: Tiles) -> np.ndarray:
    """The sky in the directions (x, y, 1), float32 (N, 3)."""
    y = np.maximum(y, 0)
    height = np.clip(y / 0.45, 0, 1)[:, None] ** np.float32(0.7)
    low, high = light.sky_low.astype(np.float32), light.sky_high.astype(np.float32)
    spread = 1 / (y + np.float32(0.12))
    cloud = tiles.read(tiles.smooth, x * spread * 12 + 90, spread * 14) * 0.7
    cloud += tiles.read(tiles.smooth, x * spread * 31 + 20, spread * 37) * 0.3
    share = (np.clip(cloud + np.float32(light.clouds) - 0.3, 0, 0.6) * np.float32(min(1.0, 2 * light.clouds)))[:, None]
    base = low + (high - low) * height
    return base + (np.float32(0.95) * low.max() - base) * share


def shade(patches: Sequence[Patch], normals: np.ndarray, view: View, light: Light, tiles: Tiles) -> np.ndarray:
    """The light that reaches the lens, float32 (H, W, 3) at the view's size, around 0..1."""
    seen = view.patch.ravel()
    facing = np.maximum((normals * light.sun).sum(axis=1), 0.0)
    up = 0.75 + 0.25 * normals[:, 1]
    sun = (facing[:, None] * light.sun_color).astype(np.float32)
    lit = (up[:, None] * light.ambient).astype(np.float32) + sun
    color = _albedo(patches, view, light, tiles)
    arriving = lit.take(seen, axis=0)
    dark = np.flatnonzero(view.shadow)
    arriving[dark] -= sun.take(seen[dark], axis=0) * np.float32(light.shadow)
    color *= arriving
    haze = light.sky_low.astype(np.float32)
    color -= haze
    color *= np.exp(-np.float32(light.haze) * view.depth.ravel())[:, None]
    color += haze
    above = np.flatnonzero(seen == 0)
    color[above] = _sky(view.ray_x.ravel()[above], view.ray_y.ravel()[above], light, tiles)
    return color.reshape(*view.patch.shape, 3)
