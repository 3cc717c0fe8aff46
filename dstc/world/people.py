"""People on foot, riders, and the two-wheelers they ride or leave standing."""

from __future__ import annotations

import numpy as np

from dstc.world.looks import Painter
from dstc.world.patches import Frame, Outline, Patch, box, disc, upright


def person(x: float, z: float, paint: Painter) -> list[Patch]:
    """Someone who stands or walks, seen from the front or the back."""
    size, stride, lean = paint.rng.uniform((0.9, 0.03, -0.05), (1.15, 0.32, 0.05))
    coat, trousers, skin = paint("clothes"), paint("trousers"), paint("skin")

    def part(outline: list[tuple[float, float]], color: np.ndarray) -> Patch:
        return Patch(upright(x, z, [(a * size, u * size) for a, u in outline]), "person", color, casts=True)

    return [
        part([(-0.22, 0.9), (0.0, 0.9), (-stride + 0.08, 0.0), (-stride - 0.12, 0.0)], trousers),
        part([(0.0, 0.9), (0.22, 0.9), (stride + 0.12, 0.0), (stride - 0.08, 0.0)], trousers * 0.85),
        part([(-0.24, 0.85), (0.24, 0.85), (0.3 + lean, 1.48), (-0.3 + lean, 1.48)], coat),
        part([(-0.3 + lean, 1.46), (-0.2 + lean, 1.46), (-0.26, 0.8), (-0.4, 0.82)], coat * 0.8),
        part([(0.3 + lean, 1.46), (0.2 + lean, 1.46), (0.26, 0.8), (0.4, 0.82)], coat * 0.8),
        part(list(disc((lean, 1.64), 0.16, 9)), skin),
        part([(lean - 0.16, 1.66), (lean + 0.16, 1.66), (lean + 0.1, 1.81), (lean - 0.1, 1.81)], paint("hair")),
    ]  # fmt: skip


def _bar(frame: Frame, start: tuple[float, float], end: tuple[float, float], thick: float) -> np.ndarray:
    """A tube of the frame between two places (forward, up)."""
    (a0, u0), (a1, u1), t = start, end, thick
    return frame.side(((a0 - t, u0 - t), (a0 + t, u0 + t), (a1 + t, u1 + t), (a1 - t, u1 - t)), 0)


def _wheel(frame: Frame, thing: str, hub: tuple[float, float], colors: tuple[np.ndarray, np.ndarray]) -> list[Patch]:
    """A wheel around `hub` (forward, up), which stands on the ground: tire, and what shows inside it."""
    (axle, radius), (tire, inside) = hub, colors
    hole = 0.68 if thing == "bicycle" else 0.4
    return [
        Patch(frame.face(box(-0.06, 0.06, 0.0, 2 * radius), axle), thing, tire),  # all one sees from straight behind
        Patch(frame.side(disc(hub, radius, 12), 0), thing, tire, casts=True),
        Patch(frame.side(disc(hub, radius * hole, 12), 0), thing, inside),
    ]


def bicycle(frame: Frame, paint: Painter) -> list[Patch]:
    color, tire, between = paint("two-wheeler"), paint("tire"), paint("asphalt") * 0.9
    patches = []
    for axle in (0.55, -0.55):
        patches += _wheel(frame, "bicycle", (axle, 0.38), (tire, between))
    for start, end in (((-0.55, 0.38), (-0.15, 0.85)), ((-0.15, 0.85), (0.4, 0.85)), ((0.0, 0.35), (0.4, 0.85)),
                       ((0.0, 0.35), (-0.2, 0.95)), ((0.55, 0.38), (0.38, 1.02))):  # fmt: skip
        patches.append(Patch(_bar(frame, start, end, 0.06), "bicycle", color))
    patches.append(Patch(frame.side(box(-0.38, -0.08, 0.94, 1.04), 0), "bicycle", tire))
    patches.append(Patch(frame.face(box(-0.3, 0.3, 0.98, 1.07), 0.38), "bicycle", paint("metal")))
    return patches


