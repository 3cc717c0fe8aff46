"""The sections that show what was measured: scores, curves, classes, confusions, data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from dstc.evaluation.rows import AVERAGE, JOINT, ROWS, TTA, agreeing, main_protocol
from dstc.evaluation.verdict import verdict
from dstc.preparation.summary import pixels_of, share_in_words
from dstc.reporting.charts import INK, PALETTE, SOURCE, TARGET, Dots, Line, bar_chart, dot_chart, line_chart
from dstc.reporting.markup import Html, choices, element, folded, section, table
from dstc.reporting.results import Results

PROTOCOLS = {
    "half": "half: predictions at the network's input size, labels shrunk to it",
    "full": "full: predictions enlarged to the labels' own size",
}
MEASURES = {"miou": "mIoU", "miou_16": "mIoU of 16", "miou_13": "mIoU of 13", "pixel_accuracy": "pixel accuracy"}
SUBSETS = {
    "miou_16": "mIoU of 16: over the 16 of Cityscapes' classes that SYNTHIA has too.",
    "miou_13": "mIoU of 13: over these without wall, fence and pole, as the literature on SYNTHIA has it.",
}
"""What is said of the means over some of the classes. Only classes that are Cityscapes' have these."""
COLORS = {
    "warm_up_source": SOURCE,
    "warm_up_target": TARGET,
    JOINT: PALETTE[4],
    "source_biased": PALETTE[1],
    "target_biased": PALETTE[3],
    AVERAGE: INK,
}
AVERAGED = "_ema_miou"
CONFIDENT_SHARE = "/confident_share"  # a column among the losses that is none
Iou = Mapping[str, float | None]
"""By class, in percent."""

MATRIX_CLASSES = 32  # a matrix of more classes says less than the list of its largest confusions
LISTED_CONFUSIONS = 40


def percent(value: float | None) -> str:
    """A percentage with one decimal; a dash where it is undefined."""
    return "-" if value is None else f"{value:.1f}"


def title_of(row: str) -> str:
    """What people call a row of the tables."""
    return ROWS.get(row, row)


# --- scores


def scores_section(results: Results) -> Html:
    """How many images there were, every network's scores, and what they say of co-training."""
    counts = {
        "labeled target images": len(results.labeled),
        "unlabeled target images": len(results.unlabeled),
        "source images": len(results.source),
        "val images, scored here": len(results.target_val),
        "classes": len(results.target_val.classes),
    }
    tiles = (element("li", element("b", str(count)), what) for what, count in counts.items())
    warning = "The checkpoints were chosen on the very images that are scored here, so these numbers flatter."
    rows = results.scores[main_protocol(results.scores)]
    subsets = [text for measure, text in SUBSETS.items() if measure in next(iter(rows.values()))]
    notes = ["In percent; the best of each column in bold.", *subsets]
    return section(
        "scores",
        "Scores",
        element("ul", *tiles, class_="tiles"),
        *([element("p", warning)] if results.chosen_on_val else []),
        element(
            "div",
            *_score_tables(results),
            element("div", *(element("p", sentence) for sentence in verdict(rows)[1:])),
            class_="columns",
        ),
        element("p", " ".join(notes), class_="quiet"),
    )


def _score_tables(results: Results) -> list[Html]:
    """A table for each protocol; one for several that agree in every number."""
    return [
        _score_table(results.scores[protocols[0]], "; and the same under ".join(map(_protocol, protocols)))
        for protocols in agreeing(results.scores)
    ]


def _protocol(name: str) -> str:
    plain = name.removesuffix(TTA)
    return PROTOCOLS.get(plain, plain) + (", with test-time augmentation" if name.endswith(TTA) else "")


def _score_table(rows: Mapping[str, Mapping[str, Any]], caption: str) -> Html:
    measures = [measure for measure in next(iter(rows.values())) if measure != "iou"]
    best = {m: max((row[m] for row in rows.values() if row[m] is not None), default=None) for m in measures}
    heads = [MEASURES.get(measure, measure) for measure in measures]

    def cell(measure: str, value: float | None) -> Html:
        return element("td", percent(value), class_="best" if value is not None and value == best[measure] else None)

    lines = [[title_of(row), *(cell(measure, values[measure]) for measure in measures)] for row, values in rows.items()]
    return table(["", *heads], lines, caption=caption)


# --- curves


