"""Curves as CSV files: a column a quantity, a row an iteration. Some grow while a training runs, DVC plots the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dstc.core.files import write_text


class Curve:
    """Rows of numbers. Losses are averaged over the iterations since the last row."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """`names` are columns to have in any case: DVC drops a plot whole if one of its columns is missing."""
        self.names = tuple(names)
        self.rows: list[dict[str, float]] = []
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: dict[str, float]) -> None:
        """Gather one iteration's losses."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def close_row(self, iteration: int, **more: float) -> None:
        """Write down the means since the last row at this iteration (counted from 1)."""
        means = {name: value / self._counts[name] for name, value in self._sums.items()}
        self.rows.append({"iteration": iteration, **more, **means})
        self._sums, self._counts = {}, {}

    def as_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "sums": self._sums, "counts": self._counts}

    def restore(self, saved: Mapping[str, Any]) -> None:
        self.rows, self._sums, self._counts = list(saved["rows"]), dict(saved["sums"]), dict(saved["counts"])

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of all rows, in the order in which they came, then those to have in any case."""
        return tuple(dict.fromkeys(["iteration", *(name for row in self.rows for name in row), *self.names]))

    def save(self, path: Path) -> None:
        """Write all rows, whole or not at all."""
        write_text(path, ",".join(self.columns) + "\n" + self._lines(0))

    def _lines(self, first: int) -> str:
        """The rows from number `first` on."""
        columns = self.columns
        return "".join(",".join(_number(row.get(name)) for name in columns) + "\n" for row in self.rows[first:])


class LiveFile:
    """A curve on disk while it grows, to be watched: new rows are appended, so a kill costs no more than part of the last.

    It is written anew the first time, which cuts what an interrupted run had written beyond its saved state, and where a
    column comes that it has not. It is always what `Curve.save` would write.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._rows = path, 0
        self._columns: tuple[str, ...] = ()

    def show(self, curve: Curve) -> None:
        """Bring the file up to date."""
        if curve.columns != self._columns:
            curve.save(self.path)
        elif len(curve.rows) > self._rows:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(curve._lines(self._rows))
        self._columns, self._rows = curve.columns, len(curve.rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
