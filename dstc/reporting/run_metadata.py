"""The sections that say which run it is and how it was made: parameters, versions, time and memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dstc.core.costs import RunRecord
from dstc.evaluation.rows import ROWS, agreeing, main_protocol
from dstc.evaluation.verdict import verdict
from dstc.reporting.markup import Html, element, folded, section, table
from dstc.reporting.results import Results

NO_RECORD = "no record here"


def run_section(results: Results) -> Html:
    """Which run this is, and in one sentence what came of it."""
    record, params = results.records["evaluate"], results.params
    facts = {
        "data": results.data,
        **(_when(record) if record else {"date, commit": NO_RECORD}),
        "backbone": params["model"]["backbone"],
        "seed": params["seed"],
        "labeled images": f"{len(results.labeled)} of {len(results.target_train)}",
    }
    entries = (element("div", element("dt", name), element("dd", str(value))) for name, value in facts.items())
    sentence = verdict(results.scores[main_protocol(results.scores)])[0]
    return element("section", element("dl", *entries), element("p", sentence, class_="verdict"), id="run")


def _when(record: RunRecord) -> dict[str, str]:
    facts = {"date": f"{record.ended} UTC", "commit": record.commit or "no git here"}
    return facts | ({"experiment": record.experiment} if record.experiment else {})


def parameters_section(results: Results) -> Html:
    """Every parameter that decides a result."""
    tables = (_parameters(name, value) for name, value in results.params.items())
    note = (
        "All parameters that decide a result. The sections paths and runtime are not shown: they change nothing that is "
        "learnt but the rounding, which device, processes and threads decide."
    )
    return section(
        "parameters",
        "Parameters",
        element("p", note, class_="quiet"),
        folded("Parameters", element("div", *tables, class_="columns")),
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
    """Time and memory of each stage, or that there is no record of it; what it was trained and written with."""
    return section(
        "cost",
        "Time, memory and versions",
        element("div", _costs(results.records), element("div", *_versions(results)), class_="columns"),
    )


def _costs(records: Mapping[str, RunRecord | None]) -> Html:
    known = [record for record in records.values() if record]
    lines = [[stage, *_described(record)] for stage, record in records.items()]
    if len(known) == len(records):
        lines.append(["all", _duration(sum(record.seconds for record in known)), *[""] * 5])
    notes = [
        "Time from a stage's start to its end, after an interruption from where it went on; memory of its largest process.",
    ]
    if len(known) < len(records):
        notes.append(
            f"{NO_RECORD[0].upper()}{NO_RECORD[1:]}: the stage did not run in this repository, but its results were "
            "fetched, or the folder .work was cleaned."
        )
    return element(
        "div",
        table(["stage", "time", "memory", "GPU memory", "cores", "ended, UTC", "commit"], lines),
        *(element("p", note, class_="quiet") for note in notes),
    )


def _described(record: RunRecord | None) -> list[str]:
    if record is None:
        return [NO_RECORD, *[""] * 5]
    gpu = "none used" if record.gpu_memory is None else _gibibytes(record.gpu_memory)
    return [_duration(record.seconds), _gibibytes(record.memory), gpu, str(record.cores), record.ended, record.commit]


def _versions(results: Results) -> Iterator[Html]:
    """Of the trainings, one table for all that agree; of the report."""
    groups = agreeing(results.trained_with)
    for rows in groups:
        who = "All networks" if len(groups) == 1 else ", ".join(ROWS.get(row, row) for row in rows).capitalize()
        said = results.trained_with[rows[0]]
        yield table(["", ""], said.items(), caption=f"{who}: trained with", class_="text")
    yield table(["package", "version"], results.versions.items(), caption="The report: written with", class_="text")


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
