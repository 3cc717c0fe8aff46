"""One table for all studies: mean and standard deviation over seeds, and paired differences with their 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from scipy import stats


@dataclass(frozen=True)
class Layout:
    """How rows become a table."""

    lines: tuple[str, ...]  # columns that tell lines apart
    seeds: tuple[str, ...] = ("seed",)  # columns that pair runs; of rows with equal lines and seeds the best counts
    measures: tuple[str, ...] = ("miou",)
    across: str | None = None  # a column whose values become columns of the table, in place of several measures
    base: str | None = None  # the line that others are compared with, paired, ...
    compared: str = "miou"  # ... in this column of the table, ...
    base_first: bool = False  # ... as base minus line; else line minus base
    decimals: Mapping[str, int] = field(default_factory=dict)  # by column of the table, where it is not 1
    prepare: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows


def values_of(rows: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """The numbers by line and seeds, in the order of the rows."""
    rows = layout.prepare(rows)
    rows = rows.assign(line=rows[list(layout.lines)].astype(str).agg(", ".join, axis=1))
    by_seed = rows.groupby(["line", *layout.seeds, *([layout.across] if layout.across else [])], sort=False)
    values = by_seed[list(layout.measures)].max()
    return values[layout.measures[0]].unstack(sort=False) if layout.across else values


def table(rows: pd.DataFrame, layout: Layout | None) -> str:
    """The rows of a study in Markdown; without a layout as they are."""
    if layout is None:
        return _markdown([[*map(str, rows)], *rows.astype(object).fillna("").astype(str).to_numpy().tolist()])
    values = values_of(rows, layout)
    by_line = {str(line): own.droplevel("line") for line, own in values.groupby(level="line", sort=False)}
    base = by_line.get(str(layout.base))
    compared = f"{layout.base} minus this" if layout.base_first else f"{layout.compared} minus that of {layout.base}"
    lines = [["", "runs", *values.columns, *([compared] if base is not None else [])]]
    for line, own in by_line.items():
        cells = [mean_and_spread(own[column], layout.decimals.get(column, 1)) for column in values.columns]
        lines.append([line, str(len(own)), *cells])
        if base is not None:
            sides = (base, own) if layout.base_first else (own, base)
            gap = paired_difference(*(side[layout.compared] for side in sides))
            lines[-1].append("" if line == layout.base else gap)
    return _markdown(lines)


def _markdown(lines: list[list[str]]) -> str:
    head, *rest = (f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([head, "|---" * len(lines[0]) + "|", *rest])


def mean_and_spread(values: pd.Series, decimals: int = 1) -> str:
    """Mean and standard deviation, or the only value."""
    values = values.dropna()
    spread = f" ± {values.std():.{decimals}f}" if len(values) > 1 else ""
    return f"{values.mean():.{decimals}f}{spread}" if len(values) else ""


def paired_difference(a: pd.Series, b: pd.Series) -> str:
    """Mean of a - b over the seeds that both have, with its 95 % interval (Student's t)."""
    difference = (a - b).dropna()
    mean, count = difference.mean(), len(difference)
    if count < 2:
        return f"{mean:+.1f}" if count else ""
    half = stats.t.ppf(0.975, count - 1) * difference.sem()
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"


def draw_lines(
    lines: Mapping[str, pd.Series], path: Path, *, over: str, ceiling: tuple[str, float] | None = None
) -> None:
    """mIoU over a number. A line is a series with that number as its index, a value for each seed: their mean, with a band
    of their standard deviation. `ceiling` is a name and a value to draw across."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5))
    axes = figure.add_subplot()
    for name, values in lines.items():
        by_number = values.groupby(level=0)
        mean, spread = by_number.mean(), by_number.std()  # of one seed there is none, and no band
        bars = axes.errorbar(mean.index, mean, yerr=spread, marker="o", capsize=3, label=name)
        axes.fill_between(mean.index, mean - spread, mean + spread, alpha=0.2, color=bars[0].get_color(), linewidth=0)
    if ceiling:
        axes.axhline(ceiling[1], color="gray", linestyle="--", label=ceiling[0])
    numbers = sorted({number for values in lines.values() for number in values.index})
    axes.set_xscale("log")
    axes.set_xticks(numbers, [str(number) for number in numbers], rotation=45)
    axes.minorticks_off()
    axes.set_xlabel(over)
    axes.set_ylabel("mIoU, percent")
    axes.grid(alpha=0.4)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    with rc_context({"svg.hashsalt": "dstc"}):  # or the names in the file change from run to run
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def draw_curve(values: pd.DataFrame, path: Path) -> None:
    """Every column over the number that each line is or ends with, such as 200 or split.size=200; others are left out."""
    numbers = values.index.get_level_values("line").str.extract(r"(?:^|=)(\d+)$", expand=False)
    numbered = values[numbers.notna()].set_axis(numbers.dropna().astype(int))
    draw_lines({str(name): numbered[name] for name in numbered}, path, over="labeled target images")
