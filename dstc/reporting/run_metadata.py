"""The sections that say how a run was made: parameters, versions, time and memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dstc.core.costs import Cost
from dstc.reporting.markup import Html, element, folded, section, table
from dstc.reporting.results import Results

NO_RECORD = "no record here"


def parameters_section(results: Results) -> Html:
    """Every parameter that decides a result, and the versions of the packages."""
    tables = (_parameters(name, value) for name, value in results.params.items())
    note = (
        "All parameters that decide a result. The sections paths and runtime are not shown: they change nothing that is "
        "learnt but the rounding, which device, processes and threads decide."
    )
    return section(
        "parameters",
        "Parameters and versions",
        element("p", note, class_="quiet"),
        folded("Parameters", element("div", *tables, class_="columns")),
        table(
            ["package", "version"], results.versions.items(), caption="What the report was written with", class_="text"
        ),
    )


def _parameters(name: str, value: Any) -> Html:
    return table(["", ""], _flat(value, name), caption=name, class_="text")


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}")
    else:
        yield name, str(value)


def cost_section(results: Results) -> Html:
    """Time and memory of each stage, or that there is no record of it."""
    costs = results.costs
    known = [cost for cost in costs.values() if cost]
    lines = [[stage, *_described(cost)] for stage, cost in costs.items()]
    if len(known) == len(costs):
        lines.append(["all", _duration(sum(cost.seconds for cost in known)), "", "", ""])
    notes = [
        "Time from a stage's start to its end, after an interruption from where it went on; memory of its largest process.",
    ]
    if len(known) < len(costs):
        notes.append(
            f"{NO_RECORD[0].upper()}{NO_RECORD[1:]}: the stage did not run in this repository, but its results were "
            "fetched, or the folder .work was cleaned."
        )
    return section(
        "cost",
        "Time and memory",
        table(["stage", "time", "memory", "GPU memory", "cores"], lines),
        *(element("p", note, class_="quiet") for note in notes),
    )


def _described(cost: Cost | None) -> list[str]:
    if cost is None:
        return [NO_RECORD, "", "", ""]
    gpu = "none used" if cost.gpu_memory is None else _gibibytes(cost.gpu_memory)
    return [_duration(cost.seconds), _gibibytes(cost.memory), gpu, str(cost.cores)]


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
