"""Curves as CSV files that DVC plots: a column a quantity, a row an iteration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dstc.core.files import write_text


class Curve:
    """Rows of numbers, written whole at the end. Losses are averaged over the iterations since the last row."""

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

    def save(self, path: Path) -> None:
        names = list(dict.fromkeys([*(name for row in self.rows for name in row), *self.names]))
        lines = [",".join(names)]
        lines += [",".join(_number(row.get(name)) for name in names) for row in self.rows]
        write_text(path, "\n".join(lines) + "\n")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