def motorcycle(frame: Frame, paint: Painter) -> list[Patch]:
    color, tire, metal = paint("motorcycle"), paint("tire"), paint("metal")
    patches = []
    for axle in (0.7, -0.7):
        patches += _wheel(frame, "motorcycle", (axle, 0.36), (tire, metal))
    engine = ((-0.35, 0.25), (0.4, 0.25), (0.45, 0.6), (-0.35, 0.6))
    body = ((-0.95, 0.8), (-0.3, 0.45), (0.45, 0.4), (0.85, 0.95), (0.45, 1.2), (-0.1, 0.9), (-0.95, 1.0))
    seat = ((-0.85, 0.88), (-0.1, 0.84), (-0.1, 0.95), (-0.85, 1.0))
    patches.append(Patch(frame.side(engine, 0), "motorcycle", metal * 0.7))
    patches.append(Patch(frame.side(body, 0), "motorcycle", color, casts=True))
    patches.append(Patch(frame.side(seat, 0), "motorcycle", tire))
    patches.append(Patch(frame.face(box(-0.22, 0.22, 0.4, 0.98), 0.1), "motorcycle", color * 0.9))
    patches.append(Patch(frame.face(box(-0.42, 0.42, 1.0, 1.1), 0.5), "motorcycle", metal))
    lamp = ("tail lamp", -0.9) if np.cos(frame.yaw) > 0 else ("head lamp", 0.8)
    patches.append(Patch(frame.face(box(-0.1, 0.1, 0.75, 0.95), lamp[1]), "motorcycle", paint(lamp[0])))
    return patches


def _rider(frame: Frame, paint: Painter, seat: float, lean: float, helmet: str) -> list[Patch]:
    """The one on the seat: legs and back in side view, and again across for the view from behind."""
    coat, trousers = paint("clothes"), paint("trousers")
    top, hip = seat + 0.62, -0.25
    chest = hip + lean
    head_x = frame.x + (chest + 0.05) * np.sin(frame.yaw)

    def side(color: np.ndarray, *outline: tuple[float, float]) -> Patch:
        return Patch(frame.side(outline, 0), "rider", color, casts=True)

    def face(color: np.ndarray, along: float, outline: Outline) -> Patch:
        return Patch(frame.face(outline, along), "rider", color)

    broad = ((0.2, seat - 0.03), (0.28, top - 0.05), (0.2, top))
    shoulders = (*broad, *((-across, up) for across, up in broad[::-1]))
    hat = ((-0.18, top + 0.17), (0.18, top + 0.17), (0.1, top + 0.36), (-0.1, top + 0.36))
    return [
        side(trousers, (hip - 0.1, seat), (hip + 0.18, seat), (0.2, seat - 0.45), (0.05, 0.3), (-0.12, 0.32),
             (0, seat - 0.4)),
        face(trousers, 0.0, box(-0.26, -0.1, 0.35, seat)),
        face(trousers * 0.85, 0.0, box(0.1, 0.26, 0.35, seat)),
        side(coat, (hip - 0.17, seat), (hip + 0.17, seat), (chest + 0.18, top), (chest - 0.14, top)),
        face(coat, hip + 0.1, shoulders),
        side(coat * 0.8, (chest, top - 0.05), (chest + 0.1, top - 0.18), (0.4, seat + 0.12), (0.4, seat + 0.24)),
        Patch(upright(head_x, frame.z, disc((0, top + 0.16), 0.17, 9)), "rider", paint("skin")),
        Patch(upright(head_x, frame.z, hat), "rider", paint(helmet)),
    ]  # fmt: skip


def cyclist(frame: Frame, paint: Painter) -> list[Patch]:
    return bicycle(frame, paint) + _rider(frame, paint, 0.98, 0.3, "hair")


def motorcyclist(frame: Frame, paint: Painter) -> list[Patch]:
    return motorcycle(frame, paint) + _rider(frame, paint, 0.9, 0.22, "helmet")
