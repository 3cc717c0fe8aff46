import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dstc.core.errors import UserError
from dstc.core.image_files import RawLabel, decode_image, decode_label, decode_oriented, to_train_ids
from dstc.core.taxonomy import IGNORE
from tests.preparation.trees import png_16_bit, png_bytes


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_eight_bit_images_of_any_mode_become_rgb(mode: str) -> None:
    image = decode_image(encoded(Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode)), "x.png")
    assert (image.mode, image.size) == ("RGB", (3, 2))
    assert np.asarray(image).min() == 255


@pytest.mark.parametrize(("mode", "kind"), [("I;16", "PNG"), ("CMYK", "JPEG"), ("F", "TIFF")])
def test_images_of_other_modes_are_refused(mode: str, kind: str) -> None:
    with pytest.raises(UserError, match="x: an image must be 8-bit RGB"):
        decode_image(encoded(Image.new(mode, (3, 2)), kind), "x")


@pytest.mark.parametrize("kind", [".png", ".tiff"])
def test_colors_of_16_bits_are_refused_and_not_cut_to_their_high_bytes(kind: str) -> None:
    content = cv2.imencode(kind, np.full((2, 3, 3), 300, np.uint16))[1].tobytes()
    with pytest.raises(UserError, match=r"x: an image must be 8-bit RGB .*; its mode is RGB of 16 bits"):
        decode_image(content, "x")
    if kind == ".tiff":
        with pytest.raises(UserError, match=r"x: a label must be .*; its mode is RGB of 16 bits"):
            decode_label(content, "x")
    else:
        assert (decode_label(content, "x").values == 300).all()


UPRIGHT = np.arange(24, dtype=np.uint8).reshape(4, 6)
STORED = {  # how a camera's file of each EXIF orientation holds that picture, by hand
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_images_and_labels_are_turned_upright_as_viewers_show_them(orientation: int, kind: str) -> None:
    exif, content = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(STORED[orientation])).save(content, kind, exif=exif)
    image, found = decode_oriented(content.getvalue(), "x")
    assert np.asarray(image)[..., 0].tolist() == UPRIGHT.tolist()
    assert found == orientation
    assert decode_label(content.getvalue(), "x").values.tolist() == UPRIGHT.tolist()


def test_an_unreadable_orientation_leaves_the_image_as_it_is_stored() -> None:
    content = io.BytesIO()
    Image.new("RGB", (6, 4)).save(content, "JPEG", exif=b"Exif\0\0no directory")
    assert decode_image(content.getvalue(), "x").size == (6, 4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"\(it is empty\); put the image back"),
        (b"no image", r"\(it holds none that Pillow knows\); put the image back"),
        (encoded(Image.new("RGB", (90, 80)))[:-30], r".*; is it truncated\?"),
    ],
)
def test_broken_files_are_refused_by_their_name(content: bytes, reason: str) -> None:
    for decode in (decode_image, decode_label):
        with pytest.raises(UserError, match=rf"a/x\.png: cannot be decoded as an image {reason}"):
            decode(content, "a/x.png")


def test_a_lack_of_memory_is_not_taken_for_a_broken_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: Image.Image) -> None:
        raise MemoryError

    content = encoded(Image.new("RGB", (6, 4)))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(MemoryError):
        decode_image(content, "x")


def test_a_palette_label_gives_the_index_and_not_the_color() -> None:
    image = Image.new("P", (3, 2), 7)
    image.putpalette([200] * 768)
    label = decode_label(encoded(image), "x")
    assert (label.values == 7).all()
    assert label.used_colors() == {7: "#c8c8c8"}
    assert label.colors().tolist() == [[[200] * 3] * 3] * 2


def tiff_bytes(row: bytes, width: int, depth: int) -> bytes:
    """A gray TIFF file of one row; black is zero."""
    tags = {256: width, 257: 1, 258: depth, 259: 1, 262: 1, 273: 0, 277: 1, 278: 1, 279: len(row)}
    tags[273] = 8 + 2 + 12 * len(tags) + 4  # where the row begins
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + row


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_gray_labels_of_few_bits_keep_their_ids(depth: int) -> None:
    ids = np.arange(8) % 2**depth
    bits = "".join(f"{i:0{depth}b}" for i in ids)
    row = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    label = decode_label(png_bytes([row], 8, depth=depth, color_type=0), "x").values
    assert label.dtype == np.uint8
    assert label.tolist() == [ids.tolist()]
    assert decode_label(tiff_bytes(row, 8, depth), "x").values.tolist() == [ids.tolist()]


@given(st.integers(0, 65535), st.sampled_from([1, 3, 4]))
def test_a_16_bit_label_gives_both_bytes_of_its_first_channel(value: int, channels: int) -> None:
    raw = np.full((2, 3, channels), 1000, np.uint16)
    raw[..., 0] = value
    label = decode_label(png_16_bit(raw), "x").values
    assert (label.shape, label.dtype) == ((2, 3), np.int32)
    assert (label == value).all()


