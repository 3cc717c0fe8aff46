"""The page as a browser would read it, from a run of three classes with awkward names."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from dstc.core.index import DomainIndex
from dstc.reporting.page import SECTIONS, page
from dstc.reporting.pictures import MIXINGS
from tests.reporting.conftest import CLASSES, index_of, scores_of

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


@pytest.fixture
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
    assert "b" not in {tag for tag, attrs in read.elements if attrs.get("class") == "legend"}
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


def test_the_verdict_stands_among_the_scores_and_says_where_joint_training_was_left_out(results, read):
    assert [text for text in read.texts["scores"] if "3.0 above joint training (33.4)" in text]
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


def test_of_each_picture_one_view_is_shown_and_each_view_has_a_tab(read):
    layers = read.with_class("layer")
    assert len(layers) == 2 * 7
    assert len([layer for layer in layers if "hidden" not in layer]) == 2
    tabs = [attrs for tag, attrs in read.elements if attrs.get("type") == "radio"]
    assert [tab["value"] for tab in tabs] == [*map(str, range(7))]
    (chosen,) = [tab["value"] for tab in tabs if "checked" in tab]
    assert {layer["data-view"] for layer in layers if "hidden" not in layer} == {chosen}
    assert all(layer["alt"] for layer in layers)


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
    assert "2.11.0" in texts


def test_costs_are_shown_where_there_is_a_record_and_missing_ones_are_said(results, read):
    texts = read.texts["cost"]
    position = texts.index("co_train")
    assert texts[position : position + 5] == ["co_train", "2 min 5 s", "1.50 GiB", "none used", "2"]
    assert texts[texts.index("evaluate") + 1] == "no record here"
    assert "all" not in texts
    known = read_with(results, costs={"co_train": results.costs["co_train"], "evaluate": results.costs["co_train"]})
    assert known.texts["cost"][known.texts["cost"].index("all") + 1] == "4 min 11 s"
    assert not any("record" in text for text in known.texts["cost"])


def test_without_costs_no_time_or_machine_stands_in_the_page(results):
    bare = page(dataclasses.replace(results, costs=dict.fromkeys(results.costs)))
    assert str(Path.cwd()) not in bare
    assert not re.search(r"20\d\d-\d\d|\d\d:\d\d", bare.partition("<section")[2].replace("2.11.0", ""))
