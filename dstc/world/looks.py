"""What sets the two domains apart: palette, camera, weather, street mix and how busy the streets are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dstc.world import palettes
from dstc.world.camera import Camera

Range = tuple[float, float]


@dataclass(frozen=True)
class Light:
    """One image's light and lens: colors are float (3,), around 1 for light and 0..1 for sky and haze."""

    sun: np.ndarray  # unit vector towards it
    sun_color: np.ndarray
    ambient: np.ndarray
    shadow: float  # share of the sun's light that a shadow takes away
    haze: float  # share of the light lost per metre
    sky_low: np.ndarray  # also the haze's color
    sky_high: np.ndarray
    clouds: float
    texture: float  # how strong the surfaces' grain is
    gain: np.ndarray  # exposure times white balance
    metering: float  # how far the camera evens out dark and bright scenes: 0 not at all, 1 wholly
    saturation: float
    contrast: float
    noise: float
    blur: float  # radius in pixels
    vignette: float


@dataclass(frozen=True)
class Look:
    """One domain. `streets` holds the share of each kind of street, `counts` the mean number of each thing a scene."""

    size: tuple[int, int]  # width, height
    palette: palettes.Palette
    jitter: float
    weathers: tuple[Callable[[np.random.Generator], Light], ...]
    weather_shares: tuple[float, ...]
    focal: Range
    horizon: Range  # share of the height
    eye_height: Range
    barrel: Range
    ego_vehicle: float  # share of the images that show the camera car's bonnet
    streets: Mapping[str, float]
    counts: Mapping[str, float]


class Painter:
    """Draws colors (float (3,) in 0..1) for things, under a tint of the image's own; `rng` is the image's generator."""

    def __init__(self, palette: palettes.Palette, jitter: float, rng: np.random.Generator) -> None:
        self._palette, self._jitter, self.rng = palette, jitter, rng
        self._tint = rng.normal(1.0, jitter, 3) / 255

    def __call__(self, name: str) -> np.ndarray:
        colors = self._palette[name]
        color = self._tint * colors[self.rng.integers(len(colors))]
        change = self.rng.standard_normal(4)
        return np.maximum(color * (1 + self._jitter * change[0]) + 0.02 * change[1:], 0.02)


def take_camera(look: Look, lateral: float, rng: np.random.Generator) -> Camera:
    width, height = look.size
    return Camera(
        width, height, rng.uniform(*look.focal), rng.uniform(*look.horizon) * height, rng.uniform(*look.eye_height),
        lateral, rng.uniform(*look.barrel),
    )  # fmt: skip


def _sun(rng: np.random.Generator, elevation: Range) -> np.ndarray:
    height, turn = np.radians(rng.uniform(*elevation)), rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(height) * np.sin(turn), np.sin(height), np.cos(height) * np.cos(turn)])


