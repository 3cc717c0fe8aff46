"""Cars, trucks, buses and trains: profiles in side view, pushed out to their width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dstc.world.looks import Painter
from dstc.world.patches import Frame, Outline, Patch, box, disc


@dataclass(frozen=True)
class Shell:
    """A closed profile of (forward, up), rear bottom first, and which of its edges are glass."""

    profile: Outline
    width: float
    glass: tuple[int, ...] = ()
    side_windows: tuple[Outline, ...] = ()
    wheels: tuple[float, ...] = ()
    wheel_radius: float = 0.33
    lamps: float = 0.68  # how high they sit


SEDAN = Shell(
    ((-2.2, 0.3), (-2.25, 0.9), (-1.6, 1.0), (-1.0, 1.45), (0.5, 1.45), (1.15, 1.0), (2.15, 0.8), (2.2, 0.3)),
    1.8, (2, 4), (((-1.3, 1.02), (-0.85, 1.36), (0.4, 1.36), (0.9, 1.0)),), (-1.4, 1.4),
)  # fmt: skip
HATCHBACK = Shell(
    ((-1.9, 0.3), (-1.95, 0.95), (-1.55, 1.52), (0.4, 1.52), (1.1, 1.02), (1.85, 0.85), (1.9, 0.3)),
    1.75, (1, 3), (((-1.6, 1.02), (-1.35, 1.42), (0.3, 1.42), (0.85, 1.02)),), (-1.25, 1.2),
)  # fmt: skip
OFFROADER = Shell(
    ((-2.2, 0.4), (-2.25, 1.1), (-2.05, 1.82), (0.6, 1.82), (1.1, 1.2), (2.1, 1.05), (2.2, 0.4)),
    1.95, (1, 3), (((-1.95, 1.2), (-1.8, 1.7), (0.5, 1.7), (0.9, 1.2)),), (-1.35, 1.4), 0.4,
)  # fmt: skip
VAN = Shell(
    ((-2.4, 0.35), (-2.4, 1.2), (-2.35, 2.05), (1.3, 2.05), (2.0, 1.25), (2.4, 1.0), (2.45, 0.35)),
    1.95, (1, 3), (((0.1, 1.25), (0.1, 1.85), (1.2, 1.85), (1.65, 1.25)),), (-1.5, 1.5),
)  # fmt: skip
CARS = (SEDAN, HATCHBACK, OFFROADER, VAN)

CARGO = Shell(
    ((-4.2, 0.9), (-4.2, 3.5), (1.3, 3.5), (1.3, 0.9)), 2.45, wheels=(-3.0, -1.9), wheel_radius=0.5, lamps=0.95
)
TIPPER = Shell(
    ((-3.6, 0.9), (-3.9, 2.3), (1.3, 2.3), (1.3, 0.9)), 2.4, wheels=(-2.8, -1.7), wheel_radius=0.5, lamps=0.95
)
CAB = Shell(
    ((1.5, 0.5), (1.5, 2.7), (3.1, 2.7), (3.4, 1.6), (3.45, 0.5)),
    2.3, (2,), (((2.0, 1.6), (2.0, 2.4), (2.9, 2.4), (3.1, 1.6)),), (2.6,), 0.5,
)  # fmt: skip
BUS = Shell(
    ((-5.5, 0.35), (-5.5, 1.5), (-5.4, 3.0), (5.3, 3.0), (5.5, 1.2), (5.5, 0.35)),
    2.5, (1, 3), tuple(box(a, a + 1.7, 1.35, 2.5) for a in (-5.1, -3.2, -1.3, 0.6, 2.5)), (-3.4, 3.2), 0.5,
)  # fmt: skip
WAGON = Shell(
    ((-6.6, 0.3), (-6.8, 1.3), (-6.4, 3.3), (6.4, 3.3), (6.8, 1.3), (6.6, 0.3)),
    2.5, (1, 3), tuple(box(a, a + 2.0, 1.5, 2.6) for a in (-6.0, -3.5, -1.0, 1.5, 4.0)),
)  # fmt: skip


def _viewer(frame: Frame, viewer_x: float) -> tuple[float, float]:
    """Where the camera at (viewer_x, 0) stands in the frame: (forward, to the right)."""
    x, z = viewer_x - frame.x, -frame.z
    sin, cos = math.sin(frame.yaw), math.cos(frame.yaw)
    return x * sin + z * cos, x * cos - z * sin


@dataclass(frozen=True)
class Solid:
    """A painted shell of some class at its place."""

    shell: Shell
    frame: Frame
    thing: str
    color: np.ndarray
    paint: Painter

    def patches(self, viewer_x: float) -> list[Patch]:
        """What the camera at (viewer_x, 0) sees of it, in the order to draw it."""
        ahead, right = _viewer(self.frame, viewer_x)
        belly = self.frame.place([-1.9, 1.9, 1.9, -1.9], [0.3] * 4, [-0.9, -0.9, 0.9, 0.9])
        patches = [self._patch(belly, self.paint("tire"), casts=True)]
        patches += self._strips(ahead)
        patches += self._end(rear=ahead < 0)
        if abs(right) > self.shell.width / 2:
            patches += self._side(math.copysign(self.shell.width / 2, right))
        return patches

    def _patch(self, points: np.ndarray, color: np.ndarray, casts: bool = False) -> Patch:
        return Patch(points, self.thing, color, casts=casts)

    def _strips(self, ahead: float) -> list[Patch]:
        """The strips across it that a viewer `ahead` of its middle can see, far ones first."""
        profile, visible = self.shell.profile, []
        for number, ((a0, u0), (a1, u1)) in enumerate(pairwise(profile)):
            # The profile runs clockwise, so (-du, da) points outward; 1.5 m is about where a camera's eye is.
            if (ahead - (a0 + a1) / 2) * (u0 - u1) + (1.5 - (u0 + u1) / 2) * (a1 - a0) > 0:
                visible.append((-abs(ahead - (a0 + a1) / 2), number, (a0, a1), (u0, u1)))
        patches = []
        for _, number, (a0, a1), (u0, u1) in sorted(visible):
            patches.append(self._patch(self._across((a0, a1), (u0, u1), self.shell.width / 2), self.color))
            if number in self.shell.glass:
                a, u = (0.88 * a0 + 0.12 * a1, 0.1 * a0 + 0.9 * a1), (0.88 * u0 + 0.12 * u1, 0.1 * u0 + 0.9 * u1)
                patches.append(self._patch(self._across(a, u, self.shell.width * 0.43), self.paint("glass")))
        return patches

    def _across(self, along: tuple[float, float], up: tuple[float, float], half: float) -> np.ndarray:
        (a0, a1), (u0, u1) = along, up
        return self.frame.place([a0, a1, a1, a0], [u0, u1, u1, u0], [-half, -half, half, half])

    def _side(self, across: float) -> list[Patch]:
        shell, glass, tire, metal = self.shell, self.paint("glass"), self.paint("tire"), self.paint("metal")
        patches = [self._patch(self.frame.side(shell.profile, across), self.color * 0.95, casts=True)]
        patches += [self._patch(self.frame.side(window, across), glass) for window in shell.side_windows]
        for axle in shell.wheels:
            hub = (axle, shell.wheel_radius)
            patches.append(self._patch(self.frame.side(disc(hub, shell.wheel_radius), across), tire))
            patches.append(self._patch(self.frame.side(disc(hub, shell.wheel_radius * 0.5, 8), across), metal))
        return patches

    def _end(self, rear: bool) -> list[Patch]:
        """Lamps, number plate and the two wheels, on the rear or on the front."""
        ends = [along for along, _ in self.shell.profile]
        along, lamp = (min(ends), "tail lamp") if rear else (max(ends), "head lamp")
        half, height, ground = self.shell.width / 2, self.shell.lamps, self.shell.profile[0][1] + 0.1
        patches = []
        for side in (-1, 1):
            left, right = sorted((side * half * 0.95, side * half * 0.66))
            if self.shell.wheels:
                patches.append(self._patch(self.frame.face(box(left, right, 0.0, ground), along), self.paint("tire")))
            lamps = self.frame.face(box(left, right, height, height + 0.2), along)
            patches.append(self._patch(lamps, self.paint(lamp)))
        plate = self.frame.face(box(-0.28, 0.28, height - 0.22, height - 0.06), along)
        return [*patches, self._patch(plate, self.paint("plate"))]


def car(frame: Frame, paint: Painter, viewer_x: float) -> list[Patch]:
    shell = CARS[paint.rng.choice(len(CARS), p=(0.35, 0.3, 0.23, 0.12))]
    return Solid(shell, frame, "car", paint("car"), paint).patches(viewer_x)


def truck(frame: Frame, paint: Painter, viewer_x: float) -> list[Patch]:
    load = (CARGO, TIPPER)[paint.rng.choice(2, p=(0.7, 0.3))]
    halves = [
        Solid(load, frame, "truck", paint("cargo"), paint).patches(viewer_x),
        Solid(CAB, frame, "truck", paint("car"), paint).patches(viewer_x),
    ]
    if _viewer(frame, viewer_x)[0] < 1.4:  # from behind the cab is the far one
        halves.reverse()
    return halves[0] + halves[1]


def bus(frame: Frame, paint: Painter, viewer_x: float) -> list[Patch]:
    return Solid(BUS, frame, "bus", paint("bus"), paint).patches(viewer_x)


def train(frame: Frame, paint: Painter, viewer_x: float) -> list[Patch]:
    """Two or three wagons of a tram or local train, with a stripe below the windows."""
    color, stripe = paint("train"), paint("train stripe")
    ahead, right = _viewer(frame, viewer_x)
    wagons = []
    for place in range(int(paint.rng.integers(2, 4))):
        offset = 13.8 * place
        at = Frame(frame.x + offset * math.sin(frame.yaw), frame.z + offset * math.cos(frame.yaw), frame.yaw)
        patches = Solid(WAGON, at, "train", color, paint).patches(viewer_x)
        if abs(right) > WAGON.width / 2:
            across = math.copysign(WAGON.width / 2, right)
            patches.append(Patch(at.side(box(-6.6, 6.6, 0.85, 1.25), across), "train", stripe))
        wagons.append((-abs(ahead - offset), place, patches))
    return [patch for _, _, patches in sorted(wagons, key=lambda wagon: wagon[:2]) for patch in patches]
