"""Pictures inside a page, as data URIs: small, since git keeps the report."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

_FEW_COLORS = 256


def data_uri(pixels: np.ndarray, *, width: int) -> str:
    """An RGB image, uint8 (H, W, 3), shrunk to at most `width` pixels, as WebP.

    Label maps, which have few colors, keep every pixel; photos lose what nobody sees.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if image.width > width:
        image = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.BOX)
    buffer = io.BytesIO()
    if image.getcolors(_FEW_COLORS):
        image.save(buffer, format="WEBP", lossless=True, quality=100)
    else:
        image.save(buffer, format="WEBP", quality=75)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
