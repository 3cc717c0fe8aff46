"""Patches: the flat polygons every scene is made of, and the few ways to stand them up.

World coordinates are metres, (x right, y up, z forward), with y = 0 on the ground and z = 0 below the camera.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

Points = np.ndarray  # float64 (N, 3), world coordinates
Outline = Sequence[tuple[float, float]]


class Pattern(IntEnum):
    """How a patch's second color is mixed into its first one."""

    PLAIN = 0
    WINDOWS = 1
    BRICKS = 2
    FOLIAGE = 3
    GRASS = 4
    ASPHALT = 5
    PAVING = 6
    BARS = 7
    SKY = 8


@dataclass(frozen=True)
class Patch:
    """One flat polygon of a class. Colors are float (3,) in 0..1; `period` is the pattern's size in metres, along the
    patch and up it; only patches that cast throw a shadow on the ground."""

    points: Points
    thing: str
    color: np.ndarray
    second: np.ndarray | None = None
    pattern: Pattern = Pattern.PLAIN
    period: tuple[float, float] = (1.0, 1.0)
    casts: bool = False


@dataclass(frozen=True)
class Frame:
    """Where a thing stands and where it heads: yaw 0 drives away from the camera, pi towards it, pi/2 to the right."""

    x: float
    z: float
    yaw: float = 0.0

    def place(self, along: Sequence[float], up: Sequence[float], across: Sequence[float]) -> Points:
        """Local coordinates (forward, up, to the right), each of N numbers, as world points (N, 3)."""
        ahead, side = np.asarray(along, dtype=np.float64), np.asarray(across, dtype=np.float64)
        sin, cos = math.sin(self.yaw), math.cos(self.yaw)
        points = np.empty((len(ahead), 3))
        points[:, 0] = self.x + ahead * sin + side * cos
        points[:, 1] = up
        points[:, 2] = self.z + ahead * cos - side * sin
        return points

    def side(self, outline: Outline, across: float) -> Points:
        """An outline of (forward, up) on the plane `across` metres to the right of the middle."""
        along, up = zip(*outline, strict=True)
        return self.place(along, up, [across] * len(outline))

    def face(self, outline: Outline, along: float) -> Points:
        """An outline of (right, up) on the plane `along` metres ahead of the middle."""
        across, up = zip(*outline, strict=True)
        return self.place([along] * len(outline), up, across)


def upright(x: float, z: float, outline: Outline) -> Points:
    """An outline of (right, up) that faces the camera at the place (x, z)."""
    return np.array([(x + across, up, z) for across, up in outline])


def standing(start: tuple[float, float], end: tuple[float, float], low: float, high: float) -> Points:
    """An upright rectangle above the ground line from `start` to `end`, both (x, z)."""
    (x0, z0), (x1, z1) = start, end
    return np.array([(x0, low, z0), (x1, low, z1), (x1, high, z1), (x0, high, z0)])


def lying(outline: Outline, height: float = 0.0) -> Points:
    """An outline of (x, z) that lies flat at a height."""
    return np.array([(x, height, z) for x, z in outline])


def box(left: float, right: float, low: float, high: float) -> Outline:
    return ((left, low), (right, low), (right, high), (left, high))


def disc(center: tuple[float, float], radius: float, corners: int = 10) -> Outline:
    turns = [2 * math.pi * i / corners for i in range(corners)]
    return tuple((center[0] + radius * math.cos(turn), center[1] + radius * math.sin(turn)) for turn in turns)


def blob(center: tuple[float, float], radii: tuple[float, float], rng: np.random.Generator) -> Outline:
    """A ragged ellipse, as of a tree's crown."""
    turns = np.linspace(0, 2 * math.pi, 16, endpoint=False)
    reach = rng.uniform(0.78, 1.12, len(turns))
    x = center[0] + radii[0] * reach * np.cos(turns)
    y = center[1] + radii[1] * reach * np.sin(turns)
    return tuple(zip(x.tolist(), y.tolist(), strict=True))
