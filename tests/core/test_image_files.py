import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dstc.core.errors import UserError
from dstc.core.image_files import RawLabel, decode_image, decode_label, to_train_ids
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


@pytest.mark.parametrize("content", [b"", b"no image", encoded(Image.new("RGB", (90, 80)))[:-30]])
def test_broken_files_are_refused_by_their_name(content: bytes) -> None:
    for decode in (decode_image, decode_label):
        with pytest.raises(UserError, match=r"a/x\.png: cannot be decoded as an image .*is it truncated\?"):
            decode(content, "a/x.png")


def test_a_palette_label_gives_the_index_and_not_the_color() -> None:
    image = Image.new("P", (3, 2), 7)
    image.putpalette([200] * 768)
    label = decode_label(encoded(image), "x")
    assert (label.values == 7).all()
    assert label.used_colors() == {7: "#c8c8c8"}
    assert label.colors().tolist() == [[[200] * 3] * 3] * 2


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_gray_labels_of_few_bits_keep_their_ids(depth: int) -> None:
    ids = np.arange(8) % 2**depth
    bits = "".join(f"{i:0{depth}b}" for i in ids)
    row = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    label = decode_label(png_bytes([row], 8, depth=depth, color_type=0), "x").values
    assert label.dtype == np.uint8
    assert label.tolist() == [ids.tolist()]


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
