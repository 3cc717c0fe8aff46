"""Any change of a params.yaml or of an image file ends in a valid value or in a proper refusal, and in nothing else.

2,500 changed files; the draws are hypothesis' own, derived from the tests' names, so every run sees the same.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dstc.config.params import Params, check_params, load_yaml
from dstc.core.errors import UserError
from dstc.core.taxonomy import CITYSCAPES_19, IGNORE
from dstc.preparation.checks import Rules, check_pair
from dstc.preparation.label_rules import label_rules
from dstc.preparation.layouts import Pair
from tests.preparation import trees

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


@dataclass(frozen=True)
class Refused:
    message: str


def outcome(attempt: Callable[[], Any]) -> Any:
    try:
        return attempt()
    except UserError as error:
        return Refused(str(error))


def proved(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=QUIET)


# --- params.yaml

LINES = [line for line in (trees.PROJECT / "params.yaml").read_text().splitlines() if line.strip(" #-")]
NASTY = [
    *(
        "",
        "null",
        "true",
        "no",
        "-1",
        "0",
        "3",
        "1e400",
        "-0.0",
        ".nan",
        ".inf",
        "1_000",
        "0x1F",
        "0o17",
        "1:30",
        "2026-01-01",
    ),
    *(
        "[]",
        "{}",
        "[1, 2]",
        "[[1]]",
        "{a: 1}",
        "? x",
        "- a",
        "'",
        '"',
        '"\\0"',
        '"\\ud800"',
        "|",
        ">",
        "%",
        "@",
        "`",
        "!",
        "&a",
        "*a",
    ),
    *(
        "&a [*a]",
        "!!int x",
        "!!bool x",
        "!!binary x",
        "!!python/name:os.system",
        "<<: 3",
        "<<: *a",
        "\t",
        "\x07",
        "é",
        "\u2028",
    ),
    *("embedded", "/", "..", "9" * 5000, "a" * 3000, "[" * 200, "{a: " * 50),
]


@st.composite
def changed_params(draw: st.DrawFn) -> str:
    """params.yaml with a few of its lines lost, doubled, moved, indented otherwise, cut, or with another value."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        match draw(
            st.sampled_from(["value", "value", "value", "key", "lose", "double", "move", "indent", "cut", "letters"])
        ):
            case "value":
                lines[at] = line.split(":")[0] + ": " + draw(st.sampled_from(NASTY))
            case "key":
                lines[at] = draw(st.sampled_from(NASTY)) + ":" + line.partition(":")[2]
            case "lose":
                del lines[at]
            case "double":
                lines.insert(at, line)
            case "move":
                lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
            case "indent":
                lines[at] = " " * draw(st.integers(0, 7)) + line.lstrip()
            case "cut":
                lines[at] = line[: draw(st.integers(0, len(line)))]
            case "letters":
                lines[at] = line + draw(st.text(max_size=4))
    return "\n".join(lines) + "\n"


@proved(700)
@given(changed_params())
def test_a_changed_params_yaml_is_valid_or_refused_in_lines_that_name_it(text: str) -> None:
    raw = outcome(lambda: load_yaml(text, "params.yaml"))
    found = outcome(lambda: check_params(raw, "params.yaml")) if isinstance(raw, dict) else raw
    if isinstance(found, Refused):
        assert all(line.startswith("params.yaml: ") for line in found.message.splitlines())
        assert len(found.message) < 20_000
    else:
        assert isinstance(found, Params)


