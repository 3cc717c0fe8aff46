"""Who uses the street: vehicles on the road, people and furniture on the sidewalks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dstc.world import people, scenery, vehicles
from dstc.world.layout import Street
from dstc.world.looks import Look, Painter
from dstc.world.patches import Frame, Patch, lying

Vehicle = Callable[[Frame, Painter, float], list[Patch]]
_LENGTHS = {"car": 2.3, "truck": 4.5, "bus": 5.7}  # half, in metres
_MAKERS: dict[str, Vehicle] = {"car": vehicles.car, "truck": vehicles.truck, "bus": vehicles.bus}
_TRACK = -0.2  # where a tram runs, as a share of half the road


class Traffic:
    """Fills one street; `own_lane` is the camera's lateral place on it."""

    def __init__(self, street: Street, look: Look, paint: Painter, own_lane: float) -> None:
        self.street, self.look, self.paint, self.own_lane = street, look, paint, own_lane
        self.rng = paint.rng

    def fill(self) -> None:
        if self.street.name == "tramway" or self.rng.random() < 0.06:
            self._tram()
        for name in ("bus", "truck", "car"):
            for _ in range(self._count(name)):
                self._drive(name)
        self._crossing_traffic()
        self._park()
        self._two_wheelers()
        self._furniture()
        self._people()

    def _count(self, name: str) -> int:
        return int(self.rng.poisson(self.look.counts[name]))

    def _lanes(self) -> list[tuple[float, float]]:
        """Lateral place and heading of each lane."""
        own = [self.own_lane] if self.street.half < 6 else [self.street.half * 0.3, self.street.half * 0.68]
        return [(x, 0.0) for x in own] + [(-x, np.pi) for x in own]

    def _slope(self, z: float) -> float:
        return float(np.arctan(self.street.curvature * z))

    def _drive(self, name: str) -> None:
        lanes = self._lanes()
        x, heading = lanes[self.rng.integers(len(lanes))]
        half = _LENGTHS[name]
        closest = 7.0 + half if abs(x - self.own_lane) < 2.2 else 4.5 + half
        z = closest + self.rng.exponential(16.0)
        x += self.rng.normal(0, 0.25)
        if z < 60 and self.street.take(x, z, 1.25, half + 1):
            frame = Frame(x + self.street.bend(z), z, heading + self._slope(z) + self.rng.normal(0, 0.03))
            self.street.put(z - half, _MAKERS[name](frame, self.paint, self.own_lane))

    def _tram(self) -> None:
        """Rails along the road, and mostly a tram on them."""
        x = self.street.half * _TRACK
        for rail in (x - 0.7, x + 0.7):
            outline = [(rail - 0.08 + self.street.bend(z), z) for z in (1, 8, 20, 45, 90)]
            outline += [(rail + 0.08 + self.street.bend(z), z) for z in (90, 45, 20, 8, 1)]
            self.street.ground.append(Patch(lying(outline), "road", self.paint("rail")))
        if self.rng.random() < 0.9:
            z = self.rng.uniform(13, 24)
            heading = float(self.rng.choice((0.0, np.pi)))
            start = z if heading == 0 else z + 27
            if self.street.take(x, z + 12, 1.3, 22):
                frame = Frame(x + self.street.bend(z), start, heading)
                self.street.put(z - 7, vehicles.train(frame, self.paint, self.own_lane))

    def _crossing_traffic(self) -> None:
        if not self.street.crossing:
            return
        near, far = self.street.crossing
        for lane, turn in ((0.25, np.pi / 2), (0.75, -np.pi / 2)):
            if self.rng.random() < 0.55:
                name = ("car", "truck", "bus")[self.rng.choice(3, p=(0.6, 0.2, 0.2))]
                x, z = self.rng.uniform(-16, 16), near + (far - near) * lane
                if self.street.take(x, z, _LENGTHS[name] + 1, 1.2):
                    frame = Frame(x, z, turn)
                    self.street.put(z - 1, _MAKERS[name](frame, self.paint, self.own_lane))

    def _clear_of_crossing(self, z: float) -> bool:
        return not self.street.crossing or not self.street.crossing[0] - 3 < z < self.street.crossing[1] + 3

    def _park(self) -> None:
        """Rows of parked cars along the curbs."""
        for _ in range(self._count("parked")):
            side, z = int(self.rng.choice((-1, 1))), self.rng.uniform(5.5, 42)
            x = side * (self.street.half - 0.8)
            if self._clear_of_crossing(z) and self.street.take(x, z, 1.1, 2.8):
                heading = 0.0 if side > 0 else np.pi
                frame = Frame(x + self.street.bend(z), z, heading + self._slope(z))
                name = "truck" if self.rng.random() < 0.04 else "car"
                self.street.put(z - 2, _MAKERS[name](frame, self.paint, self.own_lane))

    def _two_wheelers(self) -> None:
        """Riders at the road's edges, and bicycles and motorcycles left on the sidewalks."""
        riders = {"cyclist": people.cyclist, "motorcyclist": people.motorcyclist}
        parked = {"bicycle": people.bicycle, "motorcycle": people.motorcycle}
        for name, make in {**riders, **parked}.items():
            for _ in range(self._count(name)):
                side, z = int(self.rng.choice((-1, 1))), self.rng.uniform(5.0, 14.5)
                away = self.rng.uniform(1.6, 3.0) if name in riders else -self.rng.uniform(0.3, self.street.sidewalk)
                x = side * (self.street.half - away)
                if self.street.take(x, z, 0.6, 1.0):
                    turn = self.rng.uniform(0.3, 0.8) if name in riders else self.rng.uniform(0.6, 1.57)
                    heading = (0.0 if side > 0 else np.pi) + float(self.rng.choice((-1, 1))) * turn
                    self.street.put(z, make(Frame(x + self.street.bend(z), z, heading), self.paint))

    def _furniture(self) -> None:
        makers: dict[str, Callable[[float, float, int], list[Patch]]] = {
            "lamp": lambda x, z, side: scenery.lamp_post(x, z, -side, self.paint),
            "light": lambda x, z, side: scenery.traffic_light(x, z, -side, self.paint),
            "sign": lambda x, z, _: scenery.traffic_sign(x, z, self.paint),
            "bin": lambda x, z, _: scenery.bin_(x, z, self.paint),
            "tree": lambda x, z, _: scenery.tree(x, z, self.rng.uniform(4, 8), self.paint),
        }
        farthest = {"lamp": 28, "sign": 20, "light": 22, "bin": 18, "tree": 50}
        for name, make in makers.items():
            for _ in range(self._count(name)):
                side, z = int(self.rng.choice((-1, 1))), self.rng.uniform(6.0, farthest[name])
                if name == "light" and self.street.crossing:
                    z = self.street.crossing[0] - self.rng.uniform(0.5, 2.0)
                x = side * (self.street.half + self.rng.uniform(0.3, min(1.3, self.street.sidewalk)))
                if self.street.take(x, z, 0.4, 0.4):
                    self.street.put(z, make(x + self.street.bend(z), z, side))
        if self.street.name == "arterial" and self.rng.random() < 0.4:
            reach, z = self.street.half + 0.6, self.rng.uniform(18, 35)
            bend = self.street.bend(z)
            self.street.put(z, scenery.gantry(bend - reach, bend + reach, z, self.paint))

    def _people(self) -> None:
        """Singles and small groups on the sidewalks, and now and then someone on the road."""
        for _ in range(self._count("person")):
            side, z = int(self.rng.choice((-1, 1))), self.rng.uniform(5.5, 18)
            x = side * (self.street.half + self.rng.uniform(0.3, self.street.sidewalk))
            if self.rng.random() < 0.15:
                x, z = self.rng.uniform(-self.street.half, self.street.half), self.rng.uniform(9, 18)
            if self.street.take(x, z, 0.4, 0.4):
                self.street.put(z, people.person(x + self.street.bend(z), z, self.paint))
