"""Read one image or label file: the same functions serve the check of a data set and training."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from PIL import Image, UnidentifiedImageError

from dstc.core.errors import UserError

ORIENTATION = 0x0112  # the EXIF tag by which a camera says how it was held; 1 is upright
BITS_PER_SAMPLE = 258  # the TIFF tag of how many bits each channel has
UPRIGHT = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)
"""What makes a file of this orientation upright."""
UNKNOWN_LISTED = 8  # a label with more unknown values than this is another kind of file


def decode_image(content: bytes, name: str) -> Image.Image:
    """An 8-bit RGB Pillow image, upright as viewers show it. Palette, gray and alpha images are converted; 16-bit and CMYK
    ones are refused."""
    return decode_oriented(content, name)[0]


def decode_oriented(content: bytes, name: str) -> tuple[Image.Image, int]:
    """`decode_image`, and the EXIF orientation that the file had (1: upright)."""
    image, orientation, bits = _open(content, name)
    if image.mode not in ("RGB", "RGBA", "L", "P", "1", "LA") or bits > 8:  # of colors Pillow would keep the high bytes
        raise UserError(
            f"{name}: an image must be 8-bit RGB (or gray or palette); its mode is {image.mode} of {bits} bits"
        )
    return image if image.mode == "RGB" else image.convert("RGB"), orientation


@dataclass(frozen=True)
class RawLabel:
    """What a label file holds, before anybody says what it means.

    `values` are ids (H, W) of uint8 or int32, or RGB colors (H, W, 3) of uint8. A palette file has both: its ids, and in
    `palette`, uint8 (256, 3), the color that it shows each of them in.
    """

    values: np.ndarray
    palette: np.ndarray | None = None

    def colors(self) -> np.ndarray | None:
        """RGB colors (H, W, 3), None where there are ids alone."""
        if self.values.ndim == 3:
            return self.values
        return None if self.palette is None else self.palette[self.values]

    def used_colors(self) -> dict[int, str]:
        """Of a palette file, the color "#rrggbb" of each id that occurs; else empty."""
        if self.palette is None:
            return {}
        used = np.flatnonzero(Image.fromarray(self.values).histogram())
        return {index: "#{:02x}{:02x}{:02x}".format(*self.palette[index].tolist()) for index in used.tolist()}


def decode_label(content: bytes, name: str) -> RawLabel:
    """The raw values of a label file.

    Of a 16-bit file with several channels (SYNTHIA) the first channel holds the id. Pillow silently reads such a file
    as its high byte (class 10 becomes 0), so OpenCV decodes it.
    """
    if _is_16_bit_png(content):
        return RawLabel(_decode_16_bit(content, name))
    image, _, bits = _open(content, name)
    if image.mode == "P":
        return RawLabel(np.asarray(image), _palette(image))
    if image.mode in ("L", "1"):
        return RawLabel(np.asarray(image).astype(np.uint8) // _gray_step(bits, image.mode))
    if image.mode.startswith("I"):
        return RawLabel(np.asarray(image).astype(np.int32))
    if image.mode in ("RGB", "RGBA") and bits <= 8:
        return RawLabel(np.asarray(image)[..., :3])
    raise UserError(
        f"{name}: a label must be a gray, palette, 16-bit gray (of PNG also color) or 8-bit RGB image; its mode is "
        f"{image.mode} of {bits} bits"
    )


def _palette(image: Image.Image) -> np.ndarray:
    colors = np.zeros(768, np.uint8)  # a file may leave out the colors that it does not use
    given = image.getpalette("RGB") or []
    colors[: len(given)] = given
    return colors.reshape(256, 3)


def allow_any_size() -> None:
    """Lift Pillow's limit on the pixels of an image, for the rest of this process."""
    Image.MAX_IMAGE_PIXELS = None


def _open(content: bytes, name: str) -> tuple[Image.Image, int, int]:
    """The image, turned upright, the orientation that it was stored in, and the bits of a channel in the file."""
    try:
        image = Image.open(io.BytesIO(content))
        turned_by_pillow, bits = image.format == "TIFF", _bits(image, content)
        orientation = _orientation(image) if turned_by_pillow else 1
        image.load()
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{name}: {str(error).partition(',')[0]}; cut it into tiles (`python -m dstc.predict` also has --allow-large)"
        ) from None
    except UnidentifiedImageError:  # whose words tell an address in memory
        reason = "it holds none that Pillow knows" if content else "it is empty"
        raise UserError(
            f"{name}: cannot be decoded as an image ({reason}); put the image back or remove the file"
        ) from None
    except MemoryError:  # of which the file may be innocent
        raise
    except Exception as error:  # Pillow raises many kinds for a broken file; each means the same to a user
        raise UserError(f"{name}: cannot be decoded as an image ({error}); is it truncated?") from None
    if turned_by_pillow:
        return image, orientation, bits
    orientation = _orientation(image)
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image, orientation, bits


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ORIENTATION)
        return next((orientation for orientation in UPRIGHT if orientation == found), 1)
    except Exception:  # a damaged block raises many kinds; viewers then show the image as it is stored
        return 1


