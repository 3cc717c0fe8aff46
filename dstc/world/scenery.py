"""What stands along a street: poles, lights, signs, trees, buildings, walls and fences."""

from __future__ import annotations

import numpy as np

from dstc.world.looks import Painter
from dstc.world.patches import Outline, Patch, Pattern, blob, box, disc, standing, upright

Place = tuple[float, float]  # (x, z)


def _post(x: float, z: float, height: float, width: float, color: np.ndarray) -> Patch:
    return Patch(upright(x, z, box(-width / 2, width / 2, 0, height)), "pole", color, casts=True)


def lamp_post(x: float, z: float, inward: float, paint: Painter) -> list[Patch]:
    """A street lamp whose arm reaches over the road, to the side that `inward` (-1 or 1) names."""
    color = paint("pole")
    arm = ((0, 6.2), (0, 6.45), (inward * 1.6, 6.75), (inward * 1.6, 6.5))
    return [_post(x, z, 6.4, 0.34, color), Patch(upright(x, z, arm), "pole", color * 0.9)]


def traffic_light(x: float, z: float, inward: float, paint: Painter) -> list[Patch]:
    """A signal on its post, and often a second one on an arm over the road."""
    color, lit = paint("pole"), int(paint.rng.integers(3))
    hung = paint.rng.random() < 0.5
    patches = [_post(x, z, 5.2 if hung else 2.6, 0.26, color)]
    heads = [(0.0, 2.5)]
    if hung:
        arm = box(min(0.0, inward * 3.2), max(0.0, inward * 3.2), 5.0, 5.22)
        patches.append(Patch(upright(x, z, arm), "pole", color))
        heads.append((inward * 3.0, 4.2))
    housing = paint("signal housing")
    for across, low in heads:
        case = box(across - 0.34, across + 0.34, low, low + 1.5)
        patches.append(Patch(upright(x, z, case), "traffic light", housing))
        for number, lamp in enumerate(("green lamp", "amber lamp", "red lamp")):
            glow = paint(lamp) if number == lit else housing * 0.6
            spot = disc((across, low + 0.3 + 0.45 * number), 0.2, 8)
            patches.append(Patch(upright(x, z, spot), "traffic light", glow))
    return patches


SIGN_SHAPES: dict[str, Outline] = {
    "round": disc((0, 0), 0.5, 12),
    "triangle": ((-0.58, -0.4), (0.58, -0.4), (0.0, 0.6)),
    "square": box(-0.45, 0.45, -0.45, 0.45),
    "diamond": ((0, -0.62), (0.62, 0), (0, 0.62), (-0.62, 0)),
    "board": box(-1.1, 1.1, -0.55, 0.55),
}


def traffic_sign(x: float, z: float, paint: Painter) -> list[Patch]:
    """A plate on a post, sometimes with a second plate below."""
    kinds = list(SIGN_SHAPES)
    kind = kinds[paint.rng.choice(len(kinds), p=(0.3, 0.2, 0.2, 0.12, 0.18))]
    middle, size = paint.rng.uniform(2.3, 2.9), paint.rng.uniform(0.95, 1.2)
    edge, face = (paint("sign edge"), paint("sign face")) if kind in ("round", "triangle") else (
        paint("sign face"), paint("sign board"))  # fmt: skip

    def plate(scale: float, color: np.ndarray) -> Patch:
        outline = [(a * scale, middle + u * scale) for a, u in SIGN_SHAPES[kind]]
        return Patch(upright(x, z, outline), "traffic sign", color, casts=True)

    patches = [_post(x, z, middle, 0.2, paint("pole")), plate(size, edge), plate(size * 0.72, face)]
    if paint.rng.random() < 0.3:
        below = box(-0.4, 0.4, middle - 1.1, middle - 0.7)
        patches.append(Patch(upright(x, z, below), "traffic sign", paint("sign face")))
    return patches


def gantry(left: float, right: float, z: float, paint: Painter) -> list[Patch]:
    """Direction signs on a bridge of poles across the road."""
    color = paint("pole")
    patches = [_post(left, z, 6.4, 0.35, color), _post(right, z, 6.4, 0.35, color)]
    patches.append(Patch(upright(0, z, box(left, right, 6.0, 6.4)), "pole", color))
    width = (right - left) * 0.3
    for center in (left + (right - left) * 0.3, left + (right - left) * 0.7):
        plate = box(-width / 2, width / 2, 5.0, 7.0)
        patches.append(Patch(upright(center, z, plate), "traffic sign", paint("sign face")))
        inner = box(-width * 0.46, width * 0.46, 5.12, 6.88)
        patches.append(Patch(upright(center, z, inner), "traffic sign", paint("sign board")))
    return patches


