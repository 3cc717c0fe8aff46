"""Charts as inline SVG, drawn by matplotlib: narrow enough for a phone, in the text color of the page around them.

The same numbers give the same bytes: no date, no random ids.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

INK = "#010203"  # drawn in this color, shown in the page's text color
SOURCE, TARGET = "#d97706", "#2f86d6"  # as are those of PALETTE, legible on white and on near-black
PALETTE = (SOURCE, "#a259d9", TARGET, "#2f9e5b", "#d6457e")
_WIDTH = 5.0  # inches of 72 units; at 360 pixels, the width of a phone, 10-point letters still have 10 pixels
_MARKERS = "ovsD^"
_ROUND = (1, 2, 5, 10)  # steps of ticks, times a power of ten
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class may have a dollar in its name
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "axes.formatter.useoffset": False,
}


@dataclass(frozen=True)
class Line:
    """A curve; `dashed` for what serves as a reference. A single point is drawn as one."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: str
    dashed: bool = False


def line_chart(name: str, description: str, lines: Sequence[Line], *, x_label: str, y_label: str) -> str:
    """Curves over one axis. `name` keeps the ids of a page's charts apart; `description` is read out instead of it."""

    def draw(axes: Axes) -> None:
        for line in lines:
            marker = "o" if len(line.x) < 20 and not line.dashed else ""
            style = "--" if line.dashed else "-"
            axes.plot(line.x, line.y, style, color=line.color, marker=marker, ms=4, lw=1.6, label=line.label)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.set_ylim(bottom=0, top=1.04 * axes.get_ylim()[1])  # a mark at the top is drawn whole
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(
            MaxNLocator(nbins=8, integer=True, steps=_ROUND)
        )  # half an iteration there is none
        axes.yaxis.set_major_locator(MaxNLocator(nbins=7, steps=_ROUND))

    return _svg(name, description, draw, height=3.1)


@dataclass(frozen=True)
class Dots:
    """One mark a category; None where there is none."""

    label: str
    values: Sequence[float | None]
    color: str


def dot_chart(
    name: str, description: str, categories: Sequence[str], series: Sequence[Dots], *, x_label: str, log: bool = False
) -> str:
    """A line for each category from top to bottom, with a mark for each series. On a log axis 0 is not drawn."""

    def draw(axes: Axes) -> None:
        for marker, dots in zip(_MARKERS * len(series), series, strict=False):
            drawn = [(value, row) for row, value in enumerate(dots.values) if value is not None and (value or not log)]
            x, y = zip(*drawn, strict=True) if drawn else ((), ())
            axes.plot(x, y, marker, color=dots.color, ms=5.5, alpha=0.9, label=dots.label)
        axes.set_yticks(range(len(categories)), categories)
        axes.set_ylim(len(categories) - 0.5, -0.5)
        axes.set_xlabel(x_label)
        if log and any(value for dots in series for value in dots.values):  # else there is nothing to scale by
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))  # powers of ten alone may be one mark, or none
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_xlim(left=0)

    return _svg(name, description, draw, height=1.3 + 0.24 * len(categories))


def bar_chart(name: str, description: str, bars: Mapping[str, float], *, x_label: str, signed: bool = False) -> str:
    """A bar for each category from top to bottom, its number at its end; `signed` numbers go either way from zero."""

    def draw(axes: Axes) -> None:
        values = list(bars.values())
        drawn = axes.barh(range(len(bars)), values, color=[TARGET if value >= 0 else SOURCE for value in values])
        axes.bar_label(drawn, [f"{value:+.1f}" if signed else f"{value:.1f}" for value in values], padding=3)
        axes.set_yticks(range(len(bars)), list(bars))
        axes.set_ylim(max(1, len(bars)) - 0.5, -0.5)
        axes.margins(x=0.15)  # room for the numbers
        axes.set_xlabel(x_label)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=_ROUND))
        axes.grid(axis="y", visible=False)

    return _svg(name, description, draw, height=0.8 + 0.24 * len(bars))


def _svg(name: str, description: str, draw: Callable[[Axes], None], *, height: float) -> str:
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        handles, labels = axes.get_legend_handles_labels()
        if labels:
            figure.legend(handles, labels, loc="outside upper left", ncols=2)
        drawing = io.StringIO()
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(drawing, format="svg", transparent=True, metadata=no_metadata)
    return _inline(drawing.getvalue(), description)


def _inline(svg: str, description: str) -> str:
    """A whole SVG file as an element of a page: sized by the page, in its color and font, without unused ids."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would hold for the whole page
    svg = re.sub(r" font-family: [^;\"]*;?", "", svg)
    used = set(re.findall(r"#([^\"')]+)[\"')]", svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box
    head = f'<svg {view_box[0]} role="img" aria-label="{html.escape(description)}">'
    return re.sub(r"<svg[^>]*>", head, svg, count=1).replace(INK, "currentColor").replace("xlink:href", "href").strip()