def curves_section(results: Results) -> Html:
    """mIoU and losses over the iterations of every training, and what co-training stands on."""
    return section(
        "curves",
        "Learning curves",
        element(
            "div",
            *_charts_of_miou(results),
            *_charts_of_teaching(results),
            *_charts_of_losses(results),
            class_="columns",
        ),
    )


def _charts_of_miou(results: Results) -> list[Html]:
    """Of the averaged networks, where there are any: `evaluate` scores these unless it is told otherwise."""
    alone = {name: results.validation[name] for name in ("warm_up_source", "warm_up_target", JOINT)}
    both = results.validation["co_train"]
    end, miou = max(both["iteration"], default=0), "_miou"
    if any(column.endswith(AVERAGED) for column in both.columns):
        miou = AVERAGED
    what = "the averaged networks' mIoU" if miou == AVERAGED else "mIoU"
    one_network = [
        _line(title_of(name), curve, f"target{miou}", COLORS[name])
        for name, curve in alone.items()
        if f"target{miou}" in curve and len(curve)
    ]
    while_co_training = [
        *(
            _line(title_of(name), both, f"{name}{miou}", color)
            for name, color in COLORS.items()
            if f"{name}{miou}" in both
        ),
        *(Line(line.label, [0, end], [line.y[-1]] * 2, line.color, dashed=True) for line in one_network if line.y),
    ]
    return [
        _curves(f"One network alone: {what} on the target's val images", one_network, "mIoU, percent"),
        _curves(f"While co-training: {what} on the target's val images", while_co_training, "mIoU, percent"),
    ]


def _charts_of_teaching(results: Results) -> list[Html]:
    """What the branches say of val images, and how sure they are of unlabeled ones: where the curves tell it."""
    colors = {name: COLORS[name] for name in ("source_biased", "target_biased")}
    validation, losses = results.validation["co_train"], results.losses["co_train"]

    def lines(curve: pd.DataFrame, ending: str, what: str = "", *, dashed: bool = False) -> list[Line]:
        found = ((name, f"{name}{ending}", color) for name, color in colors.items() if f"{name}{ending}" in curve)
        return [replace(_line(f"{name.replace('_', '-')}{what}", curve, *rest), dashed=dashed) for name, *rest in found]

    charts = {
        "Right among the confident pseudo-labels, on val images": lines(validation, "_pseudo_label_accuracy"),
        "Confident pseudo-labels: on val images, and (dashed) on unlabeled ones while training": [
            *lines(validation, "_confident_share", ", val"),
            *lines(losses, CONFIDENT_SHARE, ", unlabeled", dashed=True),
        ],
        "Pixels of val images on which the branches disagree": [
            _line("disagreement", validation, name, INK) for name in ("disagreement",) if name in validation
        ],
    }
    return [
        _curves(title, drawn, "percent of the pixels") for title, drawn in charts.items() if any(one.y for one in drawn)
    ]


def _charts_of_losses(results: Results) -> list[Html]:
    """The losses of one learner make a chart; those of both warm-ups share one, since each has a single term. Joint training
    that was left out has none."""
    losses: dict[str, list[Line]] = {}
    for training, curve in results.losses.items():
        if curve.empty:
            continue
        warm_up = training.startswith("warm_up")
        for column in (column for column in curve.columns if "/" in column and not column.endswith(CONFIDENT_SHARE)):
            learner, _, term = column.partition("/")
            lines = losses.setdefault("warm-ups" if warm_up else title_of(learner), [])
            color = COLORS[training] if warm_up else PALETTE[len(lines) % len(PALETTE)]
            lines.append(_line(term.replace("_", " "), curve, column, color))
    return [_curves(f"Losses: {learner}", lines, "loss") for learner, lines in losses.items()]


def _line(label: str, curve: pd.DataFrame, column: str, color: str) -> Line:
    known = curve[["iteration", column]].dropna()
    return Line(label, known["iteration"].tolist(), known[column].tolist(), color)


def _curves(title: str, lines: Sequence[Line], y_label: str) -> Html:
    chart = line_chart(title, title, lines, x_label="iteration", y_label=y_label)
    return element("figure", element("h3", title), Html(chart))


# --- classes


