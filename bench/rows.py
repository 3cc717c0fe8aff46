"""What a benchmark finds: rows of one table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One comparison. `figure` is what counts (a ratio, a share, a slope), `limit` what it has to keep to, if anything."""

    what: str
    straightforward: str
    ours: str
    figure: str
    limit: str = ""
    met: bool = True


def times_as_fast(what: str, straightforward: float, ours: float, unit: str, *, at_least: float | None = None) -> Row:
    """Two costs of the same work, and how many times ours goes into the other."""
    ratio = straightforward / ours
    limit = "" if at_least is None else f"at least {at_least:g}x"
    return Row(what, _with(straightforward, unit), _with(ours, unit), f"{ratio:.1f}x", limit, ratio >= (at_least or 0))


def share_of(what: str, whole: float, part: float, unit: str, *, at_most: float | None = None) -> Row:
    """A cost beside one that is there anyway."""
    share, limit = part / whole, "" if at_most is None else f"at most {at_most:g}"
    return Row(what, _with(whole, unit), _with(part, unit), f"{share:.3f}", limit, at_most is None or share <= at_most)


def share_of_limit(what: str, limit: float, ours: float, *, at_least: float | None = None) -> Row:
    """A rate beside the one that the machine allows."""
    share, least = ours / limit, "" if at_least is None else f"at least {at_least:.2f}"
    return Row(
        what, f"{limit:.3g} (limit)", f"{ours:.3g}", f"{share:.2f}", least, at_least is None or share >= at_least
    )


def times_as_much(what: str, straightforward: float, ours: float, *, at_most: float | None = None) -> Row:
    """Two amounts of memory, in bytes."""
    ratio, limit = ours / straightforward, "" if at_most is None else f"at most {at_most:g}x"
    one, other = (_with(amount / 1e9, "GB") for amount in (straightforward, ours))
    return Row(what, one, other, f"{ratio:.2f}x", limit, at_most is None or ratio <= at_most)


def slope_of(what: str, slope: float, smallest: str, largest: str, *, at_most: float) -> Row:
    """How a cost grows: the slope of its logarithm over the logarithm of what there is to do. 1 is in proportion."""
    return Row(what, smallest, largest, f"slope {slope:.2f}", f"at most {at_most:g}", slope <= at_most)


def _with(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"


HEADS = ("what", "straightforward", "ours", "figure", "limit")


def markdown(rows: Iterable[Row]) -> str:
    """The table, its columns aligned so that it reads as plain text too; a missed limit says so."""
    lines = [HEADS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    rule = ["-" * width for width in widths]
    return "\n".join(_line(cells, widths) for cells in (lines[0], rule, *lines[1:])) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    return (row.what, row.straightforward, row.ours, row.figure, row.limit + ("" if row.met else " MISSED"))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
