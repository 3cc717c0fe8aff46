"""The files of metrics/ and the final table of the stage: percent with two decimals, null or empty where undefined."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dstc.core.files import write_text
from dstc.core.taxonomy import Classes
from dstc.evaluation.protocols import Confusion
from dstc.evaluation.rows import AVERAGE, ROWS, TRAINED_WITH, agreeing, main_protocol
from dstc.evaluation.verdict import differences
from dstc.label_maps.confusion_matrix import ConfusionMatrix, mean_iou


def write_tables(
    folder: Path,
    confusion: Confusion,
    classes: Classes,
    run_metadata: Mapping[str, int | float],
    trained_with: Mapping[str, Mapping[str, str]],
) -> None:
    """Write the files. The tables for plots hold one protocol; `trained_with` goes to the scores, by row."""
    plotted = confusion[main_protocol(confusion)]
    write_text(folder / "summary.json", _json({**summary(confusion), **run_metadata}))
    write_text(folder / "scores.json", _json({**scores(confusion, classes), TRAINED_WITH: trained_with}))
    write_text(folder / "iou_per_class.csv", iou_per_class_csv(plotted, classes))
    write_text(folder / "confusion.csv", confusion_csv(plotted[AVERAGE], classes))


def percent(fraction: float) -> float | None:
    """A fraction in percent, or None where it is undefined: NaN is not JSON, and DVC's plots drop the row."""
    return None if math.isnan(fraction) else round(100 * fraction, 2)


def summary(confusion: Confusion) -> dict[str, dict[str, float | None]]:
    """mIoU by protocol and row, and co-training minus joint training. Small on purpose: `dvc exp show` makes a column of
    each number."""
    by_protocol = {
        protocol: {row: percent(mean_iou(matrix.iou())) for row, matrix in rows.items()}
        for protocol, rows in confusion.items()
    }
    return {protocol: {**miou, **differences(miou)} for protocol, miou in by_protocol.items()}


def scores(confusion: Confusion, classes: Classes) -> dict[str, dict[str, dict[str, Any]]]:
    """All that is measured, by protocol and row."""
    return {
        protocol: {row: _scores(matrix, classes) for row, matrix in rows.items()}
        for protocol, rows in confusion.items()
    }


def _scores(matrix: ConfusionMatrix, classes: Classes) -> dict[str, Any]:
    iou = matrix.iou().cpu()
    return {
        "miou": percent(mean_iou(iou)),
        **{name: percent(mean_iou(iou, subset)) for name, subset in classes.subsets.items()},
        "pixel_accuracy": percent(matrix.pixel_accuracy()),
        "iou": {name: percent(value) for name, value in zip(classes.names, iou.tolist(), strict=True)},
    }


def iou_per_class_csv(rows: Mapping[str, ConfusionMatrix], classes: Classes) -> str:
    """A line per class, a column per row of the tables: the IoU in percent, empty where the class is absent."""
    columns = [[percent(value) for value in matrix.iou().tolist()] for matrix in rows.values()]
    return _csv(["class", *rows], zip(classes.names, *columns, strict=True))


def confusion_csv(matrix: ConfusionMatrix, classes: Classes) -> str:
    """A line per pair of classes: `rate` percent of the pixels of class `actual` were `predicted` as that class; lines
    of a class without pixels are left out."""
    return _csv(
        ["actual", "predicted", "rate"],
        (
            (actual, predicted, percent(rate))
            for actual, rates in zip(classes.names, matrix.rates().tolist(), strict=True)
            for predicted, rate in zip(classes.names, rates, strict=True)
            if not math.isnan(rate)
        ),
    )


def _csv(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return buffer.getvalue()


def _json(content: Mapping[str, Any]) -> str:
    """Indented, and refusing NaN, which strict readers refuse."""
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def comparing_command(protocols: Collection[str]) -> str:
    """What shows experiments one a line, in as few columns as say which is better: mIoU of joint training and of the
    average, and the parameters that differ."""
    shown = main_protocol(protocols)
    metrics = [f"{protocol}." for protocol in protocols if protocol != shown] + [rf"{shown}.(?!(joint|average)$)"]
    columns = [".*/", "splits", "Created", "labeled_images", *metrics]
    return f"dvc exp show --only-changed --drop '{'|'.join(columns)}'"


def console_table(confusion: Confusion, classes: Classes) -> str:
    """Rows by protocols, in percent: the mean over all classes, and over each subset that has a name. Protocols that agree
    share their columns."""
    every = scores(confusion, classes)
    everything = {" = ".join(protocols): every[protocols[0]] for protocols in agreeing(every)}
    measures = ["miou", *classes.subsets]
    heads = [f"{protocol} {measure}" for protocol in everything for measure in measures]
    titles = {row: ROWS.get(row, row) for row in next(iter(everything.values()))}
    first, width = max(22, *(len(title) + 2 for title in titles.values())), max(14, *(len(head) + 2 for head in heads))
    lines = [" " * first + "".join(f"{head:>{width}}" for head in heads)]
    for row, title in titles.items():
        values = [rows[row][measure] for rows in everything.values() for measure in measures]
        cells = "".join(f"{'-' if v is None else format(v, '.2f'):>{width}}" for v in values)
        lines.append(f"{title:{first}}{cells}")
    return "\n".join(lines)
