"""Read one image or label file: the same functions serve the check of a data set and training."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from dstc.core.errors import UserError


def decode_image(content: bytes, name: str) -> Image.Image:
    """An 8-bit RGB Pillow image. Palette, gray and alpha images are converted; 16-bit and CMYK ones are refused."""
    image = _open(content, name)
    if image.mode not in ("RGB", "RGBA", "L", "P", "1", "LA"):
        raise UserError(f"{name}: an image must be 8-bit RGB (or gray or palette); its mode is {image.mode}")
    return image if image.mode == "RGB" else image.convert("RGB")


def decode_label(content: bytes, name: str) -> np.ndarray:
    """The raw ids of a label file: (H, W) of uint8 or int32, or (H, W, 3) uint8 where the file holds RGB colors.

    Of a 16-bit file with several channels (SYNTHIA) the first channel holds the id. Pillow silently reads such a file
    as its high byte (class 10 becomes 0), so OpenCV decodes it.
    """
    if _is_16_bit_png(content):
        return _decode_16_bit(content, name)
    image = _open(content, name)
    if image.mode == "P":
        return np.asarray(image)  # the index, not the color
    if image.mode in ("L", "1"):
        return np.asarray(image).astype(np.uint8) // _gray_step(content, image.mode)
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.int32)
    if image.mode in ("RGB", "RGBA"):
        return np.asarray(image)[..., :3]
    raise UserError(f"{name}: a label must be a gray, palette, 16-bit or RGB image; its mode is {image.mode}")


def _open(content: bytes, name: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except Image.DecompressionBombError as error:
        raise UserError(f"{name}: {error}") from None
    except Exception as error:  # Pillow raises many kinds for a broken file; each means the same to a user
        raise UserError(f"{name}: cannot be decoded as an image ({error}); is it truncated?") from None
    return image


def _png_bit_depth(content: bytes) -> int | None:
    return content[24] if content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) > 24 else None


def _is_16_bit_png(content: bytes) -> bool:
    return _png_bit_depth(content) == 16


def _gray_step(content: bytes, mode: str) -> int:
    """What Pillow multiplied the ids by: it stretches gray PNG files of 2 and 4 bits to 0..255 (1 becomes 85 or 17)."""
    return {2: 85, 4: 17}.get(_png_bit_depth(content) or 8, 1) if mode == "L" else 1


def _decode_16_bit(content: bytes, name: str) -> np.ndarray:
    import cv2  # only these files need it, and every stage must start quickly

    try:
        channels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # such as a header that speaks of more pixels than there is memory for
        channels = None
    if channels is None:
        raise UserError(f"{name}: cannot be decoded as a 16-bit PNG; is it truncated?")
    first = (
        channels if channels.ndim == 2 else channels[..., 2]
    )  # OpenCV gives blue first, so the file's first is third
    return first.astype(np.int32)


def to_train_ids(
    raw: np.ndarray, label_ids: Mapping[int, int], label_colors: Mapping[str, int], name: str
) -> np.ndarray:
    """Map raw ids (H, W) or colors (H, W, 3) to train ids, uint8 (H, W). Unknown ids or colors are an error."""
    if raw.ndim == 3 and not label_colors:
        raise UserError(
            f"{name}: holds RGB colors, but this data set's labels are ids; wanted is a gray or palette image"
        )
    if raw.ndim == 2 and label_colors:
        raise UserError(f"{name}: holds ids, but data.own gives colors for its classes; wanted is an RGB image")
    if raw.ndim == 3:
        wide = raw.astype(np.uint32)
        raw = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
        return _look_up(raw, {int(key.lstrip("#"), 16): value for key, value in label_colors.items()}, name, "#{:06x}")
    return _look_up(raw, label_ids, name, "{}")


def _look_up(raw: np.ndarray, known: Mapping[int, int], name: str, form: str) -> np.ndarray:
    found, position = np.unique(raw, return_inverse=True) if raw.dtype != np.uint8 else (np.arange(256), raw)
    table = np.array([known.get(int(value), -1) for value in found])
    mapped = table[position].reshape(raw.shape)
    if (mapped < 0).any():
        unknown = np.unique(raw[mapped < 0])
        listed = ", ".join(form.format(value) for value in unknown[:8])
        rule = "known are " + ", ".join(form.format(value) for value in sorted(known)[:40])
        raise UserError(f"{name}: unknown label {'color' if form != '{}' else 'id'} {listed} ({rule})")
    return mapped.astype(np.uint8)
