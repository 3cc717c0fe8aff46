"""Sizes, scales and the like as they are typed on a command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter

from dstc.config.sections import Scale, Threads, Window
from dstc.models.checkpoints import WEIGHTS
from dstc.prediction.results import KINDS
from dstc.prediction.trained import Size

LARGEST = 179_000_000  # pixels that Pillow takes without being asked; more would fill the memory of most machines


def scales(text: str) -> tuple[float, ...]:
    """`0.75,1` as (0.75, 1.0)."""
    with _rule(text, "numbers from 0.1 to 10 separated by commas, such as 0.75,1,1.25"):
        return tuple(TypeAdapter(Scale).validate_python(float(part)) for part in text.split(","))


def size(text: str) -> Size:
    """`1024x512` as (1024, 512)."""
    with _rule(text, "WIDTHxHEIGHT in pixels, each at least 16, 179 million together at most, such as 1024x512"):
        width, height = TypeAdapter(Window).validate_python([int(part) for part in text.split("x")])
        if width * height > LARGEST:
            raise ValueError
        return width, height


def threads(text: str) -> int:
    """A number of CPU threads, 0 for torch's choice."""
    with _rule(text, "a whole number from 0 to 1024"):
        return TypeAdapter(Threads).validate_python(int(text))


@contextmanager
def _rule(text: str, rule: str) -> Iterator[None]:
    try:
        yield
    except ValueError:  # pydantic's errors are some, too
        raise argparse.ArgumentTypeError(f"'{text}': must be {rule}") from None


def kinds(text: str) -> list[str]:
    """`train_ids,colors` as a list; each must be one of `KINDS`."""
    found = text.split(",")
    unknown = sorted(set(found) - set(KINDS))
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: known are {', '.join(KINDS)}")
    return found


def add_average_with(parser: argparse.ArgumentParser) -> None:
    """The option --average-with: further checkpoints."""
    parser.add_argument(
        "--average-with",
        type=Path,
        action="append",
        default=[],
        metavar="NETWORK",
        help="another checkpoint; the class probabilities are averaged (may be repeated)",
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    """The option --weights: which network of a checkpoint that holds two."""
    parser.add_argument(
        "--weights",
        choices=WEIGHTS,
        default=WEIGHTS[0],
        help="of the averaged network, or of the network itself at its last step (if not given: %(default)s)",
    )
