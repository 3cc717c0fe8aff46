"""The camera: perspective, and the barrel distortion of its lens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEAR = 0.6  # metres: what comes nearer is pulled back to here, which keeps planes along the road what they are


@dataclass(frozen=True)
class Camera:
    """A pinhole at (lateral, eye_height, 0) that looks along +z; lengths in pixels hold for an image width x height."""

    width: int
    height: int
    focal: float
    horizon: float  # row of the vanishing point
    eye_height: float
    lateral: float
    barrel: float  # share by which the lens shrinks the corners, 0 for a perfect lens

    @property
    def eye(self) -> np.ndarray:
        return np.array([self.lateral, self.eye_height, 0.0])

    def project(self, points: np.ndarray) -> np.ndarray:
        """World points (N, 3) as float (N, 2) columns and rows before the lens."""
        depth = np.maximum(points[:, 2], NEAR)
        column = self.width / 2 + self.focal * (points[:, 0] - self.lateral) / depth
        row = self.horizon + self.focal * (self.eye_height - points[:, 1]) / depth
        return np.stack([column, row], 1)

    def seen(self, oversampling: int) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows before the lens, float32 (H * oversampling, W * oversampling), that each pixel sees.

        Every place seen lies inside the image, so the lens leaves no empty corners.
        """
        half_width, half_height = self.width / 2, self.height / 2
        u = (np.arange(self.width * oversampling, dtype=np.float32) + 0.5) / oversampling - half_width
        v = (np.arange(self.height * oversampling, dtype=np.float32) + 0.5) / oversampling - half_height
        radius = (u[None] ** 2 + v[:, None] ** 2) / (half_width**2 + half_height**2)
        stretch = (1 + np.float32(self.barrel) * radius) / np.float32(1 + self.barrel)
        return u[None] * stretch + half_width, v[:, None] * stretch + half_height

    def rays(self, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The x and y of the ray (x, y, 1) through each place before the lens."""
        return (columns - self.width / 2) / self.focal, (self.horizon - rows) / self.focal
