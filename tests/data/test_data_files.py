"""What arrays are made of files: the cache keeps them under `data_files.FORMAT`, so a change must raise it."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dstc.core.index import DomainIndex, digest
from dstc.data import data_files
from dstc.data.data_files import DataFile, ImageFile, LabelFile, image_file
from tests.data.small_domain import small_domain

# Digests of the arrays of every kind of file, by the format that made them.
RECORDED: dict[int, dict[str, str]] = {
    2: {
        "image: gray, 1 bits": "b6dc939d6a553119",
        "image: gray, 2 bits": "9262941cd5f521ab",
        "image: gray, 4 bits": "ee1bc27218206c5a",
        "image: gray, 8 bits": "58b9e04679aa9a52",
        "image: palette, 1 bits": "5f2f33142902b898",
        "image: palette, 8 bits": "f956e2c356f22036",
        "image: RGB": "21aed891848aa71f",
        "image: RGB, turned by EXIF": "45acfb5d554e2fa5",
        "image: gray, alpha": "58b9e04679aa9a52",
        "image: RGBA": "21aed891848aa71f",
        "image: RGB, smaller": "b0b752aeadd93167",
        "image: RGB, larger": "2dcbe84a86b5be31",
        "label: gray, 1 bits": "f1f2ef415b5f1ba4",
        "label: gray, 2 bits": "f5a96c662eb16ab0",
        "label: gray, 4 bits": "2c222bea834a2656",
        "label: gray, 8 bits": "2c222bea834a2656",
        "label: palette, 1 bits": "f1f2ef415b5f1ba4",
        "label: palette, 8 bits": "2c222bea834a2656",
        "label: gray, 16 bits": "2c222bea834a2656",
        "label: RGB, 16 bits": "2c222bea834a2656",
        "label: RGB": "cf9244ceb196494f",
        "label: RGBA": "cf9244ceb196494f",
        "label: gray, smaller": "5204aa0bcbc4f214",
        "label: gray, larger": "5a6c3fe851c5a380",
    }
}
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6  # color types of PNG
CHANNELS = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
WIDTH, HEIGHT = 16, 11


def png(color: int, bits: int, *, ids: int = 0, turned: bool = False) -> bytes:
    """A PNG file of arithmetic content, with at most `ids` different values. JPEG would depend on its decoder."""
    rows, columns, channels = np.mgrid[:HEIGHT, :WIDTH, : CHANNELS[color]]
    values = (rows * 37 + columns * 11 + channels * 71) % (ids or 2**bits)
    big_endian = values.reshape(HEIGHT, -1).astype(">u2").view(np.uint8).reshape(HEIGHT, -1, 2)
    digits = np.unpackbits(big_endian, axis=-1)[..., 16 - bits :].reshape(HEIGHT, -1)
    lines = b"".join(b"\0" + line.tobytes() for line in np.packbits(digits, axis=-1))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, color, 0, 0, 0))]
    if color == PALETTE:
        chunks.append((b"PLTE", bytes(value * 7 % 256 for value in range(3 * 2**bits))))
    if turned:  # EXIF: orientation 6
        chunks.append((b"eXIf", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"))
    chunks += [(b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def images() -> Iterator[tuple[str, bytes, tuple[int, int]]]:
    """Name, content, size wanted."""
    own = WIDTH, HEIGHT
    yield from ((f"gray, {bits} bits", png(GRAY, bits), own) for bits in (1, 2, 4, 8))
    yield from ((f"palette, {bits} bits", png(PALETTE, bits), own) for bits in (1, 8))
    yield "RGB", png(RGB, 8), own
    yield "RGB, turned by EXIF", png(RGB, 8, turned=True), own
    yield "gray, alpha", png(GRAY_ALPHA, 8), own
    yield "RGBA", png(RGBA, 8), own
    yield "RGB, smaller", png(RGB, 8), (9, 5)
    yield "RGB, larger", png(RGB, 8), (31, 20)


def labels() -> Iterator[tuple[str, bytes, tuple[int, int], bool]]:
    """Name, content, size wanted, whether classes are colors."""
    own = WIDTH, HEIGHT
    for bits, ids in ((1, 2), (2, 4), (4, 5), (8, 5)):
        yield f"gray, {bits} bits", png(GRAY, bits, ids=ids), own, False
    for bits, ids in ((1, 2), (8, 5)):
        yield f"palette, {bits} bits", png(PALETTE, bits, ids=ids), own, False
    yield "gray, 16 bits", png(GRAY, 16, ids=5), own, False
    yield "RGB, 16 bits", png(RGB, 16, ids=5), own, False
    yield "RGB", png(RGB, 8, ids=2), own, True
    yield "RGBA", png(RGBA, 8, ids=2), own, True
    yield "gray, smaller", png(GRAY, 8, ids=5), (9, 5), False
    yield "gray, larger", png(GRAY, 8, ids=5), (31, 20), False


def index(*, colors: bool) -> DomainIndex:
    by_color = {"#" + "".join(f"0{bit}" for bit in bits): sum(bits) for bits in itertools.product((0, 1), repeat=3)}
    ids = {} if colors else {0: 255, 1: 0, 2: 3, 3: 1, 4: 2}
    return DomainIndex(
        "source", ("a", "b", "c", "d"), ((0, 0, 0),) * 4, ids, (), label_colors=by_color if colors else {}
    )


def found() -> dict[str, str]:
    files: dict[str, tuple[DataFile, bytes]] = {}
    for name, content, size in images():
        files[f"image: {name}"] = ImageFile(Path(name), name, "", size), content
    for name, content, size, colors in labels():
        files[f"label: {name}"] = LabelFile(Path(name), name, "", size, index(colors=colors)), content
    arrays = {name: file.decode(content) for name, (file, content) in files.items()}
    assert all(array.shape == files[name][0].shape and array.dtype == np.uint8 for name, array in arrays.items())
    return {name: digest(np.ascontiguousarray(array).tobytes()) for name, array in arrays.items()}


def test_the_files_of_this_test_are_what_they_are_called() -> None:
    sizes = {name: Image.open(io.BytesIO(content)).size for name, content, _ in images()}
    assert set(sizes.values()) == {(WIDTH, HEIGHT)}
    turned = Image.open(io.BytesIO(png(RGB, 8, turned=True)))
    assert turned.getexif()[0x0112] == 6
    assert len(set(found().values())) >= 15


def test_other_arrays_of_the_same_bytes_have_another_format() -> None:
    """If this fails though no array was to change, it has found a fault. Else raise `data_files.FORMAT`, so that nobody is
    given cached arrays of the old kind, and record what is printed here under the new number."""
    assert found() == RECORDED[data_files.FORMAT]


def test_a_new_format_or_another_decoder_gives_arrays_other_names_and_an_edited_comment_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = small_domain(tmp_path, 1)

    def key() -> str:
        data_files._generation.cache_clear()
        return image_file(domain.entries[0], domain, [tmp_path]).key

    before = key()
    for changed, value in (("PIL.__version__", "0.0"), ("FORMAT", 10**6), ("features.version", lambda _: "0.0")):
        with monkeypatch.context() as patch:
            patch.setattr(f"dstc.data.data_files.{changed}", value)
            assert key() != before
    with monkeypatch.context() as patch:
        read = Path.read_bytes
        patch.setattr(Path, "read_bytes", lambda path: read(path) + (b"# more" if path.suffix == ".py" else b""))
        assert key() == before
    data_files._generation.cache_clear()
