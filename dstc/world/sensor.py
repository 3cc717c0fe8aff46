"""From light to bytes: averaging, vignette, blur, tone, noise."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from dstc.world.looks import Light

_METERED = 0.47  # the mean brightness that metering aims at


def averaged(pixels: np.ndarray) -> np.ndarray:
    """Twice oversampled float32 (2H, 2W, 3) down to (H, W, 3)."""
    rows = pixels[0::2] + pixels[1::2]
    return (rows[:, 0::2] + rows[:, 1::2]) / np.float32(4)


def _gray(image: np.ndarray) -> np.ndarray:
    """Brightness, float32 (H, W); written out because a matrix product's last bits depend on the BLAS."""
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    return np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue


def _vignette(height: int, width: int, strength: float) -> np.ndarray:
    v, u = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    return 1 - np.float32(strength / 2) * (u[None] ** 2 + v[:, None] ** 2)


def develop(pixels: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Light float32 (H, W, 3) as the camera's image, uint8."""
    height, width = pixels.shape[:2]
    brightness = max(float(_gray(pixels).mean(dtype=np.float64)), 0.05)
    image = pixels * (light.gain * (_METERED / brightness) ** light.metering).astype(np.float32)
    if light.vignette:
        image *= _vignette(height, width, light.vignette)[..., None]
    gray = _gray(image)[..., None]
    image = gray + (image - gray) * np.float32(light.saturation)
    image = (image - 0.5) * np.float32(light.contrast) + 0.5
    if light.blur:
        sharp = Image.fromarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8))
        image = np.asarray(sharp.filter(ImageFilter.GaussianBlur(light.blur)), dtype=np.float32) / 255
    if light.noise:
        grain = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(light.noise)
        image = image + grain * (np.float32(0.5) + image)  # photon noise grows with the light
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