def classes_section(results: Results) -> Html:
    """IoU of each class: of the average as it is and minus another row's, best first, and all numbers."""
    protocol = main_protocol(results.scores)
    rows = {row: scores["iou"] for row, scores in results.scores[protocol].items()}
    average, others = rows[AVERAGE], [row for row in rows if row != AVERAGE]
    shown = next(row for row in (JOINT, "warm_up_target") if row in rows)
    lines = [[name, *(percent(iou[name]) for iou in rows.values())] for name in average]
    return section(
        "classes",
        "IoU per class",
        element(
            "div",
            _bars(average),
            element(
                "div",
                element("h3", f"{title_of(AVERAGE).capitalize()} minus another row"),
                choices("against", {row: title_of(row) for row in others}, shown),
                *(_change(average, rows[row], row, hidden=row != shown) for row in others),
            ),
            class_="columns",
        ),
        folded("The numbers", table(["class", *map(title_of, rows)], lines, caption=_protocol(protocol))),
    )


def _change(iou: Iou, other: Iou, row: str, *, hidden: bool) -> Html:
    points = {name: value - before for name, value in _known(iou).items() if (before := other[name]) is not None}
    chart = bar_chart(
        f"IoU minus {row}",
        f"IoU of each class, {title_of(AVERAGE)} minus {title_of(row)}",
        _best_first(points),
        x_label=f"points of IoU, minus {title_of(row)}",
        signed=True,
    )
    return element("figure", Html(chart), data_against=row, hidden=hidden)


def _bars(iou: Iou) -> Html:
    title = title_of(AVERAGE).capitalize()
    chart = bar_chart(title, f"IoU of each class, {title}", _best_first(iou), x_label="IoU, percent")
    return element("figure", element("h3", title), Html(chart))


def _known(iou: Iou) -> dict[str, float]:
    return {name: value for name, value in iou.items() if value is not None}


def _best_first(iou: Iou) -> dict[str, float]:
    return dict(sorted(_known(iou).items(), key=lambda item: -item[1]))


# --- confusions


def confusion_section(results: Results) -> Html:
    """The confusion matrix; of many classes, the list of its largest entries off the diagonal."""
    rates, names = results.confusion, results.target_val.class_names
    small = len(names) <= MATRIX_CLASSES
    explanation = "Where the pixels of each true class go, in percent of that class: the average of both branches."
    return section(
        "confusions",
        "Confusion matrix",
        element("p", explanation, class_="quiet"),
        _matrix(rates, names) if small else _largest_confusions(rates),
    )


def _matrix(rates: pd.DataFrame, names: Sequence[str]) -> Html:
    by_pair = {(actual, predicted): rate for actual, predicted, rate in rates.itertuples(index=False)}

    def cell(actual: str, predicted: str) -> Html:
        rate = by_pair[actual, predicted]
        if rate < 0.5:
            return Html("<td></td>")
        right = "right" if actual == predicted else None
        return element("td", f"{rate:.0f}", class_=right, style=f"--rate:{0.8 * rate / 100:.2f}")

    present = [name for name in names if (name, name) in by_pair]
    lines = [[actual, *(cell(actual, predicted) for predicted in names)] for actual in present]
    return table(["true \\ predicted", *names], lines, class_="matrix")


def _largest_confusions(rates: pd.DataFrame) -> Html:
    wrong = rates[rates["actual"] != rates["predicted"]]
    largest = wrong.sort_values("rate", ascending=False, kind="stable").head(LISTED_CONFUSIONS)
    lines = [[actual, predicted, percent(rate)] for actual, predicted, rate in largest.itertuples(index=False)]
    caption = f"The {LISTED_CONFUSIONS} largest confusions of {len(rates['predicted'].unique())} classes"
    return table(["true class", "taken for", "percent of it"], lines, caption=caption)


# --- data


def data_section(results: Results) -> Html:
    """Shares of the labeled pixels. Labels of images that count as unlabeled are left out: no network saw them."""
    labeled = results.target_train.named(results.labeled)
    names = results.target_val.class_names
    series, columns = [], []
    for index, label, color in (
        (results.source, "source", SOURCE),
        (labeled, "labeled target", TARGET),
        (results.target_val, "target, val", INK),
    ):
        pixels = pixels_of(index)
        shares = pixels / max(1, pixels.sum())
        series.append(Dots(f"{label} ({len(index)})", [100 * float(share) for share in shares], color))
        columns.append([share_in_words(share) if share else "-" for share in shares])
    title = "Share of the labeled pixels of each class"
    chart = dot_chart(title, title, names, series, x_label="percent of the labeled pixels, log scale", log=True)
    heads = ["class", *(dots.label for dots in series)]
    numbers = table(heads, zip(names, *columns, strict=True))
    return section(
        "data",
        "Shares of the classes in the labels",
        element("div", element("figure", Html(chart)), numbers, class_="columns"),
    )