# --- image files


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def joined(parts: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG with right checksums, so that a change reaches the decoder behind them."""
    whole = b"".join(struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in parts)
    return b"\x89PNG\r\n\x1a\n" + whole


PIXELS = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)
FILES = [
    encoded(Image.fromarray(PIXELS)),
    encoded(Image.fromarray(PIXELS).convert("RGBA")),
    encoded(Image.fromarray(PIXELS[..., 0] % 34)),
    encoded(Image.fromarray(PIXELS).quantize(8)),
    encoded(Image.fromarray(PIXELS).convert("1")),
    trees.png_16_bit(PIXELS.astype(np.uint16)),
    trees.png_16_bit(PIXELS[..., :1].astype(np.uint16)),
    encoded(Image.fromarray(PIXELS), "JPEG"),
    encoded(Image.fromarray(PIXELS), "BMP"),
    encoded(Image.fromarray(PIXELS), "TIFF"),
    encoded(Image.fromarray(PIXELS), "WEBP"),
]
SIDES = st.sampled_from([0, 1, 5, 7, 8, 9, 300, 100_000, 2**31 - 1, 2**32 - 1])


@st.composite
def changed_file(draw: st.DrawFn) -> bytes:
    """An image file with bytes flipped, cut, inserted; or a PNG with other header fields or contents, checksums right."""
    content = bytearray(draw(st.sampled_from(FILES)))
    kinds = ["flip", "flip", "cut", "insert", "lose"]
    if content[:4] == b"\x89PNG":
        kinds += ["header", "header", "size", "body", "body", "order", "foreign"]
    kind = draw(st.sampled_from(kinds))
    if kind in ("flip", "cut", "insert", "lose"):
        at = draw(st.integers(0, len(content) - 1))
        some = draw(st.binary(min_size=1, max_size=9))
        match kind:
            case "flip":
                content[at : at + len(some)] = bytes(
                    a ^ b for a, b in zip(content[at : at + len(some)], some, strict=False)
                )
            case "cut":
                del content[at:]
            case "insert":
                content[at:at] = some
            case "lose":
                del content[at : at + len(some)]
        return bytes(content)
    parts = chunks(bytes(content))
    header = bytearray(parts[0][1])
    at = draw(st.integers(0, len(parts) - 1))
    match kind:
        case "header":
            header[draw(st.integers(8, 12))] = draw(st.integers(0, 255) | st.sampled_from([0, 1, 2, 3, 4, 6, 8, 16]))
            parts[0] = (b"IHDR", bytes(header))
        case "size":
            parts[0] = (b"IHDR", struct.pack(">II", draw(SIDES), draw(SIDES)) + bytes(header[8:]))
        case "body":
            parts[at] = (parts[at][0], draw(st.binary(max_size=30)))
        case "order":
            parts.insert(draw(st.integers(0, len(parts) - 1)), parts.pop(at))
        case "foreign":
            name = draw(st.sampled_from([b"tRNS", b"PLTE", b"gAMA", b"eXIf", b"tEXt", b"acTL", b"fcTL", b"ABCD"]))
            parts.insert(at, (name, draw(st.binary(max_size=30))))
    return joined(parts)


GTA5 = label_rules("gta5", CITYSCAPES_19, {}, [])
RULES = Rules(19, replace(GTA5, ids={id_: GTA5.ids.get(id_, IGNORE) for id_ in range(2**16)}), labels_required=True)
PAIR = Pair("image.png", "label.png")


@pytest.mark.filterwarnings("ignore")  # Pillow's, of what it could mend
@pytest.mark.parametrize("changed", [PAIR.image, PAIR.label])
def test_a_changed_image_or_label_is_indexed_or_a_problem_of_its_own(changed: str, tmp_path: Path) -> None:
    for name in (PAIR.image, "label.png"):
        (tmp_path / name).write_bytes(FILES[2])

    @proved(900)
    @given(changed_file())
    def each(content: bytes) -> None:
        (tmp_path / changed).write_bytes(content)
        checked = check_pair(RULES, tmp_path, 0, PAIR)
        if checked.entry is None:
            assert checked.problems
            assert all(problem.file.parent == tmp_path for problem in checked.problems)
        else:
            assert (checked.entry.width, checked.entry.height) == (8, 6)
            assert checked.entry.pixels is not None

    each()