def _rgb(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def _game_day(rng: np.random.Generator) -> Light:
    return Light(
        sun=_sun(rng, (35, 70)), sun_color=_rgb(0.95, 0.9, 0.78) * rng.uniform(0.8, 1.1),
        ambient=_rgb(0.42, 0.46, 0.56), shadow=0.9, haze=rng.uniform(0.001, 0.003), sky_low=_rgb(0.72, 0.84, 0.95),
        sky_high=_rgb(0.2, 0.44, 0.82) * rng.uniform(0.85, 1.1), clouds=rng.uniform(0, 0.5), texture=0.5,
        gain=_rgb(1, 1, 1) * rng.uniform(0.92, 1.08), metering=0.0, saturation=rng.uniform(1.15, 1.4),
        contrast=rng.uniform(1.05, 1.2), noise=0.0, blur=0.0, vignette=0.0,
    )  # fmt: skip


def _game_evening(rng: np.random.Generator) -> Light:
    return Light(
        sun=_sun(rng, (14, 28)), sun_color=_rgb(1.1, 0.74, 0.42), ambient=_rgb(0.42, 0.38, 0.5), shadow=0.9,
        haze=rng.uniform(0.002, 0.005), sky_low=_rgb(0.98, 0.72, 0.46), sky_high=_rgb(0.36, 0.36, 0.66),
        clouds=rng.uniform(0, 0.6), texture=0.5, gain=_rgb(1, 1, 1) * rng.uniform(0.95, 1.15), metering=0.0,
        saturation=rng.uniform(1.1, 1.35), contrast=rng.uniform(1.05, 1.2), noise=0.0, blur=0.0, vignette=0.0,
    )  # fmt: skip


def _dashboard(rng: np.random.Generator, **weather: Any) -> Light:
    """The sensor's part of a target image's light."""
    balance = rng.normal(1.0, 0.05, 3) * np.array([1.0, 1.03, 0.94])
    sensor: dict[str, Any] = {
        "texture": rng.uniform(0.8, 1.3), "gain": balance * np.exp(rng.normal(0.0, 0.12)), "metering": 0.75,
        "saturation": rng.uniform(0.65, 1.05), "contrast": rng.uniform(0.9, 1.2), "noise": rng.uniform(0.008, 0.02),
        "blur": rng.uniform(0.1, 0.45), "vignette": rng.uniform(0.1, 0.35),
    }  # fmt: skip
    return Light(**{**sensor, **weather})


def _overcast(rng: np.random.Generator) -> Light:
    gray = rng.uniform(0.72, 0.95)
    return _dashboard(
        rng, sun=_sun(rng, (40, 70)), sun_color=_rgb(0.25, 0.25, 0.26), ambient=_rgb(0.78, 0.8, 0.84), shadow=0.5,
        haze=rng.uniform(0.002, 0.007), sky_low=_rgb(0.98, 1, 1) * gray, sky_high=_rgb(0.9, 0.94, 1) * gray * 0.9,
        clouds=rng.uniform(0.1, 0.5),
    )  # fmt: skip


def _sunny(rng: np.random.Generator) -> Light:
    return _dashboard(
        rng, sun=_sun(rng, (18, 50)), sun_color=_rgb(1.05, 0.96, 0.82) * rng.uniform(0.9, 1.25),
        ambient=_rgb(0.3, 0.34, 0.42), shadow=0.95, haze=rng.uniform(0.001, 0.004), sky_low=_rgb(0.93, 0.94, 0.93),
        sky_high=_rgb(0.56, 0.68, 0.82), clouds=rng.uniform(0.1, 0.8),
    )  # fmt: skip


def _fog(rng: np.random.Generator) -> Light:
    gray = rng.uniform(0.55, 0.8)
    return _dashboard(
        rng, sun=_sun(rng, (40, 70)), sun_color=_rgb(0.1, 0.1, 0.1), ambient=_rgb(0.8, 0.82, 0.84), shadow=0.3,
        haze=rng.uniform(0.009, 0.02), sky_low=_rgb(1, 1, 1) * gray, sky_high=_rgb(0.97, 0.99, 1) * gray, clouds=0.05,
    )  # fmt: skip


def _dusk(rng: np.random.Generator) -> Light:
    return _dashboard(
        rng, sun=_sun(rng, (8, 20)), sun_color=_rgb(0.5, 0.36, 0.26), ambient=_rgb(0.4, 0.42, 0.52), shadow=0.8,
        haze=rng.uniform(0.003, 0.009), sky_low=_rgb(0.66, 0.58, 0.56), sky_high=_rgb(0.3, 0.34, 0.46),
        clouds=rng.uniform(0.1, 0.6), noise=rng.uniform(0.018, 0.035),
    )  # fmt: skip


SOURCE = Look(
    size=(288, 160), palette=palettes.GAME, jitter=0.06, weathers=(_game_day, _game_evening),
    weather_shares=(0.75, 0.25),
    focal=(185, 215), horizon=(0.44, 0.54), eye_height=(1.5, 2.1), barrel=(0.0, 0.0), ego_vehicle=0.0,
    streets={"canyon": 0.16, "suburb": 0.24, "parkway": 0.18, "arterial": 0.28, "tramway": 0.14},
    counts={"car": 3.4, "parked": 2.4, "truck": 0.6, "bus": 0.35, "person": 6.0, "cyclist": 0.9, "motorcyclist": 0.9,
            "bicycle": 1.1, "motorcycle": 0.9, "sign": 1.6, "light": 1.6, "lamp": 2.6, "tree": 2.5, "bin": 1.0},
)  # fmt: skip
TARGET = Look(
    size=(256, 128), palette=palettes.STREET, jitter=0.08, weathers=(_overcast, _sunny, _fog, _dusk),
    weather_shares=(0.42, 0.33, 0.1, 0.15), focal=(190, 225), horizon=(0.42, 0.52), eye_height=(1.2, 1.45),
    barrel=(0.08, 0.14), ego_vehicle=0.85,
    streets={"canyon": 0.26, "suburb": 0.25, "parkway": 0.22, "arterial": 0.07, "tramway": 0.2},
    counts={"car": 2.0, "parked": 4.6, "truck": 0.4, "bus": 0.35, "person": 6.5, "cyclist": 1.3, "motorcyclist": 0.6,
            "bicycle": 1.8, "motorcycle": 0.9, "sign": 2.0, "light": 1.6, "lamp": 2.4, "tree": 3.0, "bin": 1.0},
)  # fmt: skip
LOOKS: Mapping[str, Look] = {"source": SOURCE, "target": TARGET}