def _bits(image: Image.Image, content: bytes) -> int:
    """Of a channel of a PNG or TIFF file, the most that one has; of other kinds of files 8."""
    if image.format == "TIFF":
        return max(image.tag_v2.get(BITS_PER_SAMPLE, (1,)))  # type: ignore[attr-defined]
    return content[24] if image.format == "PNG" else 8


def _is_16_bit_png(content: bytes) -> bool:
    return content[:8] == b"\x89PNG\r\n\x1a\n" and content[24:25] == b"\x10"


def _gray_step(bits: int, mode: str) -> int:
    """What Pillow multiplied the ids by: it stretches gray files of 2 and 4 bits to 0..255 (1 becomes 85 or 17)."""
    return {2: 85, 4: 17}.get(bits, 1) if mode == "L" else 1


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
    raw: RawLabel, label_ids: Mapping[int, int], label_colors: Mapping[str, int], name: str, *, tolerance: int = 0
) -> np.ndarray:
    """Map a label's ids, or its colors where `label_colors` are given, to train ids, uint8 (H, W).

    A value that is not among them means what the nearest one does, if no channel differs by more than `tolerance`; else it
    is an error: one line for each unknown value, or a single one where they are many.
    """
    if not label_colors:
        if raw.values.ndim == 3:
            raise UserError(
                f"{name}: holds RGB colors, but this data set's labels are ids; wanted is a gray or palette image"
            )
        return _look_up(raw.values, label_ids, name, "id {}", tolerance)
    colors = raw.colors()
    if colors is None:
        raise UserError(
            f"{name}: holds ids, but data.own gives colors for its classes; wanted is an RGB or palette image"
        )
    wide = colors.astype(np.uint32)
    packed = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
    known = {int(key.lstrip("#"), 16): meaning for key, meaning in label_colors.items()}
    return _look_up(packed, known, name, "color #{:06x}", tolerance)


def _look_up(raw: np.ndarray, known: Mapping[int, int], name: str, form: str, tolerance: int) -> np.ndarray:
    found, position = np.unique(raw, return_inverse=True) if raw.dtype != np.uint8 else (np.arange(256), raw)
    is_color = form.startswith("color")
    table = (
        _nearest_meanings(found, known, is_color, tolerance)
        if tolerance
        else np.array([known.get(int(value), -1) for value in found])
    )
    mapped = table[position].reshape(raw.shape)
    if (mapped < 0).any():
        unknown = [form.format(value) for value in np.unique(raw[mapped < 0])]
        shown = ", ".join(form.format(value).split()[1] for value in sorted(known)[:40])
        raise UserError("\n".join(f"{name}: {line}" for line in _unknown(unknown, shown, tolerance)))
    return mapped.astype(np.uint8)


def _unknown(unknown: list[str], known: str, tolerance: int) -> list[str]:
    near = f", none within data.own.tolerance {tolerance}" if tolerance else ""
    if len(unknown) <= UNKNOWN_LISTED:
        return [f"unknown label {value} (known are {known}{near})" for value in unknown]
    return [
        f"unknown label values, more than {UNKNOWN_LISTED} ({len(unknown)}, such as {unknown[0]}; known are {known}{near}); "
        "is it a photo, or does it have JPEG noise or smoothed edges?"
    ]


def _nearest_meanings(found: np.ndarray, known: Mapping[int, int], is_color: bool, tolerance: int) -> np.ndarray:
    """The meaning of the known value that is nearest to each found one, -1 where none is within the tolerance."""
    values = channels_of(found) if is_color else found[:, None].astype(np.int64)
    best, meanings = np.full(len(found), tolerance + 1), np.full(len(found), -1)
    for value, meaning in sorted(known.items()):
        one = channels_of(np.array([value])) if is_color else np.array([[value]])
        distance = np.abs(values - one).max(axis=1)
        meanings[distance < best] = meaning
        best = np.minimum(best, distance)
    return meanings


def channels_of(packed: np.ndarray) -> np.ndarray:
    """Colors 0xrrggbb (N,) as their channels (N, 3), int64."""
    return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1).astype(np.int64)
