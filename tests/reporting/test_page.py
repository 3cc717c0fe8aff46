"""The page as a browser would read it, from a run of three classes with awkward names."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dstc.core.index import DomainIndex
from dstc.core.taxonomy import KNOWN_CLASSES
from dstc.evaluation.rows import ROWS
from dstc.label_maps.pictures import VOID_COLOR
from dstc.reporting.numbers import MEASURES, SUBSETS
from dstc.reporting.page import SECTIONS, page
from dstc.reporting.pictures import MIXINGS, RIGHT, WRONG, error_map
from tests.reporting.conftest import CLASSES, COLORS, RECORD, index_of, scores_of

VOID = {"meta", "link", "img", "input", "br"}


class Reader(HTMLParser):
    """Tags in their order, attributes, and the texts of each section; fails on a tag that is never closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts, self.section = [], [], {}, None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "section":
            self.section = dict(attrs)["id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.section and data.strip() and self.open[-1] != "script":
            self.texts.setdefault(self.section, []).append(data.strip())

    def attributes(self, name, tag=None):
        return [attrs[name] for found, attrs in self.elements if name in attrs and tag in (None, found)]

    def with_class(self, name):
        return [attrs for _, attrs in self.elements if name in (attrs.get("class") or "").split()]


@pytest.fixture(scope="module")
def read(results):
    return Reader(page(results))


def read_with(results, **changes):
    return Reader(page(dataclasses.replace(results, **changes)))


def test_the_same_results_give_the_same_page(results):
    assert page(results) == page(results)


def test_the_page_fetches_nothing_and_may_not(results, read):
    sources = [*read.attributes("src"), *read.attributes("href")]
    assert len(sources) > 30
    assert [source for source in sources if not source.startswith(("data:", "#"))] == []
    text = re.sub(r'"data:[^"]*"', "", page(results))
    assert not re.search(r"https?:|//\w|@import|url\((?!#)", text)
    policy = read.attributes("content")[-1]
    assert "default-src 'none'" in policy


def test_ids_are_unique_and_every_link_leads_somewhere(read):
    ids = read.attributes("id")
    assert len(ids) == len(set(ids))
    assert set(SECTIONS) == {text for text in SECTIONS if text.lower() in ids}
    assert [link for link in read.attributes("href") if link.startswith("#") and link[1:] not in ids] == []


def test_names_that_look_like_markup_are_shown_as_they_are(read):
    for section in ("classes", "confusions", "data", "pictures"):
        assert set(CLASSES) <= set(read.texts[section]), section
    assert "<i>0" in read.texts["pictures"]
    assert "i" not in {tag for tag, attrs in read.elements if not attrs}


def test_scores_are_shown_with_the_best_in_bold_and_agreeing_protocols_once(results, read):
    texts = read.texts["scores"]
    assert texts.count("source-biased branch") == 2  # half and full agree, half_tta does not
    assert [text for text in texts if "half: " in text and "full: " in text and "the same" in text]
    assert [text for text in texts if text.endswith("with test-time augmentation")]
    assert {"31.4", "35.4", "56.6", "77.0", "-"} <= set(texts)
    assert len(read.with_class("best")) == 2 * (1 + 6)  # one mIoU and six equal accuracies in both tables
    differing = read_with(results, scores={"half": scores_of(31.4), "full": scores_of(30.0)})
    assert differing.texts["scores"].count("source-biased branch") == 2


def test_the_run_is_named_on_top_as_its_record_says_with_the_verdict_in_one_sentence(results, read):
    assert read.texts["run"] == [
        *("data", "built-in data set", "date, commit", "no record here", "backbone", "narrow_resnet"),
        *("seed", "7", "labeled images", "1 of 2"),
        "The average of both branches has 36.4 mIoU, 3.0 above joint training (33.4), 4.0 above the target warm-up "
        "(32.4).",
    ]
    assert page(results).index('id="run"') < page(results).index('id="scores"')
    recorded = read_with(results, records={"evaluate": RECORD}).texts["run"]
    assert recorded[2:8] == ["date", "2026-11-27 04:05 UTC", "commit", "abc1234+", "experiment", "six"]
    bare = dataclasses.replace(RECORD, commit="", experiment=None)
    assert read_with(results, records={"evaluate": bare}).texts["run"][4:7] == ["commit", "no git here", "backbone"]


def test_means_over_some_classes_are_explained_where_there_are_such_means(results, read):
    assert [text for text in read.texts["scores"] if "mIoU of 13: over" in text and "mIoU of 16: over" not in text]
    for known in KNOWN_CLASSES.values():
        assert set(known.subsets) <= set(SUBSETS) <= set(MEASURES)
    scores = scores_of(31.4)
    for row in scores.values():
        del row["miou_13"]
    assert "mIoU of" not in " ".join(read_with(results, scores={"half": scores}).texts["scores"])


def test_the_rest_of_the_verdict_stands_among_the_scores_and_says_where_joint_training_was_left_out(results, read):
    assert [
        text
        for text in read.texts["scores"]
        if text.startswith("The better branch, the target-biased one (data/co_train/target_biased.pt), reaches")
    ]
    assert {"joint training", "Losses: joint training"} <= {*read.texts["scores"], *read.texts["curves"]}
    scores = {protocol: {**rows} for protocol, rows in results.scores.items()}
    for rows in scores.values():
        del rows["joint"]
    curves = {
        kind: {**getattr(results, kind), "joint": getattr(results, kind)["joint"].iloc[:0]}
        for kind in ("losses", "validation")
    }
    without = read_with(results, scores=scores, **curves)
    assert [text for text in without.texts["scores"] if "Joint training was left out (joint.iterations is 0)" in text]
    assert "joint training" not in without.texts["scores"]
    assert "Losses: joint training" not in without.texts["curves"]


def test_numbers_of_a_checkpoint_that_was_chosen_on_val_come_with_a_warning(results, read):
    def warned(reader):
        return any("chosen on" in text for text in reader.texts["scores"])

    assert not warned(read)
    assert warned(read_with(results, chosen_on_val=True))


def test_every_column_of_the_curves_is_drawn_but_the_learning_rate(read):
    texts = read.texts["curves"]
    for drawn in ("alignment", "source cross entropy", "source-biased branch", "warm-up target"):
        assert drawn in texts
    assert "learning rate" not in texts


def test_the_curves_of_the_averaged_networks_are_drawn_where_there_are_any(results, read):
    def drawn(reader):
        return next(text for text in reader.texts["curves"] if text.startswith("While co-training"))

    both = results.validation["co_train"]
    averaged = both.assign(source_biased_ema_miou=[31.0], target_biased_ema_miou=[30.0], average_ema_miou=[35.0])
    more = read_with(results, validation={**results.validation, "co_train": averaged})
    assert drawn(read) == "While co-training: mIoU on the target's val images"
    assert drawn(more) == "While co-training: the averaged networks' mIoU on the target's val images"
    assert "average of branches" in more.texts["curves"]
    assert "average of branches" not in read.texts["curves"]
    assert not [text for text in more.texts["curves"] if "ema" in text]


def test_what_co_training_stands_on_is_drawn_where_the_curves_tell_it(results):
    assert "Losses: source-biased branch" in read_with(results).texts["curves"]
    drawn = {title for title in read_with(results).texts["curves"] if "seudo-labels" in title or "disagree" in title}
    assert drawn == set()
    told = {
        "losses": {"source_biased/confident_share": [None, 80.0], "target_biased/confident_share": [None, 60.0]},
        "validation": {
            "source_biased_confident_share": [40.0],
            "source_biased_pseudo_label_accuracy": [70.0],
            "target_biased_confident_share": [30.0],
            "target_biased_pseudo_label_accuracy": [None],  # no pixel was sure
            "disagreement": [12.0],
        },
    }
    more = {
        kind: {**getattr(results, kind), "co_train": getattr(results, kind)["co_train"].assign(**columns)}
        for kind, columns in told.items()
    }
    texts = read_with(results, **more).texts["curves"]
    for title in (
        "Right among the confident pseudo-labels, on val images",
        "Confident pseudo-labels: on val images, and (dashed) on unlabeled ones while training",
        "Pixels of val images on which the branches disagree",
        "source-biased, unlabeled",
        "Losses: source-biased branch",
    ):
        assert title in texts
    assert "confident share" not in texts  # among the losses
    assert "Losses: target-biased branch" not in texts


def test_the_matrix_has_a_line_for_each_class_that_occurs_and_colors_what_is_right_apart(read):
    assert read.texts["confusions"].count("80") == 2
    assert read.texts["confusions"].count("10") == 4
    assert [attrs["style"] for attrs in read.with_class("right")] == ["--rate:0.64"] * 2


def test_of_many_classes_the_largest_confusions_are_listed(results):
    names = tuple(f"class {i}" for i in range(60))
    pairs = [(a, b, 90.0 if a == b else float(i)) for i, a in enumerate(names[:50]) for b in (a, names[59])]
    many = DomainIndex("val", names, ((0, 0, 0),) * 60, {}, ())
    few = read_with(
        results,
        confusion=pd.DataFrame(pairs, columns=["actual", "predicted", "rate"]),
        target_val=many,
        source=dataclasses.replace(many, domain="source"),
        target_train=dataclasses.replace(index_of("train", (1, 1, 1)), class_names=names),
        labeled=[],
    )
    listed = [text for text in few.texts["confusions"] if re.fullmatch(r"class \d+", text)]
    assert listed[:4] == ["class 49", "class 59", "class 48", "class 59"]
    assert len(listed) == 2 * 40


def test_shares_are_those_of_labels_that_a_network_saw(read):
    texts = read.texts["data"]
    assert {"source (2)", "labeled target (1)", "target, val (1)"} <= set(texts)
    assert "90 %" in texts  # of the source: 180 of 200 pixels
    assert texts.count("50 %") == 2  # of the labeled target; the unlabeled image's 1000 pixels count nowhere
    assert "100 %" in texts


def shown_and_chosen(read, name):
    """The tabs' values, the chosen one, and those that elements are shown for."""
    tabs = [attrs for _, attrs in read.elements if attrs.get("name") == name]
    (chosen,) = [tab["value"] for tab in tabs if "checked" in tab]
    ruled = [attrs for _, attrs in read.elements if f"data-{name}" in attrs]
    assert {attrs[f"data-{name}"] for attrs in ruled} == {tab["value"] for tab in tabs}
    return [tab["value"] for tab in tabs], chosen, [attrs[f"data-{name}"] for attrs in ruled if "hidden" not in attrs]


def test_beside_input_and_truth_stand_one_prediction_and_its_errors_and_each_network_has_a_tab(read):
    networks, chosen, shown = shown_and_chosen(read, "network")
    assert networks == list(ROWS.values())
    assert chosen == "average of branches"
    assert shown == [chosen] * 2 * 2  # prediction and errors of two images
    alternatives = [alt for alt in read.attributes("alt", "img") if alt.startswith("<i>0")]
    assert alternatives[:3] == ["<i>0: input", "<i>0: truth", "<i>0: warm-up source"]
    assert alternatives[-1] == "<i>0: errors: average of branches"
    assert len(alternatives) == 2 + 2 * 6
    assert read.texts["pictures"].count("errors") == 2


def test_the_error_map_judges_pixels_whose_true_color_is_that_of_a_class():
    red, green, mixed = COLORS[0], COLORS[1], (100, 100, 0)
    truth = np.array([[red, red, VOID_COLOR, mixed, red]], np.uint8)
    prediction = np.array([[red, green, red, red, mixed]], np.uint8)
    drawn = error_map(prediction, truth, COLORS)
    assert drawn.dtype == np.uint8
    assert drawn.tolist() == [[list(color) for color in (RIGHT, WRONG, VOID_COLOR, VOID_COLOR, WRONG)]]


def test_the_change_of_each_class_is_shown_against_one_row_of_all_and_bars_are_sorted(results, read):
    rows, chosen, shown = shown_and_chosen(read, "against")
    assert rows == list(ROWS)[:-1]
    assert shown == [chosen] == ["joint"]
    scores = {row: {**values} for row, values in results.scores["half"].items()}
    scores["joint"]["iou"] = dict(zip(CLASSES, (90.0, 0.0, 5.0), strict=True))
    texts = read_with(results, scores={"half": scores}).texts["classes"]
    by_change = texts[texts.index("+1.0") - 2 :][:5]  # each chart: classes, then numbers
    assert {"+1.0", "-2.3"} <= set(texts)
    assert by_change.index("+1.0") < by_change.index("-2.3")
    bars = read.texts["classes"]
    assert bars.index(CLASSES[0]) < bars.index(CLASSES[1])
    unordered = {row: {**values, "iou": {**values["iou"], CLASSES[1]: 99.0}} for row, values in scores.items()}
    bars = read_with(results, scores={"half": unordered}).texts["classes"]
    assert bars.index(CLASSES[1]) < bars.index(CLASSES[0])
    without = {row: values for row, values in scores.items() if row != "joint"}
    assert shown_and_chosen(read_with(results, scores={"half": without}), "against")[1] == "warm_up_target"


def test_of_many_mixing_pictures_a_few_are_shown_from_the_first_to_the_last(read):
    steps = read.with_class("step")
    assert len(steps) == MIXINGS
    assert [step["data-iteration"] for step in steps][:: MIXINGS - 1] == ["100", "700"]
    assert [step["data-iteration"] for step in steps if "hidden" not in step] == ["700"]
    assert any(text.startswith(f"{MIXINGS} of 7 pictures") for text in read.texts["mixing"])


def test_without_pictures_the_page_says_so(results):
    bare = read_with(results, pictures=[], mixing=[])
    assert any("evaluate.pictures is 0" in text for text in bare.texts["pictures"])
    assert not bare.attributes("src", "img")


def test_parameters_and_versions_are_listed_by_name(read):
    texts = read.texts["parameters"]
    for name, value in (("seed", "7"), ("model.backbone", "narrow_resnet"), ("co_train.batch.source", "2")):
        assert texts[len(texts) - 1 - texts[::-1].index(name) + 1] == value
    versions = read.texts["cost"]
    assert "2.11.0" in versions
    assert versions.index("All networks: trained with") < versions.index("2.12.1") < versions.index("cpu <some>")


def test_networks_that_were_trained_with_other_versions_are_listed_apart(results):
    differing = {**results.trained_with, "joint": {"torch": "2.13.0"}}
    texts = read_with(results, trained_with=differing).texts["cost"]
    assert texts[texts.index("Joint training: trained with") + 1 :][:2] == ["torch", "2.13.0"]
    assert "Warm-up source, warm-up target, source-biased branch, target-biased branch: trained with" in texts


def test_costs_are_shown_where_there_is_a_record_and_missing_ones_are_said(results, read):
    texts = read.texts["cost"]
    position = texts.index("co_train")
    assert texts[position : position + 5] == ["co_train", "2 min 5 s", "1.50 GiB", "none used", "2"]
    assert texts[position + 5 : position + 7] == ["2026-11-27 04:05", "abc1234+"]
    assert texts[texts.index("evaluate") + 1] == "no record here"
    assert "all" not in texts
    known = read_with(results, records={"co_train": RECORD, "evaluate": RECORD})
    assert known.texts["cost"][known.texts["cost"].index("all") + 1] == "4 min 11 s"
    assert not any("record" in text for text in known.texts["cost"])


def test_without_records_no_time_or_machine_stands_in_the_page(results):
    bare = page(dataclasses.replace(results, records=dict.fromkeys(results.records)))
    assert str(Path.cwd()) not in bare
    assert not re.search(r"20\d\d-\d\d|\d\d:\d\d", bare.partition("<section")[2])