def test_a_truncated_16_bit_label_is_refused() -> None:
    content = png_16_bit(np.random.default_rng(0).integers(0, 9, (90, 80, 3)).astype(np.uint16))
    with pytest.raises(UserError, match="x: cannot be decoded as a 16-bit PNG"):
        decode_label(content[: len(content) // 2], "x")


def test_color_labels_drop_alpha() -> None:
    assert decode_label(encoded(Image.new("RGBA", (3, 2), (1, 2, 3, 4))), "x").values.tolist()[0][0] == [1, 2, 3]


def test_a_label_of_another_mode_is_refused() -> None:
    with pytest.raises(UserError, match=r"x: a label must be .*its mode is LA"):
        decode_label(encoded(Image.new("LA", (3, 2))), "x")


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_ids_are_mapped_one_by_one(dtype: type) -> None:
    raw = np.array([[7, 8], [0, 7]], dtype)
    mapped = to_train_ids(RawLabel(raw), {7: 0, 8: 1, 0: IGNORE, -1: IGNORE}, {}, "x")
    assert mapped.dtype == np.uint8
    assert mapped.tolist() == [[0, 1], [IGNORE, 0]]


def test_colors_are_mapped_one_by_one() -> None:
    raw = np.array([[[0, 1, 2], [255, 255, 255]]], np.uint8)
    assert to_train_ids(RawLabel(raw), {}, {"#000102": 3, "#ffffff": IGNORE}, "x").tolist() == [[3, IGNORE]]


@pytest.mark.parametrize(
    ("raw", "ids", "colors", "message"),
    [
        (
            np.array([[7, 9, 10]], np.uint8),
            {7: 0},
            {},
            r"x: unknown label id 9 \(known are 7\)\nx: unknown label id 10",
        ),
        (np.array([[7, 900]], np.int32), {7: 0}, {}, "x: unknown label id 900"),
        (np.zeros((1, 1, 3), np.uint8), {}, {"#000001": 0}, r"x: unknown label color #000000 \(known are #000001\)"),
        (np.zeros((1, 1, 3), np.uint8), {0: 0}, {}, "x: holds RGB colors, but this data set's labels are ids"),
        (np.zeros((1, 1), np.uint8), {}, {"#000001": 0}, r"x: holds ids, but data\.own gives colors"),
    ],
)
def test_values_that_mean_nothing_are_refused(
    raw: np.ndarray, ids: dict[int, int], colors: dict[str, int], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        to_train_ids(RawLabel(raw), ids, colors, "x")


def test_a_palette_label_is_read_by_its_colors_where_the_rules_are_colors() -> None:
    image = Image.new("P", (3, 2), 7)
    image.putpalette([0] * 21 + [1, 2, 3])
    raw = decode_label(encoded(image), "x")
    assert (to_train_ids(raw, {}, {"#010203": 5}, "x") == 5).all()
    with pytest.raises(UserError, match=r"x: unknown label color #010203 \(known are #010204\)"):
        to_train_ids(raw, {}, {"#010204": 5}, "x")


def slow_nearest(value: tuple[int, ...], known: dict[tuple[int, ...], int], tolerance: int) -> int | None:
    distances = {other: max(abs(a - b) for a, b in zip(value, other, strict=True)) for other in sorted(known)}
    nearest = min(distances, key=lambda other: distances[other])
    return known[nearest] if distances[nearest] <= tolerance else None


@given(
    st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=6, unique=True), st.integers(1, 200), st.data()
)
def test_with_a_tolerance_a_color_means_what_the_nearest_known_one_does(
    colors: list[tuple[int, int, int]], tolerance: int, data: st.DataObject
) -> None:
    known = {color: meaning for meaning, color in enumerate(colors)}
    value = data.draw(st.tuples(*[st.integers(0, 255)] * 3))
    raw = RawLabel(np.array([[value]], np.uint8))
    by_name = {"#{:02x}{:02x}{:02x}".format(*color): meaning for color, meaning in known.items()}
    expected = slow_nearest(value, known, tolerance)
    if expected is None:
        with pytest.raises(UserError, match=f"none within data.own.tolerance {tolerance}"):
            to_train_ids(raw, {}, by_name, "x", tolerance=tolerance)
    else:
        assert to_train_ids(raw, {}, by_name, "x", tolerance=tolerance).tolist() == [[expected]]


def test_with_a_tolerance_ids_between_two_known_ones_go_to_the_nearer() -> None:
    raw = RawLabel(np.array([[0, 90, 127, 128, 250]], np.uint8))
    assert to_train_ids(raw, {0: 0, 255: 1}, {}, "x", tolerance=127).tolist() == [[0, 0, 0, 1, 1]]
