"""What stands where: a street of some kind, its ground, both roadsides and the far end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dstc.world import scenery
from dstc.world.looks import Painter
from dstc.world.patches import Patch, Pattern, lying, standing
from dstc.world.raster import FARTHEST

END = 110.0  # metres: where a street ends
_STATIONS = (0.5, 2.0, 4.0, 7.0, 11.0, 16.0, 23.0, 32.0, 45.0, 65.0, END)


@dataclass(frozen=True)
class Kind:
    """A kind of street: half the road's width and the sidewalk's width in metres (ranges), the share of each kind of
    lot, how high buildings are, and whether lawn or paving lies between the lots."""

    road: tuple[float, float]
    sidewalk: tuple[float, float]
    lots: dict[str, float]
    floors: tuple[float, float]
    lawn: bool


KINDS: dict[str, Kind] = {
    "canyon": Kind(
        (3.8, 6.2), (2.6, 5.0), {"building": 0.72, "wall": 0.09, "fence": 0.09, "green": 0.1}, (9, 20), lawn=False
    ),
    "suburb": Kind(
        (3.2, 4.6), (1.6, 3.0), {"house": 0.36, "building": 0.1, "wall": 0.16, "fence": 0.17, "green": 0.21}, (5, 9),
        lawn=True,
    ),
    "parkway": Kind(
        (3.6, 6.2), (1.6, 3.4), {"green": 0.42, "hedge": 0.1, "wall": 0.18, "fence": 0.18, "house": 0.12}, (6, 12),
        lawn=True,
    ),
    "arterial": Kind(
        (6.2, 8.0), (1.2, 2.6), {"wall": 0.28, "fence": 0.28, "green": 0.26, "building": 0.18}, (8, 22), lawn=True
    ),
    "tramway": Kind(
        (6.4, 8.0), (2.8, 5.5), {"building": 0.54, "green": 0.16, "fence": 0.16, "wall": 0.14}, (9, 18), lawn=False
    ),
}  # fmt: skip


@dataclass
class Street:
    """A street under construction: its shape and what stands on it so far, each with the depth it is drawn at."""

    name: str
    half: float  # of the road's width
    sidewalk: float
    curvature: float  # 1 / metres
    crossing: tuple[float, float] | None  # from where to where another street crosses
    ground: list[Patch] = field(default_factory=list)
    things: list[tuple[float, list[Patch]]] = field(default_factory=list)
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def bend(self, z: float) -> float:
        return 0.5 * self.curvature * z * z

    def put(self, depth: float, patches: list[Patch]) -> None:
        self.things.append((depth, patches))

    def take(self, x: float, z: float, half_width: float, half_length: float) -> bool:
        """Claim a rectangle of ground; False if something already stands there."""
        for other_x, other_z, width, length in self.taken:
            if abs(x - other_x) < half_width + width and abs(z - other_z) < half_length + length:
                return False
        self.taken.append((x, z, half_width, half_length))
        return True

    def patches(self) -> list[Patch]:
        """Everything in the order to draw it: ground first, then far to near."""
        ordered = sorted(self.things, key=lambda thing: -thing[0])
        return self.ground + [patch for _, patches in ordered for patch in patches]


def lay_street(name: str, rng: np.random.Generator) -> Street:
    kind = KINDS[name]
    crossing = None
    if rng.random() < 0.5:
        start = rng.uniform(12, 32)
        crossing = (start, start + rng.uniform(8, 13))
    curvature = 0.0 if rng.random() < 0.4 else float(rng.normal(0, 1 / 500))
    return Street(name, rng.uniform(*kind.road), rng.uniform(*kind.sidewalk), curvature, crossing)


def _strip(street: Street, left: float, right: float, start: float = 0.5, end: float = END) -> np.ndarray:
    """The ground between two lines that follow the street, as one polygon."""
    stations = [start, *(z for z in _STATIONS if start < z < end), end]
    outline = [(left + street.bend(z), z) for z in stations] + [(right + street.bend(z), z) for z in stations[::-1]]
    return lying(outline)


def _markings(street: Street, paint: Painter) -> list[Patch]:
    color = paint("marking")
    lines = [Patch(_strip(street, -0.1, 0.1), "road", color)] if paint.rng.random() < 0.3 else []
    lanes = [0.0] if not lines else []
    if street.half > 6:
        lanes += [-street.half / 2, street.half / 2]
    for lane in lanes:
        for z in np.arange(3.0, 50.0, 6.0):
            lines.append(Patch(_strip(street, lane - 0.08, lane + 0.08, z, z + 3.0), "road", color))
    if paint.rng.random() < 0.4:
        edges = ((side * (street.half - 0.35), side * (street.half - 0.2)) for side in (-1, 1))
        lines += [Patch(_strip(street, *edge), "road", color) for edge in edges]
    return lines


def _crosswalk(street: Street, near: float, paint: Painter) -> list[Patch]:
    """Stripes before the street that crosses at `near`."""
    left = np.arange(-street.half + 0.4, street.half - 0.4, 1.0) + street.bend(near)
    outlines = [((x, near - 3), (x + 0.5, near - 3), (x + 0.5, near - 0.5), (x, near - 0.5)) for x in left.tolist()]
    return [Patch(lying(outline), "road", paint("marking")) for outline in outlines]


def _band(near: float, far: float, reach: float) -> np.ndarray:
    return lying(((-reach, near), (reach, near), (reach, far), (-reach, far)))


def pave(street: Street, paint: Painter) -> None:
    """The ground: lawn or paving, sidewalks, curbs, road, the street that crosses and the markings."""
    half, reach, kind = street.half, street.half + street.sidewalk, KINDS[street.name]
    lawn = Patch(_band(0.5, FARTHEST, 300), "terrain", paint("terrain"), paint("terrain patch"), Pattern.GRASS)
    slab = paint.rng.uniform(0.5, 1.6)
    paving = Patch(_strip(street, -reach - 14, reach + 14), "sidewalk", paint("sidewalk"), paint("sidewalk joint"),
                   Pattern.PAVING, (slab, slab))  # fmt: skip
    road = Patch(_strip(street, -half, half), "road", paint("asphalt"), paint("asphalt patch"), Pattern.ASPHALT)
    ground = [lawn] if kind.lawn else [lawn, paving]
    for side in (-1, 1):
        ground.append(replace(paving, points=_strip(street, side * half, side * reach)))
        if kind.lawn and paint.rng.random() < 0.4:
            verge = _strip(street, side * half, side * (half + min(1.2, street.sidewalk * 0.45)))
            ground.append(replace(lawn, points=verge))
        ground.append(Patch(_strip(street, side * half, side * (half + 0.22)), "sidewalk", paint("curb")))
    if street.crossing:
        near, far = street.crossing
        ground.append(replace(paving, points=_band(near - 2, far + 2, 90)))
        ground.append(replace(road, points=_band(near, far, 90)))
    ground += [road, *_markings(street, paint)]
    if street.crossing and paint.rng.random() < 0.7:
        ground += _crosswalk(street, street.crossing[0], paint)
    street.ground += ground


def _skyline(street: Street, paint: Painter) -> None:
    """What closes the view where the street ends: blocks and trees."""
    urban = not KINDS[street.name].lawn
    x = -130.0
    while x < 130:
        width = paint.rng.uniform(8, 22)
        if paint.rng.random() < (0.7 if urban else 0.35):
            block = standing((x, END + 2), (x + width, END + 2), 0, paint.rng.uniform(6, 22))
            pane = paint("pane")
            street.put(END + 30, [Patch(block, "building", paint("building"), pane, Pattern.WINDOWS, (3.0, 3.0))])
        else:
            street.put(END + 20, scenery.bush(x + width / 2, END, width * 0.7, paint))
        x += width


def _lot(street: Street, kind: str, side: int, reach: tuple[float, float], paint: Painter) -> None:
    """One lot of a roadside from near to far (`reach`); `side` is -1 on the left and 1 on the right."""
    near, far = reach
    edge = street.half + street.sidewalk
    start, end = ((side * edge + street.bend(z), z) for z in (near, far))

    def behind(distance: float) -> tuple[tuple[float, float], tuple[float, float]]:
        return (start[0] + side * distance, near), (end[0] + side * distance, far)

    floors = KINDS[street.name].floors
    if kind == "building":
        street.put(
            far, scenery.building(start, end, paint.rng.uniform(*floors), side * paint.rng.uniform(8, 14), paint)
        )
        return
    if kind == "house" or paint.rng.random() < 0.45:
        a, b = behind(paint.rng.uniform(4, 8))
        street.put(far + 0.5, scenery.building(a, b, paint.rng.uniform(*floors), side * 9.0, paint))
    front = kind
    if kind == "house":
        front = ("fence", "hedge", "wall", "green")[paint.rng.choice(4, p=(0.35, 0.25, 0.2, 0.2))]
    if front == "wall":
        street.put(far, scenery.wall(start, end, paint.rng.uniform(1.4, 3.6), paint))
    elif front == "fence":
        street.put(far, scenery.fence(start, end, paint.rng.uniform(1.3, 2.6), paint))
    elif front == "hedge":
        street.put(far, scenery.hedge(start, end, paint.rng.uniform(0.9, 2.2), paint))
    for _ in range(paint.rng.poisson(2.0 if front == "green" else 1.0)):
        z, away = paint.rng.uniform(max(near, 6.0), max(far, 7.0)), paint.rng.uniform(1.5, 9)
        x = side * (edge + away) + street.bend(z)
        grow = scenery.tree if paint.rng.random() < 0.7 else scenery.bush
        size = paint.rng.uniform(4.5, 10) if grow is scenery.tree else paint.rng.uniform(0.8, 2.4)
        street.put(z if front == "green" else far + 0.2, grow(x, z, size, paint))


def build_roadsides(street: Street, paint: Painter) -> None:
    """Lots along both sides, left out where another street crosses, and the skyline at the end."""
    _skyline(street, paint)
    names: Sequence[str] = tuple(KINDS[street.name].lots)
    shares = np.array(tuple(KINDS[street.name].lots.values()))
    for side in (-1, 1):
        z = paint.rng.uniform(-8, 1)
        while z < END:
            length = paint.rng.uniform(7, 20)
            near, far = max(z, 0.8), z + length
            if street.crossing and near < street.crossing[1] + 2 and far > street.crossing[0] - 2:
                far = street.crossing[0] - 2
                z = street.crossing[1] + 2
            else:
                z = far
            if far - near > 2:
                kind = names[paint.rng.choice(len(names), p=shares / shares.sum())]
                _lot(street, kind, side, (near, far), paint)