def tree(x: float, z: float, size: float, paint: Painter) -> list[Patch]:
    """A trunk, which counts as vegetation, below a crown of three ragged blobs; some are slim conifers."""
    leaf, second = paint("leaf"), paint("leaf shade")
    trunk = Patch(upright(x, z, box(-0.17, 0.17, 0, size * 0.5)), "vegetation", paint("trunk"), casts=True)
    if paint.rng.random() < 0.2:
        cone = [(-size * 0.22, size * 0.12), (size * 0.22, size * 0.12), (size * 0.1, size * 0.6), (0, size * 1.05),
                (-size * 0.1, size * 0.6)]  # fmt: skip
        return [trunk, Patch(upright(x, z, cone), "vegetation", leaf * 0.8, second, Pattern.FOLIAGE, (0.5, 0.5), True)]
    patches = [trunk]
    for number in range(3):
        center = (paint.rng.uniform(-0.18, 0.18) * size, size * paint.rng.uniform(0.6, 0.8))
        outline = blob(center, (size * paint.rng.uniform(0.2, 0.32), size * paint.rng.uniform(0.2, 0.28)), paint.rng)
        shade = 0.8 + 0.15 * number
        crown = upright(x, z, outline)
        patches.append(Patch(crown, "vegetation", leaf * shade, second * shade, Pattern.FOLIAGE, (0.7, 0.7), True))
    return patches


def bush(x: float, z: float, size: float, paint: Painter) -> list[Patch]:
    outline = [(a, max(u, 0.0)) for a, u in blob((0, size * 0.4), (size * 0.75, size * 0.6), paint.rng)]
    crown = upright(x, z, outline)
    return [Patch(crown, "vegetation", paint("leaf"), paint("leaf shade"), Pattern.FOLIAGE, (0.5, 0.5), True)]


def hedge(start: Place, end: Place, height: float, paint: Painter) -> list[Patch]:
    leaf, shade = paint("leaf"), paint("leaf shade")
    return [Patch(standing(start, end, 0, height), "vegetation", leaf, shade, Pattern.FOLIAGE, (0.5, 0.5), True)]


def building(start: Place, end: Place, height: float, outward: float, paint: Painter) -> list[Patch]:
    """A block whose facade runs from the near `start` to the far `end`, and which reaches `outward` metres to the right
    of it (to the left if negative)."""
    color, pane = paint("building"), paint("pane")
    period = (float(paint.rng.uniform(1.8, 4.0)), float(paint.rng.uniform(2.6, 3.6)))
    plain = paint.rng.random() < 0.05
    pattern = Pattern.BRICKS if plain else Pattern.WINDOWS
    if plain:
        period, pane = (1.2, 0.5), paint("mortar")
    gable = standing((start[0] + outward, start[1]), start, 0, height)
    patches = [Patch(gable, "building", color * 0.92, pane, pattern, period, True),
               Patch(standing(start, end, 0, height), "building", color, pane, pattern, period, True)]  # fmt: skip
    roof = paint("roof")
    if paint.rng.random() < 0.5:
        ridge = height + paint.rng.uniform(1.0, 2.5)
        (x0, z0), (x1, z1) = start, end
        peak, peak_end = (x0 + outward / 2, ridge, z0), (x1 + outward / 2, ridge, z1)
        slope = np.array([(x0, height, z0), (x1, height, z1), peak_end, peak])
        gable_top = np.array([(x0 + outward, height, z0), (x0, height, z0), peak])
        patches = [Patch(slope, "building", roof, roof * 0.8, Pattern.BRICKS, (0.8, 0.4)), *patches,
                   Patch(gable_top, "building", color * 0.9)]  # fmt: skip
    if paint.rng.random() < 0.6:
        ground_floor = standing(start, end, 0, paint.rng.uniform(0.6, 3.0))
        patches.append(Patch(ground_floor, "building", paint("building") * 0.75, pane, Pattern.WINDOWS, (3.2, 3.2)))
    return patches


def wall(start: Place, end: Place, height: float, paint: Painter) -> list[Patch]:
    color = paint("wall")
    pattern = (Pattern.BRICKS, Pattern.PAVING)[paint.rng.choice(2, p=(0.6, 0.4))]
    period = (1.4, 0.7) if pattern is Pattern.BRICKS else (2.4, 1.2)
    top = Patch(standing(start, end, height, height + 0.18), "wall", color * 1.12)
    return [Patch(standing(start, end, 0, height), "wall", color, paint("mortar"), pattern, period, True), top]


def fence(start: Place, end: Place, height: float, paint: Painter) -> list[Patch]:
    """Bars or planks; what shows between the bars counts as fence too, as in Cityscapes."""
    color = paint("fence")
    between = paint("leaf shade") if paint.rng.random() < 0.5 else paint("asphalt") * 0.8
    period = (float(paint.rng.choice((0.5, 0.8, 1.2))), height / 2)
    return [Patch(standing(start, end, 0.05, height), "fence", color, between, Pattern.BARS, period)]


def bin_(x: float, z: float, paint: Painter) -> list[Patch]:
    """Something without a class: a bin, a box, a hydrant."""
    half, height = paint.rng.uniform(0.25, 0.5), paint.rng.uniform(0.6, 1.2)
    return [Patch(upright(x, z, box(-half, half, 0, height)), "void", paint("bin"), casts=True),
            Patch(upright(x, z, box(-half, half, height * 0.8, height)), "void", paint("bin") * 0.8)]  # fmt: skip
